/** One Hallpass on its store: what the server and the commands open alike. */
import { execSync, type StdioOptions } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { parseBase64url, printBase64url, type Random } from '@hallpass/protocol';
import type { ServerClock } from '../oauth/clock.ts';
import { MASTER_KEY_BYTES, openKeyRing, type LiveKeyRing } from '../oauth/keys/key_ring.ts';
import { Wrapping } from '../oauth/keys/key_wrapping.ts';
import { TrustedTime } from '../oauth/trusted_time.ts';
import { isWeakKey } from '../oauth/keys/weak_key.ts';
import type { KeyOpener } from '../store/verify/verify.ts';
import type { Store } from '../store/store.ts';
import { readSecretFile, type SecretFile } from './closed_files.ts';
import { BadSetting, isDevelopmentIssuer, type Settings } from './settings/settings.ts';
import { assertStoreFile, openExistingStore, openStore } from './stores.ts';

export interface System {
  readonly clock: ServerClock;
  readonly random: Random;
}

/** Its clock is the one to date by, which need not be this machine's: see `TrustedTime.now`. */
export interface Instance extends System {
  readonly settings: Settings;
  readonly store: Store;
  readonly time: TrustedTime;
  readonly keys: LiveKeyRing;
  /** How far the clocks of those who issue on this store may be apart: on one machine there is one clock. */
  readonly clockSkewSeconds: number;
}

/** What the clocks of instances may differ by (contract, Many instances). */
const CLOCK_SKEW_SECONDS = 5;

/**
 * Opens the store and its keys, and makes them where there are none. Throws `BadSetting` or `StoreUnusable`, each with a
 * sentence for the operator.
 */
export async function openInstance(
  settings: Settings,
  system: System,
  open: (settings: Settings) => Promise<Store> = openStore,
): Promise<Instance> {
  return await openWith(settings, system, { open, mayMakeMasterKey: isDevelopmentIssuer(settings.issuer) });
}

/** Opens a store that is there, and makes nothing: neither folder nor store nor master key. Throws `StoreMissing` too. */
export async function openExistingInstance(settings: Settings, system: System): Promise<Instance> {
  assertStoreFile(settings);
  return await openWith(settings, system, { open: openExistingStore, mayMakeMasterKey: false });
}

async function openWith(
  settings: Settings,
  system: System,
  {
    open,
    mayMakeMasterKey,
  }: { readonly open: (settings: Settings) => Promise<Store>; readonly mayMakeMasterKey: boolean },
): Promise<Instance> {
  const masterKeys = findMasterKeys(settings, mayMakeMasterKey ? system.random : undefined);
  const store = await open(settings);
  try {
    const { random } = system;
    const time = await TrustedTime.open(store, system.clock);
    const clock = { ...system.clock, now: () => time.now() };
    const keys = await openKeyRing({ store, masterKeys, algorithm: settings.signingAlgorithm, clock, random });
    const clockSkewSeconds = settings.databaseUrl === undefined ? 0 : CLOCK_SKEW_SECONDS;
    return { settings, store, time, clock, random, keys, clockSkewSeconds };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** From the setting, from what a command prints, or from a file. `random`: to make one up, for a development server. */
function findMasterKeys(settings: Settings, random: Random | undefined): readonly Uint8Array[] {
  const { masterKey, masterKeyCommand } = settings;
  if ([masterKey, masterKeyCommand, settings.masterKeyFile].filter((given) => given !== undefined).length > 1) {
    throw new BadSetting(
      'The master key comes from one place: set only one of HALLPASS_MASTER_KEY, HALLPASS_MASTER_KEY_FILE and HALLPASS_MASTER_KEY_COMMAND.',
    );
  }
  if (masterKey !== undefined) return parseMasterKeys(masterKey, 'HALLPASS_MASTER_KEY');
  if (masterKeyCommand !== undefined)
    return parseMasterKeys(runMasterKeyCommand(masterKeyCommand), 'what HALLPASS_MASTER_KEY_COMMAND prints');
  const file = settings.masterKeyFile ?? join(settings.dataDir, 'master.key');
  if (!existsSync(file)) {
    if (settings.masterKeyFile !== undefined || random === undefined) {
      throw new BadSetting(
        `There is no master key. Set HALLPASS_MASTER_KEY, or put one into ${file}: openssl rand 32 | basenc --base64url | tr -d = (and keep a copy elsewhere: without it the store cannot be opened).`,
      );
    }
    makeMasterKey(file, settings.dataDir, random);
  }
  return parseMasterKeys(readMasterKeyFile(file), file);
}

function readMasterKeyFile(file: string): string {
  if (!statSync(file).isFile())
    throw new BadSetting(`The master key is not a file: ${file}. Set HALLPASS_MASTER_KEY_FILE to one.`);
  let found: SecretFile;
  try {
    found = readSecretFile(file);
  } catch {
    throw new BadSetting(
      `The master key cannot be read by this user: ${file}. Make it readable for the user or the group of the server.`,
    );
  }
  const { text, exposure, mode } = found;
  if (exposure === undefined) return text;
  throw new BadSetting(
    `The master key can be read by others on this machine (${exposure}: its mode is ${mode}). Close it first: chmod 600 ${file} (in Kubernetes: defaultMode 0400 at the volume, and an fsGroup).`,
  );
}

/** What opens the keys in a store, to check them; or why nothing does, in a sentence. Makes no master key. */
export function findKeyOpener(settings: Settings, random: Random): KeyOpener {
  const { masterKey, masterKeyCommand, masterKeyFile, dataDir } = settings;
  const file = masterKeyFile ?? join(dataDir, 'master.key');
  if (masterKey === undefined && masterKeyCommand === undefined && !existsSync(file)) return 'there is no master key.';
  try {
    const wrapping = new Wrapping(findMasterKeys(settings, random), random);
    return (key) => void wrapping.unwrap(key);
  } catch (error) {
    if (error instanceof BadSetting) return error.message;
    throw error;
  }
}

/** How long a command may take to print the master key, in milliseconds: a service far away answers within that. */
const MASTER_KEY_COMMAND_TIMEOUT_MS = 30_000;

function runMasterKeyCommand(command: string): string {
  try {
    const stdio: StdioOptions = ['ignore', 'pipe', 'inherit'];
    return execSync(command, { encoding: 'utf8', stdio, timeout: MASTER_KEY_COMMAND_TIMEOUT_MS, maxBuffer: 4_096 });
  } catch {
    // Not the cause: it would hold what the command has printed.
    throw new BadSetting('HALLPASS_MASTER_KEY_COMMAND failed, or took longer than 30 s. It must print the master key.');
  }
}

/**
 * The current one, and behind white space those before it, while they are being replaced. The current one must be random;
 * one before it need not be, so that a store can be moved away from it.
 */
function parseMasterKeys(text: string, where: string): readonly Uint8Array[] {
  const keys = text
    .trim()
    .split(/\s+/)
    .map((word) => {
      const bytes = parseBase64url(word);
      if (bytes?.length === MASTER_KEY_BYTES) return bytes;
      throw new BadSetting(`The master key in ${where} is not ${MASTER_KEY_BYTES} bytes as base64url, 43 characters.`);
    });
  if (keys[0] === undefined || !isWeakKey(keys[0])) return keys;
  throw new BadSetting(
    `The master key in ${where} is not random, so it can be guessed. Make one with: openssl rand 32 | basenc --base64url | tr -d = (if the store is under the old one already, put the new one before it, and run: hallpass master-key rewrap)`,
  );
}

/** Whole or not at all: a file that a crash has left half written would lock its owner out. */
function makeMasterKey(file: string, folder: string, random: Random): void {
  const draft = `${file}.${printBase64url(random(6))}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const descriptor = openSync(draft, 'wx', 0o600);
    writeSync(descriptor, `${printBase64url(random(MASTER_KEY_BYTES))}\n`);
    fsyncSync(descriptor);
    closeSync(descriptor);
  } catch {
    throw new BadSetting(`The data folder cannot be written: ${folder}. Set HALLPASS_DATA_DIR to one that can.`);
  }
  try {
    linkSync(draft, file);
  } catch (error) {
    // Another process that starts now was first; its key is the one to use.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    unlinkSync(draft);
  }
}

/** Where the master key comes from. It encrypts the keys in the store, and is never stored there itself. */
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
import { MASTER_KEY_BYTES } from '../oauth/keys/key_ring.ts';
import { Wrapping } from '../oauth/keys/key_wrapping.ts';
import { isWeakKey } from '../oauth/keys/weak_key.ts';
import type { KeyOpener } from '../store/verify/verify.ts';
import { readSecretFile, type SecretFile } from './file_permissions.ts';
import { BadSetting, type Settings } from './settings/settings.ts';

/**
 * Reads the master keys from the setting, from a command's output or from a file. With `random`, a missing key file is
 * created: for a development server. Throws `BadSetting`.
 */
export function findMasterKeys(settings: Settings, random: Random | undefined): readonly Uint8Array[] {
  const { masterKey, masterKeyCommand } = settings;
  if ([masterKey, masterKeyCommand, settings.masterKeyFile].filter((given) => given !== undefined).length > 1) {
    throw new BadSetting(
      'Set only one of HALLPASS_MASTER_KEY, HALLPASS_MASTER_KEY_FILE and HALLPASS_MASTER_KEY_COMMAND: the master key comes from one place.',
    );
  }
  if (masterKey !== undefined) return parseMasterKeys(masterKey, 'HALLPASS_MASTER_KEY');
  if (masterKeyCommand !== undefined)
    return parseMasterKeys(runMasterKeyCommand(masterKeyCommand), 'the output of HALLPASS_MASTER_KEY_COMMAND');
  const file = settings.masterKeyFile ?? join(settings.dataDir, 'master.key');
  if (!existsSync(file)) {
    if (settings.masterKeyFile !== undefined || random === undefined) {
      throw new BadSetting(
        `There is no master key. Set HALLPASS_MASTER_KEY, or write one to ${file}: openssl rand 32 | basenc --base64url | tr -d = (keep a copy elsewhere: without it nobody can open the store).`,
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
      `The master key cannot be read by this user: ${file}. Give the server's user or group permission to read it.`,
    );
  }
  const { text, exposure, mode } = found;
  if (exposure === undefined) return text;
  throw new BadSetting(
    `Other users of this machine can read the master key (${exposure}: its mode is ${mode}). First run: chmod 600 ${file} (in Kubernetes: set defaultMode 0400 on the volume, and an fsGroup).`,
  );
}

/** A function that unwraps a stored key, for checking a store; or a sentence that says why there is none. Creates no master key. */
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

/** How long a command may take to print the master key, in milliseconds: enough for a remote key service. */
const MASTER_KEY_COMMAND_TIMEOUT_MS = 30_000;

function runMasterKeyCommand(command: string): string {
  try {
    const stdio: StdioOptions = ['ignore', 'pipe', 'inherit'];
    return execSync(command, { encoding: 'utf8', stdio, timeout: MASTER_KEY_COMMAND_TIMEOUT_MS, maxBuffer: 4_096 });
  } catch {
    // No cause: it would contain what the command printed, which may be the key.
    throw new BadSetting('HALLPASS_MASTER_KEY_COMMAND failed, or took longer than 30 s. It must print the master key.');
  }
}

/**
 * Parses the current key and, separated by white space, the earlier keys that it is replacing. The current key must be
 * random. An earlier one need not be, so that a store can be moved away from a weak key.
 */
function parseMasterKeys(text: string, where: string): readonly Uint8Array[] {
  const keys = text
    .trim()
    .split(/\s+/)
    .map((word) => {
      const bytes = parseBase64url(word);
      if (bytes?.length === MASTER_KEY_BYTES) return bytes;
      throw new BadSetting(`The master key in ${where} is not ${MASTER_KEY_BYTES} bytes in base64url (43 characters).`);
    });
  if (keys[0] === undefined || !isWeakKey(keys[0])) return keys;
  throw new BadSetting(
    `The master key in ${where} is not random, so it can be guessed. Make one with: openssl rand 32 | basenc --base64url | tr -d = (if the store already uses this key, put the new key before it and run: hallpass master-key rewrap)`,
  );
}

/** Writes the file whole or not at all: a key half written in a crash would lock its owner out. */
function makeMasterKey(file: string, folder: string, random: Random): void {
  const draft = `${file}.${printBase64url(random(6))}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const descriptor = openSync(draft, 'wx', 0o600);
    writeSync(descriptor, `${printBase64url(random(MASTER_KEY_BYTES))}\n`);
    fsyncSync(descriptor);
    closeSync(descriptor);
  } catch {
    throw new BadSetting(`The data folder cannot be written: ${folder}. Set HALLPASS_DATA_DIR to a writable folder.`);
  }
  try {
    linkSync(draft, file);
  } catch (error) {
    // Another process started at the same time and was first. Use its key.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    unlinkSync(draft);
  }
}

/** Opens the store that the settings name. Besides the engines themselves, only this file knows that there are two. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Checkable } from '../store/verify/findings.ts';
import type { PostgresOptions } from '../store/postgres/postgres.ts';
import { openSqliteStore } from '../store/sqlite/sqlite.ts';
import { assertStoreIsThere, openSqliteCheck } from '../store/sqlite/check.ts';
import { findRealFile } from '../store/sqlite/files.ts';
import { openSqliteTables } from '../store/sqlite/tables.ts';
import { StoreMissing, type IfMissing, type Store } from '../store/store.ts';
import type { Tables } from '../store/transfer/tables.ts';
import { restrictToOwner, isAccessibleToOthers } from './file_permissions.ts';
import { BadSetting, type Settings } from './settings/settings.ts';
import { systemRandom } from './system.ts';

/** How to open a store. */
export interface OpeningOptions {
  /** What to do when there is no store yet. Default: make one. */
  readonly ifMissing?: IfMissing;
  /** Receives a sentence for the operator about something that works but should be changed. */
  readonly warn?: ((sentence: string) => void) | undefined;
}

/** Opens the store of the settings and brings its schema up to date. Throws `BadSetting` or `StoreUnusable`. */
export async function openStore(
  settings: Settings,
  { ifMissing = 'make', warn = () => undefined }: OpeningOptions = {},
): Promise<Store> {
  try {
    const postgres = postgresOptions(settings);
    if (postgres !== undefined) {
      const { openPostgresStore } = await import('../store/postgres/postgres.ts');
      return await openPostgresStore({ ...postgres, ifMissing });
    }
    const file = fileOf(settings);
    const store = await openSqliteStore({ file, ifMissing });
    restrictStoreToOwner(file, warn);
    return store;
  } catch (error) {
    if (error instanceof StoreMissing) throw missing(settings);
    throw error;
  }
}

/** Whether there is a store where the settings say. */
export async function isStore(settings: Settings): Promise<boolean> {
  try {
    await (await openStore(settings, { ifMissing: 'refuse' })).close();
    return true;
  } catch (error) {
    if (error instanceof StoreMissing) return false;
    throw error;
  }
}

/**
 * Throws `StoreMissing` if there plainly is no store. Call it before looking for a master key: a missing key would be
 * the wrong thing to report.
 */
export function assertStoreFile(settings: Settings): void {
  if (settings.databaseUrl === undefined && !existsSync(fileOf(settings))) throw missing(settings);
}

/** A command run in the wrong folder, or without the server's settings, must not create a second store. */
function missing(settings: Settings): StoreMissing {
  const where =
    settings.databaseUrl === undefined ? 'HALLPASS_DATA_DIR or HALLPASS_DATABASE_URL' : 'HALLPASS_DATABASE_URL';
  return new StoreMissing(
    `There is no store here: ${describeStore(settings)}. If your store is elsewhere, set ${where} as it is set for your server. To create a new store: hallpass store init`,
  );
}

/** The store that the settings name, for printing: a folder, or a database address without its password. */
export function describeStore({ databaseUrl, dataDir }: Pick<Settings, 'databaseUrl' | 'dataDir'>): string {
  return databaseUrl === undefined ? resolve(dataDir) : describeDatabase(databaseUrl);
}

/**
 * Shows user, host and database name. An unescaped password can spill into any part behind the scheme; in that case
 * nothing of the address is shown.
 */
function describeDatabase(address: string): string {
  const { username, host, pathname, search, hash, searchParams } = new URL(address);
  if ([pathname, search, hash].some((part) => part.includes('@'))) return 'a database whose address cannot be shown';
  const at = host === '' ? (searchParams.get('host') ?? '') : host;
  return `postgres://${username === '' ? '' : `${username}@`}${at}${pathname}`;
}

/** Opens the tables of the store, with its schema brought up to date. Throws like `openStore`. */
export async function openTables(settings: Settings, options: OpeningOptions = {}): Promise<Tables> {
  await (await openStore(settings, options)).close();
  const postgres = postgresOptions(settings);
  if (postgres === undefined) return openSqliteTables({ file: fileOf(settings) });
  const { openPostgresTables } = await import('../store/postgres/tables.ts');
  return openPostgresTables(postgres);
}

/** Opens the tables of an existing store, for a command that only reads. Throws `StoreUnusable` if there is none. */
export async function openTablesToRead(
  settings: Settings,
  { warn }: Pick<OpeningOptions, 'warn'> = {},
): Promise<Tables> {
  assertStoreFile(settings);
  if (settings.databaseUrl === undefined) assertStoreIsThere(fileOf(settings));
  return await openTables(settings, { ifMissing: 'refuse', warn });
}

/** Opens an existing store for checking, without changing anything in it. Throws `StoreUnusable` if there is none. */
export async function openCheck(settings: Settings): Promise<Checkable> {
  assertStoreFile(settings);
  const postgres = postgresOptions(settings);
  if (postgres === undefined) return openSqliteCheck({ file: fileOf(settings) });
  const { openPostgresCheck } = await import('../store/postgres/check.ts');
  return await openPostgresCheck(postgres);
}

/** We create stores readable by their owner only. One copied here, or made by an earlier version, may be open to others. */
function restrictStoreToOwner(file: string, warn: (sentence: string) => void): void {
  // SQLite gives the -wal and -shm files the mode of the main file.
  const found = ['', '-wal', '-shm'].map((suffix) => restrictToOwner(findRealFile(file) + suffix));
  if (found.includes('failed')) {
    warn(`Other users of this machine can read the store. As its owner, run: chmod 600 ${file}*`);
  } else if (found.includes('restricted')) {
    warn(`Other users of this machine could read the store. It is now restricted to its owner: ${file}`);
  }
}

function fileOf({ dataDir }: Settings): string {
  return join(dataDir, 'hallpass.db');
}

function postgresOptions(settings: Settings): PostgresOptions | undefined {
  const { databaseUrl: url, databaseConnections: connections, databaseCaFile: caFile } = settings;
  if (url === undefined) return undefined;
  const tls = caFile === undefined ? undefined : { ca: readAuthority(caFile) };
  assertKeyFileClosed(url);
  return { url, connections, tls, plaintext: settings.databasePlaintext, random: systemRandom };
}

/** Refuses a client-certificate key that other users could read. */
function assertKeyFileClosed(url: string): void {
  const file = new URL(url).searchParams.get('sslkey') ?? '';
  const found = file === '' ? undefined : statSync(file, { throwIfNoEntry: false });
  if (found === undefined || !isAccessibleToOthers(found)) return;
  throw new BadSetting(`Other users of this machine can read the key in sslkey. First run: chmod 600 ${file}`);
}

function readAuthority(file: string): string {
  if (!existsSync(file)) throw new BadSetting(`HALLPASS_DATABASE_CA_FILE names a file that does not exist: ${file}.`);
  return readFileSync(file, 'utf8');
}

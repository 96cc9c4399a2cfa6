/** Which engine the settings name: the one place, beside the engines themselves, that knows there are two. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Checkable } from '../store/verify/findings.ts';
import { openPostgresCheck } from '../store/postgres/check.ts';
import { openPostgresStore, type PostgresOptions } from '../store/postgres/postgres.ts';
import { openPostgresTables } from '../store/postgres/tables.ts';
import { openSqliteStore } from '../store/sqlite/sqlite.ts';
import { assertStoreIsThere, openSqliteCheck } from '../store/sqlite/check.ts';
import { findRealFile } from '../store/sqlite/files.ts';
import { openSqliteTables } from '../store/sqlite/tables.ts';
import { StoreMissing, type IfMissing, type Store } from '../store/store.ts';
import type { Tables } from '../store/transfer/transfer.ts';
import { closeToOthers, isOpenToOthers } from './closed_files.ts';
import { printRemark, printWarning } from '../cli/output.ts';
import { BadSetting, type Settings } from './settings/settings.ts';
import { systemRandom } from './system.ts';

/** Opens the store of the settings, its schema brought up to date. Throws `BadSetting` or `StoreUnusable`. */
export async function openStore(settings: Settings, ifMissing: IfMissing = 'make'): Promise<Store> {
  try {
    const postgres = postgresOptions(settings);
    if (postgres !== undefined) return await openPostgresStore({ ...postgres, ifMissing });
    const file = fileOf(settings);
    const store = await openSqliteStore({ file, ifMissing });
    closeStoreToOthers(file);
    return store;
  } catch (error) {
    if (error instanceof StoreMissing) throw missing(settings);
    throw error;
  }
}

/** Opens the store of the settings, if there is one. Throws `StoreMissing` with what to do otherwise. */
export function openExistingStore(settings: Settings): Promise<Store> {
  return openStore(settings, 'refuse');
}

/** Whether there is a store where the settings say. */
export async function isStore(settings: Settings): Promise<boolean> {
  try {
    await (await openExistingStore(settings)).close();
    return true;
  } catch (error) {
    if (error instanceof StoreMissing) return false;
    throw error;
  }
}

/**
 * Throws `StoreMissing` where it costs nothing to see that there is no store: before a master key is looked for, whose
 * absence would be the wrong thing to report.
 */
export function assertStoreFile(settings: Settings): void {
  if (settings.databaseUrl === undefined && !existsSync(fileOf(settings))) throw missing(settings);
}

/** A command in the wrong folder, or without the settings of the server, must not begin a store of its own. */
function missing(settings: Settings): StoreMissing {
  const where =
    settings.databaseUrl === undefined ? 'HALLPASS_DATA_DIR or HALLPASS_DATABASE_URL' : 'HALLPASS_DATABASE_URL';
  return new StoreMissing(
    `There is no store here: ${describeStore(settings)}. If your store is elsewhere, set ${where} as your server has it. To begin a new store: hallpass store init`,
  );
}

/** Which store the settings name, to be printed: a folder, or a database without the password of its address. */
export function describeStore({ databaseUrl, dataDir }: Pick<Settings, 'databaseUrl' | 'dataDir'>): string {
  return databaseUrl === undefined ? resolve(dataDir) : describeDatabase(databaseUrl);
}

/**
 * User, host and name alone. A password that was not escaped can put pieces of itself anywhere behind the scheme, and
 * then no part of the address is shown.
 */
function describeDatabase(address: string): string {
  const { username, host, pathname, search, hash, searchParams } = new URL(address);
  if ([pathname, search, hash].some((part) => part.includes('@'))) return 'a database whose address cannot be shown';
  const at = host === '' ? (searchParams.get('host') ?? '') : host;
  return `postgres://${username === '' ? '' : `${username}@`}${at}${pathname}`;
}

/** The same, of a store that is there. */
function openExistingTables(settings: Settings): Promise<Tables> {
  return openTables(settings, 'refuse');
}

/** Opens the tables of the same store, brought up to date; made first if there are none, unless that is refused. */
export async function openTables(settings: Settings, ifMissing: IfMissing = 'make'): Promise<Tables> {
  await (await openStore(settings, ifMissing)).close();
  const postgres = postgresOptions(settings);
  return postgres === undefined ? openSqliteTables({ file: fileOf(settings) }) : openPostgresTables(postgres);
}

/** The same, for a command that reads: it makes no store where there is none. Throws `StoreUnusable`. */
export async function openTablesToRead(settings: Settings): Promise<Tables> {
  assertStoreFile(settings);
  if (settings.databaseUrl === undefined) assertStoreIsThere(fileOf(settings));
  return await openExistingTables(settings);
}

/** Opens the store to be checked, and changes nothing of it. Throws `StoreUnusable` where there is none. */
export async function openCheck(settings: Settings): Promise<Checkable> {
  assertStoreFile(settings);
  const postgres = postgresOptions(settings);
  return postgres === undefined ? openSqliteCheck({ file: fileOf(settings) }) : await openPostgresCheck(postgres);
}

/** Runs something on the tables of the store, which it names on standard error first, and closes them. */
export async function withTables<Result>(
  settings: Settings,
  work: (tables: Tables) => Promise<Result>,
  open: (settings: Settings) => Promise<Tables> = openExistingTables,
): Promise<Result> {
  const tables = await open(settings);
  printStore(settings);
  try {
    return await work(tables);
  } finally {
    await tables.close();
  }
}

/** Says which store a command works on: one run with other settings than the server's is noticed by this line. */
export function printStore(settings: Settings): void {
  printRemark(`Store: ${describeStore(settings)}`);
}

/** A store is made for its owner alone. One that an earlier version made, or that was copied here, may be open to others. */
function closeStoreToOthers(file: string): void {
  // SQLite gives the other two the mode of the first, when it makes them.
  const found = ['', '-wal', '-shm'].map((suffix) => closeToOthers(findRealFile(file) + suffix));
  if (found.includes('cannot_be_closed')) {
    printWarning(`Others on this machine can read the store. Close it to them, as its owner: chmod 600 ${file}*`);
  } else if (found.includes('closed_now')) {
    printWarning(`Others on this machine could read the store. It is closed to them now: ${file}`);
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

/** The key of a certificate that this server shows the database. */
function assertKeyFileClosed(url: string): void {
  const file = new URL(url).searchParams.get('sslkey') ?? '';
  const found = file === '' ? undefined : statSync(file, { throwIfNoEntry: false });
  if (found === undefined || !isOpenToOthers(found)) return;
  throw new BadSetting(`The key in sslkey can be read by others on this machine. Close it first: chmod 600 ${file}`);
}

function readAuthority(file: string): string {
  if (!existsSync(file)) throw new BadSetting(`HALLPASS_DATABASE_CA_FILE names a file that is not there: ${file}.`);
  return readFileSync(file, 'utf8');
}

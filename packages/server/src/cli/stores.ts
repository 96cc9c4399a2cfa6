/** Which engine the settings name: the one place, beside the engines themselves, that knows there are two. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Checkable } from '../store/findings.ts';
import { openPostgresCheck } from '../store/postgres_check.ts';
import { openPostgresStore, type PostgresOptions } from '../store/postgres.ts';
import { openPostgresTables } from '../store/postgres_tables.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { assertStoreIsThere, openSqliteCheck } from '../store/sqlite_check.ts';
import { openSqliteTables } from '../store/sqlite_tables.ts';
import type { Store } from '../store/store.ts';
import type { Tables } from '../store/transfer.ts';
import { closeToOthers, isOpenToOthers } from './closed_files.ts';
import { printWarning } from './output.ts';
import { BadSetting, type Settings } from './settings.ts';
import { systemRandom } from './system.ts';

/** Opens the store of the settings, its schema brought up to date. Throws `BadSetting` or `StoreUnusable`. */
export async function openStore(settings: Settings): Promise<Store> {
  const postgres = postgresOptions(settings);
  if (postgres !== undefined) return await openPostgresStore(postgres);
  const file = fileOf(settings);
  const store = await openSqliteStore({ file });
  closeStoreToOthers(file);
  return store;
}

/** Opens the tables of the same store, made and brought up to date if need be. */
export async function openTables(settings: Settings): Promise<Tables> {
  await (await openStore(settings)).close();
  const postgres = postgresOptions(settings);
  return postgres === undefined ? openSqliteTables({ file: fileOf(settings) }) : openPostgresTables(postgres);
}

/** The same, for a command that reads: it makes no store where there is none. Throws `StoreUnusable`. */
export async function openTablesToRead(settings: Settings): Promise<Tables> {
  if (settings.databaseUrl === undefined) assertStoreIsThere(fileOf(settings));
  return await openTables(settings);
}

/** Opens the store to be checked, and changes nothing of it. Throws `StoreUnusable` where there is none. */
export async function openCheck(settings: Settings): Promise<Checkable> {
  const postgres = postgresOptions(settings);
  return postgres === undefined ? openSqliteCheck({ file: fileOf(settings) }) : await openPostgresCheck(postgres);
}

/** Runs something on the tables of the store and closes them. */
export async function withTables<Result>(
  settings: Settings,
  work: (tables: Tables) => Promise<Result>,
  open: (settings: Settings) => Promise<Tables> = openTables,
): Promise<Result> {
  const tables = await open(settings);
  try {
    return await work(tables);
  } finally {
    await tables.close();
  }
}

/** A store is made for its owner alone. One that an earlier version made, or that was copied here, may be open to others. */
function closeStoreToOthers(file: string): void {
  // SQLite gives the other two the mode of the first, when it makes them.
  const found = ['', '-wal', '-shm'].map((suffix) => closeToOthers(file + suffix));
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

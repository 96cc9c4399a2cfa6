/** Which engine the settings name: the one place, beside the engines themselves, that knows there are two. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPostgresStore, type PostgresOptions } from '../store/postgres.ts';
import { openPostgresTables } from '../store/postgres_tables.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { openSqliteTables } from '../store/sqlite_tables.ts';
import type { Store } from '../store/store.ts';
import type { Tables } from '../store/transfer.ts';
import { BadSetting, type Settings } from './settings.ts';
import { systemRandom } from './system.ts';

/** Opens the store of the settings, its schema brought up to date. Throws `BadSetting` or `StoreUnusable`. */
export async function openStore(settings: Settings): Promise<Store> {
  const postgres = postgresOptions(settings);
  return postgres === undefined ? await openSqliteStore({ file: fileOf(settings) }) : await openPostgresStore(postgres);
}

/** Opens the tables of the same store, made and brought up to date if need be. */
export async function openTables(settings: Settings): Promise<Tables> {
  await (await openStore(settings)).close();
  const postgres = postgresOptions(settings);
  return postgres === undefined ? openSqliteTables({ file: fileOf(settings) }) : openPostgresTables(postgres);
}

/** Runs something on the tables of the store and closes them. */
export async function withTables<Result>(
  settings: Settings,
  work: (tables: Tables) => Promise<Result>,
): Promise<Result> {
  const tables = await openTables(settings);
  try {
    return await work(tables);
  } finally {
    await tables.close();
  }
}

function fileOf({ dataDir }: Settings): string {
  return join(dataDir, 'hallpass.db');
}

function postgresOptions(settings: Settings): PostgresOptions | undefined {
  const { databaseUrl: url, databaseConnections: connections, databaseCaFile: caFile } = settings;
  if (url === undefined) return undefined;
  const tls = caFile === undefined ? undefined : { ca: readAuthority(caFile) };
  return { url, connections, tls, plaintext: settings.databasePlaintext, random: systemRandom };
}

function readAuthority(file: string): string {
  if (!existsSync(file)) throw new BadSetting(`HALLPASS_DATABASE_CA_FILE names a file that is not there: ${file}.`);
  return readFileSync(file, 'utf8');
}

/** Brings the schema in PostgreSQL up to date. */
import { escapeIdentifier } from 'pg';
import type { Random } from '@hallpass/protocol';
import { firstRows, MIGRATIONS, newerSchema } from '../migrations.ts';
import type { Connections } from './connections.ts';
import { DatabaseFailure } from './session.ts';
import type { Sql } from '../sql.ts';
import { StoreMissing, StoreUnusable, type IfMissing } from '../store.ts';

/** How long a step may take, in milliseconds. Other instances that start wait this long. */
const STEP_DEADLINE_MS = 10 * 60_000;
const FEED_ID_BYTES = 6;

/** The table or its schema does not exist. */
const MISSING = new Set(['42P01', '3F000']);
/** Another instance that is starting made it at the same moment. */
const MADE_MEANWHILE = new Set(['42P06', '42P07', '42710', '23505']);

/**
 * Brings the schema up to date step by step; each step commits with its number. After a kill it continues from the last
 * committed step. If several instances start together, one takes a step and the others wait for it. Throws `StoreUnusable`
 * for a newer schema.
 *
 * A database without any step holds no store: with `ifMissing: 'refuse'` it is left unchanged, and `StoreMissing` is thrown.
 */
export async function migrate(
  connections: Connections,
  { schema, random, ifMissing }: { readonly schema: string; readonly random: Random; readonly ifMissing: IfMissing },
): Promise<void> {
  let version = await findVersion(connections);
  if (version === MIGRATIONS.length) return;
  if (ifMissing === 'refuse' && (version ?? 0) === 0) throw new StoreMissing('There is no store in this database.');
  while (version === undefined) {
    await makeVersionTable(connections, schema);
    version = await findVersion(connections);
  }
  while (version < MIGRATIONS.length) {
    version = await connections.transact((sql) => takeStep(sql, random), STEP_DEADLINE_MS);
  }
  if (version > MIGRATIONS.length) throw new StoreUnusable(newerSchema(version));
}

/** The number of steps taken; undefined when the version table does not exist or is empty. */
async function findVersion(connections: Connections): Promise<number | undefined> {
  try {
    return await connections.read(async (sql) => {
      const [row] = await sql.all('SELECT version FROM hallpass_schema WHERE one = 1');
      return row === undefined ? undefined : Number(row['version']);
    });
  } catch (error) {
    if (hasCode(error, MISSING)) return undefined;
    throw error;
  }
}

function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  return error instanceof Error && error.cause instanceof DatabaseFailure && codes.has(error.cause.code);
}

async function makeVersionTable(connections: Connections, schema: string): Promise<void> {
  try {
    await connections.transact(async (sql) => {
      const made = await sql.all('SELECT 1 AS found FROM information_schema.schemata WHERE schema_name = ?', schema);
      if (made.length === 0) await sql.run(`CREATE SCHEMA IF NOT EXISTS ${escapeIdentifier(schema)}`);
      await sql.run('CREATE TABLE IF NOT EXISTS hallpass_schema (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)');
      await sql.run('INSERT INTO hallpass_schema (one, version) VALUES (1, 0) ON CONFLICT (one) DO NOTHING');
    });
  } catch (error) {
    if (!hasCode(error, MADE_MEANWHILE)) throw error;
  }
}

/** Locks the version row and takes the next step, if there still is one. Returns the version after it. */
async function takeStep(sql: Sql, random: Random): Promise<number> {
  const [row] = await sql.all('UPDATE hallpass_schema SET version = version WHERE one = 1 RETURNING version');
  const version = Number(row?.['version']);
  const statements = MIGRATIONS[version];
  if (statements === undefined) return version;
  for (const statement of statements) await sql.run(toPostgres(statement));
  if (version === 0) {
    const feedId = Buffer.from(random(FEED_ID_BYTES)).toString('hex');
    for (const { text, values } of firstRows(feedId)) await sql.run(text, ...values);
  }
  await sql.run('UPDATE hallpass_schema SET version = ? WHERE one = 1', version + 1);
  return version + 1;
}

/**
 * Compares text by code point, like everywhere in Hallpass, instead of by the database's locale. `IF NOT EXISTS` is for
 * engines that do not roll schema changes back with their transaction.
 */
function toPostgres(statement: string): string {
  return statement
    .replaceAll(/\bTEXT\b/g, 'TEXT COLLATE "C"')
    .replace(/^CREATE (TABLE|INDEX|UNIQUE INDEX)/, 'CREATE $1 IF NOT EXISTS')
    .replace(/^ALTER TABLE (\w+) ADD COLUMN/, 'ALTER TABLE $1 ADD COLUMN IF NOT EXISTS');
}

/**
 * The tables of a store as rows, below the operations. They are the same in both engines, and are read in the order of
 * their primary keys. Values are carried unchanged, so whatever was signed, sealed or hashed with the store's keys stays
 * valid.
 */
import { createHash, type Hash } from 'node:crypto';
import { renewRevision } from '../verbs/clients.ts';
import { recordRowOf } from '../verbs/record_digest.ts';
import type { Sql, SqlRow, SqlValue } from '../sql.ts';
import { RESTORE, StoreBroken } from '../store.ts';

/** Direct access to the tables of an engine. */
export interface Tables {
  /** Reads a snapshot: everything committed before, and nothing after. */
  readonly snapshot: <Result>(work: (sql: Sql) => Promise<Result>) => Promise<Result>;
  /** Writes in one transaction. What it wrote is durable when it resolves. */
  readonly transact: <Result>(work: (sql: Sql) => Promise<Result>) => Promise<Result>;
  readonly close: () => Promise<void>;
}

/** A table that is copied: its name and columns. */
export interface Table {
  readonly name: string;
  /** The columns of the primary key, in order. */
  readonly key: readonly string[];
  readonly values: readonly string[];
  /** The defaults of those `values` that a later version added, which are the last ones. */
  readonly added?: readonly SqlValue[];
}

/**
 * The tables in copying order. The feed comes first, because its id says which store a copy belongs to, even when the copy
 * was interrupted. Keys come last, behind everything revoked or used: a partial copy that is served by mistake accepts no
 * token of its source. Counters and followers are not copied, because they matter for seconds; nor is the time and what
 * is measured by it (`feed_until`), which belongs to the servers of each store. Columns added later are last.
 */
export const TABLES: readonly Table[] = [
  { name: 'feed', key: ['one'], values: ['feed_id', 'last_position', 'last_commit'] },
  {
    name: 'revocations',
    key: ['position'],
    values: ['kind', 'subject', 'before_date', 'expires_at', 'keep_until', 'commit_id'],
  },
  {
    name: 'families',
    key: ['grant_id'],
    values: [
      'client_id',
      'generation',
      'rotated_at',
      'key_id',
      'expires_at',
      'shown_generation',
      'shown_in_a_row',
      'suspected_generation',
      'newest_expires_at',
    ],
    added: [0, 0, 0, null],
  },
  { name: 'used_once', key: ['space', 'id'], values: ['expires_at'] },
  { name: 'events', key: ['event_id'], values: ['at', 'kind', 'client_id', 'grant_id', 'detail'] },
  { name: 'secret_uses', key: ['client_id', 'secret_id'], values: ['used_at'] },
  {
    name: 'refresh_suspicions',
    key: ['client_id'],
    values: ['suspicions', 'last_at', 'last_reason', 'last_grant_id'],
  },
  { name: 'client_origins', key: ['origin', 'client_id'], values: [] },
  { name: 'clients', key: ['client_id'], values: ['version', 'record'] },
  { name: 'keys', key: ['key_id'], values: ['key_use', 'algorithm', 'wrapped', 'created_at', 'active_from'] },
];

/** How many rows are read and written at a time. */
export const PAGE_ROWS = 500;

/** A store or file that cannot be copied, backed up or restored. The message says what to do. */
export class TransferRefusal extends Error {
  override readonly name = 'TransferRefusal';
}

/** The result for one table. */
export interface TableReport {
  readonly table: string;
  /** Rows in the source. */
  readonly rows: number;
  readonly inserted: number;
  readonly updated: number;
  readonly deleted: number;
  /** SHA-256 over the rows of the source in order, in hexadecimal. */
  readonly checksum: string;
}

/** Reports the table in work and the rows done so far. */
export type Progress = (table: string, rows: number) => void;

/** The counts and checksums of all tables of a store, to compare with another's. */
export async function checkTables(tables: Tables, progress: Progress): Promise<readonly TableReport[]> {
  return await tables.snapshot(async (sql) => {
    const reports: TableReport[] = [];
    for (const table of TABLES) reports.push(await checkTable(sql, table, progress));
    return reports;
  });
}

/** The count and the checksum of one table. */
export async function checkTable(sql: Sql, table: Table, progress: Progress): Promise<TableReport> {
  const digest = createHash('sha256');
  let rows = 0;
  for await (const row of readTable(sql, table)) {
    addTo(digest, table, row);
    rows += 1;
    if (rows % PAGE_ROWS === 0) progress(table.name, rows);
  }
  return { table: table.name, rows, inserted: 0, updated: 0, deleted: 0, checksum: digest.digest('hex') };
}

/** The columns of a table, those of its primary key first. */
export function columnsOf({ key, values }: Table): readonly string[] {
  return [...key, ...values];
}

/** All rows of a table, or those after a given row. Throws `StoreBroken` if they are out of order. */
export async function* readTable(sql: Sql, table: Table, after?: SqlRow): AsyncGenerator<SqlRow> {
  yield* readPages(async (last = after) => {
    const page = await readPage(sql, table, last);
    const next = page.at(-1);
    // A damaged index can lead in a circle, and reading would never end.
    if (last !== undefined && next !== undefined && compareKeys(table, next, last) <= 0) {
      throw new StoreBroken(`The store is damaged: the rows of ${table.name} are out of order. ${RESTORE}`);
    }
    return page;
  });
}

/** The rows of pages, each read after the last row of the one before. */
export async function* readPages(
  read: (after: SqlRow | undefined) => Promise<readonly SqlRow[]>,
): AsyncGenerator<SqlRow> {
  let after: SqlRow | undefined;
  for (;;) {
    const page = await read(after);
    yield* page;
    after = page.at(-1);
    if (after === undefined || page.length < PAGE_ROWS) return;
  }
}

/** One page: the first rows, or those after a given row. */
export function readPage(sql: Sql, table: Table, after: SqlRow | undefined): Promise<readonly SqlRow[]> {
  const { name, key } = table;
  const columns = columnsOf(table).join(', ');
  const order = key.join(', ');
  if (after === undefined) return sql.all(`SELECT ${columns} FROM ${name} ORDER BY ${order} LIMIT ${PAGE_ROWS}`);
  const places = key.map(() => '?').join(', ');
  return sql.all(
    `SELECT ${columns} FROM ${name} WHERE (${order}) > (${places}) ORDER BY ${order} LIMIT ${PAGE_ROWS}`,
    ...key.map((column) => valueOf(after, column)),
  );
}

/** The value of a column; null when the row has none. */
export function valueOf(row: SqlRow, column: string): SqlValue {
  return row[column] ?? null;
}

/** Orders keys like both engines do: numbers by value, texts by their bytes. */
export function compareKeys({ key }: Table, a: SqlRow, b: SqlRow): number {
  for (const column of key) {
    const [one, other] = [valueOf(a, column), valueOf(b, column)];
    const order =
      typeof one === 'number' && typeof other === 'number'
        ? one - other
        : Buffer.compare(Buffer.from(String(one)), Buffer.from(String(other)));
    if (order !== 0) return order;
  }
  return 0;
}

/** Adds a row to the checksum of its table. */
export function addTo(digest: Hash, table: Table, row: SqlRow): void {
  digest.update(`${JSON.stringify(listOf(table, row))}\n`);
}

/** The values of a row, in the order of `columnsOf`. */
export function listOf(table: Table, row: SqlRow): readonly SqlValue[] {
  return columnsOf(table).map((column) => valueOf(row, column));
}

/** Inserts a row, or replaces the one with the same key. */
export async function put(sql: Sql, table: Table, row: SqlRow): Promise<void> {
  const columns = columnsOf(table);
  const update =
    table.values.length === 0
      ? 'DO NOTHING'
      : `DO UPDATE SET ${table.values.map((column) => `${column} = excluded.${column}`).join(', ')}`;
  await sql.run(
    `INSERT INTO ${table.name} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})
     ON CONFLICT (${table.key.join(', ')}) ${update}`,
    ...listOf(table, row),
  );
  // Revisions are not copied: a server that used this store before must not take the row for one that it has parsed.
  if (table.name === 'clients') await renewRevision(sql, recordRowOf(row));
}

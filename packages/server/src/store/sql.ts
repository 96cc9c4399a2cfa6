/** What the operations of the store are written in: a connection of either engine, and statements with many rows. */

/** A column value. Both engines return counts, positions and times as numbers. */
export type SqlValue = string | number | null;
/** A row by column name. */
export type SqlRow = Readonly<Record<string, SqlValue>>;

/**
 * A connection of an engine, inside a transaction unless the operation's docstring says that it needs none. `?` stands for
 * a value; no statement has more than 2,000 of them.
 */
export interface Sql {
  readonly all: (text: string, ...values: readonly SqlValue[]) => Promise<readonly SqlRow[]>;
  /** Resolves with the number of rows written. */
  readonly run: (text: string, ...values: readonly SqlValue[]) => Promise<number>;
  /** See `event_id.ts`. */
  readonly nextEventId: () => number;
  /** See `commit_id.ts`. */
  readonly newCommitId: () => string;
}

/** The placeholders of a `VALUES` list: `(?, ?), (?, ?)` for 2 rows and 2 columns. */
export function rowsOf(rows: number, columns: number): string {
  return Array.from({ length: rows }, () => `(${Array.from({ length: columns }, () => '?').join(', ')})`).join(', ');
}

/** The most rows in one statement. */
const ROWS_MAX = 256;

/** Inserts rows with as few statements as possible. `insert`: the statement up to and including `VALUES`. */
export async function insertRows(sql: Sql, insert: string, rows: readonly (readonly SqlValue[])[]): Promise<void> {
  for (const some of inBatches(rows)) {
    await sql.run(`${insert} ${rowsOf(some.length, some[0]?.length ?? 0)}`, ...some.flat());
  }
}

/** Cuts items into batches that fit into one statement each. */
export function inBatches<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / ROWS_MAX) }, (_, at) =>
    items.slice(at * ROWS_MAX, (at + 1) * ROWS_MAX),
  );
}

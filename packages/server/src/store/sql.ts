/** What the verbs of the store are written in: one connection of an engine, and statements of many rows. */

export type SqlValue = string | number | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

/**
 * One connection of an engine, in a transaction unless the verb says that it needs none. `?` stands for a value. No
 * statement has more than 2,000 of them.
 */
export interface Sql {
  readonly all: (text: string, ...values: readonly SqlValue[]) => Promise<readonly SqlRow[]>;
  /** Resolves with how many rows were written. */
  readonly run: (text: string, ...values: readonly SqlValue[]) => Promise<number>;
  /** See `event_id.ts`. */
  readonly nextEventId: () => number;
  /** See `commit_id.ts`. */
  readonly newCommitId: () => string;
}

/** `(?, ?), (?, ?)`: so many rows of so many values. */
export function rowsOf(rows: number, columns: number): string {
  return Array.from({ length: rows }, () => `(${Array.from({ length: columns }, () => '?').join(', ')})`).join(', ');
}

/** The most rows in one statement. */
const ROWS_MAX = 256;

export async function insertRows(sql: Sql, insert: string, rows: readonly (readonly SqlValue[])[]): Promise<void> {
  for (const some of inBatches(rows)) {
    await sql.run(`${insert} ${rowsOf(some.length, some[0]?.length ?? 0)}`, ...some.flat());
  }
}

export function inBatches<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / ROWS_MAX) }, (_, at) =>
    items.slice(at * ROWS_MAX, (at + 1) * ROWS_MAX),
  );
}

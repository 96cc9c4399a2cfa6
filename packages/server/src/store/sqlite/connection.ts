/** A SQLite connection as `Sql`. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { newCommitId } from '../commit_id.ts';
import type { Sql, SqlRow, SqlValue } from '../sql.ts';

/** Wraps a connection for the operations; each statement is prepared once. A connection that only reads needs no event ids. */
export function sqlOf(database: DatabaseSync, nextEventId: () => number): Sql {
  const statements = new Map<string, StatementSync>();
  const prepared = (text: string): StatementSync => {
    const statement = statements.get(text) ?? database.prepare(text);
    statements.set(text, statement);
    return statement;
  };
  return {
    // oxlint-disable-next-line no-unsafe-type-assertion -- our columns are TEXT and INTEGER only
    all: async (text, ...values) => prepared(text).all(...values) as unknown as readonly SqlRow[],
    run: async (text, ...values) => Number(prepared(text).run(...(values satisfies readonly SqlValue[])).changes),
    nextEventId,
    newCommitId,
  };
}

/** The embedded engine below its verbs: for backups and copies, beside a running server or without one. */
import { DatabaseSync } from 'node:sqlite';
import { eventIds } from './event_id.ts';
import type { Sql } from './sql.ts';
import { sqlOf } from './sqlite_connection.ts';
import type { Tables } from './transfer.ts';

/** How long a transaction waits for another process that is writing, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;

/** Opens the tables of a store that is there, in this file, and that the engine has brought up to date. */
export function openSqliteTables({ file }: { readonly file: string }): Tables {
  const writer = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  // What is written here is acknowledged like anything else.
  writer.exec('PRAGMA synchronous = FULL');
  return {
    snapshot: async (work) => {
      // A connection of its own: in write-ahead mode its first read fixes the moment, and nobody waits for it.
      const reader = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
      try {
        reader.exec('PRAGMA query_only = ON; BEGIN');
        return await work(sqlOf(reader, eventIds()));
      } finally {
        reader.close();
      }
    },
    transact: async (work) => await inTransaction(writer, work),
    close: async () => writer.close(),
  };
}

async function inTransaction<Result>(database: DatabaseSync, work: (sql: Sql) => Promise<Result>): Promise<Result> {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = await work(sqlOf(database, eventIds()));
    database.exec('COMMIT');
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

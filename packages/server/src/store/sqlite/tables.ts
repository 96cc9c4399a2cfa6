/** Direct access to the tables in SQLite, for backups and copies, with or without a running server. */
import { DatabaseSync } from 'node:sqlite';
import { eventIds } from '../event_id.ts';
import type { Sql } from '../sql.ts';
import { sqlOf } from './connection.ts';
import { faultOf, outageOf } from './faults.ts';
import { OpenFiles } from './files.ts';
import { Generations, isLogEmpty } from './generation.ts';
import type { Tables } from '../transfer/tables.ts';

/** How long a transaction waits for another process that is writing, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens the tables of an existing store whose schema is up to date. Failures of SQLite reject with `StoreUnavailable`, like
 * in the operations.
 */
export function openSqliteTables({ file }: { readonly file: string }): Tables {
  const logWas = isLogEmpty(file) ? 'empty' : 'in use';
  const writer = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  // Writes are acknowledged here too, so they have to be durable.
  writer.exec('PRAGMA synchronous = FULL');
  const generations = new Generations(writer, file, logWas);
  const files = new OpenFiles(file);
  return {
    snapshot: async (work) => {
      // A new connection: in write-ahead mode its first read fixes the snapshot, and blocks nobody.
      const reader = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
      try {
        reader.exec('PRAGMA query_only = ON; BEGIN');
        return await work(outagesOf(sqlOf(reader, eventIds()), 'read'));
      } finally {
        reader.close();
      }
    },
    transact: async (work) => {
      const result = await inTransaction(writer, work);
      const replaced = files.whyReplaced();
      if (replaced !== undefined) throw outageOf({ kind: 'replaced', message: replaced }, 'written');
      generations.maintain();
      return result;
    },
    close: async () => {
      generations.close();
      writer.close();
    },
  };
}

/** Turns failures of SQLite into `StoreUnavailable`; errors of the caller's work pass unchanged. */
function outagesOf(sql: Sql, to: 'read' | 'written'): Sql {
  const fail = (error: unknown): never => {
    throw outageOf(faultOf(error), to);
  };
  return {
    ...sql,
    all: (text, ...values) => sql.all(text, ...values).catch(fail),
    run: (text, ...values) => sql.run(text, ...values).catch(fail),
  };
}

async function inTransaction<Result>(database: DatabaseSync, work: (sql: Sql) => Promise<Result>): Promise<Result> {
  execute(database, 'BEGIN IMMEDIATE');
  try {
    const result = await work(outagesOf(sqlOf(database, eventIds()), 'written'));
    execute(database, 'COMMIT');
    return result;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function execute(database: DatabaseSync, text: string): void {
  try {
    database.exec(text);
  } catch (error) {
    throw outageOf(faultOf(error), 'written');
  }
}

/** The embedded engine below its verbs: for backups and copies, beside a running server or without one. */
import { DatabaseSync } from 'node:sqlite';
import { eventIds } from '../event_id.ts';
import type { Sql } from '../sql.ts';
import { sqlOf } from './connection.ts';
import { faultOf, outageOf } from './faults.ts';
import { OpenFiles } from './files.ts';
import { Generations, isLogEmpty } from './generation.ts';
import type { Tables } from '../transfer/transfer.ts';

/** How long a transaction waits for another process that is writing, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Opens the tables of a store that is there, in this file, and that the engine has brought up to date. What SQLite refuses
 * rejects with `StoreUnavailable`, as it does at the verbs.
 */
export function openSqliteTables({ file }: { readonly file: string }): Tables {
  const logWas = isLogEmpty(file) ? 'empty' : 'in use';
  const writer = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  // What is written here is acknowledged like anything else.
  writer.exec('PRAGMA synchronous = FULL');
  const generations = new Generations(writer, file, logWas);
  const files = new OpenFiles(file);
  return {
    snapshot: async (work) => {
      // A connection of its own: in write-ahead mode its first read fixes the moment, and nobody waits for it.
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
      if (replaced !== undefined) throw outageOf({ kind: 'replaced', said: replaced }, 'written');
      generations.tend();
      return result;
    },
    close: async () => {
      generations.close();
      writer.close();
    },
  };
}

/** With the failures of SQLite as outages; what the work itself throws stays as it is. */
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

/** A rig's own store on either engine, with access to its rows behind the server's back, to count or damage them. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { makeDataDir, RIG, type Environment } from '../../testing/process/process.ts';
import { startPostgres } from '../../testing/postgres/cluster.ts';

/** How long a statement of the rig waits for the server's, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;

/** An empty store for a rig. */
export interface RigStore {
  readonly dataDir: string;
  /** The settings of every process on this store. */
  readonly environment: Environment;
  /** Runs a statement behind the server's back. */
  readonly tamper: (statement: string) => Promise<void>;
  /** How many rows a table has. */
  readonly count: (table: string) => Promise<number>;
  readonly remove: () => Promise<void>;
}

/** The two engines. */
export type Engine = 'sqlite' | 'postgres';

/** Creates an empty store. */
export async function openRigStore(engine: Engine): Promise<RigStore> {
  return engine === 'sqlite' ? openFile() : await openDatabase();
}

function openFile(): RigStore {
  const { dataDir, remove } = makeDataDir();
  const withFile = <Result>(work: (database: DatabaseSync) => Result): Result => {
    const file = join(dataDir, 'hallpass.db');
    if (!existsSync(file)) throw new Error('no server has made its store yet');
    const database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    try {
      return work(database);
    } finally {
      database.close();
    }
  };
  return {
    dataDir,
    environment: RIG,
    tamper: async (statement) => withFile((database) => database.exec(statement)),
    count: async (table) =>
      withFile((database) => Number(database.prepare(`SELECT COUNT(*) AS rows FROM ${table}`).get()?.['rows'])),
    remove: async () => remove(),
  };
}

async function openDatabase(): Promise<RigStore> {
  const { dataDir, remove } = makeDataDir();
  const cluster = await startPostgres();
  const url = await cluster.createDatabase();
  return {
    dataDir,
    environment: { ...RIG, HALLPASS_DATABASE_URL: url },
    tamper: async (statement) => {
      await cluster.query(statement, { url });
    },
    count: async (table) => {
      const [row] = await cluster.query(`SELECT COUNT(*)::int AS rows FROM ${table}`, { url });
      return Number(row?.['rows']);
    },
    remove: async () => {
      await cluster.remove();
      remove();
    },
  };
}

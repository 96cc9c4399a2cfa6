/**
 * What issuing tokens leaves in the store: rows per table and bytes, before and after, with refresh tokens on.
 *
 *   node --conditions=hallpass-source bench/store_growth.ts [--tokens 100000] [--callers 32]
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client, tokensOf } from '../testing/client/client.ts';
import { createKey, RIG, startHallpass } from '../testing/process/process.ts';
import { numberOption, printFigures } from './bench.ts';
import { runCallers } from './callers.ts';
import { rounded } from '../testing/statistics.ts';

const SCOPE = '/accounts.read';
const SECONDS_MAX = 600;
const tokens = numberOption('tokens', { otherwise: 100_000, min: 1, max: 10_000_000 });
const callers = numberOption('callers', { otherwise: 32, min: 1, max: 1_000 });

interface Size {
  readonly rows: Readonly<Record<string, number>>;
  /** Of the database and its log, right after a checkpoint. */
  readonly bytes: number;
}

await printFigures('store_growth', async (dataDir) => {
  const key = await createKey(dataDir, ['bench', '--scope', SCOPE]);
  const server = await startHallpass(dataDir, RIG);
  const client = new Client(server.url, key, { callers });
  const issue = async (): Promise<void> => {
    const answer = await client.issue(SCOPE);
    if (tokensOf(answer) === undefined) throw new Error(`issuing was answered with ${answer?.status}`);
  };
  try {
    // One row will come, however many tokens are issued: when the key's secret was last used.
    const before = measure(dataDir);
    const { count, seconds } = await runCallers(issue, { callers, count: tokens, secondsMax: SECONDS_MAX });
    client.close();
    // What the server still has to write, it writes before it ends.
    await server.stop();
    const after = measure(dataDir);
    return {
      tokens: count,
      callers,
      seconds: rounded(seconds),
      tokensPerSecond: Math.round(count / seconds),
      rowsBefore: before.rows,
      rowsAfter: after.rows,
      bytesBefore: before.bytes,
      bytesAfter: after.bytes,
      bytesPerToken: rounded((after.bytes - before.bytes) / count),
    };
  } finally {
    client.close();
    await server.kill();
  }
});

function measure(dataDir: string): Size {
  const file = join(dataDir, 'hallpass.db');
  const database = new DatabaseSync(file);
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all();
  const rows = Object.fromEntries(
    tables.map(({ name }) => {
      const counted = database.prepare(`SELECT COUNT(*) AS count FROM "${String(name)}"`).get();
      return [String(name), Number(counted?.['count'])];
    }),
  );
  const bytes = [file, `${file}-wal`].reduce((sum, each) => sum + (existsSync(each) ? statSync(each).size : 0), 0);
  database.close();
  return { rows, bytes };
}

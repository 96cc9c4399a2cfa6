/**
 * How long a move from the embedded store to PostgreSQL takes: the first copy, while servers keep running, and the second,
 * which is the pause of the switch-over, with nothing changed and with one row in a hundred changed since.
 *
 *   node --conditions=hallpass-source bench/move.ts [--families 100000]
 */
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { createKey, RIG, mustRun } from '../testing/process/process.ts';
import { startPostgres } from '../testing/postgres/cluster.ts';
import { numberOption, printFigures } from './bench.ts';

const families = numberOption('families', { otherwise: 100_000, min: 1, max: 10_000_000 });

await printFigures('move', async (folder) => {
  const dataDir = join(folder, 'store');
  await createKey(dataDir, ['bench', '--scope', '/accounts.read']);
  const database = new DatabaseSync(join(dataDir, 'hallpass.db'));
  const later = Math.floor(Date.now() / 1000) + 30 * 86_400;
  const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${families})`;
  database.exec(
    `${numbers} INSERT INTO families (grant_id, client_id, generation, rotated_at, key_id, expires_at)
     SELECT 'grant-' || i, 'bench', 3, ${Date.now()}, 'key', ${later} FROM n`,
  );
  const cluster = await startPostgres();
  try {
    const url = await cluster.createDatabase();
    const copy = async (): Promise<number> => {
      const report: { readonly seconds: number } = JSON.parse(
        await mustRun(dataDir, ['store', 'copy', '--json'], { ...RIG, HALLPASS_COPY_TO: url }),
      );
      return report.seconds;
    };
    const firstSeconds = await copy();
    const unchangedSeconds = await copy();
    database.exec('UPDATE families SET generation = generation + 1 WHERE rowid % 100 = 0');
    const changedSeconds = await copy();
    return { families, firstSeconds, unchangedSeconds, oneInAHundredChangedSeconds: changedSeconds };
  } finally {
    database.close();
    await cluster.stop();
  }
});

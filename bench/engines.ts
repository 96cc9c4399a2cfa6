/**
 * Both engines under the same load: durable revocations and rotations per second with 64 callers, and issuing beside them;
 * PostgreSQL with 1, 2 and 4 instances. `--families` and `--expired` add that many rows to the store first: live families,
 * and revocations, marks and families that nothing can refer to any more, which the servers forget meanwhile.
 *
 *   node --conditions=hallpass-source bench/engines.ts [--count 6000] [--runs 3] [--families 0] [--expired 0] [--instances 4]
 *
 * Servers, database and callers share the machine, so instances beyond its cores cannot show what they would add elsewhere.
 */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client } from '../testing/client/client.ts';
import { createKey, RIG, startHallpass, type Environment } from '../testing/process/process.ts';
import { startPostgres, type PostgresCluster } from '../testing/postgres/cluster.ts';
import { numberOption, printFigures } from './bench.ts';
import { ISSUE_CALLERS, measureIssuing, measureWriting, SCOPE, WRITE_CALLERS } from './measuring.ts';

const DAY_SECONDS = 86_400;
const count = numberOption('count', { otherwise: 6_000, min: 100, max: 1_000_000 });
const runs = numberOption('runs', { otherwise: 3, min: 1, max: 21 });
const families = numberOption('families', { otherwise: 0, min: 0, max: 10_000_000 });
const instancesMax = numberOption('instances', { otherwise: 4, min: 1, max: 4 });
const expired = numberOption('expired', { otherwise: 0, min: 0, max: 100_000_000 });

await printFigures('engines', async (folder) => {
  const onFile = join(folder, 'sqlite');
  const sqlite = await measure(onFile, { settings: {}, instances: 1, fill: async () => fillFile(onFile) });
  const cluster = await startPostgres();
  try {
    const postgres: Record<string, unknown> = {};
    for (const instances of [1, 2, 4].filter((number) => number <= instancesMax)) {
      const url = await cluster.createDatabase();
      const settings = { HALLPASS_DATABASE_URL: url };
      const dataDir = join(folder, `postgres-${instances}`);
      postgres[instances] = await measure(dataDir, { settings, instances, fill: () => fillDatabase(cluster, url) });
      await cluster.query(`DROP DATABASE ${new URL(url).pathname.slice(1)} WITH (FORCE)`);
    }
    return { count, runs, families, expired, callers: WRITE_CALLERS, sqlite, postgresByInstances: postgres };
  } finally {
    await cluster.stop();
  }
});

async function measure(
  dataDir: string,
  {
    settings,
    instances,
    fill,
  }: { readonly settings: Environment; readonly instances: number; readonly fill: () => Promise<void> },
): Promise<object> {
  const environment = { ...RIG, ...settings };
  const key = await createKey(dataDir, ['bench', '--scope', SCOPE], environment);
  await fill();
  const servers = await Promise.all(Array.from({ length: instances }, () => startHallpass(dataDir, environment)));
  const clients = servers.map(({ url }) => new Client(url, key, { callers: Math.max(ISSUE_CALLERS, WRITE_CALLERS) }));
  try {
    const size = { count, runs };
    return { issued: await measureIssuing(clients, size), ...(await measureWriting(clients, size)) };
  } finally {
    for (const client of clients) client.close();
    await Promise.all(servers.map((server) => server.kill()));
  }
}

/**
 * Rows as the verbs would leave them: families that live for another month, and things that ended long ago. `series`: an engine's way to say the numbers from 1, as a table
 * with a column `i`.
 */
function fillings(series: (rows: number) => string): readonly string[] {
  const now = Math.floor(Date.now() / 1000);
  const [later, past] = [now + 30 * DAY_SECONDS, now - DAY_SECONDS];
  const third = Math.floor(expired / 3);
  return [
    `INSERT INTO families (grant_id, client_id, generation, rotated_at, key_id, expires_at)
     SELECT 'live-' || i, 'bench', 3, ${now * 1000}, 'key', ${later} FROM ${series(families)}`,
    `INSERT INTO families (grant_id, client_id, generation, rotated_at, key_id, expires_at)
     SELECT 'past-' || i, 'bench', 3, ${past * 1000}, 'key', ${past} FROM ${series(third)}`,
    `INSERT INTO used_once (space, id, expires_at)
     SELECT 'assertion bench', 'past-' || i, ${past} FROM ${series(third)}`,
    `INSERT INTO revocations (position, kind, subject, before_date, expires_at, keep_until)
     SELECT i, 'token', 'past-' || i, NULL, ${past}, ${past} FROM ${series(expired - 2 * third)}`,
    `UPDATE feed SET last_position = ${expired + 1}`,
  ];
}

async function fillFile(dataDir: string): Promise<void> {
  if (families + expired === 0) return;
  const database = new DatabaseSync(join(dataDir, 'hallpass.db'));
  const series = (rows: number): string =>
    `(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows}) SELECT i FROM n WHERE ${rows} > 0)`;
  for (const text of fillings(series)) database.exec(text);
  database.close();
}

async function fillDatabase(cluster: PostgresCluster, url: string): Promise<void> {
  if (families + expired === 0) return;
  const series = (rows: number): string => `generate_series(1, ${rows}) AS i`;
  for (const text of fillings(series)) await cluster.query(text, { url });
  await cluster.query('VACUUM ANALYZE', { url });
}

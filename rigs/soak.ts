/**
 * The soak: a server on a simulated clock handles a constant rate of new sessions, refreshes and revocations, days of it in
 * minutes. Rows that nothing can refer to any more are forgotten as on a real server, so the row counts level off.
 *
 *   node --conditions=hallpass-source rigs/soak.ts [--engine sqlite|postgres] [--hours 24] [--json] [--planted-defect]
 *
 * Prints the rows of every table for each simulated hour. Exits with 1 if they still grow once the longest lifetime of
 * anything is over. `--planted-defect` forgets nothing, to show that the rig notices.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { numericDate } from '@hallpass/protocol';
import { forgetExpired } from '../packages/server/src/serving/forget_expired.ts';
import { openInstance } from '../packages/server/src/serving/instance.ts';
import { startServer } from '../packages/server/src/serving/server.ts';
import { readSettings } from '../packages/server/src/serving/settings/settings.ts';
import { openStore, openTables } from '../packages/server/src/serving/stores.ts';
import type { ServerClock } from '../packages/server/src/oauth/clock.ts';
import { manageApiKeys } from '../packages/server/src/operator/api_keys.ts';
import { startPostgres } from '../testing/postgres/cluster.ts';
import { Client, tokensOf } from '../testing/client/client.ts';
import { SCOPE } from './parts/load.ts';

/** A step of the simulated clock: five minutes. */
const STEP_MS = 300_000;
const STEPS_PER_HOUR = 12;
/** How long a session lives here, in hours; and the longest that anything is kept: that, and some for what was revoked. */
const SESSION_HOURS = 3;
const WARM_UP_HOURS = SESSION_HOURS + 2;
/** In each step: this many sessions begin, so many living ones refresh, so many things are revoked. */
const BEGIN = 3;
const REFRESH = 6;
const REVOKE = 2;
/** How much more rows there may be at the end than after the warm-up: chance, and nothing else. */
const GROWTH_MAX = 1.15;
const GROWTH_ROWS_MAX = 20;
const HOURS_MIN = 2 * WARM_UP_HOURS;

/** What grows with what operators do, and not with what clients do, is not looked at. */
const TABLES = ['families', 'revocations', 'used_once', 'counters', 'events'] as const;
type Rows = Readonly<Record<(typeof TABLES)[number], number>>;

const { values: options } = parseArgs({
  options: {
    engine: { type: 'string', default: 'sqlite' },
    hours: { type: 'string', default: '24' },
    json: { type: 'boolean', default: false },
    'planted-defect': { type: 'boolean', default: false },
  },
});
const hours = Number(options.hours);
if (!Number.isInteger(hours) || hours < HOURS_MIN || hours > 1_000)
  throw new RangeError(`--hours is ${HOURS_MIN} to 1000`);
if (options.engine !== 'sqlite' && options.engine !== 'postgres')
  throw new RangeError('--engine is sqlite or postgres');

/** Time that passes by being told to. */
class SimulatedClock implements ServerClock {
  #now = Date.UTC(2030, 0, 1);
  readonly now = (): number => this.#now;
  readonly sleep = async (milliseconds: number): Promise<void> => {
    this.#now += milliseconds;
  };
  readonly elapsed = (): number => this.#now;
}

async function soak(engine: Readonly<Record<string, string>>): Promise<readonly Rows[]> {
  const clock = new SimulatedClock();
  const settings = readSettings({
    ...engine,
    HALLPASS_ISSUER: 'http://localhost:8080',
    HALLPASS_DATA_DIR: dataDir,
    HALLPASS_HOST: '127.0.0.1',
    HALLPASS_PORT: '0',
    HALLPASS_OPERATOR_PORT: '0',
    HALLPASS_LOG_LEVEL: 'error',
    HALLPASS_REFRESH_TTL_SECONDS: String(SESSION_HOURS * 3600),
    HALLPASS_REFRESH_MAX_TTL_SECONDS: String(SESSION_HOURS * 3600),
  });
  const system = { clock, random: (count: number) => new Uint8Array(randomBytes(count)) };
  const instance = await openInstance(settings, system, async (from) => {
    const store = await openStore(from);
    return from.databaseUrl === undefined ? store : { ...store, readClock: async () => clock.now() };
  });
  const server = await startServer(instance);
  const tables = await openTables(settings);
  const { client, clientSecret = '' } = await manageApiKeys(instance).create({ name: 'soak', scopes: [SCOPE] });
  const caller = new Client(server.url, { clientId: client.clientId, clientSecret }, { callers: 8 });
  const sessions: string[] = [];
  const perHour: Rows[] = [];
  try {
    for (let step = 1; step <= hours * STEPS_PER_HOUR; step++) {
      await liveAStep(caller, sessions);
      // As an endpoint does for a proof or an assertion, which may be used once.
      const expiresAt = numericDate(clock.now()) + 300;
      await instance.store.useOnce([{ space: 'proof', id: `${step}`, expiresAt }]);
      await clock.sleep(STEP_MS);
      if (!options['planted-defect']) await forgetExpired(instance);
      if (step % STEPS_PER_HOUR !== 0) continue;
      perHour.push(await countRows(tables));
      if (process.stderr.isTTY) process.stderr.write(`\rhour ${perHour.length} of ${hours}`);
    }
    return perHour;
  } finally {
    caller.close();
    await tables.close();
    await server.close();
  }
}

/** `sessions`: the newest refresh token of each that lives, the oldest first. */
async function liveAStep(client: Client, sessions: string[]): Promise<void> {
  const living = SESSION_HOURS * STEPS_PER_HOUR * BEGIN;
  sessions.splice(0, Math.max(0, sessions.length - living));
  for (let count = 0; count < BEGIN; count++) {
    const tokens = tokensOf(await client.issue(SCOPE));
    if (tokens === undefined) throw new Error('issuing failed');
    sessions.push(tokens.refreshToken);
    if (count < REVOKE - 1) await client.revoke(tokens.accessToken);
  }
  for (let count = 0; count < REFRESH; count++) {
    // Somewhere among them, evenly over time.
    const at = (count * 7919 + sessions.length * 31) % sessions.length;
    const tokens = tokensOf(await client.refresh(sessions[at] ?? ''));
    if (tokens !== undefined) sessions[at] = tokens.refreshToken;
  }
  const [ended] = sessions.splice(Math.floor(sessions.length / 2), 1);
  if (ended !== undefined) await client.revoke(ended);
}

async function countRows(tables: Awaited<ReturnType<typeof openTables>>): Promise<Rows> {
  return await tables.snapshot(async (sql) => {
    const counts: [string, number][] = [];
    for (const table of TABLES) {
      const [row] = await sql.all(`SELECT COUNT(*) AS rows_there FROM ${table}`);
      counts.push([table, Number(row?.['rows_there'])]);
    }
    const { families = 0, revocations = 0, used_once = 0, counters = 0, events = 0 } = Object.fromEntries(counts);
    return { families, revocations, used_once, counters, events };
  });
}

function report(perHour: readonly Rows[]): void {
  if (process.stderr.isTTY) process.stderr.write('\n');
  const most = (table: keyof Rows, rows: readonly Rows[]): number => Math.max(...rows.map((row) => row[table]));
  const half = WARM_UP_HOURS + Math.floor((perHour.length - WARM_UP_HOURS) / 2);
  const growing = TABLES.filter((table) => {
    const [before, after] = [most(table, perHour.slice(WARM_UP_HOURS, half)), most(table, perHour.slice(half))];
    return after > before * GROWTH_MAX + GROWTH_ROWS_MAX;
  });
  const summary = {
    engine: options.engine,
    hours,
    growing,
    first: perHour[0],
    warm: perHour[WARM_UP_HOURS],
    last: perHour.at(-1),
  };
  if (options.json) process.stdout.write(`${JSON.stringify({ ...summary, perHour })}\n`);
  else {
    for (const [at, rows] of perHour.entries()) process.stdout.write(`hour ${at + 1}: ${JSON.stringify(rows)}\n`);
    process.stdout.write(growing.length === 0 ? 'flat\n' : `growing: ${growing.join(', ')}\n`);
  }
  if (growing.length > 0) process.exitCode = 1;
}

const dataDir = mkdtempSync(join(tmpdir(), 'hallpass-soak-'));
const cluster = options.engine === 'postgres' ? await startPostgres() : undefined;
try {
  report(await soak(cluster === undefined ? {} : { HALLPASS_DATABASE_URL: await cluster.createDatabase() }));
} finally {
  await cluster?.stop();
  rmSync(dataDir, { recursive: true, force: true });
}

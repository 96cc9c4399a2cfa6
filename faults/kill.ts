/**
 * The kill -9 rig: a server is killed under load, started again on the same data, and everything that it had
 * acknowledged has to hold.
 *
 *   node --conditions=hallpass-source faults/kill.ts [--rounds 50] [--seed N] [--json] [--planted-defect]
 *
 * Ends with exit code 1 when anything was lost. `--planted-defect` makes it lose something, to show that this is seen.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { median } from '../bench/statistics.ts';
import { Acknowledgements, judge, type Loss } from './acknowledgements.ts';
import { chanceOf, type Chance } from './chance.ts';
import { Client } from './client.ts';
import { killUnderLoad, runLoad, SCOPE } from './load.ts';
import { plantDefect } from './planted_defect.ts';
import { createKey, RIG, startHallpass, type Credentials, type HallpassProcess } from '../e2e/hallpass_process.ts';

const CALLERS = 16;
/** How long the load runs before the kill, in milliseconds. */
const LOAD_MS_MIN = 50;
const LOAD_MS_MAX = 250;
/** How many sessions of earlier rounds are judged again in each round: with all of them the rounds would grow. */
const EARLIER_SAMPLE = 10;
const ROUNDS_MAX = 10_000;

interface Rig {
  readonly dataDir: string;
  readonly key: Credentials;
  readonly log: Acknowledgements;
  readonly chance: Chance;
  readonly losses: Loss[];
  readonly readyMs: number[];
}

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(process.pid) },
    json: { type: 'boolean', default: false },
    'planted-defect': { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const seed = Number(options.seed);
if (!Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX)
  throw new RangeError(`--rounds is 1 to ${ROUNDS_MAX}`);
if (!Number.isInteger(seed)) throw new RangeError('--seed is a whole number');

const dataDir = mkdtempSync(join(tmpdir(), 'hallpass-kill-'));
const startedAt = performance.now();
try {
  const key = await createKey(dataDir, ['rig', '--scope', SCOPE]);
  const rig = { dataDir, key, log: new Acknowledgements(), chance: chanceOf(seed), losses: [], readyMs: [] };
  for (let round = 1; round <= rounds; round++) {
    await killOnce(rig);
    if (options['planted-defect']) plantDefect(dataDir, rig.log.latest);
    progress(rig, round);
  }
  await judgeOnce(rig, await start(rig));
  report(rig);
} finally {
  rmSync(dataDir, { recursive: true, force: true });
}

/** One round: judge the one before on the server that starts, load that server, kill it. */
async function killOnce(rig: Rig): Promise<void> {
  const server = await start(rig);
  await judgeLatest(rig, server.url);
  const client = new Client(server.url, rig.key, { callers: CALLERS });
  const load = runLoad(client, rig.log, { callers: CALLERS, chance: rig.chance });
  const faults = await killUnderLoad(server, load, rig.chance.between(LOAD_MS_MIN, LOAD_MS_MAX));
  client.close();
  // No answer of a living server may be one that a client cannot go on with.
  rig.losses.push(...faults.map((because): Loss => ({ lost: 'session', because })));
}

async function judgeOnce(rig: Rig, server: Awaited<ReturnType<typeof start>>): Promise<void> {
  await judgeLatest(rig, server.url);
  await server.stop();
}

async function start({ dataDir: folder, readyMs }: Rig): Promise<HallpassProcess> {
  const server = await startHallpass(folder, RIG);
  readyMs.push(server.readyMs);
  return server;
}

async function judgeLatest({ key, log, chance, losses }: Rig, url: string): Promise<void> {
  const client = new Client(url, key, { callers: CALLERS });
  const sessions = [...log.latest, ...chance.sample(log.earlier, EARLIER_SAMPLE)];
  losses.push(...(await judge(client, log, { sessions, callers: CALLERS })));
  client.close();
  log.endRound();
}

function progress({ log, losses }: Rig, round: number): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(
    `\rround ${round} of ${rounds}: ${log.revocations} revocations, ${log.rotations} rotations, ${losses.length} lost`,
  );
}

function report({ log, losses, readyMs }: Rig): void {
  if (process.stderr.isTTY) process.stderr.write('\n');
  const count = (lost: Loss['lost']): number => losses.filter((loss) => loss.lost === lost).length;
  const summary = {
    rounds,
    seed,
    acknowledgedRevocations: log.revocations,
    acknowledgedRotations: log.rotations,
    acknowledgedGrants: log.issued,
    lost: losses.length,
    lostRevocations: count('revocation'),
    lostRotations: count('rotation'),
    lostSessions: count('session'),
    medianReadyMs: Math.round(median(readyMs)),
    seconds: Math.round((performance.now() - startedAt) / 100) / 10,
  };
  const words = Object.entries(summary).map(([name, value]) => `${name} ${value}`);
  process.stdout.write(`${options.json ? JSON.stringify(summary) : words.join(', ')}\n`);
  for (const { lost, because } of losses.slice(0, 20)) process.stderr.write(`lost: ${lost}, ${because}\n`);
  if (losses.length > 0) process.exitCode = 1;
}

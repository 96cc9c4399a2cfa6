/**
 * The kill -9 rig: a server is killed under load, started again on the same data, and everything that it had
 * acknowledged has to hold.
 *
 *   node --conditions=hallpass-source faults/kill.ts [--rounds 50] [--engine sqlite|postgres] [--seed N] [--json]
 *        [--planted-defect]
 *
 * Ends with exit code 1 when anything was lost. `--planted-defect` makes it lose something, to show that this is seen.
 */
import { median } from '../bench/statistics.ts';
import { Acknowledgements, judge, type Loss } from './acknowledgements.ts';
import { chanceOf, type Chance } from './chance.ts';
import { Client } from './client.ts';
import { openRigStore, type RigStore } from './engine.ts';
import { killUnderLoad, runLoad, SCOPE } from './load.ts';
import { plantDefect } from './planted_defect.ts';
import { endRig, printProgress, rigOptions } from './rig.ts';
import { createKey, startHallpass, type Credentials, type HallpassProcess } from '../e2e/hallpass_process.ts';

const CALLERS = 16;
/** How long the load runs before the kill, in milliseconds. */
const LOAD_MS_MIN = 50;
const LOAD_MS_MAX = 250;
/** How many sessions of earlier rounds are judged again in each round: with all of them the rounds would grow. */
const EARLIER_SAMPLE = 10;
const ROUNDS_MAX = 10_000;

interface Rig {
  readonly store: RigStore;
  readonly key: Credentials;
  readonly log: Acknowledgements;
  readonly chance: Chance;
  readonly losses: Loss[];
  readonly readyMs: number[];
}

const options = rigOptions({ rounds: 50, roundsMax: ROUNDS_MAX });
const engine = options.choose('engine', ['sqlite', 'postgres']);
const { rounds, seed } = options;

const startedAt = performance.now();
const store = await openRigStore(engine);
try {
  const key = await createKey(store.dataDir, ['rig', '--scope', SCOPE], store.environment);
  const rig = { store, key, log: new Acknowledgements(), chance: chanceOf(seed), losses: [], readyMs: [] };
  for (let round = 1; round <= rounds; round++) {
    await killOnce(rig);
    if (options.plantedDefect) await plantDefect(store.tamper, rig.log.latest);
    progress(rig, round);
  }
  await judgeOnce(rig, await start(rig));
  report(rig);
} finally {
  await store.remove();
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

async function start({ store: { dataDir, environment }, readyMs }: Rig): Promise<HallpassProcess> {
  // An hour, longer than a run takes: a token that has expired would look like one that was lost.
  const server = await startHallpass(dataDir, { ...environment, HALLPASS_ACCESS_TTL_SECONDS: '3600' });
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
  printProgress(
    `round ${round} of ${rounds}: ${log.revocations} revocations, ${log.rotations} rotations, ${losses.length} lost`,
  );
}

function report({ log, losses, readyMs }: Rig): void {
  const count = (lost: Loss['lost']): number => losses.filter((loss) => loss.lost === lost).length;
  endRig(
    {
      engine,
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
    },
    { findings: losses.map(({ lost, because }) => `${lost}, ${because}`), json: options.json },
  );
}

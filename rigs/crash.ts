/**
 * The kill -9 rig: kills a server under load, starts it again on the same data, and checks that everything it had
 * acknowledged still holds.
 *
 *   node --conditions=hallpass-source rigs/crash.ts [--rounds 50] [--engine sqlite|postgres] [--seed N] [--json]
 *        [--point random|each|write|sync|answer] [--planted-defect]
 *
 * By default the kill comes at a random moment. `write`, `sync` and `answer` kill at the entry of a system call that writes
 * a page of the log, makes the log durable, or sends a response; which of those calls is random. `each` takes the three in
 * turn. They need the embedded store, and strace.
 *
 * Exits with 1 if anything was lost. `--planted-defect` loses something on purpose, to show that the rig notices.
 */
import { median } from '../testing/statistics.ts';
import { Acknowledgements, judge, type Loss } from './parts/acknowledgements.ts';
import { chanceOf, type Chance } from '../testing/chance.ts';
import { Client } from '../testing/client/client.ts';
import { openRigStore, type RigStore } from './parts/engine.ts';
import { killUnderLoad, runLoad, SCOPE } from './parts/load.ts';
import { plantDefect } from './parts/planted_defect.ts';
import { endRig, printProgress, rigOptions } from './parts/rig.ts';
import { demand, EXIT_NOT_HERE, NotHere, straceWith, SYNC_CALLS } from './parts/strace.ts';
import { createKey, startHallpass, type Credentials, type HallpassProcess } from '../testing/process/process.ts';

const CALLERS = 16;
/** How long the load runs before the kill once it has something to lose, in milliseconds. */
const LOAD_MS_MIN = 50;
const LOAD_MS_MAX = 250;
/** How many sessions of earlier rounds are judged again in each round: with all of them the rounds would grow. */
const EARLIER_SAMPLE = 10;
const ROUNDS_MAX = 10_000;
/** By when a server has to have come to the system call that kills it, in milliseconds; then it is killed all the same. */
const POINT_MS_MAX = 10_000;

/** The system calls of a point, and which of them may be the one, counted by the thread that makes them. */
const POINTS = {
  write: { calls: ['pwrite64'], from: 1, to: 400 },
  sync: { calls: SYNC_CALLS, from: 1, to: 60 },
  answer: { calls: ['write', 'writev', 'sendto', 'sendmsg'], from: 1, to: 600 },
} as const;
type Point = keyof typeof POINTS;
const EACH: readonly Point[] = ['write', 'sync', 'answer'];

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
const point = options.choose('point', ['random', 'each', ...EACH]);
if (point !== 'random' && engine !== 'sqlite')
  throw new RangeError('--point is of the embedded store: --engine sqlite');
const killed = { write: 0, sync: 0, answer: 0, starting: 0 };
if (point !== 'random') checkStrace();

const startedAt = performance.now();
const store = await openRigStore(engine);
try {
  const key = await createKey(store.dataDir, ['rig', '--scope', SCOPE], store.environment);
  const rig = { store, key, log: new Acknowledgements(), chance: chanceOf(seed), losses: [], readyMs: [] };
  for (let round = 1; round <= rounds; round++) {
    if (point === 'random') await killOnce(rig);
    else await killAtPoint(rig, point === 'each' ? (EACH[round % EACH.length] ?? 'sync') : point);
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
  const faults = await killUnderLoad(server, load, {
    log: rig.log,
    afterMs: rig.chance.between(LOAD_MS_MIN, LOAD_MS_MAX),
  });
  client.close();
  // No answer of a living server may be one that a client cannot go on with.
  rig.losses.push(...faults.map((because): Loss => ({ lost: 'session', because })));
}

/** The same, but that the server is killed by what it does, be that its start. */
async function killAtPoint(rig: Rig, at: Point): Promise<void> {
  // Judged by one that nothing happens to: the requests of the judge would be the ones in which the other dies.
  await judgeOnce(rig, await start(rig));
  const { calls, from, to } = POINTS[at];
  const injection = `signal=KILL:when=${Math.round(rig.chance.between(from, to))}`;
  let server: HallpassProcess;
  try {
    server = await startHallpass(rig.store.dataDir, environmentOf(rig), [], straceWith(calls, injection));
  } catch {
    killed.starting += 1;
    return;
  }
  const client = new Client(server.url, rig.key, { callers: CALLERS });
  const load = runLoad(client, rig.log, { callers: CALLERS, chance: rig.chance });
  let inTime = true;
  const timer = setTimeout(() => {
    inTime = false;
    void server.kill();
  }, POINT_MS_MAX);
  const faults = await load;
  clearTimeout(timer);
  if (inTime) killed[at] += 1;
  await server.kill();
  client.close();
  rig.losses.push(...faults.map((because): Loss => ({ lost: 'session', because })));
}

async function judgeOnce(rig: Rig, server: Awaited<ReturnType<typeof start>>): Promise<void> {
  await judgeLatest(rig, server.url);
  await server.stop();
}

async function start(rig: Rig): Promise<HallpassProcess> {
  const server = await startHallpass(rig.store.dataDir, environmentOf(rig));
  rig.readyMs.push(server.readyMs);
  return server;
}

/** An hour, longer than a run takes: a token that has expired would look like one that was lost. */
function environmentOf({ store: { environment } }: Rig): RigStore['environment'] {
  return { ...environment, HALLPASS_ACCESS_TTL_SECONDS: '3600' };
}

function checkStrace(): void {
  try {
    demand('strace');
  } catch (error) {
    if (!(error instanceof NotHere)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(EXIT_NOT_HERE);
  }
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
      ...(point === 'random' ? {} : killed),
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

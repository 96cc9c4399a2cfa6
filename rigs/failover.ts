/**
 * The failover rig: three instances on one PostgreSQL run under load while the database is killed, restarted, replaced by
 * its standby or cut off, or one instance is killed. Clients follow the retry contract. Everything acknowledged must hold,
 * nothing revoked may be active, every session must go on, and the instances must become ready again by themselves.
 *
 *   node --conditions=hallpass-source rigs/failover.ts [--rounds 10] [--seed N] [--json] [--planted-defect]
 *        [--fault each|database-killed|database-restarted|process-killed|failover|network-cut|instance-killed]
 *
 * `--planted-defect`: the standby is asynchronous and behind, or acknowledged data is removed by hand.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { median } from '../testing/statistics.ts';
import {
  createKey,
  makeDataDir,
  RIG,
  startHallpass,
  type Credentials,
  type Environment,
  type HallpassProcess,
} from '../testing/process/process.ts';
import { Acknowledgements, judge } from './parts/acknowledgements.ts';
import { chanceOf } from '../testing/chance.ts';
import { Client, type Answer, type Fields } from '../testing/client/client.ts';
import { FailingDatabase, until } from './parts/failing_database.ts';
import { SCOPE } from './parts/load.ts';
import { Operator } from './parts/operator.ts';
import { runPersistentLoad } from './parts/persistent_load.ts';
import { plantDefect } from './parts/planted_defect.ts';
import { endRig, printProgress, rigOptions } from './parts/rig.ts';

const INSTANCES = 3;
const CALLERS = 8;
/** How long the load runs before the fault, in milliseconds; after it for as long as it takes to be ready, and the least. */
const BEFORE_MS_MIN = 200;
const BEFORE_MS_MAX = 800;
const AFTER_MS = 300;
/** How long the network is cut, in milliseconds: shorter and longer than what an instance waits for an answer. */
const CUT_MS_MIN = 200;
const CUT_MS_MAX = 10_000;
/** Within which time every instance is ready again once its database can be asked, in milliseconds. */
const READY_MS_MAX = 30_000;
/** Within which time everything is answered, in milliseconds (contract §3); and some for a machine that is busy. */
const ANSWER_MS_MAX = 10_000 + 1_500;
/** How many sessions of earlier rounds are judged again in each round. */
const EARLIER_SAMPLE = 10;

/** In this order, so that three rounds have the most different of them. */
const FAULTS = [
  'failover',
  'database-killed',
  'instance-killed',
  'network-cut',
  'database-restarted',
  'process-killed',
] as const;
type Fault = (typeof FAULTS)[number];

const options = rigOptions({ rounds: 10, roundsMax: 10_000 });
const chosen = options.choose('fault', ['each', ...FAULTS]);
const chance = chanceOf(options.seed);
const log = new Acknowledgements();
const findings: string[] = [];
const readyMs: number[] = [];
const roundsOf: Record<Fault, number> = {
  'database-killed': 0,
  'database-restarted': 0,
  'process-killed': 0,
  failover: 0,
  'network-cut': 0,
  'instance-killed': 0,
};
let slowestAnswerMs = 0;
let unanswered = 0;
let histories = 0;

/** A client that knows how long it waited, at the most. */
class TimedClient extends Client {
  override async post(path: string, fields: Fields): Promise<Answer | undefined> {
    const askedAt = performance.now();
    const answer = await super.post(path, fields);
    slowestAnswerMs = Math.max(slowestAnswerMs, performance.now() - askedAt);
    if (answer === undefined || answer.status === 503) unanswered += 1;
    return answer;
  }
}

/** One instance after the other in the same place. */
class Place {
  readonly #dataDir: string;
  readonly #environment: Environment;
  readonly #key: Credentials;
  #server: HallpassProcess;
  client: Client;

  static async open(dataDir: string, environment: Environment, key: Credentials): Promise<Place> {
    return new Place({ dataDir, environment, key, server: await startHallpass(dataDir, environment) });
  }

  private constructor(of: {
    readonly dataDir: string;
    readonly environment: Environment;
    readonly key: Credentials;
    readonly server: HallpassProcess;
  }) {
    this.#dataDir = of.dataDir;
    this.#environment = of.environment;
    this.#key = of.key;
    this.#server = of.server;
    this.client = new TimedClient(of.server.url, of.key, { callers: 4 * CALLERS });
  }

  get url(): string {
    return this.#server.url;
  }

  /** Undefined when it is; otherwise what it answers instead. */
  async whyNotReady(): Promise<string | undefined> {
    try {
      const answer = await fetch(`${this.url}/health/ready`);
      return answer.status === 200 ? undefined : `${answer.status} ${await answer.text()}`;
    } catch (error) {
      return String(error instanceof Error ? (error.cause ?? error) : error);
    }
  }

  async kill(): Promise<void> {
    await this.#server.kill();
    this.client.close();
  }

  async restart(): Promise<void> {
    this.#server = await startHallpass(this.#dataDir, this.#environment);
    this.client = new TimedClient(this.#server.url, this.#key, { callers: 4 * CALLERS });
  }

  async stop(): Promise<void> {
    this.client.close();
    await this.#server.stop();
  }
}

const startedAt = performance.now();
const { dataDir, remove } = makeDataDir();
const database = await FailingDatabase.start();
const places: Place[] = [];
let operator: Operator | undefined;
try {
  const environment: Environment = {
    ...RIG,
    HALLPASS_DATABASE_URL: database.url,
    HALLPASS_LOG_LEVEL: 'silent',
    // Longer than a run takes between two looks at a session: a token that has expired would look like a lost one.
    HALLPASS_ACCESS_TTL_SECONDS: '3600',
  };
  const key = await createKey(dataDir, ['rig', '--scope', SCOPE], environment);
  places.push(...(await Promise.all(Array.from({ length: INSTANCES }, () => Place.open(dataDir, environment, key)))));
  operator = await Operator.open(dataDir, environment);
  for (let round = 1; round <= options.rounds; round++) {
    await runRound(chosen === 'each' ? nextFault(round) : chosen, operator);
    printProgress(`round ${round} of ${options.rounds}: ${log.revocations} revocations, ${findings.length} findings`);
  }
  report(operator);
} finally {
  await operator?.close();
  await Promise.all(places.map((place) => place.stop()));
  await database.remove();
  remove();
}

/** Each as often as the others. */
function nextFault(round: number): Fault {
  return FAULTS[(round - 1) % FAULTS.length] ?? 'failover';
}

async function runRound(fault: Fault, keys: Operator): Promise<void> {
  if (fault === 'failover') {
    await database.follow({ synchronous: !options.plantedDefect });
    await untilReady();
  }
  const over = new AbortController();
  const context = {
    get clients() {
      return places.map(({ client }) => client);
    },
    log,
    chance,
    found: (what: string) => findings.push(`${fault}: ${what}`),
  };
  const [families] = await Promise.all([
    runPersistentLoad(context, { callers: CALLERS, over: over.signal }),
    keys.changeKeys(),
    failUnderLoad(fault).finally(() => over.abort()),
  ]);
  roundsOf[fault] += 1;
  if (options.plantedDefect) await plantDefect((statement) => database.tamper(statement), log.latest);

  for (const family of families) {
    const violation = family.findViolation();
    if (violation !== undefined) findings.push(`${fault}: ${violation}`);
  }
  histories += families.length;
  await judgeRound(fault, keys);
}

/** The fault, and the time until every instance is ready again. */
async function failUnderLoad(fault: Fault): Promise<void> {
  await sleep(chance.between(BEFORE_MS_MIN, BEFORE_MS_MAX));
  await cause(fault);
  const backAt = performance.now();
  await untilReady();
  const took = performance.now() - backAt;
  readyMs.push(took);
  if (took > READY_MS_MAX) findings.push(`${fault}: ready again after ${Math.round(took)} ms`);
  await sleep(AFTER_MS);
}

/** Makes it happen, and resolves when whatever failed is back. */
async function cause(fault: Fault): Promise<void> {
  switch (fault) {
    case 'database-killed':
      return await database.killAndRestart();
    case 'database-restarted':
      return await database.restartImmediately();
    case 'process-killed':
      return await database.killOneProcess();
    case 'failover':
      return await database.failOver();
    case 'network-cut':
      return await database.cutNetwork(chance.between(CUT_MS_MIN, CUT_MS_MAX));
    case 'instance-killed': {
      const victim = places[Math.floor(chance.next() * places.length)];
      await victim?.kill();
      return await victim?.restart();
    }
  }
}

async function untilReady(): Promise<void> {
  const answers: (string | undefined)[] = [];
  const ready = places.map((place, index) =>
    until(async () => (answers[index] = await place.whyNotReady()) === undefined, `instance ${index} is ready`),
  );
  await Promise.all(ready).catch((error: unknown) => {
    throw new Error(`an instance stayed unready: ${JSON.stringify(answers)}`, { cause: error });
  });
}

async function judgeRound(fault: Fault, keys: Operator): Promise<void> {
  const at = Math.floor(chance.next() * places.length);
  for (const [index, { client, url }] of places.entries()) {
    const sessions = log.latest.filter((_, number) => number % places.length === index);
    if (index === at) sessions.push(...chance.sample(log.earlier, EARLIER_SAMPLE));
    const losses = await judge(client, log, { sessions, callers: CALLERS });
    findings.push(...losses.map(({ lost, because }) => `${fault}: lost ${lost}, ${because}`));
    findings.push(...(await keys.judge(url)).map((what) => `${fault}: lost ${what}`));
  }
  log.endRound();
}

function report(keys: Operator): void {
  if (slowestAnswerMs > ANSWER_MS_MAX) findings.push(`an answer took ${Math.round(slowestAnswerMs)} ms`);
  endRig(
    {
      rounds: options.rounds,
      seed: options.seed,
      ...roundsOf,
      instances: INSTANCES,
      acknowledgedGrants: log.issued,
      acknowledgedRotations: log.rotations,
      acknowledgedRevocations: log.revocations,
      acknowledgedKeyChanges: keys.acknowledged,
      histories,
      unansweredRequests: unanswered,
      findings: findings.length,
      lost: findings.filter((finding) => finding.includes(': lost ')).length,
      medianReadyMs: Math.round(median(readyMs)),
      worstReadyMs: Math.round(Math.max(...readyMs)),
      slowestAnswerMs: Math.round(slowestAnswerMs),
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    },
    { findings, json: options.json },
  );
}

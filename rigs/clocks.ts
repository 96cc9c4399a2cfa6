/**
 * The clock rig: the instances on one store have clocks that differ by up to five seconds, or whose time is stepped
 * forward and back by hours. Nothing acknowledged may be undone, nothing revoked may be active, and no step may end a family
 * or hang a request.
 *
 *   node --conditions=hallpass-source rigs/clocks.ts [--rounds 10] [--engine sqlite|postgres] [--seed N] [--json]
 *        [--fault each|skew|step|step-one|start] [--planted-defect]
 *
 * `skew`: the clocks differ, nothing else. `step`: all clocks step at once, there and back. `step-one`: the clock of one
 * instance steps. `start`: an extra instance runs for a minute with a clock that is 31 days ahead. As on a server, expired
 * rows are forgotten every minute, whatever the clock says, and every revocation must be in the feed that each instance sends.
 * `--planted-defect`: the clocks differ by a minute, which the contract does not allow, and the judge does not know it. It
 * needs the embedded store: on a database, each instance is held to the database's clock.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { numericDate, parseAccessToken } from '@hallpass/protocol';
import type { Credentials, Environment } from '../testing/process/process.ts';
import { forgetExpired } from '../packages/server/src/serving/forget_expired.ts';
import { openInstance, type Instance } from '../packages/server/src/serving/instance.ts';
import { startServer, type Server } from '../packages/server/src/serving/server.ts';
import { readSettings } from '../packages/server/src/serving/settings/settings.ts';
import { systemRandom } from '../packages/server/src/serving/system.ts';
import type { ServerClock } from '../packages/server/src/oauth/clock.ts';
import { manageApiKeys } from '../packages/server/src/operator/api_keys.ts';
import { chanceOf } from '../testing/chance.ts';
import { Client, tokensOf } from '../testing/client/client.ts';
import { openRigStore } from './parts/engine.ts';
import { Family, WrongAnswer } from './parts/family.ts';
import { SCOPE } from './parts/load.ts';
import { endRig, printProgress, rigOptions } from './parts/rig.ts';

const INSTANCES = 3;
/** How far clocks may be apart (contract, Many instances), in milliseconds; and how far the planted defect puts them. */
const SKEW_MS = 5_000;
const DEFECT_MS = 60_000;
const HOUR_MS = 3_600_000;
const STEP_HOURS_MAX = 6;
/** Within which time everything is answered, in milliseconds (contract §3). */
const ANSWER_MS_MAX = 10_000;
/** Within which time a key that was enabled again gets tokens, on clocks apart, and how soon it asks again; milliseconds. */
const FRESH_MS_MAX = 3 * SKEW_MS;
const RETRY_MS = 250;
/** How long the token before the predecessor is refused without ending its family, in milliseconds (contract §3). */
const MERCY_MS = 10_000;
const FAMILIES = 4;
const REFRESHES = 6;

/** How far ahead a clock is at the start of an instance, and for how long that one forgets, in milliseconds. */
const START_AHEAD_MS = 31 * 24 * HOUR_MS;
const START_RUNS_MS = 60_000;

const options = rigOptions({ rounds: 10, roundsMax: 10_000 });
const engine = options.choose('engine', ['sqlite', 'postgres']);
const fault = options.choose('fault', ['each', 'skew', 'step', 'step-one', 'start']);
const chance = chanceOf(options.seed);
const findings: string[] = [];
let checks = 0;

/** The real time, and a step from it. */
class SteppedClock implements ServerClock {
  stepMs = 0;
  /** Time that is said to have passed and has not. */
  passedMs = 0;
  readonly now = (): number => Math.round(Date.now() + this.stepMs + this.passedMs);
  readonly sleep = async (milliseconds: number): Promise<void> => {
    // A process that waits for hours must not keep the rig.
    await sleep(milliseconds, undefined, { ref: false });
  };
  readonly elapsed = (): number => performance.now() + this.passedMs;
}

interface Place {
  readonly clock: SteppedClock;
  readonly instance: Instance;
  readonly server: Server;
  readonly url: string;
}

async function openPlace(dataDir: string, environment: Environment, stepMs = 0): Promise<Place> {
  const settings = readSettings({
    HALLPASS_DATA_DIR: dataDir,
    HALLPASS_HOST: '127.0.0.1',
    HALLPASS_PORT: '0',
    HALLPASS_OPERATOR_PORT: '0',
    HALLPASS_LOG_LEVEL: 'silent',
    ...environment,
    // A token that has expired by a step says nothing of what was revoked.
    HALLPASS_ACCESS_TTL_SECONDS: '3600',
  });
  const clock = new SteppedClock();
  clock.stepMs = stepMs;
  const instance = await openInstance(settings, { clock, random: systemRandom });
  const server = await startServer(instance);
  return { clock, instance, server, url: server.url };
}

type Kind = 'skew' | 'step' | 'step-one' | 'start';

/** What a round has made, and what has to hold of it at the end. */
interface Made {
  readonly key: Credentials;
  readonly living: readonly Family[];
  readonly ended: readonly Family[];
  readonly revokedAccess: readonly string[];
}

async function runRound(kind: Kind, places: readonly Place[]): Promise<void> {
  const found = (what: string): void => {
    findings.push(`${kind}: ${what}`);
  };
  // On the embedded store all processes are on one machine, and have its clock; nothing else holds them together.
  const apart = options.plantedDefect ? DEFECT_MS : engine === 'sqlite' ? 0 : SKEW_MS;
  for (const { clock } of places) clock.stepMs = chance.between(-apart / 2, apart / 2);
  const before = places.map(({ clock }) => clock.stepMs);
  const [operator] = places;
  if (operator === undefined) throw new Error('there are instances');
  const key = await makeKey(operator);
  const clients = places.map(({ url }) => new Client(url, key, { callers: 16 }));
  try {
    const made = await use(clients, key);
    await judge(made, { clients, found, when: 'before the step' });
    if (kind === 'start') {
      await runAhead();
      await judge(made, { clients, found, when: 'after an instance ran that was 31 days ahead' });
      await judgeFeeds(made, { places, found, when: 'after an instance ran that was 31 days ahead' });
    } else if (kind !== 'skew') {
      const hours = chance.between(1, STEP_HOURS_MAX) * (chance.next() < 0.5 ? 1 : -1);
      for (const { clock } of kind === 'step' ? places : places.slice(-1)) clock.stepMs += hours * HOUR_MS;
      const step = `${Math.round(hours * 10) / 10} hours`;
      for (const { instance } of places) await forgetExpired(instance);
      await judge(made, { clients, found, when: `after a step of ${step}` });
      await judgeFeeds(made, { places, found, when: `after a step of ${step}` });
      // What one that is hours ahead dates is beyond what the contract allows, and beyond what the others can end.
      if (kind === 'step') await endEverything(places, { found, when: `after a step of ${step}` });
      for (const [at, { clock }] of places.entries()) clock.stepMs = before[at] ?? 0;
      for (const { instance } of places) await forgetExpired(instance);
      await judge(made, { clients, found, when: `after a step of ${step} and back` });
      await judgeFeeds(made, { places, found, when: `after a step of ${step} and back` });
    }
    await endEverything(places, { found, when: kind === 'skew' ? 'on clocks apart' : 'after a step and back' });
  } finally {
    for (const client of clients) client.close();
  }
}

async function makeKey({ instance }: Place): Promise<Credentials> {
  const { client, clientSecret = '' } = await manageApiKeys(instance).create({ name: 'rig', scopes: [SCOPE] });
  return { clientId: client.clientId, clientSecret };
}

/** The key of an API whose guards read the feed. */
async function makeReader([place]: readonly Place[]): Promise<Credentials> {
  if (place === undefined) throw new Error('there are instances');
  const made = { name: 'guard', scopes: [], resourceServerFor: [place.instance.settings.issuer ?? place.url] };
  const { client, clientSecret = '' } = await manageApiKeys(place.instance).create(made);
  return { clientId: client.clientId, clientSecret };
}

/** Families with a history over all instances: some end, and of some an access token is revoked. */
async function use(clients: readonly Client[], key: Credentials): Promise<Made> {
  const [living, ended]: [Family[], Family[]] = [[], []];
  const revokedAccess: string[] = [];
  await Promise.all(
    Array.from({ length: FAMILIES }, async (_, number) => {
      const tokens = tokensOf(await any(clients).issue(SCOPE));
      if (tokens === undefined) throw new Error('a grant was refused');
      const family = new Family(tokens.accessToken, tokens.refreshToken);
      for (let count = 0; count < REFRESHES; count++) {
        const { newest } = family;
        await Promise.all(clients.map((client) => family.refresh(client, newest)));
      }
      if (number % 2 === 0) {
        await family.revoke(any(clients));
        ended.push(family);
        return;
      }
      revokedAccess.push(family.accessToken);
      if ((await any(clients).revoke(family.accessToken))?.status !== 200) throw new Error('a revocation was refused');
      await family.refresh(any(clients), family.newest);
      living.push(family);
    }),
  );
  return { key, living, ended, revokedAccess };
}

interface Judging {
  readonly clients: readonly Client[];
  readonly found: (what: string) => void;
  readonly when: string;
}

async function judge(made: Made, { clients, found, when }: Judging): Promise<void> {
  for (const client of clients) {
    for (const token of made.revokedAccess) {
      checks += 1;
      if ((await client.isActive(token)) !== false) found(`${when} a revoked access token is active`);
    }
    for (const family of made.ended) {
      checks += 1;
      if ((await client.isActive(family.accessToken)) !== false) found(`${when} a token of an ended family is active`);
      const { ended } = await family.refresh(client, family.newest);
      if (ended !== 'refused') found(`${when} an ended family was answered with ${ended}`);
    }
    for (const family of made.living) {
      checks += 1;
      // The predecessor first: a lost answer that is asked for again.
      for (const token of [family.predecessor, family.newest]) {
        const next = await family.refresh(client, token);
        if (next.ended !== 'tokens') found(`${when} a living family was ${next.ended}`);
        else if ((await client.isActive(next.accessToken)) !== true)
          found(`${when} a fresh access token is not active`);
      }
    }
  }
  for (const family of [...made.living, ...made.ended]) {
    const violation = family.findViolation({ mercyMs: MERCY_MS, skewMs: SKEW_MS });
    if (violation !== undefined) found(`${when} ${violation}`);
  }
}

/** An instance that is started with a wrong clock, does what is due each minute, and is stopped. */
async function runAhead(): Promise<void> {
  const place = await openPlace(store.dataDir, store.environment, START_AHEAD_MS);
  try {
    for (let passed = 0; passed < START_RUNS_MS; passed += START_RUNS_MS / 2) {
      place.clock.passedMs += START_RUNS_MS / 2;
      await forgetExpired(place.instance);
    }
  } finally {
    await place.server.close();
  }
}

/** What was revoked in this round is in the feed that each instance sends to a guard that begins. */
async function judgeFeeds(
  { ended, revokedAccess }: Made,
  { places, found, when }: Omit<Judging, 'clients'> & { readonly places: readonly Place[] },
): Promise<void> {
  const claims = [...revokedAccess, ...ended.map(({ accessToken }) => accessToken)].map((token) =>
    parseAccessToken(token)?.claims(),
  );
  for (const { url } of places) {
    const sent = await readFeed(url);
    for (const each of claims) {
      checks += 1;
      if (!sent.has(each?.jti ?? '') && !sent.has(each?.grant_id ?? ''))
        found(`${when} a revocation is left out of the feed`);
    }
  }
}

async function readFeed(url: string): Promise<ReadonlySet<string>> {
  const { clientId, clientSecret } = reader;
  const headers = { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}` };
  const ids = new Set<string>();
  for (let after = '', more = true; more;) {
    const answer = await fetch(`${url}/oauth2/revocations?after=${after}`, { headers });
    const page: Page = await answer.json();
    for (const { id } of page.entries) ids.add(id);
    ({ cursor: after, more } = page);
  }
  return ids;
}

interface Page {
  readonly entries: readonly { readonly id: string }[];
  readonly cursor: string;
  readonly more: boolean;
}

/** A key is disabled and enabled again: what it had before is dead everywhere, for guards too; what it gets then is good. */
async function endEverything(places: readonly Place[], { found, when }: Omit<Judging, 'clients'>): Promise<void> {
  const operator = places[Math.floor(chance.next() * places.length)];
  if (operator === undefined) throw new Error('there are instances');
  const key = await makeKey(operator);
  const clients = places.map(({ url }) => new Client(url, key, { callers: 4 }));
  const keys = manageApiKeys(operator.instance);
  try {
    const tokens = (await Promise.all(clients.map((client) => client.issue(SCOPE)))).map(tokensOf);
    // On a database all go on by its clock; on the embedded store there is none but the machine's, which was set.
    await keys.disable(key.clientId, engine === 'sqlite' ? 'machine' : 'store');
    const { entries } = await operator.instance.store.readRevocations({ limit: 10_000, now: 0 });
    const dead = entries.findLast(({ kind, id }) => kind === 'client' && id === key.clientId)?.before ?? 0;
    await keys.enable(key.clientId);
    for (const issued of tokens) {
      checks += 1;
      const iat = parseAccessToken(issued?.accessToken ?? '')?.claims()?.iat ?? Infinity;
      if (iat >= dead)
        found(`${when} a guard takes a token of a disabled key: its iat is ${iat - dead} s past the end`);
      const active = await Promise.all(clients.map((client) => client.isActive(issued?.accessToken ?? '')));
      if (active.includes(true)) found(`${when} a token from before its key was disabled is active`);
      const answer = await clients[0]?.refresh(issued?.refreshToken ?? '');
      if (answer?.status === 200) found(`${when} a session from before its key was disabled goes on`);
    }
    for (const client of clients) await judgeFresh(client, { found, when });
  } finally {
    for (const client of clients) client.close();
  }
}

/** Each answer comes in time, and after those that say so the same again (README, the retry contract) there are tokens. */
async function judgeFresh(client: Client, { found, when }: Omit<Judging, 'clients'>): Promise<void> {
  checks += 1;
  for (const end = performance.now() + FRESH_MS_MAX; ;) {
    const over = AbortSignal.timeout(ANSWER_MS_MAX);
    const answer = await Promise.race([client.issue(SCOPE), once(over, 'abort').then(() => 'none' as const)]);
    if (answer === 'none') return found(`${when} a token request of a key that was enabled again gets no answer`);
    const tokens = tokensOf(answer);
    if (tokens !== undefined) {
      if ((await client.isActive(tokens.accessToken)) !== true) found(`${when} a token is dead on arrival`);
      return;
    }
    if (answer?.status !== 503 || performance.now() > end) {
      return found(`${when} a key that was enabled again gets ${answer?.status}`);
    }
    await sleep(RETRY_MS);
  }
}

function any(clients: readonly Client[]): Client {
  const client = clients[Math.floor(chance.next() * clients.length)];
  if (client === undefined) throw new Error('there are clients');
  return client;
}

const startedAt = performance.now();
const store = await openRigStore(engine);
const places: Place[] = [];
let reader: Credentials = { clientId: '', clientSecret: '' };
try {
  for (let count = 0; count < INSTANCES; count++) places.push(await openPlace(store.dataDir, store.environment));
  reader = await makeReader(places);
  for (let round = 1; round <= options.rounds; round++) {
    const kinds = fault === 'each' ? (['skew', 'step', 'step-one', 'start'] as const) : ([fault] as const);
    for (const kind of kinds) {
      await runRound(kind, places).catch((error: unknown) => {
        if (!(error instanceof WrongAnswer)) throw error;
        findings.push(`${kind}: ${error.message}`);
      });
    }
    printProgress(`round ${round} of ${options.rounds}: ${findings.length} findings`);
  }
  const kindsOf = new Set(findings.map((finding) => finding.replaceAll(/-?\d+(?:\.\d+)?/g, 'N')));
  endRig(
    {
      engine,
      rounds: options.rounds,
      seed: options.seed,
      at: numericDate(Date.now()),
      checks,
      findings: findings.length,
      kindsOfFindings: kindsOf.size,
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    },
    { findings, json: options.json },
  );
} finally {
  const closed = Promise.all(places.map(({ server }) => server.close()));
  // A request that hangs would keep its server.
  await Promise.race([closed, sleep(ANSWER_MS_MAX, undefined, { ref: false })]);
  await store.remove();
}
process.exit();

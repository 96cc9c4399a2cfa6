/**
 * The rig of stalled commits: an operator ends tokens with a commit that takes seconds, while keys keep asking for more.
 * A connected guard must refuse every token issued before the operator's acknowledgement (contract §10), and tokens issued
 * afterwards must work.
 *
 *   node --conditions=hallpass-source rigs/stalled_commits.ts [--rounds 10] [--engine sqlite|postgres]
 *        [--stall lock|sync] [--seed N] [--json] [--planted-defect]
 *
 * `lock`: another process holds the store's write lock; on PostgreSQL the commit itself waits. `sync`: every fsync of the
 * command is slow (strace, embedded store only). `--planted-defect`: the operator assumes that commits take no time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { compilePolicy } from '@hallpass/guard';
import { openApi } from '../testing/server/guarded_api.ts';
import {
  createKey,
  outputOf,
  runToEnd,
  spawnHallpass,
  startHallpass,
  type Credentials,
  type Environment,
} from '../testing/process/process.ts';
import { openInstance, type Instance } from '../packages/server/src/serving/instance.ts';
import { readSettings } from '../packages/server/src/serving/settings/settings.ts';
import { systemClock, systemRandom } from '../packages/server/src/serving/system.ts';
import { manageApiKeys } from '../packages/server/src/operator/api_keys.ts';
import { removeIssuerKey } from '../packages/server/src/operator/issuer_keys.ts';
import { Client, tokensOf } from '../testing/client/client.ts';
import { openRigStore, type RigStore } from './parts/engine.ts';
import { endRig, printProgress, rigOptions } from './parts/rig.ts';
import { NotHere, EXIT_NOT_HERE, straceWith, SYNC_CALLS } from './parts/strace.ts';
import { freePort } from '../testing/process/free_port.ts';

/** How long a commit is held up, in milliseconds: two whole seconds, since tokens are dated to the second. */
const STALL_MS = 2_100;
/** How many ask for tokens at once, and how long each rests between two, in milliseconds. */
const CALLERS = 4;
const REST_MS = 20;
/** Within which time a guard has heard of a revocation (contract §8), in milliseconds, with room for a busy machine. */
const HEARD_MS = 2_000;
const POLL_MS = 50;
/** Within which time a key that goes on gets good tokens again, in milliseconds. */
const FRESH_MS_MAX = 30_000;
const SCOPE = '/accounts.read';

const options = rigOptions({ rounds: 10, roundsMax: 1_000 });
const engine = options.choose('engine', ['sqlite', 'postgres']);
const stall = options.choose('stall', ['lock', 'sync']);
const findings: string[] = [];
let checks = 0;
let stalledMs = 0;

/** What an operator can do that ends tokens; `goesOn`: the key gets new ones afterwards. */
interface Ending {
  readonly name: string;
  readonly goesOn: boolean;
  readonly words: (key: Credentials, instance: Instance) => readonly string[];
  readonly run: (key: Credentials, instance: Instance) => Promise<unknown>;
}

const ENDINGS: readonly Ending[] = [
  {
    name: 'disable',
    goesOn: false,
    words: ({ clientId }) => ['keys', 'disable', clientId],
    run: ({ clientId }, instance) => manageApiKeys(instance).disable(clientId),
  },
  {
    name: 'signing-keys remove',
    goesOn: true,
    words: (_key, { keys }) => ['signing-keys', 'remove', keys.signing.keyId, '--yes'],
    run: (_key, instance) => removeIssuerKey(instance, 'sign', instance.keys.signing.keyId),
  },
  {
    name: 'delete',
    goesOn: false,
    words: ({ clientId }) => ['keys', 'delete', clientId, '--yes'],
    run: ({ clientId }, instance) => manageApiKeys(instance).delete(clientId),
  },
  {
    name: 'revoke-tokens',
    goesOn: true,
    words: ({ clientId }) => ['keys', 'revoke-tokens', clientId],
    run: ({ clientId }, instance) => manageApiKeys(instance).revokeTokens(clientId),
  },
];

/** Asks for tokens until it is told to stop; keeps each with the moment at which it was here. */
class Asking {
  readonly tokens: { readonly token: string; readonly at: number }[] = [];
  readonly #client: Client;
  readonly #callers: readonly Promise<void>[];
  #stopped = false;

  constructor(client: Client) {
    this.#client = client;
    this.#callers = Array.from({ length: CALLERS }, () => this.#ask());
  }

  async #ask(): Promise<void> {
    while (!this.#stopped) {
      const tokens = tokensOf(await this.#client.issue(SCOPE));
      if (tokens !== undefined) this.tokens.push({ token: tokens.accessToken, at: performance.now() });
      await sleep(REST_MS);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#callers);
  }
}

async function rig(): Promise<void> {
  const store = await openRigStore(engine);
  const api = await openApi();
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const environment: Environment = {
    ...store.environment,
    HALLPASS_ISSUER: issuer,
    HALLPASS_PORT: String(port),
    HALLPASS_AUDIENCE: api.origin,
  };
  const server = await startHallpass(store.dataDir, environment);
  const settings = readSettings({ ...environment, HALLPASS_DATA_DIR: store.dataDir });
  const instance = await openInstance(settings, { clock: systemClock, random: systemRandom });
  try {
    const credentials = await createKey(store.dataDir, ['API', '--resource-server', api.origin], environment);
    const policy = compilePolicy({ 'GET /accounts': SCOPE });
    await api.guardBy(policy, { issuer, audience: api.origin, credentials }).ready();
    for (let round = 1; round <= options.rounds; round++) {
      const ending = ENDINGS[(round - 1) % ENDINGS.length];
      if (ending === undefined) throw new Error('there is something to be done');
      await runRound(ending, { instance, store, environment, url: server.url, api: api.origin });
      printProgress(`round ${round} of ${options.rounds}: ${checks} tokens, ${findings.length} findings`);
    }
  } finally {
    api.close();
    await instance.store.close();
    await server.stop();
    await store.remove();
  }
}

interface World {
  readonly instance: Instance;
  readonly store: RigStore;
  readonly environment: Environment;
  readonly url: string;
  /** Where the guarded API is. */
  readonly api: string;
}

async function runRound(ending: Ending, world: World): Promise<void> {
  const { instance, url, api } = world;
  await instance.keys.reload();
  const { client, clientSecret = '' } = await manageApiKeys(instance).create({ name: 'rig', scopes: [SCOPE] });
  const key = { clientId: client.clientId, clientSecret };
  const caller = new Client(url, key, { callers: CALLERS });
  try {
    const asking = new Asking(caller);
    while (asking.tokens.length < CALLERS) await sleep(REST_MS);
    const begunAt = performance.now();
    await endSlowly(ending, key, world);
    const acknowledgedAt = performance.now();
    stalledMs = Math.max(stalledMs, acknowledgedAt - begunAt);
    await asking.stop();
    await untilHeard(asking.tokens[0]?.token ?? '', api);
    for (const { token, at } of asking.tokens.filter((one) => one.at < acknowledgedAt)) {
      checks += 1;
      if ((await call(api, token)) === 401) continue;
      const late = Math.round(acknowledgedAt - at);
      findings.push(`${ending.name}: a guard takes a token that was issued ${late} ms before the acknowledgement`);
    }
    if (ending.goesOn) await judgeFresh(ending, caller, api);
  } finally {
    caller.close();
  }
}

async function endSlowly(ending: Ending, key: Credentials, world: World): Promise<void> {
  const { instance, store, environment } = world;
  if (stall === 'sync') {
    const slow = straceWith(SYNC_CALLS, `delay_enter=${STALL_MS * 1000}`);
    const words = ending.words(key, instance);
    const child = spawnHallpass(words, { HALLPASS_DATA_DIR: store.dataDir, ...environment }, slow);
    outputOf(words, await runToEnd(child));
    return;
  }
  const operator = options.plantedDefect ? { ...instance, time: withoutCommits(instance) } : instance;
  const release = await holdCommits(store);
  try {
    await ending.run(key, operator);
  } finally {
    await release();
  }
}

/** As if every commit were acknowledged in the moment in which it was begun. */
function withoutCommits({ time }: Instance): Instance['time'] {
  return new Proxy(time, {
    get: (target, name) => {
      if (name === 'elapsed') return () => 0;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** From now on the next commit takes its time; gives the way to let the others go. */
async function holdCommits({ dataDir, tamper }: RigStore): Promise<() => Promise<void>> {
  if (engine === 'postgres') {
    // In the commit itself: whatever is decided before it has been decided by then.
    await tamper(
      `CREATE OR REPLACE FUNCTION stall() RETURNS trigger AS 'BEGIN PERFORM pg_sleep(${STALL_MS / 1000}); RETURN NULL; END' LANGUAGE plpgsql`,
    );
    await tamper(
      'CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON revocations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stall()',
    );
    return () => tamper('DROP TRIGGER stall ON revocations');
  }
  const database = new DatabaseSync(join(dataDir, 'hallpass.db'), { timeout: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  const release = async (): Promise<void> => {
    await sleep(STALL_MS);
    database.exec('ROLLBACK');
    database.close();
  };
  const released = release();
  return () => released;
}

/** Resolves when the guard has heard of the end of this token, or has had the time to. */
async function untilHeard(token: string, api: string): Promise<void> {
  const end = performance.now() + HEARD_MS;
  while ((await call(api, token)) !== 401 && performance.now() < end) await sleep(POLL_MS);
}

async function call(api: string, token: string): Promise<number> {
  return (await fetch(`${api}/accounts`, { headers: { authorization: `Bearer ${token}` } })).status;
}

/** A key that goes on has good tokens again, in time. */
async function judgeFresh({ name }: Ending, caller: Client, api: string): Promise<void> {
  checks += 1;
  for (const end = performance.now() + FRESH_MS_MAX; performance.now() < end; await sleep(250)) {
    const tokens = tokensOf(await caller.issue(SCOPE));
    if (tokens === undefined) continue;
    if ((await call(api, tokens.accessToken)) === 200) return;
  }
  findings.push(`${name}: the key gets no good token within ${FRESH_MS_MAX} ms`);
}

const startedAt = performance.now();
try {
  await rig();
  endRig(
    {
      engine,
      stall,
      rounds: options.rounds,
      seed: options.seed,
      tokens: checks,
      findings: findings.length,
      longestMs: Math.round(stalledMs),
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    },
    { findings, json: options.json },
  );
} catch (error) {
  if (!(error instanceof NotHere)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = EXIT_NOT_HERE;
}

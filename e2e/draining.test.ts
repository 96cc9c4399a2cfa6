/** A graceful stop: /health/ready answers 503, requests are still served, and only then the listener closes (ADR 38). */
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Balancer } from '../testing/proxies/balancer.ts';
import {
  createKey,
  makeDataDir,
  RIG,
  startHallpass,
  type Credentials,
  type Environment,
  type HallpassProcess,
} from '../testing/process/process.ts';

const DRAIN_SECONDS = 2;
const DRAINING: Environment = { ...RIG, HALLPASS_DRAIN_SECONDS: String(DRAIN_SECONDS) };
const PROBE_INTERVAL_MS = 50;
const CALLERS = 4;

/** A token, on connections that are kept: the answer's status, or the code of what came instead. */
function issue(url: string, { clientId, clientSecret }: Credentials, agent: Agent): Promise<number | string> {
  const body = 'grant_type=client_credentials&scope=/accounts.write';
  const headers = {
    authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': body.length,
  };
  return new Promise((resolve) => {
    const asked = request(`${url}/oauth2/token`, { method: 'POST', agent, headers }, (answer) => {
      answer.once('end', () => resolve(answer.statusCode ?? 0)).resume();
    });
    asked.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message)).end(body);
  });
}

/** On a connection of its own, as a probe does. */
function readiness(url: string): Promise<number | string> {
  return new Promise((resolve) => {
    const asked = request(`${url}/health/ready`, { agent: new Agent() }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message)).end();
  });
}

/** Sends to the instances that say that they are ready, as soon as it knows. */
class ProbingBalancer {
  readonly #balancer: Balancer;
  readonly #over = new AbortController();
  readonly #probing: Promise<void>;
  instances: readonly HallpassProcess[];
  /** What the probes were answered. */
  readonly seen = new Set<number | string>();

  static async start(t: TestContext, instances: readonly HallpassProcess[]): Promise<ProbingBalancer> {
    const balancer = new ProbingBalancer(await Balancer.start(), instances);
    t.after(() => balancer.stop());
    return balancer;
  }

  private constructor(balancer: Balancer, instances: readonly HallpassProcess[]) {
    this.#balancer = balancer;
    this.instances = instances;
    balancer.leadTo(instances.map(({ url }) => url));
    this.#probing = this.#probe();
  }

  get url(): string {
    return this.#balancer.url;
  }

  async #probe(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const { instances } = this;
      const answers = await Promise.all(instances.map(({ url }) => readiness(url)));
      for (const answer of answers) this.seen.add(answer);
      this.#balancer.leadTo(instances.flatMap(({ url }, at) => (answers[at] === 200 ? [url] : [])));
      await sleep(PROBE_INTERVAL_MS);
    }
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#probing;
    this.#balancer.close();
  }
}

test('a rolling restart of two instances under load loses no request, with or without workers', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const key = await createKey(dataDir, ['partner', '--scope', '/accounts.write'], DRAINING);
  const words = [['--workers', '2'], []] as const;
  const start = (at: 0 | 1): Promise<HallpassProcess> => startHallpass(dataDir, DRAINING, words[at]);
  const instances: [HallpassProcess, HallpassProcess] = [await start(0), await start(1)];
  t.after(() => Promise.all(instances.map((instance) => instance.stop())));
  const balancer = await ProbingBalancer.start(t, instances);

  const answers = new Map<number | string, number>();
  const over = new AbortController();
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const callers = Array.from({ length: CALLERS }, async () => {
    while (!over.signal.aborted) {
      const answer = await issue(balancer.url, key, agent);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  });
  for (const at of [0, 1] as const) {
    const began = performance.now();
    const { operatorUrl } = instances[at];
    const stopped = instances[at].stop();
    while (!balancer.seen.has(503)) await sleep(PROBE_INTERVAL_MS);
    assert.equal(await readiness(operatorUrl), 503, 'the operators’ side says so too');
    assert.equal(await stopped, 0);
    assert.ok(performance.now() - began >= DRAIN_SECONDS * 1_000, 'it has drained');
    instances[at] = await start(at);
    balancer.instances = [...instances];
    balancer.seen.clear();
    while (!balancer.seen.has(200)) await sleep(PROBE_INTERVAL_MS);
  }
  over.abort();
  await Promise.all(callers);
  assert.deepEqual([...answers.keys()], [200], JSON.stringify([...answers]));
  assert.ok((answers.get(200) ?? 0) > 50);
});

test('while draining, every response asks the client to leave; without draining, a server stops at once', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const slow = await startHallpass(dataDir, { ...RIG, HALLPASS_DRAIN_SECONDS: '30' });
  t.after(() => slow.kill());
  assert.equal((await fetch(`${slow.url}/health/live`)).headers.get('connection'), 'keep-alive');
  const stopping = slow.stop();
  while ((await readiness(slow.url)) !== 503) await sleep(PROBE_INTERVAL_MS);
  const live = await fetch(`${slow.url}/health/live`);
  assert.deepEqual([live.status, live.headers.get('connection')], [200, 'close']);
  await slow.kill();
  await stopping;

  const quick = await startHallpass(dataDir, { ...RIG, HALLPASS_DRAIN_SECONDS: '0' });
  const began = performance.now();
  assert.equal(await quick.stop(), 0);
  assert.ok(performance.now() - began < 5_000, 'less than a server in production drains by itself');
});

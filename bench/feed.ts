/**
 * From the response to a revocation to the refusal by the last guard: `npm run bench:feed`. 20 guards in 4 threads follow 3
 * instances on one PostgreSQL behind one address, while tokens are issued. Also measures how long a revocation takes that
 * waits for all guards, the first revocation after an instance was killed, and how long a guard that is cut off keeps
 * allowing requests. Everything runs on this machine, by its one monotonic clock.
 */
import { randomBytes } from 'node:crypto';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hallpass } from '@hallpass/client';
import { createGuard } from '@hallpass/guard';
import { Balancer } from '../testing/proxies/balancer.ts';
import { Forwarder } from '../testing/proxies/forwarder.ts';
import { createKey, RIG, startHallpass } from '../testing/process/process.ts';
import { startPostgres } from '../testing/postgres/cluster.ts';
import { numberOption, printFigures } from './bench.ts';
import type { GuardsOptions } from './feed_guards.ts';
import { THREADS, Watch } from './feed_watch.ts';
import { percentile, rounded } from '../testing/statistics.ts';

const API = 'https://api.example.com';
const SCOPE = '/accounts.read';
/** Who revoke at once. */
const CALLERS = 2;
const ISSUERS = 4;
const ISSUE_PAUSE_MS = 20;
const WAITS = 100;
const WAIT_SECONDS = 10;
const AFTER_KILL = 100;
const CUT_OFF_BOUND_SECONDS = 10;
const revocations = numberOption('revocations', { otherwise: 1_000, min: 10, max: 100_000 });
const guards = numberOption('guards', { otherwise: 20, min: THREADS, max: 200 });
const instancesCount = numberOption('instances', { otherwise: 3, min: 2, max: 8 });

type AccessTokens = Hallpass['accessToken'];

await printFigures('feed', async (dataDir) => {
  const [cluster, balancer] = await Promise.all([startPostgres(), Balancer.start()]);
  const environment = {
    ...RIG,
    HALLPASS_ISSUER: balancer.url,
    HALLPASS_DATABASE_URL: await cluster.createDatabase(),
    HALLPASS_MASTER_KEY: randomBytes(32).toString('base64url'),
  };
  const instances = await Promise.all(
    Array.from({ length: instancesCount }, () => startHallpass(dataDir, environment)),
  );
  balancer.leadTo(instances.map(({ url }) => url));
  const partner = await createKey(dataDir, ['Partner', '--scope', SCOPE, '--audience', API], environment);
  const credentials = await createKey(dataDir, ['API', '--resource-server', API], environment);
  const options = { issuer: balancer.url, audience: API, credentials };
  const watch = await Watch.start({ guards: guards / THREADS, options, scope: SCOPE });
  const clients = instances.map(({ url }) => new Hallpass({ serverURL: url }).accessToken);
  const clientFor = (at: number, among = clients): AccessTokens => {
    const client = among[at % among.length];
    assert.ok(client !== undefined);
    return client;
  };
  const issue = async (client: AccessTokens): Promise<string> => {
    const { accessTokenResponse } = await client.create({ ...partner, grantType: 'client_credentials', scope: SCOPE });
    return accessTokenResponse?.accessToken ?? '';
  };
  const measureOne = async (client: AccessTokens): Promise<number> => {
    const token = await issue(client);
    const refusal = await watch.begin(token);
    await client.revoke({ ...partner, token });
    const answeredAt = process.hrtime.bigint();
    // One that refused before the answer was out refused at once.
    return Math.max(0, Number((await refusal()) - answeredAt) / 1e6);
  };
  const measure = async (count: number, among = clients): Promise<readonly number[]> => {
    const latencies: number[] = [];
    let next = 0;
    const caller = async (): Promise<void> => {
      while (next < count) latencies.push(await measureOne(clientFor(next++, among)));
    };
    await Promise.all(Array.from({ length: CALLERS }, caller));
    return latencies;
  };
  const measureWaits = async (): Promise<readonly number[]> => {
    const waits: number[] = [];
    for (let at = 0; at < WAITS; at++) {
      const token = await issue(clientFor(at));
      const startedAt = performance.now();
      const { guards: said } = await clientFor(at).revoke({ ...partner, token, waitSeconds: WAIT_SECONDS });
      waits.push(performance.now() - startedAt);
      assert.ok(said?.confirmed === guards && said.connected === guards, JSON.stringify(said));
    }
    return waits;
  };
  try {
    await measure(20);
    const load = new AbortController();
    let issued = 0;
    const startedAt = performance.now();
    const issuing = Array.from({ length: ISSUERS }, async (_, at) => {
      for (; !load.signal.aborted; issued++) {
        await issue(clientFor(at));
        await sleep(ISSUE_PAUSE_MS);
      }
    });
    const latencies = await measure(revocations);
    load.abort();
    await Promise.all(issuing);
    const seconds = (performance.now() - startedAt) / 1000;
    const waits = await measureWaits();
    const cutOffSeconds = await timeUntilClosed(balancer, options, () => issue(clientFor(0)));
    await instances[0]?.kill();
    const afterKill = await measure(AFTER_KILL, clients.slice(1));
    return {
      guards,
      instances: instancesCount,
      revocations: latencies.length,
      issuedPerSecondBeside: Math.round(issued / seconds),
      ...figuresOf(latencies),
      waitForAll: { revocations: waits.length, ...figuresOf(waits) },
      afterKill: { revocations: afterKill.length, ...figuresOf(afterKill) },
      cutOff: { boundSeconds: CUT_OFF_BOUND_SECONDS, closedAfterSeconds: rounded(cutOffSeconds) },
    };
  } finally {
    await watch.close();
    balancer.close();
    await Promise.all(instances.map((instance) => instance.kill()));
    await cluster.stop();
  }
});

function figuresOf(latencies: readonly number[]): Readonly<Record<string, number>> {
  const [p50Ms = 0, p99Ms = 0, worstMs = 0] = [50, 99, 100].map((percent) => rounded(percentile(latencies, percent)));
  return { p50Ms, p99Ms, worstMs };
}

/** How long a guard goes on to let in what it may, from the moment at which nothing reaches it any more, in seconds. */
async function timeUntilClosed(
  balancer: Balancer,
  options: GuardsOptions['options'],
  issue: () => Promise<string>,
): Promise<number> {
  const forwarder = await Forwarder.start(balancer.port);
  const through = new URL(forwarder.through(balancer.url)).origin;
  const guard = createGuard({
    ...options,
    maxStalenessSeconds: CUT_OFF_BOUND_SECONDS,
    fetch: (input, init) => {
      const url = input instanceof Request ? input.url : input.toString();
      return fetch(url.replace(balancer.url, through), init);
    },
  });
  try {
    await guard.ready();
    const request = { method: 'GET', url: '/accounts', headers: { authorization: `Bearer ${await issue()}` } };
    assert.ok((await guard.check(request, SCOPE)).allowed);
    forwarder.silence();
    const cutAt = performance.now();
    while ((await guard.check(request, SCOPE)).allowed) await sleep(5);
    return (performance.now() - cutAt) / 1000;
  } finally {
    guard.close();
    forwarder.close();
  }
}

/** Guards on several instances and one database, behind one address: revocations reach all of them, whatever happens. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hallpass, type RevokeAccessTokenResponse } from '@hallpass/client';
import { createGuard, type Decision, type Guard, type GuardOptions } from '@hallpass/guard';
import { Balancer } from '../testing/proxies/balancer.ts';
import { Forwarder } from '../testing/proxies/forwarder.ts';
import { startPostgres, type PostgresCluster } from '../testing/postgres/cluster.ts';
import {
  createKey,
  makeDataDir,
  RIG,
  startHallpass,
  type Credentials,
  type Environment,
  type HallpassProcess,
} from '../testing/process/process.ts';

const API = 'https://api.example.com';
const SCOPE = '/accounts.read';
/** For what comes by itself, on a machine that is busy. */
const PATIENCE_MS = 60_000;
const GUARDS = 3;

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await holds())) {
    assert.ok(performance.now() < end, `${what}: not within ${PATIENCE_MS} ms`);
    await sleep(20);
  }
}

describe('three guards on two instances and one database', () => {
  const { dataDir, remove } = makeDataDir();
  let cluster: PostgresCluster;
  let balancer: Balancer;
  let environment: Environment;
  let instances: readonly HallpassProcess[];
  let partner: Credentials;
  let credentials: Credentials;
  let guards: readonly Guard[];

  before(async () => {
    [cluster, balancer] = await Promise.all([startPostgres(), Balancer.start()]);
    environment = {
      ...RIG,
      HALLPASS_ISSUER: balancer.url,
      HALLPASS_DATABASE_URL: await cluster.createDatabase(),
      HALLPASS_DATABASE_CONNECTIONS: '5',
      HALLPASS_MASTER_KEY: randomBytes(32).toString('base64url'),
    };
    instances = await Promise.all([1, 2].map(() => startHallpass(dataDir, environment)));
    balancer.leadTo(instances.map(({ url }) => url));
    partner = await createKey(dataDir, ['Partner', '--scope', SCOPE, '--audience', API], environment);
    credentials = await createKey(dataDir, ['API', '--resource-server', API], environment);
    guards = Array.from({ length: GUARDS }, () => guardBy({}));
    await Promise.all(guards.map((guard) => guard.ready()));
  });
  after(async () => {
    for (const guard of guards) guard.close();
    balancer.close();
    await Promise.all(instances.map((instance) => instance.stop()));
    await cluster.stop();
    remove();
  });

  function guardBy(options: Partial<GuardOptions>): Guard {
    return createGuard({ issuer: balancer.url, audience: API, credentials, ...options });
  }

  function clientAt(instance: HallpassProcess | undefined): Hallpass['accessToken'] {
    return new Hallpass({ serverURL: instance?.url ?? '' }).accessToken;
  }

  async function issue(instance = instances[0]): Promise<string> {
    const wanted = { ...partner, grantType: 'client_credentials', scope: SCOPE } as const;
    const { accessTokenResponse } = await clientAt(instance).create(wanted);
    return accessTokenResponse?.accessToken ?? '';
  }

  function check(guard: Guard, token: string): Promise<Decision> {
    return guard.check({ method: 'GET', url: '/accounts', headers: { authorization: `Bearer ${token}` } }, SCOPE);
  }

  async function statuses(token: string, among: readonly Guard[] = guards): Promise<readonly number[]> {
    const decisions = await Promise.all(among.map((guard) => check(guard, token)));
    return decisions.map((decision) => (decision.allowed ? 200 : decision.status));
  }

  /** Revokes, and again, since that is safe, until all that are connected have confirmed. */
  async function revokeEverywhere(token: string, instance: HallpassProcess | undefined): Promise<void> {
    let said: RevokeAccessTokenResponse['guards'];
    await until('all guards confirm', async () => {
      ({ guards: said } = await clientAt(instance).revoke({ ...partner, token, waitSeconds: 10 }));
      return said !== undefined && said.confirmed === said.connected;
    });
    assert.ok((said?.connected ?? 0) >= GUARDS, JSON.stringify(said));
  }

  test('a token revoked with a wait is refused by every guard when the response arrives, whichever instance sent it', async () => {
    for (const instance of instances) {
      const token = await issue(instance);
      assert.deepEqual(await statuses(token), [200, 200, 200]);
      await revokeEverywhere(token, instance);
      // Not a moment later: this is what the wait was for.
      assert.deepEqual(await statuses(token), [401, 401, 401]);
    }
  });

  test('without a wait, every guard refuses it within the bound', async () => {
    const token = await issue();
    assert.deepEqual(await statuses(token), [200, 200, 200]);
    await clientAt(instances[1]).revoke({ ...partner, token });
    await until('all refuse', async () => (await statuses(token)).every((status) => status === 401));
  });

  test('a guard that is cut off is counted and does not confirm; it closes within its bound, and recovers', async (t) => {
    const forwarder = await Forwarder.start(balancer.port);
    t.after(() => forwarder.close());
    const through = new URL(forwarder.through(balancer.url)).origin;
    // It goes its own way to the same issuer.
    const lonely = guardBy({
      maxStalenessSeconds: 3,
      fetch: (input, init) => {
        const url = input instanceof Request ? input.url : input.toString();
        return fetch(url.replace(balancer.url, through), init);
      },
    });
    t.after(() => lonely.close());
    await lonely.ready();
    const token = await issue();
    assert.deepEqual(await statuses(token, [lonely]), [200]);
    await revokeEverywhere(await issue(), instances[0]);
    forwarder.silence();
    const { guards: said } = await clientAt(instances[0]).revoke({ ...partner, token, waitSeconds: 2 });
    assert.ok(said !== undefined && said.confirmed < said.connected, JSON.stringify(said));
    await until('it refuses everything', async () => (await statuses(token, [lonely]))[0] === 503);
    forwarder.heal();
    await until('it is back', async () => (await statuses(token, [lonely]))[0] === 401);
    assert.deepEqual(await statuses(await issue(), [lonely]), [200]);
  });

  test('a guard that gets no event stream polls pages, and is counted', async (t) => {
    const paged = guardBy({
      fetch: (input, init) =>
        new Headers(init?.headers).get('accept') === 'text/event-stream'
          ? Promise.resolve(new Response('<html>', { headers: { 'content-type': 'text/html' } }))
          : fetch(input, init),
    });
    t.after(() => paged.close());
    await paged.ready();
    assert.equal(paged.health().transport, 'poll');
    const token = await issue();
    assert.deepEqual(await statuses(token, [paged]), [200]);
    await revokeEverywhere(token, instances[1]);
    assert.deepEqual(await statuses(token, [paged]), [401]);
  });

  test('a killed instance loses no revocation: its guards continue on the other one', async () => {
    const [victim, other] = instances;
    const token = await issue(victim);
    assert.deepEqual(await statuses(token), [200, 200, 200]);
    await clientAt(victim).revoke({ ...partner, token });
    await victim?.kill();
    await until('all refuse', async () => (await statuses(token)).every((status) => status === 401));
    await until('all are connected', () => guards.every((guard) => guard.health().connected));
    const next = await issue(other);
    assert.deepEqual(await statuses(next), [200, 200, 200]);
    await revokeEverywhere(next, other);
    assert.deepEqual(await statuses(next), [401, 401, 401]);
  });
});

test('a revocation at one worker counts the guards of another, on the embedded store', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const balancer = await Balancer.start();
  t.after(() => balancer.close());
  const environment = { ...RIG, HALLPASS_ISSUER: balancer.url };
  const partner = await createKey(dataDir, ['Partner', '--scope', SCOPE, '--audience', API]);
  const credentials = await createKey(dataDir, ['API', '--resource-server', API]);
  const server = await startHallpass(dataDir, environment, ['--workers', '2']);
  t.after(() => server.stop());
  balancer.leadTo([server.url]);
  // Connections go to workers in turn, so two guards and a client cannot all be at one.
  const guards = [1, 2].map(() => createGuard({ issuer: balancer.url, audience: API, credentials }));
  t.after(() => guards.forEach((guard) => guard.close()));
  await Promise.all(guards.map((guard) => guard.ready()));
  const { accessToken } = new Hallpass({ serverURL: server.url });
  for (let round = 0; round < 4; round++) {
    await until('both guards confirm', async () => {
      const { guards: said } = await accessToken.revoke({ ...partner, token: 'nonsense', waitSeconds: 10 });
      return said?.confirmed === guards.length && said.connected === guards.length;
    });
  }
});

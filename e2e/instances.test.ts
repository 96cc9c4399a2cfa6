/** Several instances on one PostgreSQL behave as one server (contract, Many instances). */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, suite, test } from 'node:test';
import { decodeProtectedHeader, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { startPostgres, type PostgresCluster } from '../testing/postgres/cluster.ts';
import {
  createKey,
  makeDataDir,
  RIG,
  mustRun,
  startHallpass,
  type Credentials,
  type Environment,
  type HallpassProcess,
} from '../testing/process/process.ts';

type Body = Readonly<Record<string, unknown>>;

let cluster: PostgresCluster;
let dataDir: string;
let remove: () => void;
let environment: Environment;
let instances: readonly HallpassProcess[] = [];

/** Whichever instance is next, as a balancer would have it. */
let turn = 0;
function next(): HallpassProcess {
  turn += 1;
  const instance = instances[turn % instances.length];
  assert.ok(instance !== undefined);
  return instance;
}

async function post(
  at: HallpassProcess,
  path: string,
  { clientId, clientSecret }: Credentials,
  form: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Body> {
  const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
  const answer = await fetch(at.url + path, {
    method: 'POST',
    headers: { authorization, ...headers },
    body: new URLSearchParams(form),
  });
  const body: Body = await answer.json();
  return { status: answer.status, ...body };
}

const issue = (key: Credentials, at = next(), headers = {}): Promise<Body> =>
  post(at, '/oauth2/token', key, { grant_type: 'client_credentials', scope: '/accounts.write' }, headers);
const refresh = (key: Credentials, token: unknown, at = next()): Promise<Body> =>
  post(at, '/oauth2/token', key, { grant_type: 'refresh_token', refresh_token: String(token) });
const revoke = (key: Credentials, token: unknown, at = next()): Promise<Body> =>
  post(at, '/oauth2/revoke', key, { token: String(token) });

/** What every instance says of a token. */
async function activeAt(key: Credentials, token: unknown): Promise<readonly unknown[]> {
  const answers = instances.map((at) => post(at, '/oauth2/introspect', key, { token: String(token) }));
  return (await Promise.all(answers)).map(({ active }) => active);
}

const EVERYWHERE = [true, true, true];
const NOWHERE = [false, false, false];

const makeKey = (...words: readonly string[]): Promise<Credentials> =>
  createKey(dataDir, ['partner', '--scope', '/accounts.write', ...words], environment);
const command = (...words: readonly string[]): Promise<string> => mustRun(dataDir, words, environment);

suite('three instances on one database', () => {
  before(async () => {
    cluster = await startPostgres();
    ({ dataDir, remove } = makeDataDir());
    environment = {
      ...RIG,
      HALLPASS_DATABASE_URL: await cluster.createDatabase(),
      HALLPASS_DATABASE_CONNECTIONS: '5',
      HALLPASS_MASTER_KEY: randomBytes(32).toString('base64url'),
    };
    // All at once, on a database in which there is nothing yet: the first of them makes it, the others wait.
    instances = await Promise.all([1, 2, 3].map(() => startHallpass(dataDir, environment)));
  });
  after(async () => {
    await Promise.all(instances.map((instance) => instance.stop()));
    remove();
    await cluster.stop();
  });

  test('a token from one instance works at the others; revoked at one, it is dead at all when the response arrives', async () => {
    const key = await makeKey();
    for (const at of instances) {
      const { access_token: token } = await issue(key, at);
      assert.deepEqual(await activeAt(key, token), EVERYWHERE);
      assert.equal((await revoke(key, token))['status'], 200);
      assert.deepEqual(await activeAt(key, token), NOWHERE);
    }
  });

  test('all publish the same keys, and a token signed by one verifies with the keys of another (rule JK-07)', async () => {
    const key = await makeKey();
    const sets = await Promise.all(instances.map(async ({ url }) => await (await fetch(`${url}/oauth2/jwks`)).text()));
    assert.equal(new Set(sets).size, 1);
    const tokens = await Promise.all(instances.map((at) => issue(key, at)));
    const kids = tokens.map(({ access_token: token }) => decodeProtectedHeader(String(token)).kid ?? '?');
    assert.ok(kids.every((kid) => sets[0]?.includes(kid)));
  });

  test('one refresh token sent to all instances at once gets one successor, byte for byte, twenty times in a row (contract §3)', async () => {
    const key = await makeKey();
    let { refresh_token: token } = await issue(key);
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(Array.from({ length: 12 }, () => refresh(key, token)));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
      const successors = new Set(answers.map((answer) => answer['refresh_token']));
      assert.equal(successors.size, 1);
      [token] = successors;
    }
  });

  test('a refresh token replayed at another instance ends the family at all of them (RFC 9700 §4.14.2)', async () => {
    const key = await makeKey();
    const first = await issue(key, instances[0]);
    const second = await refresh(key, first['refresh_token'], instances[1]);
    const third = await refresh(key, second['refresh_token'], instances[2]);
    const fourth = await refresh(key, third['refresh_token'], instances[0]);
    assert.equal((await refresh(key, first['refresh_token'], instances[1]))['error'], 'invalid_grant');
    assert.deepEqual(await activeAt(key, fourth['access_token']), NOWHERE);
    assert.equal((await refresh(key, fourth['refresh_token'], instances[2]))['error'], 'invalid_grant');
  });

  test('a disabled key and its tokens are dead at all instances once the command returns (contract §4)', async () => {
    const [key, reader] = [await makeKey(), await makeKey('--resource-server', RIG['HALLPASS_ISSUER'] ?? '')];
    const { access_token: token, refresh_token: refreshToken } = await issue(key);
    for (const at of instances) await issue(key, at);
    await command('keys', 'disable', key.clientId);
    assert.deepEqual(await activeAt(reader, token), NOWHERE);
    for (const at of instances) {
      assert.equal((await issue(key, at))['error'], 'invalid_client');
      assert.equal((await refresh(key, refreshToken, at))['error'], 'invalid_client');
    }
    await command('keys', 'enable', key.clientId);
    // Until no clock that is ahead can have dated a token of before the disabling so.
    const again = await issue(key);
    assert.equal(again['status'], 200);
    assert.deepEqual(await activeAt(reader, again['access_token']), EVERYWHERE);
    assert.deepEqual(await activeAt(reader, token), NOWHERE);
  });

  test('a proof sent to all instances at once is accepted once (RFC 9449 §11.1)', async () => {
    const key = await makeKey();
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const jwk = await exportJWK(publicKey);
    const proof = await new SignJWT({
      jti: randomUUID(),
      htm: 'POST',
      htu: `${RIG['HALLPASS_ISSUER'] ?? ''}/oauth2/token`,
    })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
      .setIssuedAt()
      .sign(privateKey);
    const answers = await Promise.all(Array.from({ length: 30 }, () => issue(key, next(), { dpop: proof })));
    assert.equal(answers.filter(({ status }) => status === 200).length, 1);
    const errors = new Set(answers.filter(({ status }) => status !== 200).map(({ error }) => error));
    assert.deepEqual(errors, new Set(['invalid_dpop_proof']));
  });

  test('a rate limit is shared by all instances', async () => {
    const key = await makeKey('--requests-per-second', '20');
    const began = Math.floor(Date.now() / 1000);
    const answers = await Promise.all(Array.from({ length: 120 }, () => issue(key)));
    const seconds = Math.floor(Date.now() / 1000) - began + 1;
    const good = answers.filter(({ status }) => status === 200).length;
    // A share is two here, and two instances may each have kept one.
    assert.ok(good >= 16 && good <= 20 * seconds, `${good} in ${seconds} seconds`);
  });

  test('a reader of the feed can switch instances with its cursor, and misses nothing and sees nothing twice', async () => {
    const key = await makeKey();
    const reader = await makeKey('--resource-server', RIG['HALLPASS_ISSUER'] ?? '');
    const basic = `Basic ${Buffer.from(`${reader.clientId}:${reader.clientSecret}`).toString('base64')}`;
    const read = async (from: string): Promise<{ entries: readonly { id: string }[]; cursor: string }> => {
      const answer = await fetch(`${next().url}/oauth2/revocations?after=${from}`, {
        headers: { authorization: basic },
      });
      return await answer.json();
    };
    let { cursor } = await read('');
    const expected = new Set<string>();
    const seen: string[] = [];
    const drain = async (): Promise<void> => {
      const page = await read(cursor);
      seen.push(...page.entries.map(({ id }) => id));
      cursor = page.cursor;
    };
    const revoking = Array.from({ length: 6 }, async () => {
      for (let count = 0; count < 25; count++) {
        const { access_token: token } = await issue(key);
        const [, claims = ''] = String(token).split('.');
        const { jti }: { readonly jti: string } = JSON.parse(Buffer.from(claims, 'base64url').toString());
        await revoke(key, token);
        expected.add(jti);
      }
    });
    const over = new AbortController();
    const done = Promise.all(revoking).finally(() => over.abort());
    const reading = (async (): Promise<void> => {
      do await drain();
      while (!over.signal.aborted);
      await drain();
    })();
    await done;
    await reading;
    assert.equal(seen.length, new Set(seen).size);
    assert.deepEqual(new Set(seen.filter((id) => expected.has(id))), expected);
  });

  test('a removed signing key is gone from all instances within a second', async () => {
    const key = await makeKey();
    const { access_token: token } = await issue(key);
    const { kid = '' } = decodeProtectedHeader(String(token));
    await command('signing-keys', 'remove', kid, '--yes');
    const end = performance.now() + 5_000;
    for (const { url } of instances) {
      for (;;) {
        const published = await (await fetch(`${url}/oauth2/jwks`)).text();
        if (!published.includes(kid)) break;
        assert.ok(performance.now() < end, 'it is still published');
      }
    }
    assert.deepEqual(await activeAt(key, token), NOWHERE);
    const fresh = await Promise.all(instances.map((at) => issue(key, at)));
    for (const { access_token: other } of fresh) assert.deepEqual(await activeAt(key, other), EVERYWHERE);
  });

  test('a killed instance loses nothing', async () => {
    const key = await makeKey();
    const [victim, ...others] = instances;
    assert.ok(victim !== undefined);
    const tokens = await issue(key, victim);
    const rotated = await refresh(key, tokens['refresh_token'], victim);
    await revoke(key, tokens['access_token'], victim);
    await victim.kill();
    for (const at of others) {
      const { active } = await post(at, '/oauth2/introspect', key, { token: String(tokens['access_token']) });
      assert.equal(active, false);
    }
    assert.equal((await refresh(key, rotated['refresh_token'], others[0]))['status'], 200);
    instances = [await startHallpass(dataDir, environment), ...others];
    assert.equal((await issue(key, instances[0]))['status'], 200);
  });
});

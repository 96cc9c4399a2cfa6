/** The other credentials that a guard accepts, with a real Hallpass: opaque tokens, and API keys over Basic. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { compilePolicy } from '@hallpass/guard';
import { openApi, type GuardedApi } from '../testing/server/guarded_api.ts';
import {
  createKey,
  makeDataDir,
  mustRun,
  startHallpass,
  type Credentials,
  type HallpassProcess,
} from '../testing/process/process.ts';

/** How long a change at the server may take to be the guard's as well, in milliseconds; where all is idle, a second. */
const HEARD_MS_MAX = 30_000;

const { dataDir, remove } = makeDataDir();
let api: GuardedApi;
let hallpass: HallpassProcess;
let opaque: Credentials;
let partner: Credentials;
let stranger: Credentials;

before(async () => {
  api = await openApi();
  const forApi = ['--scope', '/accounts.read', '--audience', api.origin];
  opaque = await createKey(dataDir, ['Opaque', ...forApi, '--opaque']);
  partner = await createKey(dataDir, ['Partner', ...forApi]);
  stranger = await createKey(dataDir, ['Stranger', '--scope', '/accounts.read']);
  const credentials = await createKey(dataDir, ['Accounts API', '--resource-server', api.origin]);
  hallpass = await startHallpass(dataDir);
  const policy = compilePolicy({ 'GET /accounts': '/accounts.read', 'POST /accounts': '/accounts.write' });
  const options = { issuer: hallpass.issuer, audience: api.origin, credentials };
  await api.guardBy(policy, { ...options, opaqueTokenSeconds: 1, apiKeySeconds: 10 }).ready();
});
after(async () => {
  api.close();
  await hallpass.stop();
  remove();
});

function basic({ clientId, clientSecret }: Credentials): string {
  return `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
}

async function call(authorization: string, method = 'GET', path = '/accounts'): Promise<Response> {
  return await fetch(api.origin + path, { method, headers: { authorization } });
}

async function post(path: string, key: Credentials, form: Readonly<Record<string, string>>): Promise<Response> {
  const headers = { authorization: basic(key) };
  return await fetch(hallpass.url + path, { method: 'POST', headers, body: new URLSearchParams(form) });
}

async function refusedInTime(authorization: string): Promise<void> {
  const end = performance.now() + HEARD_MS_MAX;
  for (;;) {
    const { status } = await call(authorization);
    if (status === 401) return;
    assert.equal(status, 200);
    assert.ok(performance.now() < end, 'it is refused in time');
  }
}

describe('a guard that accepts opaque tokens and API keys', () => {
  test('an opaque token opens its scopes until it or its grant is revoked', async () => {
    for (const revoked of ['access_token', 'refresh_token'] as const) {
      const form = { grant_type: 'client_credentials', scope: '/accounts.read', resource: api.origin };
      const answer = await post('/oauth2/token', opaque, form);
      const tokens: Readonly<Record<string, string>> = await answer.json();
      const authorization = `Bearer ${tokens['access_token']}`;
      assert.match(authorization, /^Bearer hpat_/);
      const allowed = await call(authorization);
      assert.equal(allowed.status, 200, await allowed.clone().text());
      assert.equal(await allowed.text(), opaque.clientId);
      assert.equal((await call(authorization, 'POST')).status, 403);
      assert.equal((await post('/oauth2/revoke', opaque, { token: tokens[revoked] ?? '' })).status, 200);
      await refusedInTime(authorization);
    }
    assert.equal((await call('Bearer hpat_AAAA')).status, 401);
  });

  test('an API key opens its scopes, for its own audience, until it is disabled', async () => {
    const authorization = basic(partner);
    const allowed = await call(authorization);
    assert.equal(allowed.status, 200, await allowed.clone().text());
    assert.equal(await allowed.text(), partner.clientId);
    const lacking = await call(authorization, 'POST');
    assert.equal(lacking.status, 403);
    assert.match(await lacking.text(), /"scope":"\/accounts\.write"/);
    assert.equal((await call(authorization, 'GET', '/nowhere')).status, 403);
    const wrong = await call(basic({ ...partner, clientSecret: 'x' }));
    assert.equal(wrong.status, 401);
    assert.match(wrong.headers.get('www-authenticate') ?? '', /^Basic realm="/);
    assert.equal((await call(basic({ ...partner, clientSecret: 'x' }), 'GET', '/nowhere')).status, 401);
    const elsewhere = await call(basic(stranger));
    assert.match(await elsewhere.text(), /invalid_target/, 'a key of another API');
    await mustRun(dataDir, ['keys', 'disable', partner.clientId]);
    await refusedInTime(authorization);
  });
});

describe('a guard whose callers guess secrets (contract §10)', () => {
  const limits = { HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '10', HALLPASS_KEY_REQUESTS_PER_SECOND: '40' };

  test('neither locks partners out nor loses its feed: a correct key works, and a guard started meanwhile becomes ready', async (t) => {
    const folder = makeDataDir();
    const [guarded, late] = [await openApi(), await openApi()];
    const forApi = ['--scope', '/accounts.read', '--audience', guarded.origin];
    const keys = [
      await createKey(folder.dataDir, ['Partner', ...forApi]),
      await createKey(folder.dataDir, ['Another', ...forApi]),
    ];
    const holder = await createKey(folder.dataDir, ['Opaque', ...forApi, '--opaque']);
    const credentials = await createKey(folder.dataDir, ['Accounts API', '--resource-server', guarded.origin]);
    const server = await startHallpass(folder.dataDir, limits);
    t.after(async () => {
      guarded.close();
      late.close();
      await server.stop();
      folder.remove();
    });
    const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
    const options = { issuer: server.issuer, audience: guarded.origin, credentials };
    await guarded.guardBy(policy, { ...options, opaqueTokenSeconds: 1, apiKeySeconds: 10 }).ready();

    const askAt = (origin: string, authorization: string, path = '/accounts'): Promise<Response> =>
      fetch(origin + path, { headers: { authorization } });
    const statuses = async (asked: readonly Promise<Response>[]): Promise<readonly number[]> =>
      (await Promise.all(asked)).map(({ status }) => status);
    const guesses = (path: string): readonly Promise<Response>[] =>
      Array.from({ length: 60 }, (_, at) =>
        askAt(guarded.origin, basic({ clientId: `nobody-${at}`, clientSecret: 'a-guess' }), path),
      );
    const guessed = await statuses([...guesses('/accounts'), ...guesses('/nowhere')]);
    assert.equal(guessed.filter((status) => status === 401).length, 10);
    assert.equal(guessed.filter((status) => status === 429).length, 110);
    const form = { grant_type: 'client_credentials', scope: '/accounts.read', resource: guarded.origin };
    const answer = await fetch(`${server.url}/oauth2/token`, {
      method: 'POST',
      headers: { authorization: basic(holder) },
      body: new URLSearchParams(form),
    });
    const { access_token: token = '' }: Readonly<Record<string, string>> = await answer.json();
    // More than the budget of the guard's key, each to be asked about.
    const strangers = await statuses(Array.from({ length: 60 }, (_, at) => askAt(guarded.origin, `Bearer hpat_${at}`)));
    assert.ok(!strangers.includes(200));

    assert.equal((await askAt(guarded.origin, `Bearer ${token}`)).status, 200, 'a right token');
    for (const key of keys) assert.equal((await askAt(guarded.origin, basic(key))).status, 200, 'a right key');
    await late.guardBy(policy, { ...options, opaqueTokenSeconds: 1 }).ready();
    assert.equal((await askAt(late.origin, `Bearer ${token}`)).status, 200, 'at a guard that has just started');
    const direct = await fetch(`${server.url}/ping`, {
      headers: { authorization: basic({ ...partner, clientSecret: 'x' }) },
    });
    assert.equal(direct.status, 401, "the guard's own address was charged with nothing");
  });
});

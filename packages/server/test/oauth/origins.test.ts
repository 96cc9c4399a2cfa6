import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreUnavailable } from '../../src/store/store.ts';
import { startHallpass, type Answer, type Key } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const AWAY = await startHallpass({
  folder: hallpass.folder,
  faulty: (store) => ({ ...store, findClient: () => Promise.reject(new StoreUnavailable('away for this test')) }),
});
const APP = 'https://app.example.com';
const LOCAL = 'http://localhost:3000';
const key = await hallpass.makeKey({ origins: [APP, LOCAL] });
const strict = await hallpass.makeKey({ origins: [APP], requireOrigin: true });
const anywhere = await hallpass.makeKey();
const ask = (by: Key, headers: Readonly<Record<string, string>>): Promise<Answer> => hallpass.ask(by, {}, headers);

function assertNoCors(answer: Answer): void {
  const given = [...answer.headers].filter(([name]) => name.startsWith('access-control-'));
  assert.deepEqual(given, []);
}

for (const origin of [
  APP,
  LOCAL,
  'https://app.example.com:443',
  'https://APP.example.com',
  'HTTPS://App.Example.COM:443',
]) {
  test(`${origin} is listed: served, readable by exactly this origin, without credentials (contract §6, §9)`, async () => {
    const answer = await ask(key, { origin });
    assert.equal(answer.status, 200);
    assert.equal(answer.header('access-control-allow-origin'), origin);
    assert.match(answer.header('vary') ?? '', /\bOrigin\b/i);
    assert.equal(answer.header('access-control-allow-credentials'), undefined);
    const exposed = (answer.header('access-control-expose-headers') ?? '').toLowerCase();
    for (const name of ['www-authenticate', 'retry-after']) assert.ok(exposed.includes(name), name);
  });
}

for (const [what, status, at, params] of [
  ['a body that is too large', 413, hallpass, { scope: 'a'.repeat(20_000) }],
  ['another media type', 415, hallpass, undefined],
  ['a store that cannot answer', 503, AWAY, { scope: '/accounts.write' }],
] as const) {
  test(`a page that is listed may read that there was ${what}; another may not (contract §3, §6)`, async () => {
    const post = (origin: string): Promise<Answer> =>
      params === undefined
        ? at.request('/oauth2/token', { method: 'POST', body: 'x', headers: { 'content-type': 'text/plain', origin } })
        : at.form('/oauth2/token', { grant_type: 'client_credentials', ...params }, { key, headers: { origin } });
    const answer = await post(APP);
    assert.equal(answer.status, status);
    assert.equal(answer.header('access-control-allow-origin'), APP);
    const other = await post('https://evil.example');
    assert.equal(other.status, status);
    assertNoCors(other);
  });
}

const STRANGERS = [
  // Another scheme or port.
  ['null', '*', 'http://app.example.com', 'https://app.example.com:8443', 'https://app.example.com:80'],
  ['http://app.example.com:443', 'ftp://app.example.com', 'chrome-extension://app.example.com'],
  ['http://localhost', 'http://localhost:3001', 'https://localhost:3000', 'http://127.0.0.1:3000'],
  // Hosts that look like a listed one.
  ['https://evil.example', 'https://app.example.com.evil.example', 'https://evilapp.example.com'],
  ['https://app.example.com@evil.example', 'https://www.app.example.com', 'https://example.com'],
  ['https://app.example.com.', 'https://app-example.com', 'https://app.example.co', 'https://*.example.com'],
  // More than an origin, or less.
  ['https://evil.example#https://app.example.com', 'https://evil.example/https://app.example.com'],
  [`${APP}/`, `${APP}/path`, `${APP}?x`, `${APP}#x`, `${APP}, ${APP}`, `${APP} ${APP}`],
  ['app.example.com', '//app.example.com', 'https:app.example.com', 'https:/app.example.com'],
  // Spellings that a URL parser would smooth over: only case and the default port are equal (contract §9).
  [String.raw`https:\\app.example.com`, `${APP}:`, `${APP}:0443`, 'https://%61pp.example.com'],
].flat();

for (const origin of STRANGERS) {
  test(`${origin} is not listed: 403 access_denied, nothing issued, no CORS header (contract §6)`, async () => {
    const answer = await ask(key, { origin });
    assert.equal(answer.outcome, '403 access_denied');
    assertNoCors(answer);
    assert.equal(Object.hasOwn(answer.body, 'access_token'), false);
  });
}

test('an empty Origin is refused, as one that is malformed', async () => {
  const body = `grant_type=client_credentials&scope=/accounts.write&client_id=${key.clientId}&client_secret=${key.clientSecret}`;
  const answer = await hallpass.raw(
    `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin:\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  assert.match(answer, /^HTTP\/1\.1 403 /);
});

test('Referer counts where there is no Origin, by its origin (contract §6)', async () => {
  for (const referer of [APP, `${APP}/`, `${APP}/page?x=1#y`, `${LOCAL}/x`])
    assert.equal((await ask(key, { referer })).status, 200, referer);
  for (const referer of [
    'https://evil.example/',
    'https://evil.example/?https://app.example.com',
    'nonsense',
    'about:blank',
    'null',
    'https://app.example.com@evil.example/',
  ]) {
    const answer = await ask(key, { referer });
    assert.equal(answer.outcome, '403 access_denied', referer);
    assertNoCors(answer);
  }
});

test('a Referer never makes an answer readable: CORS goes by Origin alone', async () => {
  assertNoCors(await ask(key, { referer: `${APP}/` }));
});

test('Origin comes before Referer, whichever of them is listed', async () => {
  assert.equal((await ask(key, { origin: 'https://evil.example', referer: `${APP}/` })).outcome, '403 access_denied');
  assert.equal((await ask(key, { origin: 'null', referer: `${APP}/` })).outcome, '403 access_denied');
  assert.equal((await ask(key, { origin: APP, referer: 'https://evil.example/' })).status, 200);
});

test('without Origin and Referer a key with a list is served, one that requires an origin is not (contract §6)', async () => {
  assert.equal((await ask(key, {})).status, 200);
  assert.equal((await ask(strict, {})).outcome, '403 access_denied');
  assert.equal((await ask(strict, { origin: APP })).status, 200);
  assert.equal((await ask(strict, { referer: `${APP}/x` })).status, 200);
  assert.equal((await ask(strict, { origin: LOCAL })).outcome, '403 access_denied');
});

test('a key without a list is served from anywhere, but no page may read the answer', async () => {
  for (const origin of [APP, 'https://evil.example', 'null']) {
    const answer = await ask(anywhere, { origin });
    assert.equal(answer.status, 200);
    assertNoCors(answer);
  }
});

test('the origin is judged after authentication: a wrong secret is 401 from everywhere (contract §9)', async () => {
  const wrong = { ...key, clientSecret: 'wrong' };
  const stranger = await ask(wrong, { origin: 'https://evil.example' });
  assert.equal(stranger.outcome, '401 invalid_client');
  assertNoCors(stranger);
  const listed = await ask(wrong, { origin: APP });
  assert.equal(listed.outcome, '401 invalid_client');
  assert.equal(listed.header('access-control-allow-origin'), APP, 'a listed page can read why');
});

test('a listed page can read every refusal', async () => {
  for (const params of [{}, { grant_type: 'foo' }, { grant_type: 'client_credentials', scope: 'x' }]) {
    const answer = await hallpass.form('/oauth2/token', params, { key, headers: { origin: APP } });
    assert.equal(answer.status, 400);
    assert.equal(answer.header('access-control-allow-origin'), APP);
  }
  const malformed = await hallpass.form('/oauth2/token', 'scope=%zz', { key, headers: { origin: APP } });
  assert.equal(malformed.header('access-control-allow-origin'), APP);
});

test('refresh and revoke follow the same rules (contract §9)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  const stranger = { key, headers: { origin: 'https://evil.example' } };
  const page = { key, headers: { origin: APP } };
  const refresh = { grant_type: 'refresh_token', refresh_token: refreshToken };
  assert.equal((await hallpass.form('/oauth2/token', refresh, stranger)).outcome, '403 access_denied');
  assert.equal((await hallpass.form('/oauth2/token', refresh, page)).status, 200);
  const refused = await hallpass.form('/oauth2/revoke', { token: accessToken }, stranger);
  assert.equal(refused.outcome, '403 access_denied');
  assertNoCors(refused);
  assert.equal(await hallpass.isActive(key, accessToken), true);
  const revoked = await hallpass.form('/oauth2/revoke', { token: accessToken }, page);
  assert.equal(revoked.status, 200);
  assert.equal(revoked.header('access-control-allow-origin'), APP);
});

test('introspection has no CORS (contract §9)', async () => {
  const headers = { origin: APP };
  assertNoCors(await hallpass.form('/oauth2/introspect', { token: 'x' }, { key, headers }));
  const preflight = await hallpass.request('/oauth2/introspect', {
    method: 'OPTIONS',
    headers: { ...headers, 'access-control-request-method': 'POST' },
  });
  assert.equal(preflight.outcome, '405 method_not_allowed');
  assertNoCors(preflight);
});

for (const path of ['/oauth2/token', '/oauth2/revoke']) {
  const preflight = (origin: string | undefined): Promise<Answer> =>
    hallpass.request(path, {
      method: 'OPTIONS',
      headers: {
        ...(origin === undefined ? {} : { origin }),
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization, content-type',
      },
    });

  test(`${path}: a preflight is answered for an origin that a live key lists (Fetch §4.8, contract §9)`, async () => {
    const answer = await preflight(APP);
    assert.ok(answer.status === 204 || answer.status === 200);
    assert.equal(answer.header('access-control-allow-origin'), APP);
    assert.match(answer.header('access-control-allow-methods') ?? '', /POST/);
    assert.match((answer.header('access-control-allow-headers') ?? '').toLowerCase(), /authorization.*content-type/);
    assert.equal(answer.header('access-control-allow-credentials'), undefined);
  });

  test(`${path}: a preflight from anywhere else is granted nothing`, async () => {
    for (const origin of ['https://evil.example', 'null', 'http://app.example.com', undefined])
      assertNoCors(await preflight(origin));
  });
}

test('a preflight is no longer answered once the only key that lists the origin is disabled or deleted', async () => {
  const origin = 'https://short.example.com';
  const isAnswered = async (): Promise<boolean> => {
    const headers = { origin, 'access-control-request-method': 'POST' };
    const answer = await hallpass.request('/oauth2/token', { method: 'OPTIONS', headers });
    return answer.header('access-control-allow-origin') === origin;
  };
  const short = await hallpass.makeKey({ origins: [origin] });
  assert.equal(await isAnswered(), true);
  await hallpass.keys.disable(short.clientId);
  assert.equal(await isAnswered(), false);
  await hallpass.keys.enable(short.clientId);
  assert.equal(await isAnswered(), true);
  await hallpass.keys.delete(short.clientId);
  assert.equal(await isAnswered(), false);
});

test('an IPv6 host and a punycode host are origins like any other (RFC 6454 §6.2)', async () => {
  const odd = await hallpass.makeKey({ origins: ['http://[::1]:3000', 'https://xn--bcher-kva.example'] });
  for (const origin of ['http://[::1]:3000', 'https://xn--bcher-kva.example'])
    assert.equal((await ask(odd, { origin })).status, 200);
  assert.equal((await ask(odd, { origin: 'http://[::2]:3000' })).outcome, '403 access_denied');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { basicOf, startHallpass, type Answer } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const API = 'https://api.example.com';
const key = await hallpass.makeKey({ audiences: [hallpass.issuer, API] });
const without = await hallpass.makeKey({ scopes: ['/accounts.write'] });
const ping = (authorization?: string): Promise<Answer> =>
  hallpass.request('/ping', { headers: authorization === undefined ? {} : { authorization } });
const challengeOf = (answer: Answer): string => answer.header('www-authenticate') ?? '';

test('a token with /ping.read is answered 200, empty, stored by nobody (contract §2)', async () => {
  const { accessToken } = await hallpass.issue(key, '/ping.read /accounts.write');
  for (const scheme of ['Bearer', 'bearer', 'bEaReR']) {
    const answer = await ping(`${scheme} ${accessToken}`);
    assert.equal(answer.status, 200);
    assert.equal(answer.text, '');
    assert.match(answer.header('cache-control') ?? '', /no-store/);
  }
});

test('a key that has /ping.read is answered over Basic, one that has not is 403 (contract §9)', async () => {
  assert.equal((await ping(basicOf(key))).status, 200);
  assert.equal((await ping(basicOf(without))).outcome, '403 insufficient_scope');
});

test('without credentials: 401, and a challenge without an error code (RFC 6750 §3.1)', async () => {
  const answer = await ping();
  assert.equal(answer.status, 401);
  assert.match(challengeOf(answer), /^Bearer realm="[^"]+"$/);
});

test('a token that lacks the scope: 403 that names it (RFC 6750 §3.1)', async () => {
  const { accessToken } = await hallpass.issue(key, '/accounts.write');
  const answer = await ping(`Bearer ${accessToken}`);
  assert.equal(answer.outcome, '403 insufficient_scope');
  assert.match(challengeOf(answer), /error="insufficient_scope".*scope="\/ping\.read"/);
});

test('a token for another audience: 401 invalid_token', async () => {
  const { accessToken } = await hallpass.issue(key, '/ping.read', { resource: API });
  assert.equal((await ping(`Bearer ${accessToken}`)).outcome, '401 invalid_token');
  const both = await hallpass.issue(key, '/ping.read', { resource: [API, hallpass.issuer] });
  assert.equal((await ping(`Bearer ${both.accessToken}`)).status, 200);
});

for (const [name, authorization] of [
  ['nonsense', 'Bearer nonsense'],
  ['three parts of nonsense', 'Bearer a.b.c'],
] as const) {
  test(`${name} is 401 invalid_token, with that error in the challenge`, async () => {
    const answer = await ping(authorization);
    assert.equal(answer.outcome, '401 invalid_token');
    assert.match(challengeOf(answer), /^Bearer .*error="invalid_token"/);
  });
}

test('a refresh token opens nothing (RFC 8725 §3.12)', async () => {
  const { refreshToken } = await hallpass.issue(key, '/ping.read');
  assert.equal((await ping(`Bearer ${refreshToken}`)).outcome, '401 invalid_token');
});

for (const authorization of [
  'Bearer',
  'Bearer ',
  'Bearer a b',
  'Bearer  a b',
  'Bearer\ta',
  'Bearer a, Bearer b',
  'Bearer "a"',
]) {
  test(`${JSON.stringify(authorization)} is malformed: 400 invalid_request (RFC 6750 §3.1)`, async () => {
    assert.equal((await ping(authorization)).outcome, '400 invalid_request');
  });
}

test('an expired token and a revoked one are 401 invalid_token', async () => {
  const revoked = await hallpass.issue(key, '/ping.read');
  assert.equal((await ping(`Bearer ${revoked.accessToken}`)).status, 200);
  await hallpass.revoke(key, revoked.accessToken);
  assert.equal((await ping(`Bearer ${revoked.accessToken}`)).outcome, '401 invalid_token');
  const expiring = await hallpass.issue(key, '/ping.read');
  hallpass.clock.advance(899);
  assert.equal((await ping(`Bearer ${expiring.accessToken}`)).status, 200);
  hallpass.clock.advance(1);
  assert.equal((await ping(`Bearer ${expiring.accessToken}`)).outcome, '401 invalid_token');
});

test('a wrong secret over Basic is 401 invalid_client with the Basic challenge', async () => {
  const answer = await ping(basicOf({ ...key, clientSecret: 'wrong' }));
  assert.equal(answer.outcome, '401 invalid_client');
  assert.match(challengeOf(answer), /^Basic /);
});

test('a token in the query string is not seen (RFC 6750 §2.3)', async () => {
  const { accessToken } = await hallpass.issue(key, '/ping.read');
  assert.equal((await hallpass.request(`/ping?access_token=${accessToken}`)).status, 401);
});

test('HEAD is answered like GET, without a body', async () => {
  const answer = await hallpass.request('/ping', { method: 'HEAD', headers: { authorization: basicOf(key) } });
  assert.equal(answer.status, 200);
});

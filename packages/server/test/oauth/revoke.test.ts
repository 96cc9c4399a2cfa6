import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreUnavailable } from '../../src/store/store.ts';
import { GRANT_SECONDS, makeFamily, startHallpass, tokensOf, type Answer } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const other = await hallpass.makeKey();
const elsewhere = await startHallpass({ clock: hallpass.clock });
const foreign = await elsewhere.issue(await elsewhere.makeKey());
await elsewhere.close();
const living = await hallpass.issue(key);
let away = false;
const outage = async (): Promise<never> => {
  throw new StoreUnavailable('The store did not commit in time.');
};
const broken = await startHallpass({
  clock: hallpass.clock,
  faulty: (store) => ({
    ...store,
    revoke: (...given) => (away ? outage() : store.revoke(...given)),
    rotate: (...given) => (away ? outage() : store.rotate(...given)),
    isRevoked: (...given) => (away ? outage() : store.isRevoked(...given)),
    check: () => (away ? outage() : store.check()),
  }),
});
const brokenKey = await broken.makeKey();
const REVOKE = '/oauth2/revoke';
const FORM = 'application/x-www-form-urlencoded';

function assertRevokedForm(answer: Answer): void {
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.text, '{}');
  assert.match(answer.header('content-type') ?? '', /^application\/json/);
}

test('a form is answered 200 with {}, as JSON, stored by nobody (RFC 7009 §2.2)', async () => {
  const { accessToken } = await hallpass.issue(key);
  const answer = await hallpass.revoke(key, accessToken);
  assertRevokedForm(answer);
  assert.match(answer.header('cache-control') ?? '', /no-store/);
});

test('JSON is answered 204 without a body and with a JSON content type, under both labels (contract §4)', async () => {
  for (const headers of [{}, { 'content-type': FORM }]) {
    const { accessToken } = await hallpass.issue(key);
    const answer = await hallpass.json(REVOKE, { token: accessToken }, { key, headers });
    assert.equal(answer.status, 204);
    assert.equal(answer.text, '');
    assert.equal(answer.header('content-type'), 'application/json');
    assert.match(answer.header('cache-control') ?? '', /no-store/);
    assert.equal(await hallpass.isActive(key, accessToken), false);
  }
});

test('a revoked access token is dead at once, and only it (contract §4)', async () => {
  const first = await hallpass.issue(key);
  const second = tokensOf(await hallpass.refresh(key, first.refreshToken));
  assertRevokedForm(await hallpass.revoke(key, first.accessToken));
  assert.equal(await hallpass.isActive(key, first.accessToken), false);
  assert.equal(await hallpass.isActive(key, second.accessToken), true);
  assert.equal((await hallpass.refresh(key, second.refreshToken)).status, 200);
});

for (const generation of [0, 1, 2, 3]) {
  test(`refresh token ${generation} of a family of four generations ends it, access tokens included (contract §4)`, async () => {
    const all = await makeFamily({ at: hallpass, key }, 3);
    hallpass.clock.advance(60);
    assertRevokedForm(await hallpass.revoke(key, all[generation]?.refreshToken ?? ''));
    for (const { accessToken, refreshToken } of all) {
      assert.equal(await hallpass.isActive(key, accessToken), false);
      assert.equal(await hallpass.isActive(key, refreshToken), false);
      assert.equal((await hallpass.refresh(key, refreshToken)).outcome, '400 invalid_grant');
    }
    assert.deepEqual(await hallpass.eventsOf(all[0].accessToken), [], 'no alarm');
  });
}

for (const hint of ['access_token', 'refresh_token', 'foo', '__proto__', 'constructor', '']) {
  test(`token_type_hint=${hint} does no harm, whatever the token is (RFC 7009 §2.1)`, async () => {
    const { accessToken, refreshToken } = await hallpass.issue(key);
    assertRevokedForm(await hallpass.revoke(key, accessToken, { token_type_hint: hint }));
    assert.equal(await hallpass.isActive(key, accessToken), false);
    assertRevokedForm(await hallpass.revoke(key, refreshToken, { token_type_hint: hint }));
    assert.equal((await hallpass.refresh(key, refreshToken)).outcome, '400 invalid_grant');
  });
}

for (const [name, token] of [
  ['nonsense', 'nonsense'],
  ['a space', ' '],
  ["another issuer's access token", foreign.accessToken],
  ["another issuer's refresh token", foreign.refreshToken],
  ['an unsigned token', `${living.accessToken.split('.').slice(0, 2).join('.')}.`],
  ['a token cut by one', living.accessToken.slice(0, -1)],
  ['a token with one more character', `${living.accessToken}A`],
  ['a refresh token cut by one', living.refreshToken.slice(0, -1)],
  ['a refresh token with padding', `${living.refreshToken}=`],
  ['a text of 10,000 characters', 'x'.repeat(10_000)],
  ['control characters', '\u0000\r\n'],
] as const) {
  test(`${name} is revoked with success, and nothing happens (RFC 7009 §2.2)`, async () => {
    assertRevokedForm(await hallpass.revoke(key, token));
    assert.equal((await hallpass.json(REVOKE, { token }, { key })).status, 204);
    assert.equal(await hallpass.isActive(key, living.accessToken), true);
    assert.equal(await hallpass.isActive(key, living.refreshToken), true);
  });
}

test('revoking twice is a success twice', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  for (const token of [accessToken, accessToken, refreshToken, refreshToken, accessToken]) {
    assertRevokedForm(await hallpass.revoke(key, token));
  }
});

test('an expired token is revoked with success (RFC 7009 §2.2)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  hallpass.clock.advance(900);
  assertRevokedForm(await hallpass.revoke(key, accessToken));
  hallpass.clock.advance(GRANT_SECONDS);
  assertRevokedForm(await hallpass.revoke(key, refreshToken));
});

test("another client's live token is 400 invalid_request, and stays alive (RFC 7009 §2.1)", async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  for (const token of [accessToken, refreshToken]) {
    assert.equal((await hallpass.revoke(other, token)).outcome, '400 invalid_request');
    assert.equal((await hallpass.json(REVOKE, { token }, { key: other })).outcome, '400 invalid_request');
    assert.equal(await hallpass.isActive(key, token), true);
  }
  assert.equal((await hallpass.refresh(key, refreshToken)).status, 200);
});

test("another client's dead token is a success: nothing is left to protect (contract §4)", async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  await hallpass.revoke(key, refreshToken);
  for (const token of [accessToken, refreshToken]) assertRevokedForm(await hallpass.revoke(other, token));
  const expired = await hallpass.issue(key);
  hallpass.clock.advance(901);
  assertRevokedForm(await hallpass.revoke(other, expired.accessToken));
  assert.equal((await hallpass.revoke(other, expired.refreshToken)).outcome, '400 invalid_request');
});

test("a deleted or disabled client's tokens are dead ones for everyone else", async () => {
  const gone = await hallpass.makeKey();
  const { accessToken, refreshToken } = await hallpass.issue(gone);
  await hallpass.keys.delete(gone.clientId);
  for (const token of [accessToken, refreshToken]) assertRevokedForm(await hallpass.revoke(other, token));
});

test('a resource server revokes no tokens that are meant for it', async () => {
  const server = await hallpass.makeReader();
  const { accessToken } = await hallpass.issue(key);
  assert.equal((await hallpass.revoke(server, accessToken)).outcome, '400 invalid_request');
  assert.equal(await hallpass.isActive(server, accessToken), true);
});

test('a revocation that was answered is on disk: it holds when the store is opened again (contract §4)', async () => {
  const environment = { HALLPASS_ISSUER: 'http://localhost:1' };
  const before = await startHallpass({ environment });
  const by = await before.makeKey();
  const byToken = await before.issue(by);
  const byFamily = await before.issue(by);
  const spared = await before.issue(by);
  await before.revoke(by, byToken.accessToken);
  await before.revoke(by, byFamily.refreshToken);
  await before.close();
  const after = await startHallpass({ environment, folder: before.folder, clock: before.clock });
  assert.equal(await after.isActive(by, byToken.accessToken), false);
  assert.equal(await after.isActive(by, byFamily.accessToken), false);
  assert.equal((await after.refresh(by, byFamily.refreshToken)).outcome, '400 invalid_grant');
  assert.equal(await after.isActive(by, spared.accessToken), true);
  assert.equal((await after.refresh(by, spared.refreshToken)).status, 200);
});

test('from the answer on every instance refuses the token (contract §4)', async () => {
  const environment = { HALLPASS_ISSUER: 'http://localhost:1' };
  const here = await startHallpass({ environment });
  const there = await startHallpass({ environment, folder: here.folder, clock: here.clock });
  const by = await here.makeKey();
  for (let round = 0; round < 20; round++) {
    const { accessToken, refreshToken } = await here.issue(by);
    assert.equal(await there.isActive(by, accessToken), true);
    await (round % 2 === 0 ? here.revoke(by, accessToken) : there.revoke(by, refreshToken));
    assert.equal(await there.isActive(by, accessToken), false);
    assert.equal(await here.isActive(by, accessToken), false);
  }
});

test('a refresh that races a revocation leaves nothing alive once both have answered (RFC 9700 §4.14)', async () => {
  for (let round = 0; round < 20; round++) {
    const { refreshToken } = await hallpass.issue(key);
    const [refreshed] = await Promise.all([hallpass.refresh(key, refreshToken), hallpass.revoke(key, refreshToken)]);
    if (refreshed.status !== 200) continue;
    const { accessToken, refreshToken: next } = tokensOf(refreshed);
    assert.equal(await hallpass.isActive(key, accessToken), false);
    assert.equal((await hallpass.refresh(key, next)).outcome, '400 invalid_grant');
  }
});

test('a callback parameter is ignored: no JSONP (RFC 7009 §2.3)', async () => {
  const answer = await hallpass.revoke(key, 'x', { callback: 'package.myCallback' });
  assertRevokedForm(answer);
});

// A store that is away. The fault is put between the server and its real store.

test('a revocation that cannot be stored is 503 with Retry-After in both dialects, never a success (contract §4)', async () => {
  const { accessToken, refreshToken } = await broken.issue(brokenKey);
  away = true;
  for (const token of [accessToken, refreshToken]) {
    for (const answer of [
      await broken.revoke(brokenKey, token),
      await broken.json(REVOKE, { token }, { key: brokenKey }),
    ]) {
      assert.equal(answer.outcome, '503 temporarily_unavailable');
      assert.match(answer.header('retry-after') ?? '', /^[0-9]+$/);
      assert.match(answer.header('cache-control') ?? '', /no-store/);
      assert.match(answer.header('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
    }
  }
  away = false;
  assert.equal(await broken.isActive(brokenKey, accessToken), true);
  assertRevokedForm(await broken.revoke(brokenKey, refreshToken));
  assert.equal(await broken.isActive(brokenKey, accessToken), false);
});

test('reuse that cannot be stored is 503, not 400: the family is ended before it is said (contract §3)', async () => {
  const all = await makeFamily({ at: broken, key: brokenKey }, 2);
  broken.clock.advance(11);
  away = true;
  assert.equal((await broken.refresh(brokenKey, all[0].refreshToken)).outcome, '503 temporarily_unavailable');
  away = false;
  assert.equal((await broken.refresh(brokenKey, all[0].refreshToken)).outcome, '400 invalid_grant');
  assert.equal((await broken.refresh(brokenKey, all[2].refreshToken)).outcome, '400 invalid_grant');
});

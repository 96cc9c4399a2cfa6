import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose';
import type { Instance } from '../../src/serving/instance.ts';
import {
  listIssuerKeys,
  removeIssuerKey,
  rotateIssuerKey,
  showIssuerKey,
  tendIssuerKeys as tendSigningKeys,
} from '../../src/operator/issuer_keys.ts';
import {
  basicOf,
  decode,
  startHallpass,
  tokensOf,
  type Hallpass,
  type Key,
  type Options,
} from '../../../../testing/server/server.ts';

/** How long before its first use a key is published, and how long the key set may be kept, in seconds. */
const AHEAD_SECONDS = 600;
const KEPT_SECONDS = 300;
/** How long a retired key stays: the longest life of a token, and some for clocks that differ. */
const RETIRED_SECONDS = 3_600 + 120;
const DAY_SECONDS = 86_400;

const listSigningKeys = (on: Instance) => listIssuerKeys(on, 'sign');
const showSigningKey = (on: Instance, keyId: string) => showIssuerKey(on, 'sign', keyId);
const rotateSigningKey = (on: Instance) => rotateIssuerKey(on, 'sign');
const removeSigningKey = (on: Instance, keyId: string) => removeIssuerKey(on, 'sign', keyId);

/** On an issuer that stays the same when it is opened again. */
const start = ({ environment, ...more }: Options = {}): Promise<Hallpass> =>
  startHallpass({ ...more, environment: { HALLPASS_ISSUER: 'http://127.0.0.1:8080', ...environment } });

async function readKeys(at: Hallpass): Promise<JSONWebKeySet> {
  const { body } = await at.request('/oauth2/jwks');
  assert.ok(Array.isArray(body['keys']));
  return { keys: body['keys'] };
}

const publishedBy = async (at: Hallpass): Promise<readonly unknown[]> =>
  (await readKeys(at)).keys.map(({ kid }) => kid);

async function signsWith(at: Hallpass, key: Key): Promise<unknown> {
  return decode((await at.issue(key)).accessToken).header['kid'];
}

const states = async (at: Hallpass): Promise<readonly string[]> =>
  (await listSigningKeys(at.instance)).map(({ state }) => state);

async function currentOf(at: Hallpass): Promise<string> {
  const current = (await listSigningKeys(at.instance)).find(({ state }) => state === 'signing');
  assert.ok(current !== undefined, 'some key signs');
  return current.keyId;
}

/** Whether a library of other people's finds a token good, by the published keys alone. */
async function isVerified(at: Hallpass, token: string): Promise<boolean> {
  const currentDate = new Date(at.clock.now());
  const options = { issuer: at.issuer, audience: at.issuer, typ: 'at+jwt', currentDate };
  const verified = jwtVerify(token, createLocalJWKSet(await readKeys(at)), options);
  return await verified.then(
    () => true,
    () => false,
  );
}

/** The `keys` of the first heartbeat of the feed, and the revocations before it. */
async function readFeed(at: Hallpass, key: Key): Promise<{ keys: unknown; revocations: readonly unknown[] }> {
  const abort = new AbortController();
  const { body } = await fetch(`${at.url}/oauth2/revocations`, {
    headers: { authorization: basicOf(key) },
    signal: abort.signal,
  });
  assert.ok(body !== null);
  let text = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (/event: heartbeat[^]*\n\n/.test(text)) break;
  }
  abort.abort();
  const messages = text.trimEnd().split('\n\n');
  const dataOf = (message: string): unknown => JSON.parse(/^data: (.*)$/m.exec(message)?.[1] ?? 'null');
  const heartbeat = dataOf(messages.find((message) => message.startsWith('event: heartbeat')) ?? '');
  const revocations = messages.filter((message) => message.startsWith('event: revocation')).map(dataOf);
  assert.ok(typeof heartbeat === 'object' && heartbeat !== null && 'keys' in heartbeat);
  return { keys: heartbeat.keys, revocations };
}

test('the next key is published at once, and signs from the exact second at which every guard knows it (rule JK-04)', async () => {
  const at = await start();
  const key = await at.makeKey();
  const old = await signsWith(at, key);
  at.clock.advance(5);
  const next = await rotateSigningKey(at.instance);
  assert.equal(next.state, 'next');
  assert.equal(next.activeFrom, at.clock.now() + AHEAD_SECONDS * 1000);
  assert.deepEqual(await publishedBy(at), [old, next.keyId]);
  assert.equal(await signsWith(at, key), old);
  at.clock.advance(AHEAD_SECONDS - 0.001);
  assert.equal(await signsWith(at, key), old);
  at.clock.advance(0.001);
  const { accessToken } = await at.issue(key);
  assert.equal(decode(accessToken).header['kid'], next.keyId);
  assert.equal(await isVerified(at, accessToken), true);
  assert.deepEqual(await publishedBy(at), [old, next.keyId], 'the old one stays');
  assert.deepEqual(await states(at), ['retired', 'signing']);
  const kinds = (await at.instance.store.listEvents({ limit: 10 })).map(({ kind }) => kind);
  assert.equal(kinds.filter((kind) => kind === 'signing_key_added').length, 1);
});

test('there is at most one next key at a time', async () => {
  const at = await start();
  at.clock.advance(5);
  const next = await rotateSigningKey(at.instance);
  await assert.rejects(rotateSigningKey(at.instance), {
    name: 'OperatorRefusal',
    code: 'issuer_key_waiting',
    data: { keys: 'signing', keyId: next.keyId },
  });
  assert.equal((await publishedBy(at)).length, 2);
  at.clock.advance(AHEAD_SECONDS);
  await rotateSigningKey(at.instance);
  assert.deepEqual(await states(at), ['retired', 'signing', 'next']);
});

test('a retired key is kept until its last token expires, and not a second less', async () => {
  const at = await start({ environment: { HALLPASS_ACCESS_TTL_SECONDS: '3600' } });
  const key = await at.makeKey();
  const old = await currentOf(at);
  at.clock.advance(5);
  const { keyId: next } = await rotateSigningKey(at.instance);
  at.clock.advance(AHEAD_SECONDS - 0.001);
  const { accessToken: last } = await at.issue(key);
  assert.equal(decode(last).header['kid'], old);
  at.clock.advance(3_599);
  await tendSigningKeys(at.instance);
  assert.equal(await at.isActive(key, last), true);
  assert.equal(await isVerified(at, last), true);
  at.clock.advance(RETIRED_SECONDS - 3_599);
  await tendSigningKeys(at.instance);
  assert.deepEqual(await publishedBy(at), [old, next], 'a millisecond before its time');
  assert.equal(await at.isActive(key, last), false, 'expired');
  at.clock.advance(0.001);
  await tendSigningKeys(at.instance);
  assert.deepEqual(await publishedBy(at), [next]);
  assert.equal(await signsWith(at, key), next);
  const [event] = await at.instance.store.listEvents({ limit: 1 });
  assert.deepEqual([event?.kind, event?.detail], ['signing_key_forgotten', old]);
});

test('forgetting a key revokes nothing: refresh tokens from its time still work', async () => {
  const at = await start();
  const key = await at.makeKey();
  const { refreshToken } = await at.issue(key);
  at.clock.advance(5);
  await rotateSigningKey(at.instance);
  at.clock.advance(AHEAD_SECONDS + RETIRED_SECONDS);
  await tendSigningKeys(at.instance);
  assert.equal((await publishedBy(at)).length, 1);
  const { accessToken } = tokensOf(await at.refresh(key, refreshToken));
  assert.equal(await at.isActive(key, accessToken), true);
});

test('the schedule makes the next key when the signing one is signingKeyDays old, and one only', async () => {
  const at = await start({ environment: { HALLPASS_SIGNING_KEY_DAYS: '2' } });
  at.clock.advance(2 * DAY_SECONDS - 0.001);
  await tendSigningKeys(at.instance);
  assert.deepEqual(await states(at), ['signing']);
  at.clock.advance(0.001);
  await tendSigningKeys(at.instance);
  assert.deepEqual(await states(at), ['signing', 'next']);
  at.clock.advance(60);
  await tendSigningKeys(at.instance);
  assert.deepEqual(await states(at), ['signing', 'next']);
  at.clock.advance(AHEAD_SECONDS);
  await tendSigningKeys(at.instance);
  assert.deepEqual(await states(at), ['retired', 'signing']);
  at.clock.advance(RETIRED_SECONDS);
  await tendSigningKeys(at.instance);
  assert.deepEqual(await states(at), ['signing'], 'the days count anew from when it began to sign');
});

test('through a rotation no guard meets a key that it cannot know, and no live token loses its key (rule JK-04)', async () => {
  const at = await start({ environment: { HALLPASS_SIGNING_KEY_DAYS: '1' } });
  const key = await at.makeKey();
  // What a reader has that fetched the key set as late as it may, one step ago and two.
  let [before, longBefore] = [await publishedBy(at), await publishedBy(at)];
  const alive: string[] = [];
  const used = new Set<unknown>();
  for (let seconds = 0; seconds < 1.1 * DAY_SECONDS; seconds += KEPT_SECONDS) {
    await tendSigningKeys(at.instance);
    const { accessToken } = await at.issue(key);
    const { kid } = decode(accessToken).header;
    assert.ok(before.includes(kid) && longBefore.includes(kid), `a key that is new to its reader after ${seconds} s`);
    alive.push(accessToken);
    if (alive.length > 900 / KEPT_SECONDS) alive.shift();
    if (used.size !== used.add(kid).size) {
      for (const token of alive) assert.equal(await at.isActive(key, token), true);
    }
    if (seconds % 3_600 === 0) assert.equal(await isVerified(at, alive[0] ?? ''), true);
    [before, longBefore] = [await publishedBy(at), before];
    at.clock.advance(KEPT_SECONDS);
  }
  assert.equal(used.size, 2);
});

test('the key set may be cached for half the time that a key is published ahead', async () => {
  const at = await start();
  const { headers } = await at.request('/oauth2/jwks');
  assert.match(headers.get('cache-control') ?? '', new RegExp(`max-age=${KEPT_SECONDS}\\b`));
});

test('two instances that rotate at once make one key, and each signs what the other publishes (rule JK-07)', async () => {
  const one = await start();
  const other = await start({ folder: one.folder, clock: one.clock });
  const key = await one.makeKey();
  one.clock.advance(5);
  const outcomes = await Promise.allSettled([one, other].map(({ instance }) => rotateSigningKey(instance)));
  const made = new Set(outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value.keyId] : [])));
  assert.equal(made.size, 1);
  for (const { instance } of [one, other]) await instance.keys.reload();
  assert.equal((await publishedBy(one)).length, 2);
  assert.deepEqual(await publishedBy(other), await publishedBy(one));
  one.clock.advance(AHEAD_SECONDS);
  for (const [at, beside] of [
    [one, other],
    [other, one],
  ] as const) {
    const { accessToken } = await at.issue(key);
    assert.ok(made.has(String(decode(accessToken).header['kid'])));
    assert.equal(await beside.isActive(key, accessToken), true);
    assert.equal(await isVerified(beside, accessToken), true);
  }
});

test('of two instances that find a key due, one makes it', async () => {
  const one = await start();
  const other = await start({ folder: one.folder, clock: one.clock });
  one.clock.advance(90 * DAY_SECONDS);
  await Promise.all([one, other, one, other].map(({ instance }) => tendSigningKeys(instance)));
  assert.deepEqual(await states(one), ['signing', 'next']);
  assert.deepEqual(await states(other), ['signing', 'next']);
});

test('removing a key: another signs at once, every old token is dead, and the feed and its heartbeat say so', async () => {
  const at = await start();
  const key = await at.makeKey();
  const api = await at.makeReader();
  const { accessToken: old, refreshToken } = await at.issue(key, '/ping.read');
  const lost = await currentOf(at);
  const told = await readFeed(at, api);
  assert.deepEqual(told.revocations, []);
  assert.equal((await readFeed(at, api)).keys, told.keys, 'as long as nothing changes');
  at.clock.advance(5);
  const removedAt = at.clock.seconds;
  await removeSigningKey(at.instance, lost);
  const published = await publishedBy(at);
  assert.equal(published.length, 1);
  assert.ok(!published.includes(lost));
  assert.equal(await at.isActive(key, old), false);
  assert.equal(await isVerified(at, old), false);
  assert.equal((await at.ping(old)).outcome, '401 invalid_token');
  assert.equal((await at.refresh(key, refreshToken)).outcome, '400 invalid_grant');
  const { accessToken: fresh } = await at.issue(key);
  assert.equal(decode(fresh).header['kid'], published[0]);
  assert.equal(await at.isActive(api, fresh), true);
  assert.equal(await isVerified(at, fresh), true);
  const after = await readFeed(at, api);
  assert.notEqual(after.keys, told.keys);
  const [entry, ...more] = after.revocations.map((value) => Object.fromEntries(Object.entries(Object(value))));
  assert.deepEqual(more, []);
  const before = removedAt + at.instance.clockSkewSeconds + 1;
  assert.deepEqual([entry?.['kind'], entry?.['id'], entry?.['before']], ['before', '*', before]);
  const [event] = await at.instance.store.listEvents({ limit: 1 });
  assert.deepEqual([event?.kind, event?.detail], ['signing_key_removed', lost]);
});

test('another instance drops a removed key within a second of real time', async () => {
  const one = await start();
  const other = await start({ folder: one.folder, clock: one.clock });
  const key = await one.makeKey();
  const { accessToken } = await other.issue(key);
  const lost = await currentOf(one);
  one.clock.advance(5);
  await removeSigningKey(one.instance, lost);
  assert.equal(await other.isActive(key, accessToken), false, 'at once: that is in the store');
  const began = performance.now();
  while ((await publishedBy(other)).includes(lost)) {
    assert.ok(performance.now() - began < 1_000);
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  assert.notEqual(await signsWith(other, key), lost);
});

test('removing the signing key while the next one waits: neither that one nor a retired one signs early', async () => {
  const at = await start();
  const key = await at.makeKey();
  const retired = await currentOf(at);
  at.clock.advance(5);
  await rotateSigningKey(at.instance);
  at.clock.advance(AHEAD_SECONDS);
  const lost = await currentOf(at);
  const next = await rotateSigningKey(at.instance);
  at.clock.advance(1);
  await removeSigningKey(at.instance, lost);
  assert.deepEqual(await states(at), ['retired', 'signing', 'next']);
  const substitute = await signsWith(at, key);
  assert.ok(substitute !== retired && substitute !== lost && substitute !== next.keyId);
  at.clock.advance((next.activeFrom - at.clock.now()) / 1000);
  assert.equal(await signsWith(at, key), next.keyId);
});

test('removing the last key of an algorithm while the settings name another: the server makes a new one', async () => {
  const at = await start({ environment: { HALLPASS_SIGNING_ALGORITHM: 'EdDSA' } });
  const key = await at.makeKey();
  const lost = await currentOf(at);
  const beside = await start({ folder: at.folder, clock: at.clock });
  at.clock.advance(5);
  await removeSigningKey(beside.instance, lost);
  await at.instance.keys.reload();
  const { accessToken } = await at.issue(key);
  const { alg, kid } = decode(accessToken).header;
  assert.equal(alg, 'EdDSA');
  assert.notEqual(kid, lost);
  await beside.instance.keys.reload();
  assert.equal(await isVerified(beside, accessToken), true);
});

test('an unknown key can be neither removed nor shown, and trying revokes nothing', async () => {
  const at = await start();
  const key = await at.makeKey();
  const { accessToken } = await at.issue(key);
  for (const keyId of ['AAAAAAAAAAA', '', '__proto__', `${await currentOf(at)} `]) {
    const refused = { name: 'OperatorRefusal', code: 'issuer_key_unknown' };
    await assert.rejects(removeSigningKey(at.instance, keyId), refused);
    await assert.rejects(showSigningKey(at.instance, keyId), refused);
  }
  assert.equal((await showSigningKey(at.instance, await currentOf(at))).state, 'signing');
  assert.equal(await at.isActive(key, accessToken), true);
  assert.deepEqual(await states(at), ['signing']);
});

test('ES256, EdDSA and RS256 side by side: each is published, and tokens of all three are good (rule AT-04)', async () => {
  let at = await start();
  const key = await at.makeKey();
  const tokens = [(await at.issue(key)).accessToken];
  for (const algorithm of ['EdDSA', 'RS256']) {
    await at.close();
    at.clock.advance(5);
    const environment = { HALLPASS_SIGNING_ALGORITHM: algorithm };
    at = await start({ folder: at.folder, clock: at.clock, environment });
    tokens.push((await at.issue(key)).accessToken);
  }
  assert.deepEqual(
    tokens.map((token) => decode(token).header['alg']),
    ['ES256', 'EdDSA', 'RS256'],
  );
  const { keys } = await readKeys(at);
  assert.deepEqual(
    keys.map(({ kty, alg, use }) => ({ kty, alg, use })),
    [
      { kty: 'EC', alg: 'ES256', use: 'sig' },
      { kty: 'OKP', alg: 'EdDSA', use: 'sig' },
      { kty: 'RSA', alg: 'RS256', use: 'sig' },
    ],
  );
  for (const jwk of keys) {
    for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) assert.equal(name in jwk, false, name);
  }
  for (const token of tokens) {
    assert.equal(await isVerified(at, token), true);
    assert.equal(await at.isActive(key, token), true);
    const [header = '', claims = '', signature = ''] = token.split('.');
    for (const other of tokens.filter((one) => one !== token)) {
      const [otherHeader = ''] = other.split('.');
      assert.equal(await at.isActive(key, `${otherHeader}.${claims}.${signature}`), false, "under another's header");
    }
    const lowered = Buffer.from(header, 'base64url')
      .toString()
      .replace(/EdDSA|RS256|ES256/, 'none');
    assert.equal(await at.isActive(key, `${Buffer.from(lowered).toString('base64url')}.${claims}.${signature}`), false);
  }
  assert.deepEqual(await states(at), ['retired', 'retired', 'signing']);
  at.clock.advance(5);
  const next = await rotateSigningKey(at.instance);
  assert.equal(next.algorithm, 'RS256', 'the configured one is rotated');
  at.clock.advance(AHEAD_SECONDS + RETIRED_SECONDS);
  await tendSigningKeys(at.instance);
  assert.equal(await currentOf(at), next.keyId);
});

test('a next key of the previous algorithm does not delay the rotation to the new one', async () => {
  const first = await start();
  await rotateSigningKey(first.instance);
  await first.close();
  const second = await start({
    folder: first.folder,
    clock: first.clock,
    environment: { HALLPASS_SIGNING_ALGORITHM: 'EdDSA' },
  });
  const next = await rotateSigningKey(second.instance);
  assert.equal(next.algorithm, 'EdDSA');
  assert.equal(next.state, 'next');
  await assert.rejects(rotateSigningKey(second.instance), { code: 'issuer_key_waiting' });
});

test('going back to an earlier algorithm uses its key again, and makes none', async () => {
  const first = await start();
  const kid = await currentOf(first);
  await first.close();
  const second = await start({
    folder: first.folder,
    clock: first.clock,
    environment: { HALLPASS_SIGNING_ALGORITHM: 'EdDSA' },
  });
  assert.notEqual(await currentOf(second), kid);
  await second.close();
  const third = await start({ folder: first.folder, clock: first.clock });
  assert.equal(await currentOf(third), kid);
  assert.equal((await publishedBy(third)).length, 2);
});

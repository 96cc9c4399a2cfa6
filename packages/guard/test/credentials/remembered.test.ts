/** A token that was verified once: what is remembered of it, and all that is judged anew (contract §8). */
import { printBase64url, PATHS } from '@hallpass/protocol';
import { base64url } from 'jose';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeySet } from '../../src/issuer/key_set.ts';
import { DigestCache } from '../../src/credentials/digest_cache.ts';
import { SignedTokens } from '../../src/credentials/signed_tokens.ts';
import { assertAllowed, assertDenied, guardOf, openBench, openIssuer } from '../harness.ts';
import { API, makeKey, TestClock, type Issuer } from '../issuer.ts';

test('times are judged on every hit, with the leeway of the guard', async () => {
  const { issuer, check, clock, guard } = await openBench({ leewaySeconds: 5, maxStalenessSeconds: 3_600 });
  await guard.ready();
  const token = await issuer.token();
  assertAllowed(await check(token));
  clock.advance(904);
  assertAllowed(await check(token), 'within the leeway');
  clock.advance(1);
  assert.match(assertDenied(await check(token), 401).body.error_description, /has expired/);
});

test('a remembered token that is revoked is refused', async () => {
  const { issuer, check, events } = await openBench();
  const token = await issuer.token({ jti: '01973a00-0000-7000-8000-0000000000aa' });
  const other = await issuer.token();
  assertAllowed(await check(token));
  assertAllowed(await check(other));
  issuer.revoke({ kind: 'token', id: '01973a00-0000-7000-8000-0000000000aa' });
  while ((await check(token)).allowed) await new Promise(setImmediate);
  assert.equal(assertDenied(await check(token), 401).because, 'revoked');
  assertAllowed(await check(other));
  assert.equal(events.count('key_set_fetched'), 1);
});

test('a remembered token opens what it holds and nothing else', async () => {
  const { issuer, check } = await openBench();
  const token = await issuer.token({ scope: '/accounts.read /accounts/a1.read' });
  assertAllowed(await check(token));
  assertAllowed(await check(token, '/accounts/a1.read'));
  assertDenied(await check(token, '/accounts/a2.read'), 403);
  assertDenied(await check(token, '/accounts.write'), 403);
  assertAllowed(await check(token));
});

test('what differs from a remembered token in one bit is not remembered', async () => {
  const { issuer, check } = await openBench();
  const token = await issuer.token();
  assertAllowed(await check(token));
  const [header = '', payload = '', signature = ''] = token.split('.');
  for (const at of [0, 31, 63]) {
    const bytes = base64url.decode(signature);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    assertDenied(await check(`${header}.${payload}.${printBase64url(bytes)}`), 401);
  }
  assertDenied(await check(`${header}.${payload}.`), 401);
  assertAllowed(await check(token));
});

test('a token of a key that is published no more is forgotten, and one of a key that stays is not verified again', async () => {
  const [staying, going] = [await makeKey('staying'), await makeKey('going')];
  const issuer = await openIssuer(staying, going);
  issuer.keysVersion = 'one';
  const { check, guard, clock } = guardOf(issuer, { maxStalenessSeconds: 3_600 });
  await guard.ready();
  const [kept, lost] = [await issuer.token(), await issuer.token({}, {}, going)];
  assertAllowed(await check(kept));
  assertAllowed(await check(lost));
  issuer.keys.splice(1, 1);
  clock.advance(301);
  // Old keys serve while their successors are fetched.
  assertAllowed(await check(kept));
  while ((await check(lost)).allowed) await new Promise(setImmediate);
  assertDenied(await check(lost), 401);
  assertAllowed(await check(kept));
});

test('another key under the same name vouches for nothing that was remembered', async () => {
  const issuer = await openIssuer(await makeKey('key-1'));
  const { check, guard, clock } = guardOf(issuer, { maxStalenessSeconds: 3_600 });
  await guard.ready();
  const token = await issuer.token();
  assertAllowed(await check(token));
  issuer.keys.splice(0, 1, await makeKey('key-1'));
  clock.advance(3_601);
  issuer.heartbeat();
  let decision = await check(token);
  while (!decision.allowed && decision.status === 503) decision = await check(token);
  assertDenied(decision, 401);
});

test('two keys under one name are used neither the one nor the other', async () => {
  const [one, other] = [await makeKey('same'), await makeKey('same')];
  const issuer = await openIssuer(one, other, await makeKey('own'));
  const { check } = guardOf(issuer);
  assertDenied(await check(await issuer.token({}, {}, one)), 401);
  assertDenied(await check(await issuer.token({}, {}, other)), 401);
  assertAllowed(await check(await issuer.token({}, {}, issuer.keys[2])));
});

test('a key is asked for by the algorithm that the issuer gives it, whatever the token says', async () => {
  const issuer = await openIssuer(await makeKey('es'), await makeKey('ed', 'EdDSA'));
  const { check } = guardOf(issuer);
  const [es, ed] = issuer.keys;
  assertAllowed(await check(await issuer.token({}, {}, ed)));
  assert.equal(
    assertDenied(await check(await issuer.token({}, { kid: 'ed' }, es)), 401).because,
    'the issuer has no such key',
  );
});

interface Held {
  readonly signed: SignedTokens;
  readonly clock: TestClock;
  readonly expected: { audience: string };
  readonly published: object[];
}

/** What a guard remembers, by itself, for tokens of an issuer. */
async function hold(issuer: Issuer, max: number): Promise<Held> {
  const clock = new TestClock();
  const published: object[] = issuer.keys.map(({ jwk }) => jwk);
  const algorithms = ['ES256'] as const;
  const fetchKeySet = async (): Promise<unknown> => ({ keys: published });
  const keySet = new KeySet({ fetchKeySet, algorithms, clock, report: () => undefined });
  await keySet.load();
  const expected = { issuer: issuer.url, audience: API, algorithms, leewaySeconds: 5, keySet, clock };
  return { signed: new SignedTokens(expected, max), clock, expected, published };
}

test('a signature that was found good is not verified again: the holder is there at once, and is the same', async () => {
  const issuer = await openIssuer();
  const token = await issuer.token();
  const { signed, clock } = await hold(issuer, 10);
  const first = await signed.identify(token);
  assert.ok('holder' in first);
  const second = signed.identify(token);
  assert.ok('holder' in second, 'not a promise');
  assert.equal(second.holder, first.holder);
  assert.equal(second.token, token);
  // The keys are looked at again, and not the signature.
  clock.advance(301);
  const third = signed.identify(token);
  assert.ok(third instanceof Promise);
  const late = await third;
  assert.ok('holder' in late);
  assert.equal(late.holder, first.holder);
});

test('without room every token is verified each time, and one of a key that was replaced as well', async () => {
  const issuer = await openIssuer();
  const token = await issuer.token();
  const none = await hold(issuer, 0);
  await none.signed.identify(token);
  assert.ok(none.signed.identify(token) instanceof Promise);
  const { signed, clock, published } = await hold(issuer, 10);
  await signed.identify(token);
  published.splice(0, 1, { ...(await makeKey('key-1')).jwk });
  clock.advance(3_601);
  const replaced = await signed.identify(token);
  assert.ok('refused' in replaced);
  assert.equal(replaced.because, 'JWSSignatureVerificationFailed');
});

test('the audience is looked at on every hit', async () => {
  const issuer = await openIssuer();
  const token = await issuer.token();
  const { signed, expected } = await hold(issuer, 10);
  await signed.identify(token);
  expected.audience = 'https://other.example';
  const other = signed.identify(token);
  assert.ok('refused' in other);
  assert.deepEqual(other, {
    refused: 'token_for_another_audience',
    subject: 'https://other.example',
    because: 'for another audience',
  });
  expected.audience = API;
  assert.ok('holder' in signed.identify(token));
});

test('with nothing remembered a guard decides the same', async () => {
  const { issuer, check } = await openBench({ rememberedTokensMax: 0 });
  const token = await issuer.token();
  for (let at = 0; at < 3; at++) assertAllowed(await check(token));
  assertDenied(await check(await issuer.token({ aud: 'x' })), 401);
  assert.equal(issuer.count(PATHS.jwks), 1);
});

function recentOf(max: number, keys: string): DigestCache<string> {
  const recent = new DigestCache<string>(max);
  for (const key of keys) recent.set(key, key);
  return recent;
}

function heldBy(recent: DigestCache<string>, keys: string): string {
  return keys
    .split('')
    .filter((key) => recent.get(key) === key)
    .join('');
}

test('what was used last is kept, up to the bound, and the rest makes room', () => {
  assert.equal(heldBy(recentOf(4, 'abcd'), 'a'), 'a');
  assert.equal(heldBy(recentOf(4, 'abcde'), 'edcba'), 'edc', 'half of the bound goes at once');
  assert.equal(heldBy(recentOf(3, 'abcd'), 'a'), 'a', 'a bound is rounded up to an even number');
  assert.equal(heldBy(recentOf(2, 'abc'), 'cba'), 'cb');
  assert.equal(heldBy(recentOf(4, 'abbcd'), 'a'), 'a', 'what is there already takes no room');
  const asked = recentOf(4, 'abc');
  assert.equal(asked.get('a'), 'a');
  for (const key of 'de') asked.set(key, key);
  assert.equal(heldBy(asked, 'a'), 'a', 'what is asked for stays');
  const none = recentOf(0, 'a');
  assert.equal(none.get('a'), undefined);
});

test('what is remembered has a bound in bytes too: what weighs much leaves room for less', () => {
  const weighing = (bytes: number): DigestCache<string> => {
    const recent = new DigestCache<string>(100, 20_000);
    for (const key of 'abcdefgh') recent.set(key, key, bytes);
    return recent;
  };
  assert.equal(heldBy(weighing(200), 'abcdefgh'), 'abcdefgh');
  assert.equal(heldBy(weighing(2_000), 'hgabc'), 'hg', 'half of the bound goes at once');
  assert.equal(heldBy(weighing(10_000), 'abcdefgh'), '', 'more than half of the bound is not held');
  const asked = weighing(2_000);
  for (const key of 'hgfedcba') asked.get(key);
  assert.ok(heldBy(asked, 'abcdefgh').length <= 6, 'what is asked for stays within the bound as well');
});

test('of two digests that begin alike each is itself, and the later one takes the place', () => {
  const [one, other] = ['AAAAAone', 'AAAAAother'];
  const recent = new DigestCache<string>(4);
  recent.set(one, one);
  assert.equal(recent.get(other), undefined);
  recent.delete(other);
  assert.equal(recent.get(one), one);
  recent.set(other, other);
  assert.equal(recent.get(one), undefined);
  assert.equal(recent.get(other), other);
  // In the older half as well.
  for (const digest of ['B', 'C', 'D']) recent.set(digest, digest);
  assert.equal(recent.get(one), undefined);
  recent.delete(one);
  assert.equal(recent.get(other), other);
});

test('what is forgotten is gone, wherever it was', () => {
  const recent = recentOf(4, 'abc');
  for (const key of 'ac') recent.delete(key);
  assert.equal(heldBy(recent, 'abc'), 'b');
});

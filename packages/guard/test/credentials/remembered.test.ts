/** Tokens that were verified once: what is cached, and what is checked each time (contract §8). */
import { printBase64url, PATHS } from '@hallpass/protocol';
import { base64url } from 'jose';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertAllowed, assertDenied, guardOf, openBench, openIssuer } from '../harness.ts';
import { makeKey } from '../issuer.ts';

test("a cached token's times are checked each time, with the guard's leeway", async () => {
  const { issuer, check, clock, guard } = await openBench({ leewaySeconds: 5, maxStalenessSeconds: 3_600 });
  await guard.ready();
  const token = await issuer.token();
  assertAllowed(await check(token));
  clock.advance(904);
  assertAllowed(await check(token), 'within the leeway');
  clock.advance(1);
  assert.match(assertDenied(await check(token), 401).body.error_description, /has expired/);
});

test('a token that differs from a cached one in a single bit is not accepted', async () => {
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

test('a cached token is dropped when its key is withdrawn, and kept when another key is', async () => {
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
  // The old keys work while the new ones are fetched.
  assertAllowed(await check(kept));
  while ((await check(lost)).allowed) await new Promise(setImmediate);
  assertDenied(await check(lost), 401);
  assertAllowed(await check(kept));
});

test("another key under the same name doesn't vouch for a cached token", async () => {
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

test('of two keys with the same name, neither is used', async () => {
  const [one, other] = [await makeKey('same'), await makeKey('same')];
  const issuer = await openIssuer(one, other, await makeKey('own'));
  const { check } = guardOf(issuer);
  assertDenied(await check(await issuer.token({}, {}, one)), 401);
  assertDenied(await check(await issuer.token({}, {}, other)), 401);
  assertAllowed(await check(await issuer.token({}, {}, issuer.keys[2])));
});

test('a guard without a cache decides the same', async () => {
  const { issuer, check } = await openBench({ rememberedTokensMax: 0 });
  const token = await issuer.token();
  for (let at = 0; at < 3; at++) assertAllowed(await check(token));
  assertDenied(await check(await issuer.token({ aud: 'x' })), 401);
  assert.equal(issuer.count(PATHS.jwks), 1);
});

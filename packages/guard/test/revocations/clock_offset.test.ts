/** A guard whose clock differs from the issuer's reports it in its health, in an event, in the log and to the caller. */
import type { GuardOptions } from '@hallpass/guard';
import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { assertAllowed, assertDenied, guardOf, openIssuer, type Bench } from '../harness.ts';
import { answerWith, NOW_SECONDS, TestClock } from '../issuer.ts';

const HOUR = 3_600;

/** An issuer whose responses carry the right time, and a guard whose clock is ahead of it by this many seconds. */
async function open(aheadSeconds: number, options: Partial<GuardOptions> = {}): Promise<Bench> {
  const issuer = await openIssuer();
  const clock = new TestClock();
  issuer.date = clock.elapsed;
  clock.set(aheadSeconds);
  return guardOf(issuer, { clock, ...options });
}

function assertNear(actual: number | undefined, expected: number): void {
  assert.ok(actual !== undefined && Math.abs(actual - expected) <= 2, `${actual} is not about ${expected}`);
}

suite('a clock that is behind the issuer', () => {
  test('is the reason for refusing a token from the future, and the caller is not told to request a new one', async () => {
    const { issuer, guard, events, check } = await open(-60);
    const differs = events.next('clock_differs');
    await guard.ready();
    assert.deepEqual(await differs, { kind: 'clock_differs', offsetSeconds: guard.health().clockOffsetSeconds });
    assertNear(guard.health().clockOffsetSeconds, -60);
    const { headers, body, because } = assertDenied(await check(await issuer.token()), 401);
    assert.match(
      headers['WWW-Authenticate'] ?? '',
      /^Bearer realm="[^"]*", error="invalid_token", error_description="/,
    );
    assert.match(body.error_description, /clocks of this API/);
    assert.doesNotMatch(body.error_description, /Ask for a new/);
    assert.match(
      because,
      /^not yet good: issued 60 s from now; the clock of this machine is \d+(\.\d)? s behind the issuer's$/,
    );
    assertAllowed(await check(await issuer.token({ iat: NOW_SECONDS - 60 })));
    const { body: expired } = assertDenied(await check(await issuer.token({ exp: NOW_SECONDS - 600 })), 401);
    assert.match(expired.error_description, /Ask for a new/, 'a new token helps');
  });

  test('is reported as right again once it is corrected', async () => {
    const issuer = await openIssuer();
    const clock = new TestClock();
    issuer.date = clock.elapsed;
    clock.set(-60);
    const { guard, events, check } = guardOf(issuer, { clock });
    const differs = events.next('clock_differs');
    await guard.ready();
    await differs;
    const agrees = events.next('clock_agrees');
    clock.set(60);
    assertAllowed(await check(await issuer.token()));
    await agrees;
    assert.equal(guard.health().clockOffsetSeconds, 0);
  });

  test('is reported at once if it was set back while the guard was running', async () => {
    const issuer = await openIssuer();
    const clock = new TestClock();
    issuer.date = clock.elapsed;
    const { guard, events, check } = guardOf(issuer, { clock });
    await guard.ready();
    // Two answers were enough to agree; a token from the future is a reason to ask for more.
    const differs = events.next('clock_differs');
    clock.set(-HOUR);
    assertDenied(await check(await issuer.token()), 401);
    await differs;
    assertNear(guard.health().clockOffsetSeconds, -HOUR);
  });

  test('is not reported if the difference is below the leeway', async () => {
    const { issuer, guard, events, check } = await open(-4);
    await guard.ready();
    assertAllowed(await check(await issuer.token()));
    assertNear(guard.health().clockOffsetSeconds, -4);
    assert.equal(events.count('clock_differs'), 0);
  });
});

test('a clock so far ahead that everything looks expired is reported in health, event and log', async () => {
  const { issuer, guard, events, check } = await open(2 * HOUR);
  const differs = events.next('clock_differs');
  await guard.ready();
  await differs;
  assertNear(guard.health().clockOffsetSeconds, 2 * HOUR);
  const { body, because } = assertDenied(await check(await issuer.token()), 401);
  assert.doesNotMatch(body.error_description, /Ask for a new/);
  const { body: expired } = assertDenied(await check(await issuer.token({ exp: NOW_SECONDS - 600 })), 401);
  assert.match(expired.error_description, /Ask for a new/, 'a new token is needed in any case');
  assert.match(because, /^expired here alone; the clock of this machine is \d+(\.\d)? s ahead of the issuer's$/);
});

suite('the time that the issuer reports', () => {
  test('is not trusted after a single odd response', async () => {
    const issuer = await openIssuer();
    const clock = new TestClock();
    issuer.date = clock.elapsed;
    const odd = new Date(clock.now() + HOUR * 1000).toUTCString();
    const keys = JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) });
    issuer.instead.set(PATHS.jwks, answerWith(200, keys, { date: odd }));
    const { guard, events } = guardOf(issuer, { clock });
    await guard.ready();
    assert.equal(guard.health().clockOffsetSeconds, 0);
    assert.equal(events.count('clock_differs'), 0);
  });

  test('is not taken from a cached response, or from one without a valid date', async () => {
    for (const headers of [{ date: 'Tue, 06 May 2031 01:00:00 GMT', age: '7' }, { date: 'soon' }, {}]) {
      const issuer = await openIssuer();
      const keys = JSON.stringify({ keys: issuer.keys.map(({ jwk }) => jwk) });
      issuer.instead.set(PATHS.jwks, answerWith(200, keys, headers));
      const { guard, check } = guardOf(issuer);
      await guard.ready();
      assertAllowed(await check(await issuer.token()));
      assert.equal(guard.health().clockOffsetSeconds, undefined, JSON.stringify(headers));
    }
  });

  test('may be missing: a token from the future is then refused in the same words', async () => {
    const issuer = await openIssuer();
    const { check } = guardOf(issuer);
    const { body, because } = assertDenied(await check(await issuer.token({ iat: NOW_SECONDS + 6 })), 401);
    assert.doesNotMatch(body.error_description, /Ask for a new/);
    assert.equal(because, 'not yet good: issued 6 s from now');
  });
});

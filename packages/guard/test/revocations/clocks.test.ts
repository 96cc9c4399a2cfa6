/** Wrong clocks: the guard's machine has its time of day set forward and back, and no protection is lost. */
import { createGuard, type Guard, type GuardOptions } from '@hallpass/guard';
import { createTestIssuer, type TestIssuer } from '@hallpass/guard/testing';
import { PATHS, printBasic } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { assertAllowed, assertDenied, bearer, Events, guardOf, openIssuer } from '../harness.ts';
import { API, NOW_SECONDS, TestClock } from '../issuer.ts';
import { proved, Prover } from '../prover.ts';

const HOUR = 3_600;
const MONTH = 31 * 24 * HOUR;
const SCOPE = '/accounts.read';

interface Bench {
  readonly issuer: TestIssuer;
  readonly guard: Guard;
  /** The issuer's clock, which is right. */
  readonly clock: TestClock;
  readonly events: Events;
  /** The paths of the guard's requests, except those for the stream. */
  readonly asked: string[];
  /** Moves the time of day of the guard's machine by this many seconds. */
  readonly set: (seconds: number) => void;
  /** Resolves when the guard next opens a stream. */
  readonly opened: () => Promise<void>;
  /** Sends the guard an event, upon which it sweeps its revocations. */
  readonly beat: () => Promise<void>;
}

/** A guard whose machine has its own time of day, `aheadSeconds` ahead at the start. */
async function open(t: TestContext, options: Partial<GuardOptions> = {}, aheadSeconds = 0): Promise<Bench> {
  const clock = new TestClock();
  let offsetMs = aheadSeconds * 1000;
  const issuer = await createTestIssuer({ audience: API, clock });
  const events = new Events();
  const asked: string[] = [];
  let onOpen = (): void => {};
  const opened = (): Promise<void> => new Promise((resolve) => void (onOpen = resolve));
  const guard = createGuard({
    ...issuer.options,
    publicURL: API,
    clock: { now: () => clock.now() + offsetMs, elapsed: clock.elapsed },
    onEvent: events.record,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      const { pathname, search } = new URL(request.url);
      const answer = (await issuer.options.fetch?.(request)) ?? Response.error();
      if (pathname === PATHS.revocations && search === '') onOpen();
      else asked.push(pathname + search);
      return answer;
    },
    ...options,
  });
  t.after(() => guard.close());
  const beat = async (): Promise<void> => issuer.revoke(await issuer.token());
  return { issuer, guard, clock, events, asked, opened, beat, set: (seconds) => void (offsetMs += seconds * 1000) };
}

suite('a revoked token stays revoked', () => {
  for (const seconds of [2 * HOUR, MONTH]) {
    test(`when the clock goes ${seconds} s forward and back`, async (t) => {
      const { issuer, guard, set, opened, beat } = await open(t);
      const [revoked, other] = [await issuer.token({ scope: SCOPE }), await issuer.token({ scope: SCOPE })];
      const ofGrant = await issuer.token({ scope: SCOPE, grantId: '01973a00-0000-7000-8000-0000000000aa' });
      await guard.ready();
      await issuer.revoke(revoked);
      await issuer.revokeGrant('01973a00-0000-7000-8000-0000000000aa');
      const reopened = opened();
      set(seconds);
      await beat();
      await reopened;
      for (let round = 0; round < 5; round++) await beat();
      assertDenied(await guard.check(bearer(other), SCOPE), 401, 'expired, by that clock');
      set(-seconds);
      assertDenied(await guard.check(bearer(revoked), SCOPE), 401);
      assertDenied(await guard.check(bearer(ofGrant), SCOPE), 401);
      assertAllowed(await guard.check(bearer(other), SCOPE));
    });

    test(`when the guard starts with a clock ${seconds} s ahead, which is then set right`, async (t) => {
      const { issuer, guard, set, beat } = await open(t, {}, seconds);
      const [revoked, other] = [await issuer.token({ scope: SCOPE }), await issuer.token({ scope: SCOPE })];
      await issuer.revoke(revoked);
      await guard.ready();
      for (let round = 0; round < 5; round++) await beat();
      set(-seconds);
      assertDenied(await guard.check(bearer(revoked), SCOPE), 401);
      assertAllowed(await guard.check(bearer(other), SCOPE));
    });
  }

  test('when the guard starts ahead, and the responses of its issuer carry no time', async () => {
    const issuer = await openIssuer();
    const clock = new TestClock();
    clock.set(MONTH);
    const { guard, check } = guardOf(issuer, { clock });
    const [revoked, other] = [
      await issuer.token({ jti: 'a0000000-0000-4000-8000-000000000001' }),
      await issuer.token(),
    ];
    issuer.revoke({ kind: 'token', id: 'a0000000-0000-4000-8000-000000000001', expires_at: NOW_SECONDS + 900 });
    await guard.ready();
    for (let round = 0; round < 5; round++) issuer.heartbeat();
    clock.set(-MONTH);
    assertDenied(await check(revoked), 401);
    assertAllowed(await check(other));
  });

  test('when it has expired and its revocation was dropped, and the clock is set back to before that', async (t) => {
    const { issuer, guard, clock, events, set } = await open(t);
    const token = await issuer.token({ scope: SCOPE });
    await guard.ready();
    await issuer.revoke(token);
    const [lost, connected] = [events.next('feed_lost'), events.next('feed_connected')];
    clock.advance(3 * HOUR);
    await issuer.revoke(await issuer.token());
    await Promise.all([lost, connected]);
    for (let round = 0; round < 5; round++) await issuer.revoke(await issuer.token());
    set(-3 * HOUR);
    assert.ok(guard.health().revocations < 8);
    assertDenied(await guard.check(bearer(token), SCOPE), 401);
  });

  test('and the feed is read again from the start, which is reported in an event', async (t) => {
    const { guard, events, asked, set, beat, issuer } = await open(t);
    await guard.ready();
    await beat();
    for (const seconds of [1.5, -1.5]) {
      set(seconds);
      assertAllowed(await guard.check(bearer(await issuer.token({ scope: SCOPE })), SCOPE));
    }
    assert.equal(events.count('clock_jumped'), 0, 'too small to be a jump');
    const reread = events.next('feed_reread');
    set(-20);
    guard.health();
    assert.deepEqual(await reread, { kind: 'feed_reread', revocations: 1 });
    assert.deepEqual(
      events.seen.filter(({ kind }) => kind === 'clock_jumped'),
      [{ kind: 'clock_jumped', seconds: -20 }],
    );
    assert.equal(asked.filter((path) => path === `${PATHS.revocations}?after=`).length, 1);
  });
});

suite('staleness is measured with the monotonic clock', () => {
  test('setting the clock forward refuses nothing while the issuer answers', async (t) => {
    const { issuer, guard, set } = await open(t);
    await guard.ready();
    const token = await issuer.token({ scope: SCOPE });
    set(60);
    assertAllowed(await guard.check(bearer(token), SCOPE));
    assert.ok(guard.health().stalenessSeconds < 10);
    set(-60);
    assertAllowed(await guard.check(bearer(token), SCOPE));
  });

  test('a forward jump may mean that the machine slept: nothing received before it counts as fresh', async (t) => {
    const { issuer, guard, set } = await open(t, { startWaitSeconds: 0.02 });
    await guard.ready();
    const token = await issuer.token({ scope: SCOPE });
    issuer.goAway(true);
    assertAllowed(await guard.check(bearer(token), SCOPE), 'the issuer is away, but the guard is not stale yet');
    set(60);
    assertDenied(await guard.check(bearer(token), SCOPE), 503);
  });

  test('setting the clock back again and again never makes a stale guard fresh', async (t) => {
    const { issuer, guard, clock, set } = await open(t, { startWaitSeconds: 0.02 });
    await guard.ready();
    const token = await issuer.token({ scope: SCOPE });
    issuer.goAway(true);
    for (let second = 0; second < 10; second++) {
      assertAllowed(await guard.check(bearer(token), SCOPE), `${second} s`);
      clock.advance(1);
      set(-1);
    }
    assertAllowed(await guard.check(bearer(token), SCOPE), '10 s');
    clock.advance(1);
    set(-1);
    assertDenied(await guard.check(bearer(token), SCOPE), 503);
  });

  test('keys are used for an hour and no longer, whatever the clock is set to', async (t) => {
    const { issuer, guard, clock, set } = await open(t, { whenStale: 'allow' });
    await guard.ready();
    const token = await issuer.token({ scope: SCOPE });
    assertAllowed(await guard.check(bearer(token), SCOPE));
    issuer.goAway(true);
    clock.advance(HOUR);
    set(-HOUR);
    assertAllowed(await guard.check(bearer(token), SCOPE));
    clock.advance(1);
    set(-1);
    assertDenied(await guard.check(bearer(token), SCOPE), 503);
  });

  test('an answer about an opaque token or an API key is cached for its time, whatever the clock is set to', async (t) => {
    const options = { maxStalenessSeconds: HOUR, opaqueTokenSeconds: 30, apiKeySeconds: 30 };
    const { issuer, guard, clock, asked, set } = await open(t, options, 60);
    const key = { clientId: 'partner', clientSecret: 'a-secret', scopes: [SCOPE] };
    issuer.addKey(key);
    const token = await issuer.token({ scope: SCOPE, opaque: true });
    const basic = { method: 'GET', url: '/', headers: { authorization: printBasic(key) } };
    await guard.ready();
    for (const [seconds, times] of [
      [0, 1],
      [29, 1],
      [1, 2],
    ] as const) {
      clock.advance(seconds);
      set(-seconds);
      assertAllowed(await guard.check(bearer(token), SCOPE));
      assertAllowed(await guard.check(basic, SCOPE));
      for (const path of [PATHS.introspect, PATHS.token]) {
        assert.equal(asked.filter((one) => one === path).length, times, `${path} after ${seconds} s`);
      }
    }
    set(60);
    assertAllowed(await guard.check(bearer(token), SCOPE));
    assert.equal(asked.filter((one) => one === PATHS.introspect).length, 3, 'the machine may have slept');
  });
});

suite('proofs and nonces (RFC 9449 §9, §11.1)', () => {
  const prover = new Prover();
  const boundTo = prover.jkt;

  for (const seconds of [2 * HOUR, MONTH]) {
    test(`a used proof stays used when the clock goes ${seconds} s forward and back`, async (t) => {
      const { issuer, guard, set } = await open(t);
      const token = await issuer.token({ scope: SCOPE, boundTo, expiresIn: 2 * MONTH });
      const [used, other] = [prover.prove(token), prover.prove(token)];
      assertAllowed(await guard.check(proved(token, used), SCOPE));
      set(seconds);
      const then = prover.prove(token, { iat: NOW_SECONDS + seconds });
      assertAllowed(await guard.check(proved(token, then), SCOPE), 'expired proofs are swept here');
      set(-seconds);
      assertDenied(await guard.check(proved(token, used), SCOPE), 401);
      assertAllowed(await guard.check(proved(token, other), SCOPE));
    });
  }

  test('a used proof that has expired stays refused when the clock is set back, and current proofs work again', async (t) => {
    const { issuer, guard, clock, set } = await open(t, { maxStalenessSeconds: HOUR });
    const token = await issuer.token({ scope: SCOPE, boundTo });
    const used = prover.prove(token);
    const at = (seconds: number): string => prover.prove(token, { iat: NOW_SECONDS + seconds });
    assertAllowed(await guard.check(proved(token, used), SCOPE));
    clock.advance(300);
    assertAllowed(await guard.check(proved(token, at(300)), SCOPE));
    set(-300);
    assertDenied(await guard.check(proved(token, used), SCOPE), 401);
    set(300);
    assertAllowed(await guard.check(proved(token, at(300)), SCOPE));
  });

  test('a guard that was a month ahead while proofs were used accepts current ones once its clock is right', async (t) => {
    const { issuer, guard, clock, set } = await open(t, { maxStalenessSeconds: HOUR }, MONTH);
    const token = await issuer.token({ scope: SCOPE, boundTo, expiresIn: 2 * MONTH });
    assertAllowed(await guard.check(proved(token, prover.prove(token, { iat: NOW_SECONDS + MONTH })), SCOPE));
    set(-MONTH);
    for (const seconds of [0, 100, 200]) {
      assertAllowed(await guard.check(proved(token, prover.prove(token, { iat: NOW_SECONDS + seconds })), SCOPE));
      clock.advance(100);
    }
  });

  for (const nonceKey of [undefined, 'thirty-two bytes that nobody knows']) {
    test(`an issued nonce stays valid when the clock goes forward and back (${nonceKey === undefined ? 'own key' : 'shared key'})`, async (t) => {
      const given = nonceKey === undefined ? {} : { nonceKey };
      const { issuer, guard, clock, set } = await open(t, { dpopNonces: true, maxStalenessSeconds: HOUR, ...given });
      const token = await issuer.token({ scope: SCOPE, boundTo, expiresIn: 2 * MONTH });
      let now = NOW_SECONDS;
      const present = (nonce?: string): ReturnType<Guard['check']> =>
        guard.check(proved(token, prover.prove(token, { iat: now, nonce })), SCOPE);
      const { headers } = assertDenied(await present(), 401);
      const nonce = headers['DPoP-Nonce'] ?? '';
      for (const seconds of [MONTH, -MONTH, HOUR, -HOUR]) {
        set(seconds);
        now += seconds;
        assertAllowed(await present(nonce), `${seconds} s`);
      }
      clock.advance(180);
      now += 180;
      const denial = assertDenied(await present(nonce), 401, 'it has expired');
      assert.equal(denial.body.error, 'use_dpop_nonce');
    });
  }

  test('an expired nonce is not valid again when the clock is set back', async (t) => {
    const { issuer, guard, clock, set } = await open(t, { dpopNonces: true, maxStalenessSeconds: HOUR });
    const token = await issuer.token({ scope: SCOPE, boundTo });
    const stored = (nonce?: string): string => prover.prove(token, { nonce });
    const { headers } = assertDenied(await guard.check(proved(token, stored()), SCOPE), 401);
    const nonce = headers['DPoP-Nonce'] ?? '';
    const [one, other] = [stored(nonce), stored(nonce)];
    assertAllowed(await guard.check(proved(token, one), SCOPE));
    clock.advance(300);
    set(-300);
    assert.equal(assertDenied(await guard.check(proved(token, other), SCOPE), 401).body.error, 'use_dpop_nonce');
  });
});

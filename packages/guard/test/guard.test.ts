/** The order of a check: what ends it, and the reason in the log. */
import { createGuard, type GuardEvent, type Policy } from '@hallpass/guard';
import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { settle } from './revocations/feed_world.ts';
import { assertAllowed, assertDenied, bearer, openBench, type Bench } from './harness.ts';
import { answerWith, API, makeId, NOW_SECONDS } from './issuer.ts';
import { proved, Prover } from './prover.ts';

test('a closed guard answers 503, even for a token it has cached', async () => {
  const { issuer, check, guard } = await openBench();
  const token = await issuer.token();
  assertAllowed(await check(token));
  guard.close();
  assert.equal(assertDenied(await check(token), 503).because, 'The guard was closed.');
});

test('a stale guard says so, or introspects, or allows, as configured', async () => {
  for (const [whenStale, status, because] of [
    ['refuse', 503, 'The revocation feed is stale.'],
    ['introspect', 401, 'inactive by introspection'],
    ['allow', 200, undefined],
  ] as const) {
    const { issuer, check, clock } = await openBench({ whenStale });
    const token = await issuer.token();
    assertAllowed(await check(token));
    clock.advance(11);
    const decision = await check(token);
    if (because === undefined) assertAllowed(decision);
    else assert.equal(assertDenied(decision, status).because, because);
  }
});

test('an error thrown by a policy rejects the check, and is no outage', async () => {
  const { issuer, guard } = await openBench();
  const token = await issuer.token();
  const broken: Policy = {
    match: () => {
      throw new TypeError('a policy of their own');
    },
    routes: [],
    scopes: [],
  };
  await assert.rejects(guard.checkRoute(broken, bearer(token)), { name: 'TypeError', message: /of their own/ });
  // Without a valid token the policy isn't asked.
  assertDenied(await guard.checkRoute(broken, bearer(`${token}x`)), 401);
});

test('a value that a scope cannot contain is refused with 403, which says which characters are allowed', async () => {
  const { issuer, guard } = await openBench();
  const token = await issuer.token({ scope: '/accounts/a1.read' });
  const ask = (accountID: string): ReturnType<typeof guard.check> =>
    guard.check(bearer(token), '/accounts/{accountID}.read', { accountID });
  assertAllowed(await ask('a1'));
  for (const odd of ['a1/a2', 'ada@example.com', 'urn:isbn:1', 'café', '']) {
    const { body, because, headers } = assertDenied(await ask(odd), 403);
    assert.equal(body.error, 'insufficient_scope');
    assert.match(body.error_description, /cannot be part of a scope\. .* digits.*: \{accountID\}$/);
    assert.match(headers['WWW-Authenticate'] ?? '', /error="insufficient_scope"/);
    assert.equal(because, 'bad_value: {accountID}');
  }
});

test('a silent stream is dropped after 6 s, or as soon as the guard may be stale', async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  try {
    for (const [maxStalenessSeconds, silenceMs] of [
      [60, 6_000],
      [7, 6_000],
      [6, 6_000],
      [3, 3_000],
    ] as const) {
      const reported: GuardEvent[] = [];
      const silent = (signal: AbortSignal | null | undefined): Response =>
        new Response(
          new ReadableStream({
            start: (controller) => signal?.addEventListener('abort', () => controller.error(signal.reason)),
          }),
          { headers: { 'content-type': 'text/event-stream' } },
        );
      const guard = createGuard({
        issuer: 'https://auth.example.com',
        audience: API,
        credentials: { clientId: 'guard', clientSecret: 'secret' },
        maxStalenessSeconds,
        onEvent: (event) => reported.push(event),
        fetch: (_, init) =>
          new Headers(init?.headers).get('accept') === 'text/event-stream'
            ? Promise.resolve(silent(init?.signal))
            : Promise.reject(new TypeError('away')),
      });
      const ended = guard.ready().catch(() => 'closed');
      await settle();
      const lost = (): readonly GuardEvent[] => reported.filter(({ kind }) => kind === 'feed_lost');
      mock.timers.tick(silenceMs - 1);
      await settle();
      assert.deepEqual(lost(), []);
      mock.timers.tick(1);
      await settle();
      assert.deepEqual(lost(), [{ kind: 'feed_lost', because: 'The feed fell silent.' }], String(maxStalenessSeconds));
      guard.close();
      assert.equal(await ended, 'closed');
    }
  } finally {
    mock.timers.reset();
  }
});

test('if the feed goes stale while the proof store is asked, that is an outage, unless stale checks are allowed or the issuer was asked', async () => {
  const prover = new Prover();
  for (const [whenStale, staleBefore, status] of [
    ['refuse', false, 503],
    ['introspect', false, 503],
    ['introspect', true, 200],
    ['allow', false, 200],
  ] as const) {
    const rememberProof = (): Promise<boolean> => {
      bench.clock.advance(11);
      return Promise.resolve(true);
    };
    const bench: Bench = await openBench({ publicURL: API, whenStale, rememberProof });
    const { issuer, guard, clock, check } = bench;
    assertAllowed(await check(await issuer.token()));
    const token = await issuer.token({ cnf: { jkt: prover.jkt } });
    issuer.active.add(token);
    if (staleBefore) clock.advance(11);
    const decision = await guard.check(
      proved(token, prover.prove(token, { iat: NOW_SECONDS + (staleBefore ? 11 : 0) })),
      '/accounts.read',
    );
    if (status === 200) assertAllowed(decision, whenStale);
    else assert.equal(assertDenied(decision, 503).because, 'The revocation feed went stale during the check.');
  }
});

test('if the feed goes stale while the issuer is asked about a token, that is an outage', async () => {
  for (const [secondsToAnswer, status] of [
    [10, 200],
    [11, 503],
  ] as const) {
    const { issuer, check, clock } = await openBench({ opaqueTokenSeconds: 60 });
    assertAllowed(await check(await issuer.token()));
    const active = answerWith(200, JSON.stringify({ active: true, token_type: 'Bearer', ...issuer.claims() }));
    issuer.instead.set(PATHS.introspect, (request, response) => {
      clock.advance(secondsToAnswer);
      active(request, response);
    });
    const decision = await check('hpat_unknown');
    if (status === 200) assertAllowed(decision);
    else assert.equal(assertDenied(decision, 503).because, 'The revocation feed is stale.');
  }
});

test("where streams don't get through, the guard polls", async () => {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  try {
    const asked: string[] = [];
    const guard = createGuard({
      issuer: 'https://auth.example.com',
      audience: API,
      credentials: { clientId: 'guard', clientSecret: 'secret' },
      fetch: (input) => {
        const url = new Request(input).url;
        asked.push(url);
        return url.includes('?after=')
          ? Promise.resolve(Response.json({ entries: [], cursor: makeId(), more: false, keys: 'v1' }))
          : Promise.reject(new TypeError('away'));
      },
    });
    const ended = guard.ready().catch(() => 'closed');
    for (let passed = 0; passed < 10_000 && guard.health().transport !== 'poll'; passed += 100) {
      mock.timers.tick(100);
      await settle();
    }
    assert.equal(guard.health().transport, 'poll');
    assert.ok(asked.includes('https://auth.example.com/oauth2/revocations?after='), asked.join('\n'));
    guard.close();
    assert.equal(await ended, 'closed');
  } finally {
    mock.timers.reset();
  }
});

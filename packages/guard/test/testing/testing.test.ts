/** The in-memory issuer (`@hallpass/guard/testing`), and with it opaque tokens and API keys over Basic. */
import { ACCESS_TOKEN_LENGTH_MAX, printPlainBasic } from '@hallpass/protocol';
import { compilePolicy, createGuard, type Decision, type Guard, type GuardOptions } from '@hallpass/guard';
import { createTestIssuer, type TestIssuer } from '@hallpass/guard/testing';
import assert from 'node:assert/strict';
import { suite, test, type TestContext } from 'node:test';
import { assertAllowed, assertDenied, bearer } from '../harness.ts';
import { TestClock } from '../issuer.ts';

const API = 'https://api.example.com';
const KEY = { clientId: 'partner', clientSecret: 'a secret: with & signs', scopes: ['/accounts.read'] };

interface Asked {
  readonly path: string;
  readonly caller: string | null;
  readonly body: string;
}

interface Bench {
  readonly issuer: TestIssuer;
  readonly guard: Guard;
  readonly clock: TestClock;
  /** The guard's requests to the issuer, except for keys and the feed. */
  readonly asked: Asked[];
  readonly instead: { answer?: () => Promise<Response> };
}

async function open(t: TestContext, options: Partial<GuardOptions> = {}): Promise<Bench> {
  const clock = new TestClock();
  const issuer = await createTestIssuer({ audience: API, clock });
  const asked: Asked[] = [];
  const instead: Bench['instead'] = {};
  const guard = createGuard({
    ...issuer.options,
    maxStalenessSeconds: 3_600,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      const path = new URL(request.url).pathname;
      if (!/jwks|revocations|well-known/.test(path)) {
        const { headers } = request;
        asked.push({ path, caller: headers.get('hallpass-caller'), body: await request.clone().text() });
        if (instead.answer !== undefined) return await instead.answer();
      }
      return (await issuer.options.fetch?.(request)) ?? Response.error();
    },
    ...options,
  });
  t.after(() => guard.close());
  await guard.ready();
  return { issuer, guard, clock, asked, instead };
}

suite('the test issuer', () => {
  test('makes tokens that work like those of a real issuer', async (t) => {
    const { issuer, guard, clock } = await open(t);
    const token = await issuer.token({ scope: '/accounts/a1.read', clientId: 'c' });
    const decision = await guard.check(bearer(token), '/accounts/{accountID}.read', { accountID: 'a1' });
    assert.ok(decision.allowed);
    assert.deepEqual(decision.client, { kind: 'client', clientId: 'c' });
    assertDenied(await guard.check(bearer(token), '/accounts/{accountID}.read', { accountID: 'a2' }), 403);
    assertDenied(await guard.check(bearer(await issuer.token({ expiresIn: -60 })), '/accounts.read'), 401);
    assertDenied(await guard.check(bearer(await issuer.token({ audience: 'x' })), '/accounts.read'), 401);
    assertDenied(await guard.check(bearer(await issuer.token({ boundTo: 'x' })), '/accounts.read'), 401);
    clock.advance(906);
    assertDenied(await guard.check(bearer(token), '/accounts/a1.read'), 401);
  });

  test('has told the guard when a revocation resolves: of a token, a grant, a client', async (t) => {
    const { issuer, guard } = await open(t);
    const check = (token: string): Promise<Decision> => guard.check(bearer(token), '/accounts.read');
    const scope = '/accounts.read';
    const grantId = '01973a00-0000-7000-8000-0000000000ab';
    const tokens = {
      one: await issuer.token({ scope }),
      ofGrant: await issuer.token({ scope, grantId }),
      ofClient: await issuer.token({ scope, clientId: 'c' }),
      other: await issuer.token({ scope }),
    };
    for (const token of Object.values(tokens)) assertAllowed(await check(token));
    await issuer.revoke(tokens.one);
    assert.equal(assertDenied(await check(tokens.one), 401).because, 'revoked');
    assertAllowed(await check(tokens.ofGrant));
    await issuer.revokeGrant(grantId);
    assertDenied(await check(tokens.ofGrant), 401);
    assertAllowed(await check(tokens.ofClient));
    await issuer.revokeClient('c');
    assertDenied(await check(tokens.ofClient), 401);
    assertAllowed(await check(tokens.other));
    await assert.rejects(issuer.revoke('a stranger'), TypeError);
  });

  test('simulates an outage, in which the guard refuses, introspects or allows as configured', async (t) => {
    for (const [whenStale, status] of [
      ['refuse', 503],
      ['introspect', 503],
      ['allow', 200],
    ] as const) {
      const { issuer, guard, clock } = await open(t, { whenStale, maxStalenessSeconds: 10 });
      const token = await issuer.token({ scope: '/accounts.read' });
      const revoked = await issuer.token({ scope: '/accounts.read' });
      await issuer.revoke(revoked);
      assertAllowed(await guard.check(bearer(token), '/accounts.read'));
      issuer.goAway(true);
      clock.advance(11);
      const decision = await guard.check(bearer(token), '/accounts.read');
      assert.equal(decision.allowed ? 200 : decision.status, status, whenStale);
      assert.equal(
        (await guard.check(bearer(revoked), '/accounts.read')).allowed,
        false,
        'what was heard of stays dead',
      );
      issuer.goAway(false);
      const end = performance.now() + 30_000;
      while (!(await guard.check(bearer(token), '/accounts.read')).allowed) {
        assert.ok(performance.now() < end, 'it comes back by itself');
        await new Promise(setImmediate);
      }
    }
  });

  test('allows a guard to be closed while its feed is open, and another to be opened', async (t) => {
    const first = await open(t);
    first.guard.close();
    await first.issuer.revoke(await first.issuer.token());
    const second = createGuard(first.issuer.options);
    t.after(() => second.close());
    await second.ready();
    assert.equal(second.health().revocations, 1);
  });
});

suite('opaque tokens', () => {
  const opaque = { scope: '/accounts.read', opaque: true };

  test("are refused if the guard doesn't accept them, and the issuer is not asked", async (t) => {
    const { issuer, guard, asked } = await open(t);
    assertDenied(await guard.check(bearer(await issuer.token(opaque)), '/accounts.read'), 401);
    assert.equal(asked.length, 0);
  });

  test('that are longer than any token are refused, and the issuer is not asked', async (t) => {
    const { guard, asked } = await open(t, { opaqueTokenSeconds: 1 });
    const longest = `hpat_${'a'.repeat(ACCESS_TOKEN_LENGTH_MAX - 5)}`;
    const denial = assertDenied(await guard.check(bearer(`${longest}a`), '/accounts.read'), 401);
    assert.deepEqual([denial.body.error, denial.because], ['invalid_token', 'too long']);
    assert.equal(asked.length, 0);
    assertDenied(await guard.check(bearer(longest), '/accounts.read'), 401);
    assert.equal(asked.length, 1);
  });

  test('are what the issuer says, and it is asked once per cache time', async (t) => {
    const { issuer, guard, asked, clock } = await open(t, { opaqueTokenSeconds: 2 });
    const token = await issuer.token(opaque);
    const checks = await Promise.all(Array.from({ length: 20 }, () => guard.check(bearer(token), '/accounts.read')));
    for (const decision of checks) assertAllowed(decision);
    const [decision] = checks;
    assert.ok(decision?.allowed);
    assert.equal(decision.grantId, undefined, 'the issuer does not tell');
    assert.deepEqual(decision.scopes, ['/accounts.read']);
    assert.equal(asked.length, 1);
    assertDenied(await guard.check(bearer(token), '/accounts.write'), 403);
    clock.advance(1.9);
    assertAllowed(await guard.check(bearer(token), '/accounts.read'));
    assert.equal(asked.length, 1);
    clock.advance(0.1);
    assertAllowed(await guard.check(bearer(token), '/accounts.read'));
    assert.equal(asked.length, 2);
  });

  test('are refused at once when revoked, and when their cache time is over if their grant is revoked', async (t) => {
    const { issuer, guard, clock } = await open(t, { opaqueTokenSeconds: 60 });
    const grantId = '01973a00-0000-7000-8000-0000000000ac';
    const [token, ofGrant, ofClient] = [
      await issuer.token(opaque),
      await issuer.token({ ...opaque, grantId }),
      await issuer.token({ ...opaque, clientId: 'c' }),
    ];
    const check = (text: string): Promise<Decision> => guard.check(bearer(text), '/accounts.read');
    for (const each of [token, ofGrant, ofClient]) assertAllowed(await check(each));
    await issuer.revoke(token);
    assert.equal(assertDenied(await check(token), 401).because, 'revoked');
    await issuer.revokeClient('c');
    assert.equal(assertDenied(await check(ofClient), 401).because, 'revoked');
    await issuer.revokeGrant(grantId);
    assertAllowed(await check(ofGrant));
    clock.advance(60);
    assert.equal(assertDenied(await check(ofGrant), 401).because, 'inactive by introspection');
  });

  test('for another API, from another issuer, expired or bound to a key are refused, whatever introspection says', async (t) => {
    const { issuer, guard, instead, clock } = await open(t, { opaqueTokenSeconds: 0 });
    const now = Math.floor(clock.now() / 1000);
    const good = {
      active: true,
      iss: issuer.options.issuer,
      aud: API,
      client_id: 'c',
      sub: 'c',
      iat: now,
      exp: now + 60,
      jti: '01973a00-0000-7000-8000-0000000000ad',
      scope: '/accounts.read',
    };
    const check = async (changes: object): Promise<Decision> => {
      instead.answer = async () => Response.json({ ...good, ...changes });
      return await guard.check(bearer('hpat_anything'), '/accounts.read');
    };
    assertAllowed(await check({}));
    assertAllowed(await check({ aud: ['x', API] }));
    for (const bad of [
      { active: false },
      { active: 'true' },
      { aud: 'x' },
      { aud: undefined },
      { iss: 'https://other.example' },
      { iss: undefined },
      { exp: now - 60 },
      { exp: undefined },
      { iat: now + 60 },
      { sub: 'd' },
      { jti: 'x' },
      { scope: ['/accounts.read'] },
      { cnf: {} },
      { cnf: { jkt: 'x' } },
    ]) {
      assertDenied(await check(bad), 401, JSON.stringify(bad));
    }
    assertDenied(await check({ scope: '/accounts.write' }), 403);
  });

  test('are cached up to a limit in number and in size, and the most recently used ones stay', async (t) => {
    const { issuer, guard, asked } = await open(t, { opaqueTokenSeconds: 60, rememberedTokensMax: 4 });
    const tokens = await Promise.all('abcde'.split('').map(() => issuer.token(opaque)));
    const countRequests = async (...at: readonly number[]): Promise<number> => {
      const before = asked.length;
      for (const index of at) assertAllowed(await guard.check(bearer(tokens[index] ?? ''), '/accounts.read'));
      return asked.length - before;
    };
    assert.equal(await countRequests(0, 1, 2), 3);
    assert.equal(await countRequests(0), 0);
    assert.equal(await countRequests(3, 4), 2);
    assert.equal(await countRequests(4, 3, 0), 0, 'the most recently used');
    assert.equal(await countRequests(1), 1, 'the least recently used');
    const none = await open(t, { opaqueTokenSeconds: 60, rememberedTokensMax: 0 });
    const long = await open(t, { opaqueTokenSeconds: 60, rememberedTokensMax: 1 });
    for (const [bench, scope] of [
      [none, '/accounts.read'],
      [long, `/accounts.read ${'/a.read '.repeat(300).trim()}`],
    ] as const) {
      const token = await bench.issuer.token({ ...opaque, scope });
      for (const count of [1, 2]) {
        assertAllowed(await bench.guard.check(bearer(token), '/accounts.read'));
        assert.equal(bench.asked.length, count);
      }
    }
  });

  test("are a 503 while the issuer can't be reached, and a 429 when too many are new at once", async (t) => {
    const { issuer, guard, instead, asked, clock } = await open(t, { opaqueTokenSeconds: 1 });
    for (const answer of [
      async () => new Response('{}', { status: 500 }),
      async () => new Response('no JSON'),
      async () => Response.error(),
    ]) {
      instead.answer = answer;
      assertDenied(await guard.check(bearer(await issuer.token(opaque)), '/accounts.read'), 503);
    }
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    delete instead.answer;
    const inUse = await issuer.token(opaque);
    assertAllowed(await guard.check(bearer(inUse), '/accounts.read'));
    const hold = async (): Promise<Response> => {
      await gate;
      return Response.json({ active: false });
    };
    instead.answer = hold;
    const before = asked.length;
    const flood = Array.from({ length: 400 }, (_, at) => guard.check(bearer(`hpat_${at}`), '/accounts.read'));
    while (asked.length < before + 64) await new Promise(setImmediate);
    clock.advance(2);
    delete instead.answer;
    const others = { ...bearer(await issuer.token(opaque)), address: '192.0.2.1' };
    const fromElsewhere = guard.check(others, '/accounts.read');
    assertAllowed(
      await guard.check(bearer(inUse), '/accounts.read'),
      'one that was active before does not wait behind guesses',
    );
    instead.answer = hold;
    release();
    delete instead.answer;
    assertAllowed(await fromElsewhere, 'and a new one from elsewhere has its turn');
    const decisions = await Promise.all(flood);
    const crowded = decisions.find((decision) => !decision.allowed && decision.status === 429);
    assert.ok(crowded !== undefined && !crowded.allowed);
    assert.equal(crowded.because, 'too many unknown tokens at once');
    const statuses = decisions.map((decision) => (decision.allowed ? 200 : decision.status));
    assert.equal(statuses.filter((status) => status === 401).length, 314);
    assert.equal(statuses.filter((status) => status === 429).length, 86);
    assertAllowed(await guard.check(bearer(await issuer.token(opaque)), '/accounts.read'));
  });
});

suite('API keys over Basic', () => {
  const basic = (
    key: { clientId: string; clientSecret: string } = KEY,
    more: object = {},
  ): Parameters<Guard['check']>[0] => ({
    method: 'GET',
    url: '/accounts',
    headers: { authorization: printPlainBasic(key) },
    ...more,
  });

  test("count as no credentials if the guard doesn't accept them", async (t) => {
    const { issuer, guard, asked } = await open(t);
    issuer.addKey(KEY);
    const denial = assertDenied(await guard.check(basic(), '/accounts.read'), 401);
    assert.match(denial.headers['WWW-Authenticate'] ?? '', /^Bearer/);
    assert.equal(asked.length, 0);
  });

  test("allow what the key's scopes allow and nothing else; a wrong key gets a Basic challenge", async (t) => {
    const { issuer, guard } = await open(t, { apiKeySeconds: 10 });
    issuer.addKey(KEY);
    const decision = await guard.check(basic(), '/accounts.read');
    assert.ok(decision.allowed);
    assert.deepEqual(decision.client, { kind: 'client', clientId: 'partner' });
    assert.deepEqual(decision.scopes, ['/accounts.read']);
    const lacking = assertDenied(await guard.check(basic(), '/accounts.write'), 403);
    assert.equal(lacking.body.error, 'insufficient_scope');
    assert.equal(lacking.body.scope, '/accounts.write');
    for (const wrong of [
      { ...KEY, clientSecret: 'wrong' },
      { ...KEY, clientSecret: '' },
      { ...KEY, clientId: 'unknown' },
    ]) {
      const denial = assertDenied(await guard.check(basic(wrong), '/accounts.read'), 401);
      assert.equal(denial.body.error, 'invalid_client');
      assert.match(denial.headers['WWW-Authenticate'] ?? '', /^Basic realm="/);
      assert.ok(!JSON.stringify(denial).includes('wrong'));
    }
    assertAllowed(await guard.check(bearer(await issuer.token({ scope: '/accounts.read' })), '/accounts.read'));
  });

  test('get 403 for an unknown route if valid, and 401 if not', async (t) => {
    const { issuer, guard } = await open(t, { apiKeySeconds: 10 });
    issuer.addKey(KEY);
    const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
    assertAllowed(await guard.checkRoute(policy, basic()));
    const nowhere = { url: '/nowhere' };
    assert.equal(assertDenied(await guard.checkRoute(policy, basic(KEY, nowhere)), 403).body.scope, undefined);
    assertDenied(await guard.checkRoute(policy, basic({ ...KEY, clientSecret: 'x' }, nowhere)), 401);
  });

  test("are exchanged once per cache time and scope, with the caller's address", async (t) => {
    const { issuer, guard, asked, clock } = await open(t, { apiKeySeconds: 10 });
    issuer.addKey({ ...KEY, scopes: ['/accounts.read', '/accounts.write'] });
    const request = basic(KEY, { address: '192.0.2.1' });
    const many = await Promise.all(Array.from({ length: 20 }, () => guard.check(request, '/accounts.read')));
    for (const decision of many) assertAllowed(decision);
    assert.equal(asked.length, 1);
    assert.equal(asked[0]?.caller, '192.0.2.1');
    assert.deepEqual(Object.fromEntries(new URLSearchParams(asked[0]?.body)), {
      grant_type: 'client_credentials',
      scope: '/accounts.read',
      resource: API,
    });
    assertAllowed(await guard.check(request, '/accounts.write'));
    assert.equal(asked.length, 2);
    clock.advance(9.9);
    assertAllowed(await guard.check(request, '/accounts.read'));
    assert.equal(asked.length, 2);
    clock.advance(0.1);
    assertAllowed(await guard.check(request, '/accounts.read'));
    assert.equal(asked.length, 3);
    assertDenied(await guard.check(basic({ ...KEY, clientSecret: 'x' }), '/accounts.read'), 401, 'not the cached one');
  });

  test('are refused as soon as the feed says that they are disabled', async (t) => {
    const { issuer, guard, clock } = await open(t, { apiKeySeconds: 300 });
    issuer.addKey(KEY);
    assertAllowed(await guard.check(basic(), '/accounts.read'));
    await issuer.removeKey(KEY.clientId);
    assertDenied(await guard.check(basic(), '/accounts.read'), 401);
    clock.advance(301);
    assertDenied(await guard.check(basic(), '/accounts.read'), 401);
  });

  test('get a new token at once when all their tokens were revoked: the key itself is still valid', async (t) => {
    const { issuer, guard, asked, clock } = await open(t, { apiKeySeconds: 300 });
    issuer.addKey(KEY);
    assertAllowed(await guard.check(basic(), '/accounts.read'));
    await issuer.revokeClient(KEY.clientId);
    clock.advance(2);
    const many = await Promise.all(Array.from({ length: 5 }, () => guard.check(basic(), '/accounts.read')));
    for (const decision of many) assertAllowed(decision);
    assert.equal(asked.length, 2);
    assertAllowed(await guard.check(basic(), '/accounts.read'));
    assert.equal(asked.length, 2, 'the new one is believed');
  });

  test('are refused if their new token is revoked too, after one exchange per request', async (t) => {
    const { issuer, guard, asked, instead } = await open(t, { apiKeySeconds: 300 });
    issuer.addKey(KEY);
    const token = await issuer.token({ scope: '/accounts.read', clientId: KEY.clientId });
    instead.answer = async () => Response.json({ access_token: token, token_type: 'Bearer' });
    assertAllowed(await guard.check(basic(), '/accounts.read'));
    await issuer.revoke(token);
    for (const times of [2, 3]) {
      assert.equal(assertDenied(await guard.check(basic(), '/accounts.read'), 401).because, 'revoked');
      assert.equal(asked.length, times);
    }
  });

  test('that are malformed, or sent along with a token, are a malformed request', async (t) => {
    const { issuer, guard, asked } = await open(t, { apiKeySeconds: 10 });
    issuer.addKey(KEY);
    const token = await issuer.token({ scope: '/accounts.read' });
    for (const authorization of [
      'Basic',
      'Basic ',
      'Basic !!!',
      'Basic YQ==',
      `Basic ${'A'.repeat(3)}`,
      `${printPlainBasic(KEY)}, Bearer ${token}`,
      [printPlainBasic(KEY), `Bearer ${token}`],
    ]) {
      const request = { method: 'GET', url: '/', headers: { authorization } };
      assertDenied(await guard.check(request, '/accounts.read'), 400, String(authorization));
    }
    assert.equal(asked.length, 0);
  });

  test('are exchanged again if the exchange returned an invalid token', async (t) => {
    const { guard, instead, asked, issuer } = await open(t, { apiKeySeconds: 10 });
    issuer.addKey(KEY);
    instead.answer = async () => Response.json({ access_token: 'not.a.token', token_type: 'Bearer' });
    assertDenied(await guard.check(basic(), '/accounts.read'), 401, 'a token of the issuer is checked like any other');
    delete instead.answer;
    assertAllowed(await guard.check(basic(), '/accounts.read'));
    assert.equal(asked.length, 2);
  });

  /** An issuer that holds all requests until released, and then knows a single key. */
  const hold = ({ instead, issuer }: Bench): (() => void) => {
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    issuer.addKey(KEY);
    instead.answer = async () => {
      await gate;
      return Response.json({ error: 'invalid_client' }, { status: 401 });
    };
    return () => {
      release();
      delete instead.answer;
    };
  };
  const guess = ({ guard }: Bench, at: number, address?: string): Promise<Decision> =>
    guard.check(
      basic({ ...KEY, clientSecret: `guess ${at}` }, address === undefined ? {} : { address }),
      '/accounts.read',
    );
  const statusOf = (decision: Decision): number => (decision.allowed ? 200 : decision.status);
  const countOf = (decisions: readonly Decision[], status: number): number =>
    decisions.filter((decision) => statusOf(decision) === status).length;

  test('queue up when new: 64 requests run, 250 per address or IPv6 network wait, and more get 429', async (t) => {
    for (const [count, addressOf, elsewhere] of [
      [400, () => '192.0.2.1', '192.0.2.2'],
      [1_100, (at: number) => `2001:db8:1:2::${at.toString(16)}`, '2001:db8:1:3::1'],
    ] as const) {
      const bench = await open(t, { apiKeySeconds: 10 });
      const release = hold(bench);
      const flood = Array.from({ length: count }, (_, at) => guess(bench, at, addressOf(at)));
      const partner = bench.guard.check(basic(KEY, { address: elsewhere }), '/accounts.read');
      while (bench.asked.length < 64) await new Promise(setImmediate);
      assert.equal(bench.asked.length, 64);
      release();
      const decisions = await Promise.all(flood);
      assert.deepEqual([countOf(decisions, 401), countOf(decisions, 429)], [314, count - 314]);
      const crowded = decisions.find((decision) => !decision.allowed && decision.status === 429);
      assert.ok(crowded !== undefined && !crowded.allowed);
      assert.equal(crowded.because, 'too many unknown keys at once');
      assertAllowed(await partner, 'a valid key from elsewhere gets its turn');
    }
  });

  test("known to be valid don't queue behind guesses, for any route and any number of guesses", async (t) => {
    const bench = await open(t, { apiKeySeconds: 10 });
    const { guard, instead, clock, asked } = bench;
    const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
    bench.issuer.addKey(KEY);
    assertAllowed(await guard.checkRoute(policy, basic()));
    assertDenied(await guard.checkRoute(policy, basic(KEY, { url: '/nowhere' })), 403);
    const release = hold(bench);
    const flood = Array.from({ length: 2_000 }, (_, at) => guess(bench, at, `192.0.2.${at % 100}`));
    while (asked.length < 66) await new Promise(setImmediate);
    assertAllowed(await guard.checkRoute(policy, basic()), 'known');
    clock.advance(11);
    const slow = instead.answer;
    delete instead.answer;
    assertAllowed(await guard.checkRoute(policy, basic()), 'asked about anew');
    assertDenied(await guard.checkRoute(policy, basic(KEY, { url: '/nowhere' })), 403);
    await bench.issuer.revokeClient(KEY.clientId);
    clock.advance(2);
    assertAllowed(await guard.checkRoute(policy, basic()), 'exchanged anew, since its tokens were ended');
    if (slow !== undefined) instead.answer = slow;
    release();
    assert.equal(countOf(await Promise.all(flood), 429), 2_000 - 1_064);
  });

  test("get 429 after five seconds if the issuer doesn't answer", async (t) => {
    const bench = await open(t, { apiKeySeconds: 10 });
    hold(bench);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const flood = Array.from({ length: 70 }, (_, at) => guess(bench, at));
    while (bench.asked.length < 64) await new Promise(setImmediate);
    t.mock.timers.tick(4_999);
    await new Promise(setImmediate);
    t.mock.timers.tick(1);
    const decisions = await Promise.all(flood.slice(64));
    assert.equal(countOf(decisions, 429), 6);
  });

  test('for an unknown route are checked once per cache time', async (t) => {
    const bench = await open(t, { apiKeySeconds: 10 });
    const { guard, asked, clock, issuer } = bench;
    const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
    const nowhere = (key = KEY): Promise<Decision> => guard.checkRoute(policy, basic(key, { url: '/nowhere' }));
    issuer.addKey(KEY);
    for (const decision of await Promise.all(Array.from({ length: 50 }, () => nowhere()))) assertDenied(decision, 403);
    assertDenied(await nowhere(), 403);
    assert.equal(asked.length, 1);
    clock.advance(10);
    assertDenied(await nowhere(), 403);
    assert.equal(asked.length, 2);
    await issuer.removeKey(KEY.clientId);
    clock.advance(10);
    assertDenied(await nowhere(), 401);
  });

  test('that no scope would help are checked with a ping', async (t) => {
    const { guard, instead, clock } = await open(t, { apiKeySeconds: 10 });
    const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
    for (const [status, error, answered] of [
      [200, '', 403],
      [403, 'insufficient_scope', 403],
      [401, 'invalid_client', 401],
      [402, '', 503],
      [404, 'not_found', 503],
      [400, 'invalid_scope', 503],
    ] as const) {
      instead.answer = async () => Response.json({ error }, { status });
      assertDenied(await guard.checkRoute(policy, basic(KEY, { url: '/nowhere' })), answered, `${status}`);
      clock.advance(10);
    }
  });

  test("get the issuer's error passed on, or a 503 if its response says nothing about the key", async (t) => {
    const { guard, instead } = await open(t, { apiKeySeconds: 10 });
    for (const [status, error, answered, code] of [
      [400, 'invalid_target', 400, 'invalid_target'],
      [400, 'invalid_dpop_proof', 400, 'invalid_dpop_proof'],
      [400, 'unauthorized_client', 400, 'unauthorized_client'],
      [403, 'access_denied', 403, 'access_denied'],
      [429, 'rate_limited', 429, 'rate_limited'],
      [400, 'invalid_request', 503, 'temporarily_unavailable'],
      [400, '__proto__', 503, 'temporarily_unavailable'],
      [503, 'temporarily_unavailable', 503, 'temporarily_unavailable'],
      [500, '', 503, 'temporarily_unavailable'],
      [200, '', 503, 'temporarily_unavailable'],
    ] as const) {
      instead.answer = async () => Response.json({ error }, { status });
      const denial = assertDenied(await guard.check(basic(), '/accounts.read'), answered, `${status} ${error}`);
      assert.equal(denial.body.error, code);
      const outage = `The issuer could not check a key: it answered ${status}.`;
      assert.equal(denial.because, answered === 503 ? outage : `the issuer answered the key with ${status}`);
    }
    const token = { access_token: 'a.good.one', token_type: 'Bearer' };
    for (const answer of [
      async () => new Response('no JSON', { status: 500 }),
      async () => Response.json(token, { status: 201 }),
    ]) {
      instead.answer = answer;
      assertDenied(await guard.check(basic(), '/accounts.read'), 503);
    }
  });
});

/** Misconfigurations that look like a bad token, or like nothing at all: the guard says what is wrong (ADR 31). */
import { PATHS } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { mock, suite, test } from 'node:test';
import { createGuard, Misconfigured, type GuardEvent, type GuardOptions } from '@hallpass/guard';
import { assertAllowed, assertDenied, bearer, guardOf } from './harness.ts';
import { answerWith, API, CREDENTIALS, Issuer, makeKey } from './issuer.ts';

const METADATA = '/.well-known/oauth-authorization-server';
const key = await makeKey('k1');

/** An issuer that calls itself by this name, whatever its address; undefined: it has no metadata. */
async function openNamed(name?: (url: string) => string): Promise<Issuer> {
  const issuer = new Issuer([key]);
  await issuer.open();
  if (name !== undefined) issuer.instead.set(METADATA, answerWith(200, JSON.stringify({ issuer: name(issuer.url) })));
  return issuer;
}

/** Runs a test with a guard at an issuer, and stops both. */
async function withGuard(
  issuer: Issuer,
  options: Partial<GuardOptions>,
  work: (bench: ReturnType<typeof guardOf>) => Promise<void>,
): Promise<void> {
  const bench = guardOf(issuer, options);
  try {
    await work(bench);
  } finally {
    bench.guard.close();
    await issuer.shut();
  }
}

const of = (events: readonly GuardEvent[], kind: GuardEvent['kind']): readonly GuardEvent[] =>
  events.filter((event) => event.kind === kind);

suite('an issuer with another name', () => {
  for (const [what, named] of [
    ['localhost for 127.0.0.1', (url: string) => url.replace('127.0.0.1', 'localhost')],
    ['a slash at the end', (url: string) => `${url}/`],
    ['another case', (url: string) => url.replace('http', 'HTTP')],
    ['https for http', (url: string) => url.replace('http', 'https')],
    ['another port', (url: string) => url.replace(/\d+$/, '1')],
    ['a path', (url: string) => `${url}/tenant`],
  ] as const) {
    test(`makes ready() reject and every token a 503: ${what}`, async () => {
      const issuer = await openNamed(named);
      const events: GuardEvent[] = [];
      await withGuard(issuer, { onEvent: (event) => events.push(event) }, async ({ guard, check }) => {
        await assert.rejects(guard.ready(), (error) => {
          assert.ok(error instanceof Misconfigured);
          assert.equal(error.code, 'issuer_differs');
          assert.ok(error.message.includes(`calls itself '${named(issuer.url)}'`), error.message);
          assert.ok(error.message.includes(`expects '${issuer.url}'`), error.message);
          return true;
        });
        const denial = assertDenied(await check(await issuer.token({ iss: named(issuer.url) })), 503);
        assert.match(denial.because, /^The issuer calls itself/);
        assert.equal(denial.headers['WWW-Authenticate'], undefined);
        assert.equal(of(events, 'issuer_differs').length, 1);
        // A wrong signature is still the token's fault.
        assertDenied(await check(`${(await issuer.token()).slice(0, -8)}AAAAAAAA`), 401);
      });
    });
  }

  test('is also discovered by the first token, if nobody waits for ready()', async () => {
    const issuer = await openNamed((url) => `${url}/`);
    await withGuard(issuer, {}, async ({ check }) => {
      assertDenied(await check(await issuer.token({ iss: `${issuer.url}/` })), 503);
    });
  });

  test('is accepted once it uses the right name', async () => {
    const issuer = await openNamed((url) => `${url}/`);
    const events: GuardEvent[] = [];
    await withGuard(issuer, { onEvent: (event) => events.push(event) }, async ({ guard, check, clock }) => {
      await assert.rejects(guard.ready(), Misconfigured);
      issuer.instead.set(METADATA, answerWith(200, JSON.stringify({ issuer: issuer.url })));
      clock.advance(5);
      issuer.heartbeat();
      await guard.ready();
      assert.equal(of(events, 'issuer_agrees').length, 1);
      assertAllowed(await check(await issuer.token()));
    });
  });

  test('is not checked without metadata: each token is compared, and a token of another issuer is a 401', async () => {
    for (const answer of [
      undefined,
      answerWith(404, '{}'),
      answerWith(503, '{}'),
      answerWith(200, 'x'),
      answerWith(200, '[]'),
      answerWith(200, '{"issuer":7}'),
    ]) {
      const issuer = await openNamed();
      if (answer !== undefined) issuer.instead.set(METADATA, answer);
      await withGuard(issuer, {}, async ({ guard, check }) => {
        await guard.ready();
        assertAllowed(await check(await issuer.token()));
        const denial = assertDenied(await check(await issuer.token({ iss: `${issuer.url}/` })), 401);
        assert.match(denial.body.error_description, /issuer \(iss\) of the access token is not the one/);
      });
    }
  });

  test("a token of another issuer is a 401 when the issuer's own name is right", async () => {
    const issuer = await openNamed((url) => url);
    await withGuard(issuer, {}, async ({ guard, check }) => {
      await guard.ready();
      assertDenied(await check(await issuer.token({ iss: 'https://evil.example' })), 401);
    });
  });
});

suite('credentials that the issuer refuses', () => {
  for (const [status, says] of [
    [401, /refused this guard's credentials \(401\)/],
    [403, /resource-server key: hallpass keys create/],
  ] as const) {
    test(`make ready() reject, and the first request a 503 at once: ${status}`, async () => {
      const issuer = await openNamed((url) => url);
      for (const path of [PATHS.revocations, `${PATHS.revocations}?after=`]) {
        issuer.instead.set(path, answerWith(status, '{}'));
      }
      // The longest wait allowed: if the guard waited, the test would too.
      await withGuard(issuer, { startWaitSeconds: 60 }, async ({ guard, check }) => {
        const denial = assertDenied(await check(await issuer.token()), 503);
        assert.match(denial.because, says);
        await assert.rejects(guard.ready(), { name: 'Misconfigured', code: 'credentials_refused', message: says });
        assert.ok(!denial.because.includes(CREDENTIALS.clientSecret));
      });
    });
  }

  test('are different from an outage, which ready() waits out', async () => {
    const issuer = await openNamed((url) => url);
    issuer.instead.set(PATHS.revocations, answerWith(503, '{}'));
    let hearLoss = (): void => {};
    const lost = new Promise<void>((resolve) => {
      hearLoss = resolve;
    });
    const onEvent = ({ kind }: GuardEvent): void => {
      if (kind === 'feed_lost') hearLoss();
    };
    await withGuard(issuer, { onEvent }, async ({ guard }) => {
      const ready = guard.ready();
      await lost;
      issuer.instead.delete(PATHS.revocations);
      await ready;
    });
  });
});

test('a token for another audience: both the client and the operator learn the audiences, the operator once for each', async () => {
  const issuer = await openNamed((url) => url);
  const events: GuardEvent[] = [];
  await withGuard(issuer, { onEvent: (event) => events.push(event) }, async ({ guard, check }) => {
    await guard.ready();
    for (let count = 0; count < 15; count++) {
      const other = `https://other-${count}.example`;
      for (const token of [await issuer.token({ aud: other }), await issuer.token({ aud: other })]) {
        const denial = assertDenied(await check(token), 401);
        assert.equal(denial.because, 'for another audience');
        assert.match(
          denial.body.error_description,
          /meant for another API\. .*audience.*: https:\/\/api\.example\.com$/,
        );
      }
    }
    const [first, ...more] = of(events, 'audience_differs');
    assert.deepEqual(first, { kind: 'audience_differs', expected: API, found: ['https://other-0.example'] });
    assert.equal(more.length, 9);
    // Only for tokens that the issuer signed.
    const forged = `${(await issuer.token({ aud: 'https://x.example' })).slice(0, -8)}AAAAAAAA`;
    assert.doesNotMatch(assertDenied(await check(forged), 401).body.error_description, /this audience/);
  });
});

suite('by default', () => {
  test('console.warn prints what an operator must change, once for each kind; with onEvent nothing is printed', async () => {
    const warn = mock.method(console, 'warn', () => {});
    try {
      const issuer = await openNamed((url) => `${url}/\u001b[2J`);
      const options = { issuer: issuer.url, audience: API, credentials: CREDENTIALS };
      const guard = createGuard(options);
      await assert.rejects(guard.ready(), Misconfigured);
      for (const aud of ['https://a.example', 'https://b.example']) {
        const token = await issuer.token({
          aud,
          iat: Math.floor(Date.now() / 1000),
          exp: Math.floor(Date.now() / 1000) + 60,
        });
        assertDenied(await guard.check(bearer(token), '/accounts.read'), 401);
      }
      guard.close();
      const said = warn.mock.calls.map(({ arguments: [sentence] }) => String(sentence));
      assert.equal(said.length, 2, said.join('\n'));
      assert.match(said[0] ?? '', /^Hallpass guard: The issuer calls itself 'http:\S+\\u001b\[2J'/);
      assert.match(
        said[1] ?? '',
        /^Hallpass guard: A token was refused because its audience is 'https:\/\/a\.example', and/,
      );
      const heard = createGuard({ ...options, onEvent: () => {} });
      await assert.rejects(heard.ready(), Misconfigured);
      heard.close();
      assert.equal(warn.mock.callCount(), 2);
      await issuer.shut();
    } finally {
      warn.mock.restore();
    }
  });

  test('refused credentials are printed once, and so is an issuer that cannot be reached', async () => {
    const warn = mock.method(console, 'warn', () => {});
    try {
      const issuer = await openNamed((url) => url);
      const credentials = { clientId: 'nobody', clientSecret: 'not-for-any-log-either' };
      const refused = createGuard({ issuer: issuer.url, audience: API, credentials });
      await assert.rejects(refused.ready(), { code: 'credentials_refused' });
      await assert.rejects(refused.ready(), { code: 'credentials_refused' });
      refused.close();
      await issuer.shut();
      const away = createGuard({ issuer: issuer.url, audience: API, credentials, startWaitSeconds: 0 });
      assertDenied(await away.check(bearer('x.y.z'), '/accounts.read'), 401);
      assertDenied(await away.check(bearer(await issuer.token()), '/accounts.read'), 503);
      away.close();
      const said = warn.mock.calls.map(({ arguments: [sentence] }) => String(sentence));
      assert.equal(said.length, 2, said.join('\n'));
      assert.match(said[0] ?? '', /refused this guard's credentials \(401\)/);
      assert.match(said[1] ?? '', /can't be reached: .*ECONNREFUSED\./);
      assert.ok(!said.join('').includes(credentials.clientSecret));
    } finally {
      warn.mock.restore();
    }
  });
});

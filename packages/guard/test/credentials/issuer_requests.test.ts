/** What a guard sends to its issuer, and what it makes of the responses. */
import { compilePolicy, createGuard, type Decision, type Guard, type GuardOptions } from '@hallpass/guard';
import { createTestIssuer, type TestIssuer } from '@hallpass/guard/testing';
import { parseBasic, PATHS, printBasic, printPlainBasic } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { after, mock, test } from 'node:test';
import { assertAllowed, assertDenied, bearer } from '../harness.ts';
import { API } from '../issuer.ts';

const KEY = { clientId: 'partner', clientSecret: 'secret', scopes: ['/accounts.read'] };
const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });

interface Sent {
  readonly url: string;
  readonly init: RequestInit;
  readonly headers: Headers;
}

interface Line {
  readonly issuer: TestIssuer;
  readonly guard: Guard;
  readonly sent: Sent[];
  /** Answers the requests for this path instead of the issuer. */
  readonly instead: Map<string, (signal: AbortSignal) => Response | Promise<Response>>;
  readonly last: (path: string) => Sent;
}

async function open(options: Partial<GuardOptions> = {}): Promise<Line> {
  const issuer = await createTestIssuer({ audience: API });
  issuer.addKey(KEY);
  const sent: Sent[] = [];
  const instead: Line['instead'] = new Map();
  const guard = createGuard({
    ...issuer.options,
    opaqueTokenSeconds: 0,
    apiKeySeconds: 1,
    onEvent: () => {},
    fetch: async (input, init = {}) => {
      const url = input instanceof Request ? input.url : input.toString();
      sent.push({ url, init, headers: new Headers(init.headers) });
      const answer = instead.get(new URL(url).pathname);
      if (answer !== undefined && init.signal instanceof AbortSignal) return await answer(init.signal);
      return (await issuer.options.fetch?.(new Request(input, init))) ?? Response.error();
    },
    ...options,
  });
  after(() => guard.close());
  const last = (path: string): Sent => {
    const found = sent.findLast(({ url }) => new URL(url).pathname.endsWith(path));
    assert.ok(found !== undefined, path);
    return found;
  };
  return { issuer, guard, sent, instead, last };
}

function withKey({ guard }: Line, address?: string, url = '/accounts'): Promise<Decision> {
  const request = { method: 'GET', url, headers: { authorization: printPlainBasic(KEY) } };
  return guard.checkRoute(policy, address === undefined ? request : { ...request, address });
}

test('no request follows redirects, and each carries only the credentials it needs', async () => {
  const line = await open();
  const { issuer, guard, sent, last } = line;
  await guard.ready();
  assertAllowed(
    await guard.check(bearer(await issuer.token({ scope: '/accounts.read', opaque: true })), '/accounts.read'),
  );
  assertAllowed(await withKey(line, '192.0.2.7'));
  assertDenied(await withKey(line, '192.0.2.7', '/nowhere'), 403);
  for (const { init } of sent) assert.deepEqual([init.redirect, init.cache], ['manual', 'no-store']);
  assert.deepEqual([...last(PATHS.jwks).headers.keys()], ['accept']);
  for (const path of [PATHS.introspect, PATHS.revocations]) {
    assert.deepEqual(parseBasic(last(path).headers.get('authorization') ?? ''), issuer.options.credentials, path);
  }
  // The caller's own credentials and address, and the guard's beside them: otherwise the issuer wouldn't trust the address.
  for (const [path, basic] of [
    [PATHS.token, printBasic(KEY)],
    [PATHS.ping, printPlainBasic(KEY)],
  ] as const) {
    const { headers } = last(path);
    assert.equal(headers.get('authorization'), basic);
    assert.deepEqual(parseBasic(headers.get('hallpass-guard') ?? ''), issuer.options.credentials);
    assert.equal(headers.get('hallpass-caller'), '192.0.2.7');
  }
});

test('a runtime that rejects the cache option is not asked for it', async () => {
  const { Request: Original } = globalThis;
  globalThis.Request = class extends Original {
    constructor(input: RequestInfo | URL, init?: RequestInit) {
      if (init?.cache !== undefined) throw new TypeError("The 'cache' field is not implemented.");
      super(input, init);
    }
  };
  try {
    const { guard, sent } = await open();
    await guard.ready();
    for (const { init } of sent) assert.ok(!('cache' in init));
  } finally {
    globalThis.Request = Original;
  }
});

test('an issuer with a path is reached below it, and each guard has its own follower id', async () => {
  const ids = new Set<string>();
  for (const issuerAddress of ['https://example.com/a/b', 'https://example.com/a/b/']) {
    const { guard, sent } = await open({ issuerAddress });
    guard.ready().catch(() => {});
    while (sent.length < 2) await new Promise(setImmediate);
    const followed = sent.find(({ url }) => url.startsWith(`https://example.com/a/b${PATHS.revocations}`));
    ids.add(followed?.headers.get('hallpass-follower') ?? '');
    guard.close();
  }
  assert.equal(ids.size, 2);
  for (const id of ids) assert.match(id, /^[\w-]{22}$/);
});

test("only an IP address is passed on as the caller's", async () => {
  const line = await open();
  const good = ['2001:db8::1', '[2001:db8::1]:4711', '::ffff:192.0.2.7', 'fe80::1%eth0', '192.0.2.7:80'];
  for (const [at, address] of [...good, '', '192.0.2.7\r\nX: y', '192.0.2.7, 192.0.2.8', 'a'.repeat(65)].entries()) {
    line.instead.set(PATHS.token, () => Response.json({ error: 'invalid_client' }, { status: 401 }));
    assertDenied(await withKey(line, address), 401);
    assert.equal(line.last(PATHS.token).headers.get('hallpass-caller'), at < good.length ? address : null);
  }
});

test('a response that is too large, not JSON, or not a 200 is an outage', async () => {
  const { issuer, guard, instead } = await open();
  const active = JSON.stringify({ active: false });
  for (const [response, status] of [
    [(): Response => new Response(active.padEnd(65_536)), 401],
    [(): Response => new Response(active.padEnd(65_537)), 503],
    [(): Response => new Response('<html>'), 503],
    [(): Response => new Response(Uint8Array.of(0x22, 0xff, 0x22)), 503],
    [(): Response => new Response(null, { status: 204 }), 503],
    [(): Response => new Response(active, { status: 201 }), 503],
    [(): Response => new Response(active, { status: 302, headers: { location: 'https://evil.example' } }), 503],
  ] as const) {
    instead.set(PATHS.introspect, response);
    assertDenied(await guard.check(bearer(await issuer.token({ opaque: true })), '/accounts.read'), status);
  }
});

test('a network error is reported by its code, and its message is never repeated', async () => {
  const { issuer, guard, instead } = await open();
  for (const [error, name] of [
    [
      new TypeError('Bearer secret', { cause: Object.assign(new Error('secret'), { code: 'ECONNREFUSED' }) }),
      'ECONNREFUSED',
    ],
    [new TypeError('Bearer secret', { cause: 'secret' }), 'TypeError'],
    [new DOMException('secret', 'AbortError'), 'AbortError'],
  ] as const) {
    instead.set(PATHS.introspect, () => Promise.reject(error));
    const { because } = assertDenied(
      await guard.check(bearer(await issuer.token({ opaque: true })), '/accounts.read'),
      503,
    );
    assert.equal(because, `The issuer could not be asked for ${PATHS.introspect}: ${name}.`);
  }
});

test('a response may take 5 s, including its body', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const never = (signal: AbortSignal): Promise<Response> =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
    const bodyNever = (signal: AbortSignal): Response =>
      new Response(
        new ReadableStream({
          start: (controller) => signal.addEventListener('abort', () => controller.error(signal.reason)),
        }),
      );
    for (const answer of [never, bodyNever]) {
      const { issuer, guard, instead, sent, last } = await open({ maxStalenessSeconds: 3_600 });
      instead.set(PATHS.introspect, answer);
      const checking = guard.check(bearer(await issuer.token({ opaque: true })), '/accounts.read');
      while (!sent.some(({ url }) => url.endsWith(PATHS.introspect))) await new Promise(setImmediate);
      mock.timers.tick(4_999);
      assert.equal(last(PATHS.introspect).init.signal?.aborted, false);
      mock.timers.tick(1);
      const { because } = assertDenied(await checking, 503);
      assert.equal(because, `The issuer could not be asked for ${PATHS.introspect}: no answer in time.`);
      guard.close();
    }
  } finally {
    mock.timers.reset();
  }
});

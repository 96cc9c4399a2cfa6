/** How a guard answers proxies: nginx's auth_request, Traefik's ForwardAuth, Envoy's ext_authz. */
import { compilePolicy, createGuard } from '@hallpass/guard';
import {
  forwardAuth,
  IDENTITY_FIELDS,
  PROXIES,
  type ForwardOptions,
  type ForwardRefusal,
  type Proxy,
} from '@hallpass/guard/forward';
import { createTestIssuer } from '@hallpass/guard/testing';
import { printBasic } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { createServer, request as send, type IncomingHttpHeaders } from 'node:http';
import { after, mock, suite, test } from 'node:test';
import { openBench } from '../harness.ts';
import { API, NOW_SECONDS } from '../issuer.ts';
import { listen } from './listen.ts';
import { Prover } from '../prover.ts';

const issuer = await createTestIssuer({ audience: 'https://api.example.com' });
const guard = createGuard({ ...issuer.options, opaqueTokenSeconds: 1 });
after(() => guard.close());
const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'POST /accounts': '/accounts.write',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
});
const token = await issuer.token({ scope: '/accounts/a1.read /accounts.read', clientId: 'partner & co' });
const authorization = `Bearer ${token}`;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Asked {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
}

const refusals: ForwardRefusal[] = [];

async function open(options: ForwardOptions): Promise<(asked: Asked) => Promise<Answer>> {
  const onRefusal = (refusal: ForwardRefusal): void => void refusals.push(refusal);
  const port = await listen(forwardAuth(guard, policy, { onRefusal, ...options }));
  return (asked) => askAt(port, asked);
}

function askAt(port: number, { method = 'GET', path = '/', headers = {} }: Asked): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = send({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    request.on('error', reject).end();
  });
}

/** How each proxy reports a client's request. */
const REPORTS: Readonly<Record<Proxy, (method: string, target: string) => Asked>> = {
  nginx: (method, target) => ({
    path: '/_hallpass',
    headers: { 'x-original-method': method, 'x-original-uri': target },
  }),
  traefik: (method, target) => ({ headers: { 'x-forwarded-method': method, 'x-forwarded-uri': target } }),
  envoy: (method, path) => ({ method, path }),
};

function about(proxy: Proxy, method: string, target: string, headers: Asked['headers'] = { authorization }): Asked {
  const asked = REPORTS[proxy](method, target);
  return { ...asked, headers: { ...asked.headers, ...headers } };
}

/** The status that the client gets. */
function statusFor(proxy: Proxy, { status, headers }: Answer): number {
  return proxy === 'nginx' && status !== 200 ? Number(headers['x-hallpass-status']) : status;
}

for (const proxy of ['nginx', 'traefik', 'envoy'] as const) {
  suite(`forward authentication for ${proxy}`, () => {
    test('allows what the policy allows, with the complete identity each time', async () => {
      const ask = await open({ proxy });
      const first = await ask(about(proxy, 'GET', '/accounts/a1?x=/accounts/a2'));
      assert.equal(first.status, 200);
      assert.equal(first.body, '');
      assert.equal(first.headers['x-hallpass-client'], 'partner%20%26%20co');
      assert.equal(first.headers['x-hallpass-parameters'], 'accountID=a1');
      assert.equal(first.headers['x-hallpass-route'], 'GET /accounts/{accountID}');
      assert.match(first.headers['x-hallpass-grant']?.toString() ?? '', /^[0-9a-f-]{36}$/);
      const plain = await ask(about(proxy, 'GET', '/accounts', { authorization: `bearer ${token}` }));
      const opaque = `Bearer ${await issuer.token({ scope: '/accounts.read', opaque: true })}`;
      const unknown = await ask(about(proxy, 'GET', '/accounts', { authorization: opaque }));
      for (const answer of [first, plain, unknown]) {
        assert.equal(answer.status, 200);
        for (const field of IDENTITY_FIELDS) assert.notEqual(answer.headers[field.toLowerCase()], undefined, field);
      }
      assert.equal(plain.headers['x-hallpass-parameters'], '');
      assert.equal(unknown.headers['x-hallpass-grant'], '');
    });

    test("refuses in the guard's words, and logs no query", async () => {
      const ask = await open({ proxy });
      refusals.length = 0;
      for (const [status, method, target, headers] of [
        [401, 'GET', '/accounts/a1?secret=1', {}],
        [401, 'GET', '/accounts/a1', { authorization: `Bearer ${token.slice(0, -4)}AAAA` }],
        [400, 'GET', '/accounts/a1', { authorization: 'Bearer' }],
        [403, 'GET', '/accounts/a2', { authorization }],
        [403, 'POST', '/accounts', { authorization }],
        [403, 'HEAD', '/accounts/a1', { authorization }],
        [403, 'OPTIONS', '/accounts/a1', { authorization }],
        [403, 'GET', '/nowhere', { authorization }],
        [403, 'GET', '/health/ready', { authorization }],
        [401, 'GET', '/health/ready', {}],
        [400, 'GET', '/accounts/a2/../a1', { authorization }],
        [400, 'GET', '//accounts/a1', { authorization }],
        [400, 'GET', '/accounts/a1%2f', { authorization }],
      ] as const) {
        const answer = await ask(about(proxy, method, target, headers));
        assert.equal(statusFor(proxy, answer), status, `${method} ${target}`);
        assert.equal(answer.headers['x-hallpass-client'], undefined);
        assert.ok(answer.status >= 400 && answer.status < 500, 'what every proxy takes for no');
        if (proxy === 'nginx') assert.equal(answer.body, '');
        const body = proxy === 'nginx' ? String(answer.headers['x-hallpass-body']) : answer.body;
        if (method !== 'HEAD' || proxy !== 'envoy') assert.match(body, /^\{"error":"[a-z_]+","error_description":"/);
      }
      assert.equal(refusals.length, 13);
      assert.equal(refusals[0]?.path, '/accounts/a1');
      assert.ok(!JSON.stringify(refusals).includes(token.slice(0, 40)));
    });

    test('refuses look-alikes and overrides, and overwrites identity headers that a client sends', async () => {
      const ask = await open({ proxy });
      for (const [name, because] of [
        ['X_Hallpass-Client', "'x_hallpass-client' looks like a field of the identity"],
        ['X-Hallpass.Token.Id', "'x-hallpass.token.id' looks like a field of the identity"],
        ['X_HTTP_Method', "'x_http_method' overrides the method or the path"],
      ] as const) {
        const answer = await ask(about(proxy, 'GET', '/accounts/a1?x=1', { authorization, [name]: 'me' }));
        assert.equal(statusFor(proxy, answer), 400, name);
        assert.equal(answer.headers['x-hallpass-client'], undefined);
        assert.deepEqual(refusals.pop(), { method: 'GET', path: '/accounts/a1', status: 400, because });
      }
      assert.equal(statusFor(proxy, await ask(about(proxy, 'GET', '/accounts/a1?_method=DELETE'))), 400);
      for (const name of IDENTITY_FIELDS) {
        const answer = await ask(about(proxy, 'GET', '/accounts/a1', { authorization, [name]: 'me' }));
        assert.equal(answer.headers['x-hallpass-client'], 'partner%20%26%20co');
      }
    });

    test("refuses anyone but the proxy, and doesn't log what they claim", async () => {
      const ask = await open({ proxy, trust: ['192.0.2.1', '2001:db8::/32', '10.0.0.0/8'] });
      refusals.length = 0;
      const answer = await ask(about(proxy, 'GET', '/accounts/a1'));
      assert.equal(answer.status, 403);
      assert.equal(answer.headers['content-type'], 'application/json');
      assert.equal(answer.headers['cache-control'], 'no-store');
      const body = proxy === 'nginx' ? String(answer.headers['x-hallpass-body']) : answer.body;
      assert.deepEqual(JSON.parse(body), {
        error: 'server_error',
        error_description: 'The proxy in front of this API is not set up for its guard.',
      });
      const because = 'the request does not come from a trusted proxy';
      assert.deepEqual(refusals, [{ method: '', path: '', status: 403, because }]);
      const trusting = await open({ proxy, trust: ['192.0.2.1', '127.0.0.0/8'] });
      assert.equal((await trusting(about(proxy, 'GET', '/accounts/a1'))).status, 200);
    });

    test('passes a new nonce on with an allowed request (RFC 9449 §8.2)', async () => {
      const bench = await openBench({ publicURL: API, dpopNonces: true, maxStalenessSeconds: 3_600 });
      const port = await listen(forwardAuth(bench.guard, policy, { proxy }));
      const prover = new Prover();
      const bound = await bench.issuer.token({ scope: '/accounts.read', cnf: { jkt: prover.jkt } });
      const ask = async (claims: object): Promise<Answer> => {
        const dpop = prover.prove(bound, { htu: `${API}/accounts`, ...claims });
        return await askAt(port, about(proxy, 'GET', '/accounts', { authorization: `DPoP ${bound}`, dpop }));
      };
      const nonce = (await ask({})).headers['dpop-nonce'];
      bench.clock.advance(60);
      const answer = await ask({ nonce, iat: NOW_SECONDS + 60 });
      assert.equal(answer.status, 200);
      assert.match(String(answer.headers['dpop-nonce']), /^[\w-]{22}$/);
      assert.notEqual(answer.headers['dpop-nonce'], nonce);
      assert.equal(answer.headers['x-hallpass-client'], 'client-1');
    });

    test('sends no response at all when it fails, and prints why: no proxy takes that for a yes', async () => {
      const print = mock.method(console, 'error', () => {});
      const onRefusal = (): never => {
        // Text from a stranger must not reach the operator's terminal unescaped.
        throw new Error('a log that is full: \u001b[2J\u202e');
      };
      const ask = await open({ proxy, onRefusal });
      await assert.rejects(ask(about(proxy, 'GET', '/accounts/a2')), /socket hang up/);
      const printed = print.mock.calls.map(({ arguments: [text] }) => String(text));
      assert.equal(printed.length, 1);
      assert.match(printed[0] ?? '', /^Error: a log that is full: \\u001b\[2J\\u202e\n +at /);
      assert.equal((await ask(about(proxy, 'GET', '/accounts/a1'))).status, 200);
      print.mock.restore();
    });
  });
}

test("a proxy that doesn't report the client's request, or reports it twice, is misconfigured: nothing passes", async () => {
  for (const [proxy, method, target] of [
    ['nginx', 'x-original-method', 'x-original-uri'],
    ['traefik', 'x-forwarded-method', 'x-forwarded-uri'],
  ] as const) {
    const ask = await open({ proxy });
    const unknown = `the proxy does not say ${method} and ${target}`;
    const twice = `${method} or ${target} occurs twice`;
    for (const [because, headers] of [
      [unknown, {}],
      [unknown, { [target]: '/accounts/a1' }],
      [unknown, { [method]: 'GET' }],
      [twice, { [method]: 'GET', [target]: ['/accounts/a1', '/accounts/a2'] }],
      [twice, { [method]: ['GET', 'POST'], [target]: '/accounts/a1' }],
      ['the target is not a path', { [method]: 'GET', [target]: '' }],
      ['the target is not a path', { [method]: 'GET', [target]: 'accounts/a1' }],
      ['the target is not a path', { [method]: 'GET', [target]: 'http://api.example.com/accounts/a1' }],
      ['the target is not a path', { [method]: 'GET', [target]: '*' }],
      [undefined, { [method]: 'GET', [target]: '/accounts/a1, /accounts/a2' }],
      [undefined, { [method]: 'get', [target]: '/accounts/a1' }],
    ] as const) {
      refusals.length = 0;
      const { status } = await ask({ path: '/accounts/a1', headers: { authorization, ...headers } });
      assert.equal(status === 200 ? 'passed' : 'refused', 'refused', JSON.stringify(headers));
      if (because !== undefined) assert.equal(refusals[0]?.because, because);
    }
  }
  const envoy = await open({ proxy: 'envoy' });
  assert.equal((await envoy({ method: 'OPTIONS', path: '*', headers: { authorization } })).status, 403);
});

test('nginx passes on the challenge of a 401 by itself, and needs another header for that of a 403', async () => {
  const ask = await open({ proxy: 'nginx' });
  const none = await ask(about('nginx', 'GET', '/accounts', {}));
  assert.equal(none.status, 401);
  assert.match(none.headers['www-authenticate'] ?? '', /^Bearer realm=/);
  assert.equal(none.headers['x-hallpass-challenge'], undefined);
  const lacking = await ask(about('nginx', 'GET', '/accounts/a2'));
  assert.equal(lacking.status, 403);
  assert.equal(lacking.headers['www-authenticate'], undefined);
  assert.match(String(lacking.headers['x-hallpass-challenge']), /insufficient_scope/);
});

test('every proxy takes an outage for a refusal', async () => {
  const away = createGuard({
    ...issuer.options,
    fetch: () => Promise.reject(new TypeError('away')),
    startWaitSeconds: 0,
  });
  after(() => away.close());
  for (const [proxy, status] of [
    ['nginx', 403],
    ['traefik', 503],
    ['envoy', 503],
  ] as const) {
    const server = createServer(forwardAuth(away, policy, { proxy }));
    const port = await listen((request, response) => void server.emit('request', request, response));
    const asked = about(proxy, 'GET', '/accounts/a1');
    const answer = await fetch(`http://127.0.0.1:${port}${asked.path ?? '/'}`, {
      headers: Object.fromEntries(Object.entries(asked.headers ?? {}).map(([name, value]) => [name, String(value)])),
    });
    assert.equal(answer.status, status);
    if (proxy === 'nginx') assert.equal(answer.headers.get('x-hallpass-status'), '503');
    assert.equal(answer.headers.get('retry-after'), '2');
  }
});

/** Whether a guard with this `trust` believes a request from that address. */
async function isTrusted(address: string | undefined, trust?: readonly string[]): Promise<boolean> {
  const forward = forwardAuth(guard, policy, { proxy: 'envoy', ...(trust === undefined ? {} : { trust }) });
  const port = await listen((request, response) => {
    Object.defineProperty(request.socket, 'remoteAddress', { value: address });
    forward(request, response);
  });
  return (await askAt(port, about('envoy', 'GET', '/accounts/a1'))).status === 200;
}

test('the configured addresses and networks are trusted, and by default only this machine', async () => {
  for (const [trust, addresses, others] of [
    [undefined, ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'], ['128.0.0.1', '::2', '::ffff:10.0.0.1']],
    [['192.0.2.7'], ['192.0.2.7', '::ffff:192.0.2.7'], ['192.0.2.8', '127.0.0.1', '::1']],
    [['2001:db8::7'], ['2001:db8::7'], ['2001:db8::8', '::1']],
    [['10.0.0.0/8'], ['10.0.0.1', '10.255.255.255', '::ffff:10.1.2.3'], ['11.0.0.0', '9.255.255.255']],
    [['2001:db8::/32'], ['2001:db8:ffff::1'], ['2001:db9::1']],
    [['192.0.2.7/32'], ['192.0.2.7'], ['192.0.2.6']],
    [['2001:db8::7/128'], ['2001:db8::7'], ['2001:db8::6']],
    [['0.0.0.0/0'], ['8.8.8.8'], ['2001:db8::1']],
    // The address of a closed socket is unknown.
    [
      ['0.0.0.0/0', '::/0'],
      ['8.8.8.8', '::1'],
      [undefined, ''],
    ],
    [[], [], ['127.0.0.1', '::1']],
  ] as const) {
    for (const address of addresses) assert.ok(await isTrusted(address, trust), `${address} in ${trust?.join(' ')}`);
    for (const address of others) assert.ok(!(await isTrusted(address, trust)), `${address} in ${trust?.join(' ')}`);
  }
});

test('trust must list addresses and networks', () => {
  for (const [sentence, entries] of [
    [
      'neither an address nor a network such as',
      ['proxy.example', '', '/8', '10.0.0/8', '10.0.0.0/8/8', '10.0.0.0/8/'],
    ],
    [
      'not a network such as',
      ['10.0.0.0/33', '10.0.0.0/', '::1/129', '10.0.0.0/ 8', '10.0.0.0/8 ', '10.0.0.0/+8', '10.0.0.0/0008', '::/x'],
    ],
  ] as const) {
    for (const entry of entries) {
      const error = new TypeError(`'${entry}' is ${sentence} 10.0.0.0/8.`);
      assert.throws(() => forwardAuth(guard, policy, { proxy: 'nginx', trust: [entry] }), error);
    }
  }
});

test('every supported proxy is tested', () => {
  assert.deepEqual([...PROXIES], Object.keys(REPORTS));
});

suite("the client's address, which the issuer counts wrong API keys by", () => {
  const KEY = { clientId: 'partner', clientSecret: 'secret', scopes: ['/accounts.read'] };
  issuer.addKey(KEY);

  /** The address that the issuer gets if a proxy on this machine sends these headers. */
  async function reportedAddress(
    proxy: Proxy,
    fields: Asked['headers'],
    trust?: readonly string[],
  ): Promise<string | null> {
    const callers: (string | null)[] = [];
    const taking = createGuard({
      ...issuer.options,
      apiKeySeconds: 1,
      fetch: async (input, init) => {
        const request = new Request(input, init);
        if (request.url.endsWith('/oauth2/token')) callers.push(request.headers.get('hallpass-caller'));
        return (await issuer.options.fetch?.(request)) ?? Response.error();
      },
    });
    const port = await listen(forwardAuth(taking, policy, { proxy, ...(trust === undefined ? {} : { trust }) }));
    const answer = await askAt(port, about(proxy, 'GET', '/accounts', { authorization: printBasic(KEY), ...fields }));
    taking.close();
    assert.equal(answer.status, 200);
    assert.equal(callers.length, 1);
    return callers[0] ?? null;
  }

  for (const proxy of PROXIES) {
    test(`is the last one in X-Forwarded-For for ${proxy}; anything a client wrote before it doesn't count`, async () => {
      assert.equal(await reportedAddress(proxy, { 'x-forwarded-for': '203.0.113.7' }), '203.0.113.7');
      assert.equal(await reportedAddress(proxy, { 'x-forwarded-for': '198.51.100.1, 203.0.113.7' }), '203.0.113.7');
      assert.equal(await reportedAddress(proxy, { 'x-forwarded-for': ['198.51.100.1', '203.0.113.7'] }), '203.0.113.7');
    });
  }

  test('is the one before all trusted proxies, or the first if all are trusted', async () => {
    const trust = ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32'];
    const forwarded = (value: string): Promise<string | null> =>
      reportedAddress('nginx', { 'x-forwarded-for': value }, trust);
    assert.equal(await forwarded('198.51.100.1, 203.0.113.7, 10.1.2.3,127.0.0.1'), '203.0.113.7');
    assert.equal(await forwarded('203.0.113.7:50123, [2001:db8::1]:443'), '203.0.113.7');
    assert.equal(await forwarded('[2001:db9::7]:50123, 10.0.0.1'), '2001:db9::7');
    assert.equal(await forwarded('10.0.0.2, 10.0.0.1'), '10.0.0.2');
    assert.equal(
      await forwarded('203.0.113.7, 192.168.0.1'),
      '192.168.0.1',
      'a proxy that is not trusted is the client',
    );
  });

  test("is unknown if the proxy gives none or something else: it is never the proxy's, nor one from another header", async () => {
    for (const value of [
      '',
      'unknown',
      '203.0.113.7, ',
      '203.0.113.7, unknown',
      '203.0.113.7, 1.2.3.4.5',
      '999.1.1.1',
    ]) {
      assert.equal(await reportedAddress('nginx', { 'x-forwarded-for': value }), null, value);
    }
    assert.equal(await reportedAddress('traefik', { 'x-real-ip': '203.0.113.7', forwarded: 'for=203.0.113.7' }), null);
  });
});

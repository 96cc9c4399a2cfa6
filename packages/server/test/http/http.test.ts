import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { test } from 'node:test';
import { listen } from '../../src/http/listener.ts';
import { openLog } from '../../src/http/log.ts';
import { respondJson, type Endpoint } from '../../src/wire.ts';
import { basicOf, exchangeRaw, startHallpass, within } from '../../../../testing/server/server.ts';
import { serve } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const FORM = 'application/x-www-form-urlencoded';
const ASK = 'grant_type=client_credentials&scope=%2Faccounts.write';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
for (const [path, allowed] of [
  ['/oauth2/token', ['POST', 'OPTIONS']],
  ['/oauth2/revoke', ['POST', 'OPTIONS']],
  ['/oauth2/introspect', ['POST']],
  ['/oauth2/jwks', ['GET', 'HEAD']],
  ['/oauth2/revocations', ['GET', 'HEAD']],
  ['/.well-known/oauth-authorization-server', ['GET', 'HEAD']],
  ['/.well-known/openid-configuration', ['GET', 'HEAD']],
  ['/ping', ['GET', 'HEAD']],
  ['/health/live', ['GET', 'HEAD']],
  ['/health/ready', ['GET', 'HEAD']],
] as const) {
  for (const method of METHODS.filter((one) => !allowed.some((other) => other === one))) {
    test(`${method} ${path} is 405, and Allow names ${allowed.join(', ')} (RFC 9110 §15.5.6)`, async () => {
      const headers = { authorization: basicOf(key), 'content-type': FORM };
      const body = ['GET', 'HEAD'].includes(method) ? {} : { body: ASK };
      const answer = await hallpass.request(path, { method, headers, ...body });
      assert.equal(answer.status, 405);
      if (method === 'HEAD') assert.equal(answer.text, '');
      else assert.equal(answer.body['error'], 'method_not_allowed');
      assert.deepEqual((answer.header('allow') ?? '').split(/, */).toSorted(), [...allowed].toSorted());
      assert.match(answer.header('cache-control') ?? '', /no-store/);
      assert.match(answer.header('x-request-id') ?? '', UUID);
    });
  }
}

test('a rare method is 405 too (RFC 9110 §15.5.6)', async () => {
  for (const method of ['PROPFIND', 'TRACE', 'MKCOL']) {
    const answer = await hallpass.raw(`${method} /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 405 /, method);
    assert.match(answer, /\r\nallow: POST/i);
  }
});

for (const path of ['/oauth2/jwks', '/.well-known/oauth-authorization-server', '/health/live', '/health/ready']) {
  test(`HEAD ${path} has the headers of GET and no body (RFC 9110 §9.3.2)`, async () => {
    const get = await hallpass.request(path);
    const head = await hallpass.request(path, { method: 'HEAD' });
    assert.equal(head.status, get.status);
    assert.equal(head.text, '');
    for (const name of ['content-type', 'cache-control', 'etag']) assert.equal(head.header(name), get.header(name));
  });
}

for (const path of [
  '/index.html',
  '/nothing',
  '/oauth2',
  '/oauth2/token/',
  '/oauth2/revoke/',
  '//oauth2/token',
  '/oauth2//token',
  '/OAUTH2/TOKEN',
  '/oauth2/token;x',
  '/oauth2/token%2f',
  '/oauth2/token%00',
  '/ping/',
  '/admin',
  '/metrics',
  '/__proto__',
  '/constructor',
]) {
  test(`${path} is 404 with a JSON error: no redirect, no alternative spelling (RFC 9700 §4.11)`, async () => {
    for (const method of ['GET', 'POST']) {
      const init = method === 'POST' ? { body: ASK } : {};
      const answer = await hallpass.request(path, {
        method,
        headers: { authorization: basicOf(key), 'content-type': FORM },
        ...init,
      });
      assert.equal(answer.outcome, '404 not_found');
      assert.equal(answer.header('location'), undefined);
      assert.match(answer.header('cache-control') ?? '', /no-store/);
      assert.match(answer.header('x-request-id') ?? '', UUID);
    }
  });
}

test("every response has a unique x-request-id, never the caller's", async () => {
  const mine = '11111111-2222-4333-8444-555555555555';
  const headers = { 'x-request-id': mine, 'request-id': mine };
  const seen = new Set<string | undefined>();
  for (const path of [
    '/ping',
    '/oauth2/jwks',
    '/health/live',
    '/nothing',
    '/oauth2/token',
    '/.well-known/oauth-authorization-server',
  ]) {
    for (let round = 0; round < 3; round++) {
      const id = (await hallpass.request(path, { headers })).header('x-request-id');
      assert.match(id ?? '', UUID);
      assert.notEqual(id, mine);
      seen.add(id);
    }
  }
  assert.equal(seen.size, 18);
});

test('an undecodable path is 400 with an x-request-id, like any response (contract §3)', async () => {
  const answer = await hallpass.request('/%zz');
  assert.ok(answer.status === 400 || answer.status === 404);
  assert.match(answer.header('x-request-id') ?? '', UUID);
  assert.match(answer.header('cache-control') ?? '', /no-store/);
});

// What is not HTTP, or is HTTP that two readers could read differently (RFC 9112 §6.1, §5.1, §2.2)
const SMUGGLED = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n';
for (const [name, request] of [
  [
    'two lengths',
    `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n${SMUGGLED}`,
  ],
  [
    'a length and chunks',
    `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  [
    'two transfer codings',
    `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  ],
  ['a folded header', `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`],
  ['a space before the colon', `POST /oauth2/token HTTP/1.1\r\nHost : x\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`],
  ['bare line feeds', `POST /oauth2/token HTTP/1.1\nHost: x\nContent-Length: 0\n\n${SMUGGLED}`],
  ['a length that is no number', `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1x\r\n\r\n${SMUGGLED}`],
  ['a negative length', `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n${SMUGGLED}`],
  [
    'an unknown transfer coding',
    `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n${SMUGGLED}`,
  ],
  [
    'a bad chunk size',
    `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n${SMUGGLED}`,
  ],
  [
    'a NUL in a header',
    `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nX-A: a\u0000b\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`,
  ],
  ['another protocol', 'SSH-2.0-OpenSSH_9.0\r\n'],
  ['TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003'],
  ['a head of 20 KiB', `GET /ping HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20 * 1024)}\r\n\r\n${SMUGGLED}`],
] as const) {
  test(`${name}: 4xx, the connection closes, and nothing behind it is served`, async () => {
    const answer = await hallpass.raw(Buffer.from(request, 'latin1'));
    assert.match(answer, /^HTTP\/1\.1 4\d\d /);
    assert.equal(answer.split('HTTP/1.1 ').length - 1, 1, answer);
    assert.doesNotMatch(answer, /"live"/);
    assert.match(answer, /\r\nx-request-id: [0-9a-f-]{36}\r\n/i);
  });
}

for (const [listener, path] of [
  ['public', '/health/live'],
  ['operator', '/health/live'],
  ['operator', '/metrics'],
] as const) {
  test(`${listener} listener, ${path}: a request that repeats a single-valued header is 400, and is not served`, async () => {
    const url = listener === 'public' ? hallpass.url : hallpass.operatorUrl;
    const ask = (...fields: readonly string[]): Promise<string> =>
      exchangeRaw(url, [[`GET ${path} HTTP/1.1`, ...fields, 'Connection: close', '', ''].join('\r\n')]);
    const basic = `Authorization: ${basicOf(key)}`;
    const host = 'Host: 127.0.0.1';
    for (const [name, ...fields] of [
      ['authorization', host, basic, basic],
      ['authorization', host, basic, 'AUTHORIZATION: Bearer abc'],
      ['authorization', host, 'authorization:', basic],
      ['host', host, 'Host: other.example.com'],
      ['host', host, 'host: 127.0.0.1'],
      ['content-type', host, `Content-Type: ${FORM}`, 'Content-Type: application/json'],
      ['origin', host, 'Origin: https://a.example', 'Origin: https://b.example'],
      ['referer', host, 'Referer: https://a.example/', 'Referer: https://b.example/'],
      ['last-event-id', host, 'Last-Event-ID: 1', 'Last-Event-ID: 2'],
    ]) {
      const answer = await ask(...fields);
      assert.match(answer, /^HTTP\/1\.1 400 /, fields.join());
      const sentence = `This header may be sent only once, and was repeated: ${name}`;
      assert.ok(answer.includes(`"error":"invalid_request","error_description":"${sentence}"`), answer);
      assert.match(answer, /\r\nconnection: close\r\n/i);
    }
    for (const fields of [
      [host],
      [host, basic],
      [host, basic, 'X-Authorization: a', 'Proxy-Authorization: b'],
      [host, 'X-Forwarded-For: 192.0.2.1', 'X-Forwarded-For: 192.0.2.2'],
      [host, 'Accept: text/html', 'Accept: application/json'],
    ]) {
      assert.match(await ask(...fields), /^HTTP\/1\.1 200 /, fields.join());
    }
  });
}

test('two Authorization headers are 400 at the token endpoint even if both are right; one gets a token', async () => {
  const ask = (count: number): Promise<string> => {
    const fields = Array.from({ length: count }, () => `Authorization: ${basicOf(key)}\r\n`).join('');
    const head = `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: ${FORM}\r\n${fields}`;
    return hallpass.raw(`${head}Content-Length: ${ASK.length}\r\n\r\n${ASK}`);
  };
  assert.match(await ask(2), /^HTTP\/1\.1 400 [^]*"invalid_request"/);
  assert.match(await ask(1), /^HTTP\/1\.1 200 [^]*"access_token"/);
});

test('a request with 200 headers, or with headers named like prototype members, is answered normally', async () => {
  const odd = ['__proto__', 'constructor', 'hasOwnProperty', 'toString'].map((name) => `${name}: x\r\n`).join('');
  const many = Array.from({ length: 200 }, (_, at) => `x-${at}: x\r\n`).join('');
  for (const more of [odd, many]) {
    assert.match(
      await hallpass.raw(`GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${more}\r\n`),
      /^HTTP\/1\.1 [24]\d\d /,
    );
  }
  assert.equal((await hallpass.request('/health/live')).status, 200);
});

const HOSTILE = [
  '"',
  '\\',
  '\r\nSet-Cookie: x=1',
  '\u0000',
  '\u007f',
  'é',
  '\u{1f511}',
  '\u202e',
  '<script>',
  '{"error":"x"}',
  '%0d%0a',
  '\t',
  "'",
];
const NAMES = [
  'grant_type',
  'scope',
  'refresh_token',
  'token',
  'token_type_hint',
  'client_id',
  'client_secret',
  'resource',
  'foo',
];
test('error and error_description contain only characters that RFC 6749 §5.2 allows, whatever was sent', async () => {
  for (const path of ['/oauth2/token', '/oauth2/revoke', '/oauth2/introspect']) {
    for (const name of NAMES) {
      for (const value of HOSTILE) {
        const base: Readonly<Record<string, string>> = {
          grant_type: 'client_credentials',
          scope: '/accounts.write',
          token: 'x',
        };
        const hostile = { ...base, [name]: value };
        const scoped = { ...base, [name]: `/a${value}.read` };
        for (const params of [hostile, scoped]) {
          for (const answer of [
            await hallpass.form(path, params, { key }),
            await hallpass.json(path, params, { key }),
          ]) {
            assert.ok(answer.status < 500, answer.text);
            assert.equal(answer.header('set-cookie'), undefined);
            if (answer.status < 400) continue;
            assert.match(String(answer.body['error']), /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/);
            assert.match(String(answer.body['error_description']), /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/);
          }
        }
      }
    }
  }
});

test('JSON members and form parameters named like prototype members change nothing', async () => {
  const ask = '"grant_type":"client_credentials","scope":"/accounts.write"';
  for (const odd of [
    '"__proto__":{"scope":"/x.y"}',
    '"constructor":{"prototype":{}}',
    '"toString":"x"',
    '"__proto__":null',
  ]) {
    assert.equal((await hallpass.json('/oauth2/token', `{${odd},${ask}}`, { key })).status, 200, odd);
  }
  assert.equal(
    (
      await hallpass.json(
        '/oauth2/token',
        '{"__proto__":{"grant_type":"client_credentials","scope":"/accounts.write"}}',
        { key },
      )
    ).outcome,
    '400 invalid_request',
  );
  assert.equal(
    (await hallpass.form('/oauth2/token', `${ASK}&__proto__=x&constructor=y&toString=z`, { key })).status,
    200,
  );
});

test('a response sets no cookie and forbids sniffing', async () => {
  const answer = await hallpass.form('/oauth2/token', ASK, { key, headers: { cookie: 'a=b' } });
  assert.equal(answer.header('set-cookie'), undefined);
  assert.equal(answer.header('x-content-type-options'), 'nosniff');
});

// Slow senders use a separate listener with a short timeout: the real one would cost ten seconds here.
const PATIENCE_MS = 300;
const BEGINNING = `POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\nContent-Length: 3\r\n`;
for (const [what, beginning] of [
  ['nothing at all', ''],
  ['half a head', BEGINNING],
  ['half a body', `${BEGINNING}\r\na=`],
] as const) {
  test(`a client that sends ${what} and then waits is cut off, and delays nobody (slow connections)`, async (t) => {
    const endpoint: Endpoint = async ({ body }) => respondJson(200, { bytes: body.length });
    const listener = await listen(
      { '/slow': { POST: endpoint } },
      { host: '127.0.0.1', port: 0, log: openLog('silent'), requestTimeoutMs: PATIENCE_MS },
    );
    t.after(() => listener.close());
    const { port, hostname } = new URL(listener.url);
    const slow = Array.from({ length: 200 }, () => createConnection(Number(port), hostname));
    const ends = slow.map(async (socket) => {
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
      socket.on('error', () => undefined);
      socket.write(beginning);
      await new Promise((resolve) => socket.once('close', resolve));
      return answer;
    });
    const asked = await fetch(`${listener.url}/slow`, { method: 'POST', body: 'a=b' });
    assert.deepEqual(await asked.json(), { bytes: 3 }, 'a client that sends it at once is answered');
    assert.ok(await within(30_000, Promise.all(ends)), 'all of them are cut off');
    for (const answer of await Promise.all(ends)) assert.match(answer, /^(HTTP\/1\.1 4\d\d |$)/);
  });
}

test('HTTP/1.1 without a Host is 400 with our error body; HTTP/1.0 needs none (RFC 9112 §3.2)', async () => {
  const without = await hallpass.raw('GET /health/live HTTP/1.1\r\nConnection: close\r\n\r\n');
  assert.match(without, /^HTTP\/1\.1 400 /);
  assert.match(without, /\r\nx-request-id: [0-9a-f-]{36}\r\n/i);
  assert.match(without, /"error":"invalid_request"/);
  assert.match(await hallpass.raw('GET /health/live HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 200 /);
});

test('the operator listener serves metrics and health, and no public endpoint', async () => {
  const at = async (path: string): Promise<number> => (await fetch(hallpass.operatorUrl + path)).status;
  assert.equal(await at('/metrics'), 200);
  assert.equal(await at('/health/live'), 200);
  for (const path of ['/oauth2/jwks', '/oauth2/token', '/ping']) assert.equal(await at(path), 404, path);
  assert.equal(new URL(hallpass.operatorUrl).hostname, '127.0.0.1');
});

// Draining
const half = `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: ${FORM}\r\nAuthorization: ${basicOf(key)}\r\nContent-Length: ${ASK.length}\r\n`;
for (const [name, first, second] of [
  ['whose body was still to come', `${half}\r\n${ASK.slice(0, 5)}`, ASK.slice(5)],
  ['whose head was still to come', half, `\r\n${ASK}`],
] as const) {
  test(`a request ${name} when the server began to stop gets a response of the contract`, async () => {
    const closing = await startHallpass();
    const by = await closing.makeKey({ imported: { ...key, allowWeak: false } });
    assert.equal(by.clientId, key.clientId);
    const { port, hostname } = new URL(closing.url);
    const socket = createConnection(Number(port), hostname);
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const ended = new Promise<void>((resolve) => {
      socket.on('close', () => resolve());
    });
    socket.on('error', () => undefined);
    socket.write(first);
    // Another request on another connection is answered after this one's beginning has arrived.
    await closing.request('/health/live');
    const closed = closing.close();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    socket.write(second);
    const inTime = await within(30_000, Promise.all([ended, closed]));
    socket.destroy();
    await closed;
    assert.match(text, /^HTTP\/1\.1 (200|503) /);
    assert.match(text, /\r\nx-request-id: /i);
    if (text.startsWith('HTTP/1.1 503')) {
      assert.match(text, /\r\nretry-after: /i);
      assert.match(text, /temporarily_unavailable/);
    }
    assert.ok(inTime, 'and the server does not wait for the connection to close');
  });
}

// The log goes to standard error, so this needs a server in another process.
test('the log of a run has a line for each request, and no secret or token', async (t) => {
  const { url, environment, child, stderr } = await serve(t, { HALLPASS_LOG_LEVEL: 'info' });
  const made = await runCommand(
    ['keys', 'create', 'a key', '--scope', '/accounts.write', '--scope', '/ping.read', '--json'],
    environment,
  );
  const document: unknown = JSON.parse(made.stdout);
  assert.ok(
    typeof document === 'object' && document !== null && 'client_id' in document && 'client_secret' in document,
  );
  const by = { clientId: String(document.client_id), clientSecret: String(document.client_secret) };
  const headers = { authorization: basicOf(by), 'content-type': FORM };
  const post = async (path: string, body: string, more: Readonly<Record<string, string>> = {}): Promise<Response> =>
    fetch(url + path, { method: 'POST', headers: { ...headers, ...more }, body });
  const issued: unknown = await (await post('/oauth2/token', ASK)).json();
  assert.ok(typeof issued === 'object' && issued !== null && 'access_token' in issued && 'refresh_token' in issued);
  const [access, refresh] = [String(issued.access_token), String(issued.refresh_token)];
  const secrets = [by.clientSecret, access, refresh, headers.authorization.slice('Basic '.length)];
  const traps = [
    'wrong-secret-0123456789',
    'not-a-token-0123456789',
    'hprt_not-a-token-0123456789',
    'query-token-0123456789',
    'name-0123456789',
  ];
  await post('/oauth2/token', `grant_type=refresh_token&refresh_token=${refresh}`);
  await post('/oauth2/token', 'grant_type=refresh_token&refresh_token=hprt_not-a-token-0123456789');
  await post('/oauth2/token', ASK, { authorization: basicOf({ ...by, clientSecret: 'wrong-secret-0123456789' }) });
  await post('/oauth2/token', ASK, {
    authorization: basicOf({ clientId: by.clientSecret, clientSecret: by.clientId }),
  });
  await post('/oauth2/token', 'name-0123456789=1&name-0123456789=2');
  await post(`/oauth2/token?client_secret=query-token-0123456789`, ASK);
  await post('/oauth2/introspect', `token=${access}`);
  await post('/oauth2/introspect', 'token=not-a-token-0123456789');
  await post('/oauth2/revoke', `token=${refresh}`);
  await fetch(`${url}/ping`, { headers: { authorization: `Bearer ${access}` } });
  await fetch(`${url}/ping?access_token=query-token-0123456789`);
  await fetch(`${url}/query-token-0123456789`);
  child.kill('SIGTERM');
  await new Promise((resolve) => {
    child.once('close', resolve);
  });
  const lines = stderr().trim().split('\n');
  assert.ok(lines.length >= 12, stderr());
  for (const line of lines) {
    const entry: unknown = JSON.parse(line);
    assert.ok(typeof entry === 'object' && entry !== null);
  }
  for (const secret of [...secrets, ...traps]) assert.ok(!stderr().includes(secret), `the log holds ${secret}`);
});

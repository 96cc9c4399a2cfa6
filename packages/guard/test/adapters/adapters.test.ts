import { compilePolicy, type RouteAccess } from '@hallpass/guard';
import { protect as protectFetch } from '@hallpass/guard/fetch';
import { protect as protectNode } from '@hallpass/guard/node';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as send, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { mock, test } from 'node:test';
import { bearer, openBench } from '../harness.ts';
import { makeId } from '../issuer.ts';
import { listen } from './listen.ts';
import { send as wire } from '../wire.ts';

const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'GET /accounts/{accountID}/transfers/{id}': '/accounts/{accountID}/transfers.read',
});
type Routes = 'GET /accounts' | 'GET /accounts/{accountID}/transfers/{id}';

const { issuer, guard, events } = await openBench();
const good = await issuer.token({ scope: '/accounts.read /accounts/a1/transfers.read' });

/** The URL of a listener that runs until the tests end. */
async function serve(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(listener)}`;
}

/** Like a runtime for web handlers: a `Request` from the wire, the `Response` back, 500 if the handler throws. */
function runtime(handler: (request: Request) => Promise<Response>, origin: string): RequestListener {
  const respond = async ({ url = '', method = '', rawHeaders }: IncomingMessage): Promise<Response> => {
    const headers = new Headers();
    for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '');
    return await handler(new Request(origin + url, { method, headers }));
  };
  return (request, response) => {
    respond(request).then(
      async (answer) => response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text()),
      () => response.writeHead(500).end(),
    );
  };
}

type Reply = (access: RouteAccess<Routes>) => string | Promise<string>;

const ADAPTERS: Readonly<Record<string, (reply: Reply) => Promise<string>>> = {
  node: (reply) =>
    serve(protectNode(guard, policy, async (_request, response, access) => void response.end(await reply(access)))),
  fetch: (reply) =>
    serve(
      runtime(
        protectFetch(guard, policy, async (_request, access) => new Response(await reply(access))),
        'http://api',
      ),
    ),
};

for (const [name, open] of Object.entries(ADAPTERS)) {
  test(`${name}: the handler gets the caller, the route and the values`, async () => {
    const seen: RouteAccess<Routes>[] = [];
    const url = await open((access) => {
      seen.push(access);
      return access.route === 'GET /accounts' ? 'all' : `${access.values.accountID} ${access.values.id}`;
    });
    const { headers } = bearer(good);
    assert.equal(await (await fetch(`${url}/accounts`, { headers })).text(), 'all');
    assert.equal(await (await fetch(`${url}/accounts/a1/transfers/%C3%A9%20?x=1`, { headers })).text(), 'a1 é ');
    assert.deepEqual(
      seen.map(({ route, client }) => [route, client.clientId]),
      [
        ['GET /accounts', 'client-1'],
        ['GET /accounts/{accountID}/transfers/{id}', 'client-1'],
      ],
    );
  });

  test(`${name}: a refused request never reaches the handler and gets the response of RFC 6750 §3`, async () => {
    let called = 0;
    const url = await open(() => {
      called += 1;
      return '';
    });
    const refused = [
      [401, '/accounts', {}],
      [401, '/accounts', { authorization: 'Bearer abc' }],
      [400, '/accounts', { authorization: 'Bearer' }],
      [403, '/accounts/a2/transfers/1', bearer(good).headers],
      [403, '/nowhere', bearer(good).headers],
      [400, '/accounts/a1%2f/transfers/1', bearer(good).headers],
    ] as const;
    for (const [status, path, headers] of refused) {
      const response = await fetch(url + path, { headers });
      assert.equal(response.status, status, path);
      assert.equal(response.headers.get('content-type'), 'application/json');
      assert.equal(response.headers.get('cache-control'), 'no-store');
      if (!path.includes('%')) assert.match(response.headers.get('www-authenticate') ?? '', /^Bearer realm=/);
      const body: unknown = await response.json();
      assert.ok(typeof body === 'object' && body !== null);
      assert.deepEqual(Object.keys(body).slice(0, 2), ['error', 'error_description']);
      // The missing scope, filled in for this request; absent if no scope would help.
      assert.equal('scope' in body, path.startsWith('/accounts/a2'), path);
    }
    assert.equal(called, 0);
    assert.equal((await fetch(`${url}/accounts`, { headers: bearer(good).headers })).status, 200);
    assert.equal(called, 1);
  });

  test(`${name}: a request that the handler might read differently is 400: overrides, look-alikes, a second host`, async () => {
    let called = 0;
    const url = await open(() => {
      called += 1;
      return '';
    });
    const ask = async (...fields: readonly string[]): Promise<number> =>
      (await wire(Number(new URL(url).port), 'GET /accounts', `Authorization: Bearer ${good}`, ...fields)).status;
    for (const field of [
      'X-HTTP-Method-Override: DELETE',
      'x-http-method: DELETE',
      'X_METHOD_OVERRIDE: DELETE',
      'X-Original-URL: /accounts/a2/transfers/1',
      'X-Rewrite_URL: /accounts/a2/transfers/1',
      'X_Hallpass_Client: me',
      'Host: other.example.com',
      'Authorization: Basic YTpi',
    ]) {
      assert.equal(await ask(field), 400, field);
    }
    assert.equal(called, 0);
    for (const field of ['X-HTTP-Methods: DELETE', 'X-Hallpass-Client: me', 'X-Forwarded-Host: other.example.com']) {
      assert.equal(await ask(field), 200, field);
    }
    assert.equal(called, 3);
  });

  test(`${name}: a revoked token is refused at the next request`, async () => {
    const url = await open(() => 'in');
    const jti = makeId();
    const { headers } = bearer(await issuer.token({ jti }));
    assert.equal((await fetch(`${url}/accounts`, { headers })).status, 200);
    const held = guard.health().revocations;
    issuer.revoke({ kind: 'token', id: jti });
    while (guard.health().revocations === held) await new Promise((resolve) => setImmediate(resolve));
    assert.equal((await fetch(`${url}/accounts`, { headers })).status, 401);
    assert.equal(events.count('feed_lost'), 0);
  });

  test(`${name}: when the handler fails, the caller only learns that it failed (500)`, async () => {
    const print = mock.method(console, 'error', () => {});
    for (const fail of [
      () => {
        throw new Error('a secret of the handler');
      },
      () => Promise.reject(new Error('a secret of the handler')),
    ]) {
      const url = await open(fail);
      const response = await fetch(`${url}/accounts`, { headers: bearer(good).headers });
      assert.equal(response.status, 500);
      assert.ok(!(await response.text()).includes('secret'));
    }
    // With web handlers, the runtime prints the error.
    assert.equal(print.mock.callCount(), name === 'node' ? 2 : 0);
    print.mock.restore();
  });
}

test('fetch: the handler and the guard see the same path, with dot segments resolved', async () => {
  const handler = protectFetch(guard, policy, (request) => new Response(new URL(request.url).pathname));
  const { headers } = bearer(good);
  assert.equal(await (await handler(new Request('http://api/x/../accounts', { headers }))).text(), '/accounts');
  assert.equal((await handler(new Request('http://api/accounts/a1/transfers/../../a2', { headers }))).status, 403);
});

/** The complete response; undefined if the connection was cut. */
async function receive(
  url: string,
): Promise<{ readonly response: IncomingMessage; readonly body: string } | undefined> {
  const asked = send(`${url}/accounts`, { headers: bearer(good).headers, agent: false }).end();
  const [response]: IncomingMessage[] = await once(asked, 'response');
  assert.ok(response !== undefined);
  let body = '';
  try {
    for await (const piece of response.setEncoding('utf8')) body += String(piece);
  } catch {
    return undefined;
  }
  return { response, body };
}

test('node: headers that a handler set before it failed are not sent with the 500', async () => {
  const print = mock.method(console, 'error', () => {});
  const url = await serve(
    protectNode(guard, policy, (_request: IncomingMessage, response: ServerResponse) => {
      response.setHeader('content-length', '3');
      response.setHeader('content-encoding', 'gzip');
      response.setHeader('set-cookie', 'a=b');
      response.setHeader('cache-control', 'public, max-age=3600');
      response.statusMessage = 'a secret of the handler';
      throw new Error('too late');
    }),
  );
  const { response, body } = (await receive(url)) ?? {};
  assert.equal(response?.statusCode, 500);
  assert.equal(response.statusMessage, 'Internal Server Error');
  assert.equal(body, '{"error":"server_error"}');
  assert.deepEqual([response.headers['content-encoding'], response.headers['set-cookie']], [undefined, undefined]);
  assert.equal(response.headers['content-type'], 'application/json');
  assert.equal(response.headers['cache-control'], 'no-store');
  print.mock.restore();
});

const WHOLE_LENGTH = 32_000_000;

test('node: half a response is cut off, and a complete one is left alone', async () => {
  const print = mock.method(console, 'error', () => {});
  const half = await serve(
    protectNode(guard, policy, (_request, response) => {
      response.write('half');
      return new Promise((_resolve, reject) => setImmediate(() => reject(new Error('in the middle'))));
    }),
  );
  assert.equal(await receive(half), undefined);
  const whole = await serve(
    protectNode(guard, policy, (_request, response) => {
      // More than all buffers can hold, so it's still being sent.
      response.end('x'.repeat(WHOLE_LENGTH));
      throw new Error('afterwards');
    }),
  );
  assert.equal((await receive(whole))?.body.length, WHOLE_LENGTH);
  print.mock.restore();
});

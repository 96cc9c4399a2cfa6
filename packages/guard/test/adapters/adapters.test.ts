import { getRequestListener } from '@hono/node-server';
import { protect as protectFetch } from '@hallpass/guard/fetch';
import { protect as protectNode } from '@hallpass/guard/node';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as send, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { mock, test } from 'node:test';
import { bearer, openBench } from '../harness.ts';
import { describeFramework, policy } from './framework_suite.ts';
import { listen } from './listen.ts';

describeFramework({
  name: 'node',
  serve: (guard, reply) =>
    listen(protectNode(guard, policy, async (_request, response, access) => void response.end(await reply(access)))),
  dotSegments: 'kept',
  hasRouter: false,
});

describeFramework({
  name: 'fetch',
  serve: (guard, reply) =>
    serveFetch(protectFetch(guard, policy, async (_q, access) => new Response(await reply(access)))),
  dotSegments: 'resolved',
  hasRouter: false,
});

/** Serves a web handler the way its runtimes do. */
function serveFetch(handler: (request: Request) => Promise<Response>): Promise<number> {
  const respond = getRequestListener(handler);
  return listen((request, response) => void respond(request, response));
}

const { issuer, guard } = await openBench();
const good = await issuer.token({ scope: '/accounts.read /accounts/a1.read' });

/** The URL of a listener that runs until the tests end. */
async function serve(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(listener)}`;
}

test('node: when the handler fails, the caller only learns that it failed (500), and the error is printed', async () => {
  const print = mock.method(console, 'error', () => {});
  for (const fail of [
    () => {
      throw new Error('a secret of the handler');
    },
    () => Promise.reject(new Error('a secret of the handler')),
  ]) {
    const url = await serve(protectNode(guard, policy, fail));
    const response = await fetch(`${url}/accounts`, { headers: bearer(good).headers });
    assert.equal(response.status, 500);
    assert.ok(!(await response.text()).includes('secret'));
  }
  assert.equal(print.mock.callCount(), 2);
  print.mock.restore();
});

test('fetch: an error of the handler is left to the runtime', async () => {
  const failure = new Error('a secret of the handler');
  const handler = protectFetch(guard, policy, () => Promise.reject(failure));
  await assert.rejects(handler(new Request('http://api/accounts', { headers: bearer(good).headers })), failure);
});

test('fetch: the handler and the guard see the same path, with dot segments resolved', async () => {
  const handler = protectFetch(guard, policy, (request) => new Response(new URL(request.url).pathname));
  const { headers } = bearer(good);
  assert.equal(await (await handler(new Request('http://api/x/../accounts', { headers }))).text(), '/accounts');
  assert.equal((await handler(new Request('http://api/accounts/a1/../a2', { headers }))).status, 403);
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

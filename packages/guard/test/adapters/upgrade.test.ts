/** Upgrades and CONNECT, which Node passes to separate listeners, with every adapter for Node. */
import { getRequestListener } from '@hono/node-server';
import type { Access, Guard } from '@hallpass/guard';
import { compilePolicy } from '@hallpass/guard';
import { protect as protectExpress } from '@hallpass/guard/express';
import { protect as protectFastify } from '@hallpass/guard/fastify';
import { protect as protectHono } from '@hallpass/guard/hono';
import { protect, protectUpgrade } from '@hallpass/guard/node';
import express from 'express';
import { fastify } from 'fastify';
import { Hono } from 'hono';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { after, mock, test } from 'node:test';
import { assertAllowed, bearer, guardOf, openBench } from '../harness.ts';
import { API } from '../issuer.ts';
import { Prover } from '../prover.ts';

const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'GET /accounts/{accountID}/events': '/accounts/{accountID}/events.read',
});
const EVENTS = 'GET /accounts/{accountID}/events';

const { guard, issuer } = await openBench();
const token = await issuer.token({ scope: '/accounts.read /accounts/a1/events.read' });
const AUTHORIZED = `Authorization: Bearer ${token}`;
const WEBSOCKET = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'];

type Handle = (socket: Duplex, head: Buffer) => void | Promise<void>;

/** An echo after the protocol switch. */
function echo(socket: Duplex, head: Buffer): void {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  socket.write(head);
  socket.pipe(socket);
}

/** Servers whose requests are guarded by their adapter; their upgrades aren't yet. */
const SERVERS: Readonly<Record<string, (by: Guard) => Promise<Server>>> = {
  node: async (by) => createServer(protect(by, policy, (_request, response) => void response.end('in'))),
  express: async (by) => {
    const { check, route } = protectExpress(by, policy);
    const app = express().use(check);
    app.get(
      '/accounts',
      route('GET /accounts', (_request, response) => response.send('in')),
    );
    return createServer(app);
  },
  fastify: async (by) => {
    const { check, route } = protectFastify(by, policy);
    const app = fastify();
    app.addHook('onRequest', check);
    app.get(
      '/accounts',
      route('GET /accounts', () => 'in'),
    );
    await app.ready();
    return app.server;
  },
  hono: async (by) => {
    const { check, route } = protectHono(by, policy);
    const app = new Hono().use(check).get(
      '/accounts',
      route('GET /accounts', (c) => c.text('in')),
    );
    const respond = getRequestListener(app.fetch);
    return createServer((request, response) => void respond(request, response));
  },
};

async function open(
  name: string,
  handle: Handle = echo,
  by = guard,
): Promise<{ readonly port: number; readonly ran: Access[]; readonly server: Server }> {
  const server = await SERVERS[name]?.(by);
  assert.ok(server !== undefined);
  const ran: Access[] = [];
  const listener = protectUpgrade(by, policy, EVENTS, async (_request, socket, head, access) => {
    ran.push(access);
    await handle(socket, head);
  });
  server.on('upgrade', listener).on('connect', listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { port: address.port, ran, server };
}

/** Sends a head and the data after it, and reads until the server closes the connection or `until` arrives. */
async function exchange(
  port: number,
  lines: readonly string[],
  { rest = '', until }: { readonly rest?: string; readonly until?: string } = {},
): Promise<string> {
  const socket: Socket = connect(port, '127.0.0.1');
  const [requestLine = '', ...fields] = lines;
  socket.write([`${requestLine} HTTP/1.1`, 'Host: api.example.com', ...fields, '', rest].join('\r\n'));
  let text = '';
  for await (const piece of socket.setEncoding('utf8')) {
    text += String(piece);
    if (until !== undefined && text.endsWith(until)) break;
  }
  return text;
}

for (const name of Object.keys(SERVERS)) {
  test(`${name}: an upgrade reaches its handler with the decision and the data sent with it`, async () => {
    const { port, ran } = await open(name);
    const lines = ['GET /accounts/a1/events?x=1', AUTHORIZED, ...WEBSOCKET];
    const text = await exchange(port, lines, { rest: 'first words', until: 'first words' });
    assert.match(text, /^HTTP\/1\.1 101 /);
    assert.deepEqual(
      ran.map(({ client, values }) => [client.clientId, values]),
      [['client-1', { accountID: 'a1' }]],
    );
    assert.match(await exchange(port, ['GET /accounts', AUTHORIZED, 'Connection: close']), /^HTTP\/1\.1 200 [^]*in/);
  });

  test(`${name}: no upgrade and no CONNECT bypasses the guard: each is refused on the socket like a request`, async () => {
    const { port, ran } = await open(name);
    for (const [status, line, ...fields] of [
      [401, 'GET /accounts/a1/events', ...WEBSOCKET],
      [401, 'GET /accounts/a1/events', 'Authorization: Bearer abc', ...WEBSOCKET],
      [400, 'GET /accounts/a1/events', 'Authorization: Bearer', ...WEBSOCKET],
      [400, 'GET /accounts/a1/events', AUTHORIZED, AUTHORIZED, ...WEBSOCKET],
      [400, 'GET /accounts/a1/events', AUTHORIZED, 'X-Rewrite-URL: /accounts/a2/events', ...WEBSOCKET],
      [403, 'GET /accounts/a2/events', AUTHORIZED, ...WEBSOCKET],
      [403, 'GET /nowhere', AUTHORIZED, ...WEBSOCKET],
      [403, 'POST /accounts/a1/events', AUTHORIZED, 'Content-Length: 2', ...WEBSOCKET],
      [403, 'GET /accounts/a2/events', AUTHORIZED, 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c'],
      // The token allows this route, but it has no upgrade: another route's handler must not get it.
      [400, 'GET /accounts', AUTHORIZED, ...WEBSOCKET],
      [400, 'GET /accounts/a1%2f../events', AUTHORIZED, ...WEBSOCKET],
      [401, 'CONNECT internal.example.com:443'],
      [400, 'CONNECT internal.example.com:443', AUTHORIZED],
    ] as const) {
      const text = await exchange(port, [line, ...fields], { rest: '\r\nleft over' });
      assert.ok(text.startsWith(`HTTP/1.1 ${status} `), `${line} ${fields.join(' ')}: ${text}`);
      const [head = '', body = ''] = text.split('\r\n\r\n');
      assert.match(head, /\r\nContent-Type: application\/json\r\n/);
      assert.match(head, /\r\nCache-Control: no-store\r\n/);
      assert.match(head, /\r\nConnection: close$/);
      assert.ok(head.includes(`\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`));
      assert.match(body, /^\{"error":"[a-z_]+","error_description":"/);
      if (status === 401 || status === 403) assert.match(head, /\r\nWWW-Authenticate: Bearer realm=/);
    }
    assert.deepEqual(ran, []);
  });
}

test('a refused upgrade leaves no connection behind, even if the client keeps its end open', async () => {
  const { port, server } = await open('node');
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const [taken]: Socket[] = await once(server, 'connection');
  socket.write(['GET /accounts HTTP/1.1', 'Host: x', ...WEBSOCKET, '', ''].join('\r\n'));
  socket.resume();
  await Promise.all([once(socket, 'end'), taken === undefined ? undefined : once(taken, 'close')]);
  assert.ok(taken?.destroyed);
  socket.destroy();
});

test('a client that resets its connection during the check ends only that, and no handler runs', async () => {
  let resume = (): void => {};
  // The test decides when the keys arrive.
  const resumed = new Promise<void>((resolve) => {
    resume = resolve;
  });
  const slow = guardOf(issuer, {
    fetch: async (input, init) => {
      if (String(input instanceof Request ? input.url : input).endsWith('/oauth2/jwks')) await resumed;
      return await fetch(input, init);
    },
  }).guard;
  const { port, ran, server } = await open('node', echo, slow);
  const upgraded = new Promise<Duplex>((resolve) => {
    server.once('upgrade', (_request, taken) => resolve(taken));
  });
  const socket = connect(port, '127.0.0.1');
  socket.write(['GET /accounts/a1/events HTTP/1.1', 'Host: x', AUTHORIZED, ...WEBSOCKET, '', ''].join('\r\n'));
  const taken = await upgraded;
  // Not `once` from events: that would catch the error instead of the guard.
  const closed = new Promise((resolve) => {
    taken.once('close', resolve);
  });
  socket.resetAndDestroy();
  await closed;
  resume();
  assertAllowed(await slow.checkRoute(policy, bearer(token)));
  assert.deepEqual(ran, []);
  // Another request that waited for the same keys is served.
  const text = await exchange(port, ['GET /accounts/a1/events', AUTHORIZED, ...WEBSOCKET], { until: '\r\n\r\n' });
  assert.match(text, /^HTTP\/1\.1 101 /);
});

test('an outage is a 503 on the socket, with Retry-After', async () => {
  const away = guardOf(issuer, { fetch: () => Promise.reject(new TypeError('away')), startWaitSeconds: 0 }).guard;
  const { port, ran } = await open('node', echo, away);
  const text = await exchange(port, ['GET /accounts/a1/events', AUTHORIZED, ...WEBSOCKET]);
  assert.match(text, /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*\r\nRetry-After: 2\r\n/);
  assert.deepEqual(ran, []);
});

test('when a handler fails, the connection is closed and the error is printed', async () => {
  const print = mock.method(console, 'error', () => {});
  const failure = new Error('a secret of the handler');
  for (const fail of [
    () => {
      throw failure;
    },
    () => Promise.reject(failure),
  ]) {
    const { port } = await open('node', fail);
    assert.equal(await exchange(port, ['GET /accounts/a1/events', AUTHORIZED, ...WEBSOCKET]), '');
  }
  const printed = print.mock.calls.map(({ arguments: [text] }) => String(text));
  assert.equal(printed.length, 2);
  for (const text of printed) assert.match(text, /^Error: a secret of the handler\n +at /);
  print.mock.restore();
});

test('a bound token can upgrade once with a proof of the request (RFC 9449 §7)', async () => {
  const bound = guardOf(issuer, { publicURL: API });
  const { port, ran } = await open('node', echo, bound.guard);
  const prover = new Prover();
  const mine = await issuer.token({ scope: '/accounts/a1/events.read', cnf: { jkt: prover.jkt } });
  const proof = `DPoP: ${prover.prove(mine, { htu: `${API}/accounts/a1/events` })}`;
  const ask = (...fields: readonly string[]): Promise<string> =>
    exchange(port, ['GET /accounts/a1/events', ...fields, ...WEBSOCKET], { until: '\r\n\r\n' });
  assert.match(await ask(`Authorization: DPoP ${mine}`, proof), /^HTTP\/1\.1 101 /);
  assert.match(
    await exchange(port, ['GET /accounts/a1/events', `Authorization: DPoP ${mine}`, proof, ...WEBSOCKET]),
    /^HTTP\/1\.1 401 /,
  );
  assert.match(
    await exchange(port, ['GET /accounts/a1/events', `Authorization: Bearer ${mine}`, ...WEBSOCKET]),
    /^HTTP\/1\.1 401 /,
  );
  assert.equal(ran.length, 1);
});

test('a request that expects 100-continue is guarded if its listener is what protect returns', async () => {
  const ran: string[] = [];
  const listener = protect(guard, policy, (request, response) => {
    ran.push(request.url ?? '');
    response.writeContinue();
    response.end('in');
  });
  const server = createServer(listener).on('checkContinue', listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const expecting = ['Expect: 100-continue', 'Connection: close'];
  assert.match(await exchange(address.port, ['GET /accounts', ...expecting]), /^HTTP\/1\.1 401 /);
  assert.deepEqual(ran, []);
  assert.match(await exchange(address.port, ['GET /accounts', AUTHORIZED, ...expecting]), /^HTTP\/1\.1 100 [^]* 200 /);
  assert.deepEqual(ran, ['/accounts']);
});

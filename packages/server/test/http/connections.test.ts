/** However a connection ends, the server closes it in time, whatever the client does with its half (ADR 37). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { listen, type Listener } from '../../src/http/listener.ts';
import type { Log } from '../../src/http/log.ts';
import { startPlainServer } from '../../src/http/plain_server.ts';
import { respondJson } from '../../src/wire.ts';
import { until, within } from '../../../../testing/server/server.ts';

/** Instead of the ten, thirty and two seconds of a server. */
const PATIENCE_MS = 300;
const TRICKLE_MS = 50;
const CONNECTIONS = 60;
const HOST = 'Host: localhost\r\n';

interface Logged {
  readonly status: number;
  readonly method?: string | undefined;
  readonly because?: string | undefined;
}

async function start(t: TestContext): Promise<{ readonly listener: Listener; readonly logged: Logged[] }> {
  const logged: Logged[] = [];
  const log: Log = {
    request: () => undefined,
    refusedConnection: (entry) => logged.push(entry),
    info: () => undefined,
    warn: () => undefined,
    suspicion: () => undefined,
    outage: () => undefined,
    bug: (error) => assert.fail(String(error)),
  };
  async function* forEver(signal: AbortSignal): AsyncGenerator<string> {
    while (!signal.aborted) yield 'x'.repeat(65_536);
  }
  const listener = await listen(
    {
      '/good': { GET: async () => respondJson(200, {}), POST: async () => respondJson(200, {}) },
      '/stream': { GET: async (request) => ({ status: 200, headers: {}, body: forEver(request.untilGone()) }) },
    },
    {
      host: '127.0.0.1',
      port: 0,
      log,
      requestTimeoutMs: PATIENCE_MS,
      unreadAnswerMs: 2 * PATIENCE_MS,
      lingerMs: PATIENCE_MS,
    },
  );
  t.after(() => listener.close());
  return { listener, logged };
}

/** A client that never ends its half of a connection, and sends something now and then so that it is never idle. */
class Holder {
  static readonly #held = new Set<Socket>();
  readonly socket: Socket;
  text = '';
  hasEnd = false;

  constructor(t: TestContext, url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    Holder.#held.add(this.socket);
    this.socket.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1')));
    this.socket.on('end', () => (this.hasEnd = true));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => Holder.#held.delete(this.socket));
    t.after(() => this.socket.destroy());
  }

  /** Sends a byte now and then, from now on, for as long as it can. */
  trickle(): void {
    const timer = setInterval(() => {
      if (this.socket.writable) this.socket.write('x');
    }, TRICKLE_MS);
    this.socket.once('close', () => clearInterval(timer));
  }

  /** How many other connections this process has: the server's ends. */
  static get othersOpen(): number {
    return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length - Holder.#held.size;
  }
}

/** Requests `/good` on a new connection, which closes after the response, and returns the status. */
async function ask(url: string): Promise<number | undefined> {
  const asked = get(`${url}/good`, { agent: new Agent() });
  const [answer]: readonly IncomingMessage[] = await once(asked, 'response');
  answer?.resume();
  await once(asked, 'close');
  return answer?.statusCode;
}

const WAYS: readonly {
  readonly way: string;
  readonly sent: string;
  readonly next?: (socket: Socket) => void;
  readonly answer: RegExp;
}[] = [
  { way: 'sends nothing', sent: '', answer: /^HTTP\/1\.1 400 / },
  { way: 'sends half a head', sent: `GET /good HTTP/1.1\r\nHos`, answer: /^HTTP\/1\.1 400 / },
  {
    way: 'sends half a body',
    sent: `POST /good HTTP/1.1\r\n${HOST}Content-Length: 99\r\n\r\na`,
    answer: /^HTTP\/1\.1 4/,
  },
  { way: 'sends rubbish', sent: '\x16\x03\x01\0rubbish\r\n\r\n', answer: /^HTTP\/1\.1 400 .*"invalid_request"/s },
  { way: 'sends a head without end', sent: `GET /good HTTP/1.1\r\nx: ${'y'.repeat(20_000)}`, answer: /^HTTP\/1\.1 4/ },
  {
    way: 'announces a body that is too large',
    sent: `POST /good HTTP/1.1\r\n${HOST}Content-Length: 99999999\r\n\r\nab`,
    answer: /^HTTP\/1\.1 413 /,
  },
  {
    way: 'asks to CONNECT',
    sent: `CONNECT x:443 HTTP/1.1\r\n${HOST}\r\ntunnelled`,
    answer: /^HTTP\/1\.1 405 .*allow: \r\n/s,
  },
  {
    way: 'asks for another protocol',
    sent: `GET /good HTTP/1.1\r\n${HOST}Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n`,
    answer: /^HTTP\/1\.1 200 /,
  },
  { way: 'speaks HTTP/1.0', sent: 'GET /good HTTP/1.0\r\n\r\n', answer: /^HTTP\/1\.1 200 / },
  {
    way: 'got its last response and keeps sending',
    sent: `GET /good HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n${`GET /good HTTP/1.1\r\n${HOST}\r\n`.repeat(50)}`,
    answer: /^HTTP\/1\.1 200 (?!.*HTTP\/1\.1)/s,
  },
  {
    way: 'ends its half in the middle',
    sent: 'GET /good HT',
    next: (socket) => socket.end(),
    answer: /^(HTTP\/1\.1 400 |$)/,
  },
  { way: 'resets the connection', sent: 'GET /good HT', next: (socket) => socket.resetAndDestroy(), answer: /^$/ },
  {
    way: 'reads nothing of a stream',
    sent: `GET /stream HTTP/1.1\r\n${HOST}\r\n`,
    next: (socket) => socket.pause(),
    answer: /^(HTTP\/1\.1 200 |$)/,
  },
];

suite('a client that never ends its half of a connection and', () => {
  for (const { way, sent, next, answer } of WAYS) {
    test(`${way}: the server closes the connection in time, and its response can be read`, async (t) => {
      const { listener } = await start(t);
      const before = Holder.othersOpen;
      const holders = Array.from({ length: CONNECTIONS }, () => new Holder(t, listener.url));
      for (const holder of holders) {
        holder.socket.write(sent);
        holder.trickle();
        holder.socket.once('connect', () => next?.(holder.socket));
      }
      await until(() => holders.every(({ socket }) => !socket.connecting));
      // Taken after all of these, so that none is still to be taken.
      assert.equal(await ask(listener.url), 200, 'others are served meanwhile');
      await until(() => holders.every(({ text }) => answer.test(text)));
      await until(() => Holder.othersOpen <= before);
      assert.equal(await ask(listener.url), 200);
    });
  }
});

test('a kept-alive connection within the bounds stays open: its next request is answered', async (t) => {
  const { listener } = await start(t);
  const holder = new Holder(t, listener.url);
  for (let count = 1; count <= 3; count++) {
    holder.socket.write(`GET /good HTTP/1.1\r\n${HOST}\r\n`);
    await until(() => holder.text.split('HTTP/1.1 200').length === count + 1);
  }
  assert.equal(holder.hasEnd, false);
});

test('a client that is still sending an oversized body can read why it was refused (RFC 9112 §9.6)', async (t) => {
  const { listener } = await start(t);
  const holder = new Holder(t, listener.url);
  let wasReset = false;
  holder.socket.on('error', () => (wasReset = true));
  holder.socket.write(`POST /good HTTP/1.1\r\n${HOST}Content-Length: 99999999\r\n\r\n`);
  await until(() => holder.text !== '' || wasReset);
  // It learns of the answer when it has sent some more, and a reset would take what it has not read.
  for (let count = 0; count < 8; count++) {
    holder.socket.write('x'.repeat(1_024));
    await nextTurn();
  }
  await until(() => holder.hasEnd || wasReset);
  assert.match(holder.text, /^HTTP\/1\.1 413 .*"invalid_request"/s);
  assert.equal(wasReset, false);
});

test('input that never became a request is logged with the reason (CONNECT, rubbish, an unfinished head)', async (t) => {
  const { listener, logged } = await start(t);
  for (const sent of [`CONNECT x:443 HTTP/1.1\r\n${HOST}\r\n`, 'rubbish\r\n\r\n', 'GET /good HT']) {
    const { length } = logged;
    new Holder(t, listener.url).socket.write(sent);
    await until(() => logged.length > length);
  }
  assert.deepEqual(
    logged.map(({ status, method, because }) => [status, method, because]),
    [
      [405, 'CONNECT', 'CONNECT'],
      [400, undefined, 'HPE_INVALID_METHOD'],
      [400, undefined, 'ERR_HTTP_REQUEST_TIMEOUT'],
    ],
  );
});

test('a stopping server does not wait for idle connections', async (t) => {
  const { listener } = await start(t);
  const [, , reader, refused] = ['', 'GET /good HT', `GET /stream HTTP/1.1\r\n${HOST}\r\n`, 'rubbish\r\n\r\n'].map(
    (sent) => {
      const holder = new Holder(t, listener.url);
      holder.socket.write(sent);
      return holder;
    },
  );
  assert.ok(reader !== undefined && refused !== undefined);
  await until(() => reader.text !== '' && refused.text !== '');
  reader.socket.pause();
  // Far less than what answers have; the rest is for a machine that is busy.
  assert.ok(await within(6_000, listener.close()));
});

test("a guard's listeners close their connections too", async (t) => {
  const refused: string[] = [];
  const server = await startPlainServer((_request, response) => response.end('good'), {
    host: '127.0.0.1',
    port: 0,
    onRefusal: ({ because = '' }) => refused.push(because),
  });
  const url = `http://127.0.0.1:${server.address.port}`;
  const before = Holder.othersOpen;
  const holders = [
    'rubbish\r\n\r\n',
    `CONNECT x:443 HTTP/1.1\r\n${HOST}\r\n`,
    `GET / HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`,
  ].map((sent) => {
    const holder = new Holder(t, url);
    holder.socket.write(sent);
    return holder;
  });
  await until(() => holders.every(({ hasEnd }) => hasEnd));
  await until(() => Holder.othersOpen <= before);
  assert.deepEqual(
    holders.map(({ text }) => /^HTTP\/1\.1 (\d+)/.exec(text)?.[1]),
    ['400', '405', '200'],
  );
  assert.deepEqual(refused, ['HPE_INVALID_METHOD', 'CONNECT']);
  server.startDraining();
  assert.equal((await fetch(url)).headers.get('connection'), 'close');
  const silent = new Holder(t, url);
  await until(() => !silent.socket.connecting);
  assert.ok(await within(6_000, server.close()));
});

test('a CONNECT behind a request does not become the answer to that request', async (t) => {
  const server = await startPlainServer(
    (request, response) => {
      request.resume();
      // Not at once: its answer is due when the CONNECT arrives.
      request.once('end', () => setImmediate(() => response.end('good')));
    },
    { host: '127.0.0.1', port: 0, onRefusal: () => undefined },
  );
  t.after(() => server.close());
  const { listener } = await start(t);
  // All in one piece behind the head, where the end of the body cannot be seen before it is parsed.
  const head = `POST /good HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
  for (const url of [`http://127.0.0.1:${server.address.port}`, listener.url]) {
    const holder = new Holder(t, url);
    holder.socket.write(head);
    holder.socket.write(`3\r\na=b\r\n0\r\n\r\nCONNECT x:443 HTTP/1.1\r\n${HOST}\r\n`);
    await until(() => holder.hasEnd || holder.socket.destroyed);
    assert.doesNotMatch(holder.text, /CONNECT|^HTTP\/1\.1 405/);
  }
});

test('a client that resets its connection, whatever it has sent, ends that connection only', async (t) => {
  const server = await startPlainServer((_request, response) => response.end('good'), {
    host: '127.0.0.1',
    port: 0,
    onRefusal: () => undefined,
  });
  t.after(() => server.close());
  const { listener } = await start(t);
  for (const url of [`http://127.0.0.1:${server.address.port}`, listener.url]) {
    for (const { sent } of WAYS) {
      const { hostname, port } = new URL(url);
      const socket = connect({ host: hostname, port: Number(port) });
      socket.on('error', () => undefined);
      await once(socket, 'connect');
      // Both are with the server before it reads: it answers into a connection that is gone.
      socket.write(sent);
      socket.resetAndDestroy();
      await once(socket, 'close');
    }
    assert.equal(await ask(url), 200);
  }
});

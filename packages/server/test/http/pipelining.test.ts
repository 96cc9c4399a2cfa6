/** Pipelined requests on raw sockets: one request at a time is served on each connection (contract §10). */
import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { listen } from '../../src/http/listener.ts';
import { openLog } from '../../src/http/log.ts';
import { serializeRequests } from '../../src/http/pipelining.ts';
import { respondJson } from '../../src/wire.ts';
import type { Store } from '../../src/store/store.ts';
import { basicOf, claimOf, startHallpass, until } from '../../../../testing/server/server.ts';

/** A gate in front of the store: how many are in it, how many were in it at most, and whether it lets them through. */
class Gate {
  inside = 0;
  most = 0;
  entered = 0;
  #open = true;
  #waiting: (() => void)[] = [];

  async pass<Result>(work: () => Promise<Result>): Promise<Result> {
    this.entered += 1;
    this.inside += 1;
    this.most = Math.max(this.most, this.inside);
    try {
      // Whoever is in meets whoever comes beside it.
      await new Promise<void>((resolve) => {
        if (this.#open) setImmediate(resolve);
        else this.#waiting.push(resolve);
      });
      return await work();
    } finally {
      this.inside -= 1;
    }
  }

  close(): void {
    this.#open = false;
  }

  open(): void {
    this.#open = true;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  reset(): void {
    this.most = 0;
    this.entered = 0;
  }
}

const gate = new Gate();
const gated = (store: Store): Store => ({
  ...store,
  findClient: (clientId) => gate.pass(() => store.findClient(clientId)),
});
const hallpass = await startHallpass({ faulty: gated });
const key = await hallpass.makeKey();

const HOST = 'Host: localhost\r\n';
const FORM = 'Content-Type: application/x-www-form-urlencoded\r\n';
const AUTHORIZED = `Authorization: ${basicOf(key)}\r\n`;
const PING = `GET /ping HTTP/1.1\r\n${HOST}${AUTHORIZED}\r\n`;

function post(path: string, body: string): string {
  return `POST ${path} HTTP/1.1\r\n${HOST}${FORM}${AUTHORIZED}Content-Length: ${body.length}\r\n\r\n${body}`;
}

function postInChunks(path: string, body: string): string {
  const [one, two] = [body.slice(0, 5), body.slice(5)];
  const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
  const head = `POST ${path} HTTP/1.1\r\n${HOST}${FORM}${AUTHORIZED}Transfer-Encoding: chunked\r\n\r\n`;
  return `${head}${chunk(one)}${chunk(two)}0\r\n\r\n`;
}

/** One connection, with everything that has come back. */
class Pipe {
  readonly socket: Socket;
  text = '';
  ended = false;

  constructor(t: TestContext, url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect(Number(port), hostname);
    this.socket.on('data', (chunk: Buffer) => (this.text += chunk.toString('latin1')));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.ended = true));
    t.after(() => this.socket.destroy());
  }

  send(text: string): this {
    this.socket.write(text);
    return this;
  }

  get statuses(): readonly number[] {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  }

  async untilAnswered(count: number): Promise<readonly number[]> {
    await until(() => this.statuses.length >= count || this.ended);
    return this.statuses;
  }

  async untilEnded(): Promise<readonly number[]> {
    await until(() => this.ended);
    return this.statuses;
  }
}

const times = (count: number, status: number): readonly number[] => Array.from({ length: count }, () => status);

test('many requests on one connection are served one at a time, and all are answered', async (t) => {
  gate.reset();
  const pipe = new Pipe(t, hallpass.url).send(PING.repeat(2_000));
  assert.deepEqual(await pipe.untilAnswered(2_000), times(2_000, 200));
  assert.equal(gate.most, 1);
  // The connection is as good as new.
  assert.deepEqual(await pipe.send(PING).untilAnswered(2_001), times(2_001, 200));
});

test('the operator listener serves one at a time too', async (t) => {
  gate.reset();
  const listener = await listen(
    { '/gated': { GET: () => gate.pass(async () => respondJson(200, {})) } },
    { host: '127.0.0.1', port: 0, log: openLog('silent'), operatorHosts: [] },
  );
  t.after(() => listener.close());
  const pipe = new Pipe(t, listener.url).send(`GET /gated HTTP/1.1\r\n${HOST}\r\n`.repeat(2_000));
  assert.deepEqual(await pipe.untilAnswered(2_000), times(2_000, 200));
  assert.equal(gate.most, 1);
});

test('requests on separate connections are served concurrently', async (t) => {
  gate.reset();
  gate.close();
  const pipes = Array.from({ length: 5 }, () => new Pipe(t, hallpass.url).send(PING));
  await until(() => gate.inside === 5);
  gate.open();
  for (const pipe of pipes) assert.deepEqual(await pipe.untilAnswered(1), [200]);
});

test('a request waits for the one before it, and responses come in order (RFC 9112 §9.3.2)', async (t) => {
  gate.close();
  const pipe = new Pipe(t, hallpass.url).send(`${PING}GET /nowhere HTTP/1.1\r\n${HOST}\r\n`);
  await until(() => gate.inside === 1);
  assert.equal((await hallpass.request('/nowhere')).status, 404, 'another connection is answered meanwhile');
  assert.deepEqual(pipe.statuses, []);
  gate.open();
  assert.deepEqual(await pipe.untilAnswered(2), [200, 404]);
});

const ASK = 'grant_type=client_credentials&scope=%2Faccounts.write';
const MIXED = [
  [post('/oauth2/token', ASK), 200],
  [`HEAD /openapi.json HTTP/1.1\r\n${HOST}\r\n`, 200],
  [postInChunks('/oauth2/token', ASK), 200],
  [post('/nowhere', 'a=b'), 404],
  ['\r\n', undefined],
  [post('/oauth2/jwks', ''), 405],
  [postInChunks('/oauth2/introspect', 'token=x'), 200],
  [`OPTIONS /oauth2/token HTTP/1.1\r\n${HOST}\r\n`, 204],
  [`GET /health/live HTTP/1.1\r\n${HOST}\r\n`, 200],
  [post('/oauth2/token', 'grant_type=%zz'), 400],
  [`GET /oauth2/jwks HTTP/1.1\r\n${HOST}If-None-Match: *\r\n\r\n`, 304],
] as const;

for (const size of [1, 2, 3, 64, 1_021, Infinity]) {
  test(`every kind of request is answered in order when its bytes arrive ${size} at a time`, async (t) => {
    gate.reset();
    const bytes = MIXED.map(([request]) => request).join('');
    const pipe = new Pipe(t, hallpass.url);
    pipe.socket.setNoDelay(true);
    for (let at = 0; at < bytes.length; at += size) {
      pipe.send(bytes.slice(at, at + Math.min(size, bytes.length)));
      // The server reads each piece by itself.
      await new Promise((resolve) => setImmediate(resolve));
    }
    const wanted = MIXED.flatMap(([, status]) => status ?? []);
    assert.deepEqual(await pipe.untilAnswered(wanted.length), wanted);
    assert.equal(gate.most, 1);
  });
}

test('requests behind a stream wait until it ends, and do not disturb it', async (t) => {
  const streaming = await startHallpass();
  const by = await streaming.makeKey({ scopes: [], resourceServerFor: [streaming.issuer] });
  const open = `GET /oauth2/revocations HTTP/1.1\r\n${HOST}Authorization: ${basicOf(by)}\r\n\r\n`;
  const pipe = new Pipe(t, streaming.url).send(open + `GET /nowhere HTTP/1.1\r\n${HOST}\r\n`.repeat(500));
  await until(() => pipe.text.split('event: heartbeat').length > 3);
  assert.deepEqual(pipe.statuses, [200]);
  await streaming.keys.disable(by.clientId);
  assert.deepEqual(await pipe.untilAnswered(501), [200, ...times(500, 404)]);
});

test('requests behind one that closes the connection are not served (RFC 9112 §9.6)', async (t) => {
  const { accessToken } = await hallpass.issue(key);
  const revoke = post('/oauth2/revoke', `token=${accessToken}`);
  const close = `GET /health/live HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;
  assert.deepEqual(await new Pipe(t, hallpass.url).send(close + revoke).untilEnded(), [200]);
  const large = post('/oauth2/token', 'x'.repeat(20_000));
  assert.deepEqual((await new Pipe(t, hallpass.url).send(large + revoke).untilEnded()).slice(0, 1), [413]);
  assert.equal(await hallpass.isActive(key, accessToken), true);
  // The same bytes behind a request that does not.
  const keep = `GET /health/live HTTP/1.1\r\n${HOST}\r\n`;
  assert.deepEqual(await new Pipe(t, hallpass.url).send(keep + revoke).untilAnswered(2), [200, 200]);
  assert.equal(await hallpass.isActive(key, accessToken), false);
});

test('input that is not HTTP is refused after the responses before it, never in the middle of one', async (t) => {
  gate.close();
  const pipe = new Pipe(t, hallpass.url).send(`${PING}${PING}nonsense\r\n\r\n${PING}`);
  await until(() => gate.inside === 1);
  assert.deepEqual(pipe.statuses, []);
  gate.open();
  assert.deepEqual(await pipe.untilEnded(), [200, 200, 400]);
});

test('when a client disconnects, the requests it sent ahead are dropped', async (t) => {
  const { accessToken } = await hallpass.issue(key);
  gate.close();
  gate.reset();
  const pipe = new Pipe(t, hallpass.url).send(PING + post('/oauth2/revoke', `token=${accessToken}`));
  await until(() => gate.inside === 1);
  pipe.socket.resetAndDestroy();
  gate.open();
  await until(() => gate.inside === 0);
  assert.equal((await hallpass.request('/health/ready')).status, 200);
  assert.equal(await hallpass.isActive(key, accessToken), true, claimOf(accessToken, 'jti'));
});

test('a connection that had to wait for a bound is counted in the metrics', async (t) => {
  const pipe = new Pipe(t, hallpass.url).send(PING.repeat(10));
  await pipe.untilAnswered(10);
  const metrics = await (await fetch(`${hallpass.operatorUrl}/metrics`)).text();
  assert.match(metrics, /^hallpass_bounds_reached_total\{bound="REQUESTS_PER_CONNECTION_MAX"\} [1-9]/m);
  assert.match(metrics, /^hallpass_bounds_reached_total\{bound="WAITS_MAX"\} 0$/m);
});

test('a plain node:http server, as a guard uses, serves one at a time too', async (t) => {
  const counting = new Gate();
  const listener: RequestListener = (request, response) =>
    void counting.pass(async () => response.end(request.url)).catch(() => response.destroy());
  const server = createServer(listener);
  serializeRequests(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const pipe = new Pipe(t, `http://127.0.0.1:${address.port}`);
  const requests = Array.from({ length: 300 }, (_, at) => `GET /${at} HTTP/1.1\r\n${HOST}\r\n`);
  assert.deepEqual(await pipe.send(requests.join('')).untilAnswered(300), times(300, 200));
  assert.deepEqual(
    [...pipe.text.matchAll(/\r\n\r\n\/(\d+)/g)].map(([, at]) => Number(at)),
    requests.map((_, at) => at),
  );
  assert.equal(counting.most, 1);
  const broken = new Pipe(t, `http://127.0.0.1:${address.port}`).send(`${requests[0]}nonsense\r\n\r\n`);
  assert.deepEqual(await broken.untilEnded(), [200, 400]);
});

// Answers that are not read
const PATIENCE_MS = 300;

test('requests with an unknown Expect are served one at a time too, and crash nothing (RFC 9110 §10.1.1)', async (t) => {
  const expecting = `GET /ping HTTP/1.1\r\n${HOST}${AUTHORIZED}Expect: nonsense\r\n\r\n`;
  gate.reset();
  const pipe = new Pipe(t, hallpass.url).send(expecting.repeat(2_000));
  const statuses = await pipe.untilAnswered(2_000);
  assert.deepEqual([...new Set(statuses)], [200]);
  assert.equal(statuses.length, 2_000);
  assert.equal(gate.most, 1);
});

test('a client that does not read is cut off, costs no memory meanwhile, and delays nobody', async (t) => {
  let given = 0;
  let ended = false;
  const reached: string[] = [];
  async function* endless(): AsyncGenerator<string> {
    try {
      for (;;) {
        given += 1;
        yield 'x'.repeat(1_024);
      }
    } finally {
      ended = true;
    }
  }
  const listener = await listen(
    {
      '/endless': { GET: async () => ({ status: 200, headers: {}, body: endless() }) },
      '/other': { GET: async () => respondJson(200, {}) },
    },
    {
      host: '127.0.0.1',
      port: 0,
      log: openLog('silent'),
      boundReached: (bound) => reached.push(bound),
      unreadAnswerMs: PATIENCE_MS,
    },
  );
  t.after(() => listener.close());
  const pipe = new Pipe(t, listener.url);
  pipe.socket.pause();
  pipe.send(`GET /endless HTTP/1.1\r\n${HOST}\r\n`);
  await until(() => given > 0);
  // oxlint-disable-next-line no-unmodified-loop-condition -- it is, when the stream is given up
  while (!ended) assert.equal((await fetch(`${listener.url}/other`)).status, 200);
  assert.deepEqual(reached, ['UNREAD_ANSWER_MS_MAX']);
  // What the kernel takes for a connection is a few megabytes; the reader has read nothing.
  assert.ok(given < 32_768, `${given} KiB`);
});

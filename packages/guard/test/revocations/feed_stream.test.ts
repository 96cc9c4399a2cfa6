/** One connection of the feed: what opens it, what comes over it, and each way in which it ends. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { mock, test } from 'node:test';
import { readStream } from '../../src/revocations/feed_stream.ts';
import { Outage, Refused } from '../../src/outage.ts';
import { TestClock } from '../issuer.ts';

const SILENCE_SECONDS_MAX = 6;
const STREAM = { 'content-type': 'text/event-stream' };
const BEAT = 'event: heartbeat\nid: c1\ndata: {}\n\n';

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A connection whose other end is the test. */
class Connection {
  readonly clock = new TestClock();
  readonly closing = new AbortController();
  /** The names of what came. */
  readonly took: string[] = [];
  readonly body: ReadableStream<Uint8Array>;
  /** What the connection was opened with. */
  signal: AbortSignal | undefined;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #thrown: unknown;

  constructor() {
    this.body = new ReadableStream({ start: (controller) => void (this.#controller = controller) });
  }

  /** Undefined while it is still read. */
  get thrown(): unknown {
    return this.#thrown;
  }

  read(
    answer: () => Response | Promise<Response> = () => new Response(this.body, { headers: STREAM }),
    take: (type: string) => void = () => {},
  ): Promise<void> {
    const reading = readStream({
      open: async (signal) => {
        this.signal = signal;
        // As `fetch` does.
        signal.addEventListener('abort', () => this.#controller?.error(signal.reason));
        return await answer();
      },
      take: ({ type }) => {
        this.took.push(type);
        take(type);
      },
      clock: this.clock,
      silenceSecondsMax: SILENCE_SECONDS_MAX,
      closing: this.closing.signal,
    });
    return reading.catch((thrown: unknown) => {
      this.#thrown = thrown;
    });
  }

  say(text: string): void {
    this.#controller?.enqueue(new TextEncoder().encode(text));
  }

  end(): void {
    this.#controller?.close();
  }

  /** Lets so much time go by on the timers alone, or on the clock as well. */
  async pass(milliseconds: number, clock?: TestClock): Promise<void> {
    clock?.advance(milliseconds / 1000);
    mock.timers.tick(milliseconds);
    await settle();
  }
}

async function onTimers(body: () => Promise<void>): Promise<void> {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    await body();
  } finally {
    mock.timers.reset();
  }
}

function assertOutage(thrown: unknown, message: string): Outage {
  assert.ok(thrown instanceof Outage);
  assert.equal(thrown.message, message);
  return thrown;
}

test('what comes over a stream is taken event by event, however it is cut, until the issuer ends it', async () => {
  const connection = new Connection();
  const reading = connection.read();
  connection.say(`${BEAT}event: revo`);
  await settle();
  assert.deepEqual(connection.took, ['heartbeat']);
  connection.say(`cation\ndata: {}\n\n${BEAT}`);
  await settle();
  assert.deepEqual(connection.took, ['heartbeat', 'revocation', 'heartbeat']);
  assert.equal(connection.signal?.aborted, false);
  assert.equal(connection.thrown, undefined);
  connection.end();
  await reading;
  assertOutage(connection.thrown, 'The issuer ended the feed.');
});

test('an answer is a stream by its status and its type; a refusal of the credentials is one of its own', async () => {
  for (const type of ['text/event-stream', 'text/event-stream;charset=utf-8', 'Text/Event-Stream']) {
    const connection = new Connection();
    const reading = connection.read(() => new Response(connection.body, { headers: { 'content-type': type } }));
    connection.say(BEAT);
    connection.end();
    await reading;
    assert.deepEqual(connection.took, ['heartbeat'], type);
  }
  for (const status of [401, 403]) {
    const connection = new Connection();
    await connection.read(() => new Response(BEAT, { status, headers: STREAM }));
    assert.ok(connection.thrown instanceof Refused);
    assert.equal(connection.thrown.status, status);
  }
  for (const status of [201, 206, 307, 400, 402, 404, 429, 500, 503]) {
    const connection = new Connection();
    await connection.read(() => new Response(BEAT, { status, headers: STREAM }));
    assertOutage(connection.thrown, `The issuer answered the feed with ${status}.`);
  }
  for (const answer of [
    new Response(BEAT, { headers: { 'content-type': 'text/event-streams' } }),
    new Response(BEAT, { headers: { 'content-type': 'text/event-stream, text/html' } }),
    new Response(BEAT, { headers: { 'content-type': 'x-text/event-stream' } }),
    new Response(BEAT, { headers: { 'content-type': 'text/html' } }),
    new Response(new Uint8Array(0)),
    new Response(null, { headers: STREAM }),
  ]) {
    const connection = new Connection();
    await connection.read(() => answer);
    assertOutage(connection.thrown, 'The issuer answered with something that is no event stream.');
    assert.deepEqual(connection.took, []);
  }
});

test('what opening or taking throws is thrown as it is, and the connection is given up', async () => {
  const failure = new TypeError('fetch failed');
  const unopened = new Connection();
  await unopened.read(() => Promise.reject(failure));
  assert.equal(unopened.thrown, failure);
  const untaken = new Connection();
  const reading = untaken.read(undefined, (type) => {
    if (type === 'revocation') throw failure;
  });
  untaken.say(`${BEAT}event: revocation\ndata: {\n\n${BEAT}`);
  await reading;
  assert.equal(untaken.thrown, failure);
  assert.deepEqual(untaken.took, ['heartbeat', 'revocation']);
  for (const { signal } of [unopened, untaken]) assert.equal(signal?.aborted, true);
});

test('a stream without a byte for so long has fallen silent, and not a moment sooner; any byte will do', async () => {
  await onTimers(async () => {
    const connection = new Connection();
    const reading = connection.read();
    await settle();
    for (let round = 0; round < 3; round++) {
      await connection.pass(SILENCE_SECONDS_MAX * 1000 - 1, connection.clock);
      assert.equal(connection.signal?.aborted, false);
      connection.say(':\n');
      await settle();
    }
    await connection.pass(SILENCE_SECONDS_MAX * 1000 - 1);
    assert.equal(connection.signal?.aborted, false);
    await connection.pass(1);
    assert.equal(connection.signal?.aborted, true);
    await reading;
    const { cause } = assertOutage(connection.thrown, 'The feed fell silent.');
    assert.equal(cause, connection.signal?.reason);
  });
});

test('an issuer that does not answer has fallen silent as well', async () => {
  await onTimers(async () => {
    const connection = new Connection();
    const reading = connection.read(
      () =>
        new Promise((_resolve, reject) => {
          connection.signal?.addEventListener('abort', () => reject(new Error('aborted')));
        }),
    );
    await connection.pass(SILENCE_SECONDS_MAX * 1000 - 1);
    assert.equal(connection.thrown, undefined);
    await connection.pass(1);
    await reading;
    assertOutage(connection.thrown, 'The feed fell silent.');
  });
});

test('bytes that were read too late vouch for nothing, the last moment being good', async () => {
  const connection = new Connection();
  const reading = connection.read();
  await settle();
  for (let round = 0; round < 3; round++) {
    connection.clock.advance(SILENCE_SECONDS_MAX);
    connection.say(BEAT);
    await settle();
    assert.equal(connection.took.length, round + 1);
  }
  connection.clock.advance(SILENCE_SECONDS_MAX + 0.001);
  connection.say(BEAT);
  await reading;
  assertOutage(connection.thrown, 'The feed was not read for too long.');
  assert.equal(connection.took.length, 3);
});

test('when the guard is closed the connection is given up at once', async () => {
  const connection = new Connection();
  const reading = connection.read();
  await settle();
  connection.closing.abort();
  assert.equal(connection.signal?.aborted, true);
  await reading;
  assert.ok(connection.thrown instanceof Outage);
});

test('a connection that is over leaves no listener, no timer and nothing open', async () => {
  const alarms = mock.method(globalThis, 'setTimeout');
  const cancels = mock.method(globalThis, 'clearTimeout');
  const connection = new Connection();
  const reading = connection.read();
  await settle();
  assert.equal(getEventListeners(connection.closing.signal, 'abort').length, 1);
  for (let round = 0; round < 3; round++) {
    connection.say(BEAT);
    await settle();
  }
  connection.end();
  await reading;
  const cancelled = new Set(cancels.mock.calls.map(({ arguments: [timer] }) => timer));
  assert.equal(alarms.mock.callCount(), 4);
  for (const { result } of alarms.mock.calls) assert.ok(cancelled.has(result));
  mock.restoreAll();
  assert.equal(getEventListeners(connection.closing.signal, 'abort').length, 0);
  assert.equal(connection.signal?.aborted, true);
});

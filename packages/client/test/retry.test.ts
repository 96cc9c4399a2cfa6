import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIRST, hallpassOf, NOW, startServer, testTime, TOKENS, type Answer } from './server.ts';

const AWAY: Answer = { status: 503, body: { error: 'temporarily_unavailable' } };
const GOOD: Answer = { status: 200, body: TOKENS };
const hangUp: Answer = (response) => response.destroy();
const breakOff: Answer = (response) => {
  response.writeHead(200, { 'content-length': '100' });
  response.write('{"access_token":', () => response.destroy());
};
const tooMany = (retryAfter?: string): Answer => ({
  status: 429,
  body: { error: 'rate_limited' },
  ...(retryAfter === undefined ? {} : { headers: { 'retry-after': retryAfter } }),
});

for (const [what, told] of [
  ['a 503', AWAY],
  ['a 429 that says when', tooMany('1')],
  ['a connection that is lost', hangUp],
  ['an answer that breaks off', breakOff],
] as const) {
  test(`after ${what} the same bytes are sent again (contract §3)`, async (t) => {
    const server = await startServer(t, told, told, GOOD);
    const answer = await hallpassOf(server).accessToken.create(FIRST);
    assert.equal(answer.statusCode, 200);
    assert.equal(server.asked.length, 3);
    assert.equal(new Set(server.asked.map(({ body }) => body)).size, 1);
  });

  test(`after ${what} on the third attempt it gives up`, async (t) => {
    const server = await startServer(t, told);
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), { name: 'HallpassError' });
    assert.equal(server.asked.length, 3);
  });

  test(`after ${what} nothing is sent again when attempts is 1`, async (t) => {
    const server = await startServer(t, told, GOOD);
    await assert.rejects(hallpassOf(server, { retry: { attempts: 1 } }).accessToken.create(FIRST), {
      name: 'HallpassError',
    });
    assert.equal(server.asked.length, 1);
  });
}

for (const [what, told] of [
  ['a 429 that does not say when', tooMany()],
  ['a 429 that asks for too long a wait', tooMany('31')],
  ['a 503 that asks for too long a wait', { status: 503, headers: { 'retry-after': '31' } }],
  ['a refusal', { status: 400, body: { error: 'invalid_grant' } }],
  ['a 500', { status: 500, body: { error: 'server_error' } }],
  ['an answer that makes no sense', { status: 200, body: 'what?' }],
] as const) {
  test(`after ${what} nothing is sent again`, async (t) => {
    const server = await startServer(t, told, GOOD);
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), { name: 'HallpassError' });
    assert.equal(server.asked.length, 1);
  });
}

test('the waits grow and are spread at random (SDK-07)', async (t) => {
  const server = await startServer(t, AWAY);
  for (const [random, slept] of [
    [0, [125, 250]],
    [0.5, [188, 375]],
    [0.999, [250, 500]],
  ] as const) {
    const time = testTime(random);
    await assert.rejects(hallpassOf(server, {}, time).accessToken.create(FIRST), { code: 'temporarily_unavailable' });
    assert.deepEqual(time.slept, slept);
  }
});

for (const [retryAfter, wait] of [
  ['0', 0],
  ['7', 7000],
  ['30', 30_000],
  [new Date(NOW + 4000).toUTCString(), 4000],
  [new Date(NOW - 4000).toUTCString(), 0],
  // What nobody can read is not there.
  ['soon', 0],
  ['-1', 0],
  ['1.5', 0],
  ['2031', 2031 * 1000],
] as const) {
  test(`Retry-After: ${retryAfter} is honoured (RFC 9110 §10.2.3)`, async (t) => {
    const time = testTime(0);
    const server = await startServer(t, { status: 503, headers: { 'retry-after': retryAfter } }, GOOD);
    const call = hallpassOf(server, {}, time).accessToken.create(FIRST);
    if (wait > 30_000) {
      await assert.rejects(call, { statusCode: 503, retryAfterSeconds: wait / 1000 });
      return;
    }
    await call;
    assert.deepEqual(time.slept, [wait + 125]);
  });
}

test('a request without an answer times out, its connection is closed, and it is sent again', async (t) => {
  const time = testTime();
  let hungUp = 0;
  const never: Answer = (response) => {
    response.on('close', () => (hungUp += 1));
    time.endAllTimers();
  };
  const server = await startServer(t, never, never, GOOD);
  await hallpassOf(server, {}, time).accessToken.create(FIRST);
  assert.equal(server.asked.length, 3);
  server.tell(never);
  await assert.rejects(hallpassOf(server, { timeoutSeconds: 2.5 }, time).accessToken.create(FIRST), {
    code: 'timeout',
    message: /timeout, 2\.5 s/,
  });
  assert.equal(server.asked.length, 3);
  server.tell(GOOD);
  await hallpassOf(server, {}, time).accessToken.create(FIRST);
  assert.ok(hungUp >= 4, `${hungUp} of 5 given-up answers were hung up on`);
});

test('a body that does not end times out too', async (t) => {
  const time = testTime();
  const server = await startServer(t, (response) => {
    response.writeHead(200);
    response.write('{', () => {
      setImmediate(time.endAllTimers);
    });
  });
  await assert.rejects(hallpassOf(server, { retry: { attempts: 1 } }, time).accessToken.create(FIRST), {
    code: 'timeout',
  });
});

test('a fetch that ignores its signal times out all the same', async () => {
  const time = testTime();
  const deaf = (): Promise<Response> => {
    queueMicrotask(time.endAllTimers);
    return new Promise(() => undefined);
  };
  const server = { url: 'https://auth.example.com', asked: [], tell: () => undefined };
  await assert.rejects(hallpassOf(server, { fetch: deaf }, time).accessToken.create(FIRST), { code: 'timeout' });
});

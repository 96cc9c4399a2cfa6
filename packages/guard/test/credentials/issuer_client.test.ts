/** The guard's line to its issuer: what it sends where, what it takes for an answer, how long it waits and how much it reads. */
import { parseBasic, PATHS, printBasic } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { mock, test } from 'node:test';
import { IssuerClient, type IssuerAnswer } from '../../src/issuer/issuer_client.ts';
import { Outage, Refused } from '../../src/outage.ts';
import { CREDENTIALS } from '../issuer.ts';

const ISSUER = 'https://auth.example.com';
const ANSWER_MS_MAX = 5_000;
const ANSWER_BYTES_MAX = 65_536;
const PAGE_BYTES_MAX = 1_048_576;
const THEIRS = 'Basic Y2xpZW50LTE6c2VjcmV0';
/** The guard's own key. */
const OURS = printBasic(CREDENTIALS);

interface Sent {
  readonly url: string;
  readonly init: RequestInit;
  readonly headers: Headers;
  readonly body: string;
}

/** A client whose requests the test answers. */
class Line {
  readonly sent: Sent[] = [];
  readonly closing = new AbortController();
  answer: (signal: AbortSignal) => Response | Promise<Response> = () => Response.json({ good: true });
  readonly client: IssuerClient;

  constructor(issuerAddress = ISSUER) {
    this.client = new IssuerClient({
      issuerAddress,
      credentials: CREDENTIALS,
      closing: this.closing.signal,
      fetch: async (input, init = {}) => {
        assert.ok(typeof input === 'string');
        const { body, signal } = init;
        this.sent.push({
          url: input,
          init,
          headers: new Headers(init.headers),
          body: body instanceof URLSearchParams ? body.toString() : '',
        });
        assert.ok(signal instanceof AbortSignal);
        return await this.answer(signal);
      },
    });
  }

  get last(): Sent {
    const last = this.sent.at(-1);
    assert.ok(last !== undefined);
    return last;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function outage(message: string): { readonly name: string; readonly message: string } {
  return { name: 'Outage', message };
}

/** Never answers, and gives up as `fetch` does. */
function never(signal: AbortSignal): Promise<Response> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')));
  });
}

/** A body that comes in pieces of this many bytes. */
function pieces(lengths: readonly number[], onCancel: () => void = () => {}): ReadableStream<Uint8Array> {
  const left = [...lengths];
  return new ReadableStream({
    pull: (controller) => {
      const length = left.shift();
      if (length === undefined) controller.close();
      else controller.enqueue(new Uint8Array(length).fill(0x20));
    },
    cancel: onCancel,
  });
}

test('each question goes where it belongs, with what belongs to it', async () => {
  const { client, ...line } = new Line();
  const { sent } = line;
  const own = (headers: Headers): void => {
    assert.deepEqual(parseBasic(headers.get('authorization') ?? ''), CREDENTIALS);
  };
  assert.deepEqual(await client.fetchKeySet(), { good: true });
  assert.deepEqual(await client.introspect('a token&'), { good: true });
  assert.deepEqual(await client.readFeed(undefined), { good: true });
  assert.deepEqual(await client.readFeed('c7'), { good: true });
  const { signal } = new AbortController();
  assert.equal((await client.openFeed(undefined, signal)).status, 200);
  assert.equal((await client.openFeed('c7', signal)).status, 200);
  const [keys, introspection, first, next, opened, resumed] = sent;
  assert.ok(keys && introspection && first && next && opened && resumed);

  assert.equal(keys.url, ISSUER + PATHS.jwks);
  assert.equal(keys.init.method, undefined);
  assert.deepEqual([...keys.headers], [['accept', 'application/jwk-set+json, application/json']]);

  assert.equal(introspection.url, ISSUER + PATHS.introspect);
  assert.equal(introspection.init.method, 'POST');
  assert.equal(introspection.body, 'token=a+token%26&token_type_hint=access_token');
  assert.deepEqual([...introspection.headers.keys()], ['accept', 'authorization']);
  assert.equal(introspection.headers.get('accept'), 'application/json');
  own(introspection.headers);

  assert.equal(first.url, `${ISSUER}${PATHS.revocations}?after=`);
  assert.equal(next.url, `${ISSUER}${PATHS.revocations}?after=c7`);
  assert.equal(opened.url, ISSUER + PATHS.revocations);
  assert.equal(resumed.url, ISSUER + PATHS.revocations);
  for (const [{ headers }, accept] of [
    [first, 'application/json'],
    [next, 'application/json'],
    [opened, 'text/event-stream'],
    [resumed, 'text/event-stream'],
  ] as const) {
    own(headers);
    assert.equal(headers.get('accept'), accept);
  }
  assert.equal(opened.headers.get('last-event-id'), null);
  assert.equal(resumed.headers.get('last-event-id'), 'c7');
  assert.equal(resumed.init.signal, signal);
});

test('a redirect is never followed and nothing is kept: the secret goes to the issuer alone', async () => {
  const line = new Line();
  await line.client.fetchKeySet();
  await line.client.introspect('token');
  await line.client.readFeed(undefined);
  await line.client.openFeed(undefined, new AbortController().signal);
  await line.client.ping(THEIRS, undefined);
  await line.client.exchangeKey(THEIRS, { scope: '/a.read', resource: 'api' });
  assert.equal(line.sent.length, 6);
  for (const { init } of line.sent) {
    assert.equal(init.redirect, 'manual');
    assert.equal(init.cache, 'no-store');
  }
});

test('an issuer with a path is asked below it, with a slash at its end or without', async () => {
  for (const issuer of ['https://example.com/a/b', 'https://example.com/a/b/']) {
    const line = new Line(issuer);
    await line.client.fetchKeySet();
    assert.equal(line.last.url, `https://example.com/a/b${PATHS.jwks}`);
  }
});

test('a guard has one name on its line, and another one has another', async () => {
  const names = new Set<string>();
  for (let at = 0; at < 2; at++) {
    const line = new Line();
    await line.client.readFeed(undefined);
    await line.client.openFeed('c1', new AbortController().signal);
    const [page, stream] = line.sent.map(({ headers }) => headers.get('hallpass-follower') ?? '');
    assert.equal(page, stream);
    // 16 bytes.
    assert.match(page ?? '', /^[\w-]{22}$/);
    names.add(page ?? '');
  }
  assert.equal(names.size, 2);
});

test('a key that somebody shows is asked about with their credentials and their address; ours stand beside them, for the issuer to believe the address', async () => {
  const line = new Line();
  const wanted = { scope: '/accounts/a&b.read', resource: 'https://api.example.com' };
  const exchanges: readonly (readonly [() => Promise<IssuerAnswer>, string | null])[] = [
    [() => line.client.exchangeKey(THEIRS, wanted), null],
    [() => line.client.exchangeKey(THEIRS, { ...wanted, address: undefined }), null],
    [() => line.client.exchangeKey(THEIRS, { ...wanted, address: '192.0.2.7' }), '192.0.2.7'],
  ];
  for (const [ask, address] of exchanges) {
    assert.deepEqual(await ask(), { status: 200, body: { good: true } });
    const { url, init, headers, body } = line.last;
    assert.equal(url, ISSUER + PATHS.token);
    assert.equal(init.method, 'POST');
    assert.deepEqual(Object.fromEntries(new URLSearchParams(body)), {
      grant_type: 'client_credentials',
      resource: 'https://api.example.com',
      scope: '/accounts/a&b.read',
    });
    assert.equal(headers.get('authorization'), THEIRS);
    assert.equal(headers.get('accept'), 'application/json');
    assert.equal(headers.get('hallpass-caller'), address);
    assert.equal(headers.get('hallpass-guard'), OURS);
    assert.equal(headers.get('x-forwarded-for'), null);
  }
  for (const address of [undefined, '192.0.2.7']) {
    await line.client.ping(THEIRS, address);
    assert.equal(line.last.url, ISSUER + PATHS.ping);
    assert.equal(line.last.init.method, undefined);
    assert.equal(line.last.headers.get('authorization'), THEIRS);
    assert.equal(line.last.headers.get('accept'), 'application/json');
    assert.equal(line.last.headers.get('hallpass-caller'), address ?? null);
    assert.equal(line.last.headers.get('hallpass-guard'), OURS);
  }
});

test('what is no address is not sent as one: nothing of it breaks the request or stands for somebody else', async () => {
  const line = new Line();
  for (const address of ['2001:db8::1', '[2001:db8::1]:4711', '::ffff:192.0.2.7', 'fe80::1%eth0', '192.0.2.7:80']) {
    await line.client.ping(THEIRS, address);
    assert.equal(line.last.headers.get('hallpass-caller'), address);
  }
  for (const address of ['', '192.0.2.7\r\nX: y', '192.0.2.7, 192.0.2.8', '\u2028', 'a'.repeat(65)]) {
    assert.deepEqual(await line.client.ping(THEIRS, address), { status: 200, body: { good: true } });
    assert.equal(line.last.headers.get('hallpass-caller'), null);
  }
});

test('of a key every answer is one, whatever its status and its body', async () => {
  const line = new Line();
  for (const [body, parsed] of [
    ['{"error":"invalid_client"}', { error: 'invalid_client' }],
    ['', undefined],
    ['no json', undefined],
    ['null', null],
  ] as const) {
    for (const status of [200, 401, 403, 503]) {
      line.answer = () => new Response(body, { status });
      assert.deepEqual(await line.client.ping(THEIRS, undefined), { status, body: parsed });
    }
  }
  // No text in UTF-8, and no body at all.
  line.answer = () => new Response(Uint8Array.of(0x22, 0xff, 0x22));
  assert.deepEqual(await line.client.ping(THEIRS, undefined), { status: 200, body: undefined });
  line.answer = () => new Response(null, { status: 204 });
  assert.deepEqual(await line.client.ping(THEIRS, undefined), { status: 204, body: undefined });
});

test('of keys, tokens and the feed only 200 with JSON is an answer; 401 and 403 of the feed are for the operator', async () => {
  const line = new Line();
  const questions: readonly (readonly [string, () => Promise<unknown>])[] = [
    [PATHS.jwks, () => line.client.fetchKeySet()],
    [PATHS.introspect, () => line.client.introspect('token')],
    [`${PATHS.revocations}?after=c1`, () => line.client.readFeed('c1')],
  ];
  for (const [path, ask] of questions) {
    for (const status of [201, 302, 400, 401, 403, 404, 500, 503]) {
      line.answer = () => new Response('{}', { status });
      if (path.startsWith(PATHS.revocations) && (status === 401 || status === 403)) {
        await assert.rejects(ask(), (thrown) => thrown instanceof Refused && thrown.status === status);
      } else await assert.rejects(ask(), outage(`The issuer answered ${path} with ${status}.`));
    }
    line.answer = () => new Response('<html>');
    await assert.rejects(ask(), outage(`The issuer answered ${path} with something that is not JSON.`));
    line.answer = () => new Response('null');
    assert.equal(await ask(), null);
  }
});

test('an answer is put together from its pieces, and is read to its bound and no further', async () => {
  const line = new Line();
  const bytes = new TextEncoder().encode('{"text":"äöü"}');
  line.answer = () => {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    return new Response(body);
  };
  assert.deepEqual(await line.client.fetchKeySet(), { text: 'äöü' });

  const questions: readonly (readonly [number, () => Promise<unknown>])[] = [
    [ANSWER_BYTES_MAX, () => line.client.fetchKeySet()],
    [ANSWER_BYTES_MAX, () => line.client.introspect('token')],
    [ANSWER_BYTES_MAX, () => line.client.ping(THEIRS, undefined)],
    [ANSWER_BYTES_MAX, () => line.client.exchangeKey(THEIRS, { scope: '/a.read', resource: 'api' })],
    [PAGE_BYTES_MAX, () => line.client.readFeed(undefined)],
  ];
  for (const [bytesMax, ask] of questions) {
    line.answer = () => new Response(`{}${' '.repeat(bytesMax - 2)}`);
    await ask();
    let cancelled = false;
    line.answer = () => new Response(pieces([bytesMax - 1, 1, 1, 1, 1], () => (cancelled = true)));
    await assert.rejects(ask(), outage(`The issuer's answer is larger than ${bytesMax} bytes.`));
    assert.ok(cancelled);
  }
});

test('an answer may take 5 s, its body included, and is then an outage', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const inTheBody = (signal: AbortSignal): Response =>
      new Response(
        new ReadableStream({
          start: (controller) => signal.addEventListener('abort', () => controller.error(signal.reason)),
        }),
      );
    for (const answer of [never, inTheBody]) {
      const line = new Line();
      line.answer = answer;
      const asking = line.client.fetchKeySet();
      const ended = asking.catch((error: unknown) => error);
      await settle();
      mock.timers.tick(ANSWER_MS_MAX - 1);
      await settle();
      assert.equal(line.last.init.signal?.aborted, false);
      mock.timers.tick(1);
      await settle();
      assert.equal(line.last.init.signal?.aborted, true);
      const thrown = await ended;
      assert.ok(thrown instanceof Outage && thrown.cause instanceof Error);
      assert.equal(thrown.message, `The issuer could not be asked for ${PATHS.jwks}: no answer in time.`);
    }
  } finally {
    mock.timers.reset();
  }
});

test('what fails on the way is an outage that names its code and quotes nothing', async () => {
  const line = new Line();
  const cause = Object.assign(new Error('connect 10.0.0.1:443'), { code: 'ECONNREFUSED' });
  const failure = new TypeError('fetch failed', { cause });
  line.answer = () => Promise.reject(failure);
  await assert.rejects(line.client.introspect('token'), {
    ...outage(`The issuer could not be asked for ${PATHS.introspect}: ECONNREFUSED.`),
    cause: failure,
  });
});

test('when the guard is closed what is under way ends, and nothing more is sent', async () => {
  const line = new Line();
  line.answer = never;
  const asking = line.client.fetchKeySet();
  await settle();
  assert.equal(line.last.init.signal?.aborted, false);
  line.closing.abort();
  assert.equal(line.last.init.signal?.aborted, true);
  await assert.rejects(asking, outage('The guard was closed.'));
  await assert.rejects(line.client.fetchKeySet(), outage('The guard was closed.'));
  assert.equal(line.sent.length, 1);
});

test('an answer leaves no listener and no timer behind, good or bad', async () => {
  const alarms = mock.method(globalThis, 'setTimeout');
  const cancels = mock.method(globalThis, 'clearTimeout');
  try {
    const line = new Line();
    await line.client.fetchKeySet();
    line.answer = () => Promise.reject(new Error('away'));
    await assert.rejects(line.client.fetchKeySet(), Outage);
    const cancelled = cancels.mock.calls.map(({ arguments: [timer] }) => timer);
    assert.equal(alarms.mock.callCount(), 2);
    for (const { result } of alarms.mock.calls) assert.ok(cancelled.includes(result));
    assert.equal(getEventListeners(line.closing.signal, 'abort').length, 0);
    for (const { init } of line.sent) assert.equal(init.signal?.aborted, false);
  } finally {
    mock.restoreAll();
  }
});

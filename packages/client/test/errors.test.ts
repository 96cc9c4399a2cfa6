import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { HallpassError } from '@hallpass/client';
import { FIRST, hallpassOf, startServer, TOKENS } from './server.ts';

for (const [status, code, advice] of [
  [401, 'invalid_client', /check clientId and clientSecret/],
  [400, 'invalid_scope', /ask for scopes that the API key allows/],
  [400, 'invalid_grant', /create a token with grantType client_credentials/],
  [400, 'invalid_target', /audiences/],
  [403, 'access_denied', /add the origin to the key/],
  [422, 'invalid_request', /correct it/],
  [500, 'server_error', /requestId/],
  [400, 'authorization_pending', /documentation/],
] as const) {
  test(`a ${status} with ${code} rejects with that code and says what to do (RFC 6749 §5.2)`, async (t) => {
    const body = { error: code, error_description: 'These are the words of the server.' };
    const server = await startServer(t, { status, headers: { 'x-request-id': 'req-1' }, body });
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), (error) => {
      assert.ok(error instanceof HallpassError && error instanceof Error);
      assert.equal(error.name, 'HallpassError');
      assert.equal(error.code, code);
      assert.equal(error.statusCode, status);
      assert.equal(error.description, 'These are the words of the server.');
      assert.equal(error.requestId, 'req-1');
      assert.equal(error.retryAfterSeconds, undefined);
      assert.match(error.message, advice);
      assert.match(error.message, new RegExp(`\\(${code}, status ${status}\\) The server says: These are the words`));
      return true;
    });
  });
}

test('the error holds the answer, unread', async (t) => {
  const server = await startServer(t, { status: 400, body: { error: 'invalid_scope', extra: 1 } });
  const [settled] = await Promise.allSettled([hallpassOf(server).accessToken.create(FIRST)]);
  assert.ok(settled.status === 'rejected' && settled.reason instanceof HallpassError);
  assert.match(String(settled.reason), /^HallpassError: This scope is not available/);
  assert.deepEqual(await settled.reason.rawResponse?.json(), { error: 'invalid_scope', extra: 1 });
});

test('a rate limit says how long to wait', async (t) => {
  const server = await startServer(t, {
    status: 429,
    headers: { 'retry-after': '90' },
    body: { error: 'rate_limited' },
  });
  await assert.rejects(hallpassOf(server).accessToken.create(FIRST), { code: 'rate_limited', retryAfterSeconds: 90 });
});

for (const [what, told] of [
  ['without an error', { status: 400, body: {} }],
  ['with an error that is no text', { status: 400, body: { error: 7 } }],
  ['with an error that is a sentence', { status: 400, body: { error: 'Oh no!' } }],
  ['with an error of endless length', { status: 400, body: { error: 'e'.repeat(65) } }],
  ['with an error that only the SDK may find', { status: 400, body: { error: 'bad_argument' } }],
  ['from a proxy', { status: 502, headers: { 'content-type': 'text/html' }, body: '<h1>Bad Gateway' }],
  ['in broken UTF-8', { status: 400, body: '\ufeff{"error":"invalid_scope"}' }],
] as const) {
  test(`a refusal ${what} is unexpected`, async (t) => {
    const server = await startServer(t, told);
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), {
      code: 'unexpected_answer',
      statusCode: told.status,
      message: /check serverURL/,
    });
  });
}

/** A token answer of that many bytes and its frame. */
function full(bytes: number): string {
  return JSON.stringify({ ...TOKENS, padding: 'x'.repeat(bytes) });
}

test(
  'an answer of 64 KiB is read; one byte more is refused and not received to its end',
  { timeout: 60_000 },
  async (t) => {
    const frame = full(0).length;
    const server = await startServer(t, { status: 200, body: full(64 * 1024 - frame) });
    assert.equal((await hallpassOf(server).accessToken.create(FIRST)).statusCode, 200);
    server.tell({ status: 200, body: full(64 * 1024 - frame + 1) });
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), {
      code: 'unexpected_answer',
      message: /64 KiB/,
    });
    const closed = new Promise<void>((resolve) => {
      server.tell((response) => {
        response.on('close', resolve);
        const pour = (): void => {
          while (!response.destroyed && response.write('x'.repeat(16 * 1024)));
        };
        response.on('drain', pour);
        pour();
      });
    });
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), {
      code: 'unexpected_answer',
      message: /64 KiB/,
    });
    await closed;
  },
);

test('a redirect is not followed, with or without the secret (SDK-05)', async (t) => {
  const elsewhere = await startServer(t, { status: 200, body: TOKENS });
  for (const status of [301, 302, 303, 307, 308]) {
    const server = await startServer(t, { status, headers: { location: `${elsewhere.url}/oauth2/token` } });
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), {
      code: 'unexpected_answer',
      statusCode: status,
      message: /a redirect, which is never followed/,
    });
    assert.equal(server.asked.length, 1, 'and not asked for again');
  }
  assert.equal(elsewhere.asked.length, 0);
});

test('without a server, the message has the error code of the system', async (t) => {
  const server = await startServer(t);
  const unused = createServer();
  await new Promise<void>((resolve) => {
    unused.listen(0, '127.0.0.1', resolve);
  });
  const address = unused.address();
  assert.ok(typeof address === 'object' && address !== null);
  await new Promise((resolve) => {
    unused.close(resolve);
  });
  const hallpass = hallpassOf({ ...server, url: `http://127.0.0.1:${address.port}` });
  await assert.rejects(hallpass.accessToken.create(FIRST), { code: 'connection_failed', message: /ECONNREFUSED/ });
});

test('a status that no Response can have is unexpected, not a crash', async (t) => {
  const server = await startServer(t, { status: 999, body: {} });
  await assert.rejects(hallpassOf(server).accessToken.create(FIRST), { code: 'unexpected_answer', statusCode: 999 });
});

test('a custom fetch is called as a function, with the options that protect credentials', async () => {
  const seen: RequestInit[] = [];
  function fetch(this: unknown, _input: unknown, init?: RequestInit): Promise<Response> {
    // A browser's own fetch throws "Illegal invocation" when it is called as a method of something else.
    assert.equal(this, undefined);
    if (init !== undefined) seen.push(init);
    return Promise.resolve(Response.json(TOKENS));
  }
  const server = { url: 'https://auth.example.com', asked: [], tell: () => undefined };
  await hallpassOf(server, { fetch }).accessToken.create(FIRST);
  const [init] = seen;
  assert.equal(init?.redirect, 'manual');
  assert.equal(init?.credentials, 'omit');
  assert.equal(init?.cache, 'no-store');
  assert.equal(init?.referrerPolicy, undefined);
});

/** What runtimes and `fetch` libraries lack: an option that they refuse, a body that is no web stream. */
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { FIRST, hallpassOf, KEY, TOKENS, type TestServer } from './server.ts';

const HOSTED: TestServer = { url: 'https://auth.example.com', asked: [], tell: () => undefined };

/** The global `Request` of another runtime, until the test ends. */
function setRequest(t: TestContext, value: unknown): void {
  const before = globalThis.Request;
  Reflect.set(globalThis, 'Request', value);
  t.after(() => Reflect.set(globalThis, 'Request', before));
}

/** A `Request` that refuses options, as Cloudflare's workers do. */
function refusing(...names: readonly string[]): unknown {
  return function Request(_input: unknown, init: object): void {
    const refused = names.find((name) => name in init);
    if (refused !== undefined) throw new Error(`The '${refused}' field is not implemented.`);
  };
}

for (const [what, request, wanted] of [
  ['refuses neither', globalThis.Request, { credentials: 'omit', cache: 'no-store' }],
  ['has no cache', refusing('cache'), { credentials: 'omit' }],
  ['has no cookies and no cache', refusing('cache', 'credentials'), {}],
  ['has no Request at all', undefined, { credentials: 'omit', cache: 'no-store' }],
] as const) {
  test(`a runtime that ${what} gets only the options that it accepts`, async (t) => {
    setRequest(t, request);
    let seen: RequestInit = {};
    const fetch: typeof globalThis.fetch = (_input, init = {}) => {
      seen = init;
      return Promise.resolve(Response.json(TOKENS));
    };
    await hallpassOf(HOSTED, { fetch }).accessToken.create(FIRST);
    const taken = (['credentials', 'cache'] as const).filter((name) => name in seen).map((name) => [name, seen[name]]);
    assert.deepEqual(Object.fromEntries(taken), wanted);
  });
}

/** A `fetch` whose answers have the body that is made of a text here. */
function fetchWith(
  text: string,
  bodyOf: (text: string) => unknown,
): { fetch: typeof globalThis.fetch; count: () => number } {
  let asked = 0;
  return {
    count: () => asked,
    fetch: () => {
      asked += 1;
      const response = new Response(text, { status: 200, headers: { 'content-type': 'application/json' } });
      Object.defineProperty(response, 'body', { value: bodyOf(text) });
      return Promise.resolve(response);
    },
  };
}

/** As long as an answer may be, and one byte more. */
const LIMIT = 64 * 1024;
const padded = (length: number): string => {
  const frame = JSON.stringify({ ...TOKENS, padding: '' }).length;
  return JSON.stringify({ ...TOKENS, padding: 'x'.repeat(length - frame) });
};

for (const [what, bodyOf] of [
  [
    "Node's streams (node-fetch)",
    (text: string) => Readable.from([Buffer.from(text.slice(0, 20)), Buffer.from(text.slice(20))]),
  ],
  ['streams of texts', (text: string) => Readable.from([text])],
  ['no streams, and a text alone (React Native)', () => undefined],
] as const) {
  test(`a fetch with ${what}: an issued token is not lost`, async () => {
    const { fetch, count } = fetchWith(JSON.stringify(TOKENS), bodyOf);
    const answer = await hallpassOf(HOSTED, { fetch }).accessToken.create(FIRST);
    assert.equal(answer.accessTokenResponse?.accessToken, TOKENS.access_token);
    assert.deepEqual(await answer.rawResponse.json(), TOKENS);
    assert.equal(count(), 1);
  });

  test(`a fetch with ${what}: 64 KiB are read, one byte more is not`, async () => {
    const full = fetchWith(padded(LIMIT), bodyOf);
    assert.equal((await hallpassOf(HOSTED, { fetch: full.fetch }).accessToken.create(FIRST)).statusCode, 200);
    const more = fetchWith(padded(LIMIT + 1), bodyOf);
    await assert.rejects(hallpassOf(HOSTED, { fetch: more.fetch }).accessToken.create(FIRST), {
      code: 'unexpected_answer',
      message: /64 KiB/,
    });
  });

  test(`a fetch with ${what}: an answer without a body still says that a token is revoked`, async () => {
    const { fetch } = fetchWith('', bodyOf);
    const answer = await hallpassOf(HOSTED, { fetch }).accessToken.revoke({ ...KEY, token: 'a token' });
    assert.equal(answer.statusCode, 200);
  });
}

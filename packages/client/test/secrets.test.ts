import assert from 'node:assert/strict';
import { test } from 'node:test';
import { format, inspect } from 'node:util';
import { FIRST, hallpassOf, KEY, REFRESH, REFRESH_TOKEN, startServer, TOKENS, type Answer } from './server.ts';

// With a character that a form escapes, so that both spellings are looked for.
const SECRET = 'secret+client/1';
const BEARER = 'eyJ.secret-bearer.1';
const SECRETS = [SECRET, encodeURIComponent(SECRET), BEARER, REFRESH_TOKEN, TOKENS.access_token, TOKENS.refresh_token];
const security = { accessToken: BEARER };
const request = { ...REFRESH, clientSecret: SECRET };

/** Every way in which a value ends up in a log. */
function assertPrintsNoSecret(value: unknown): void {
  const deep = { depth: Infinity, showHidden: true, getters: true, maxStringLength: Infinity } as const;
  const prints = [inspect(value), inspect(value, deep), JSON.stringify(value), String(value)];
  if (value instanceof Error) prints.push(value.message, String(value.stack), JSON.stringify(Object.entries(value)));
  if (typeof value === 'object') prints.push(JSON.stringify({ ...value }), inspect(structure(value)));
  for (const print of prints) {
    for (const secret of SECRETS) assert.ok(!print.includes(secret), `${secret} is in ${print}`);
  }
}

/** All that a curious serialiser would walk through. */
function structure(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > 4) return value;
  return Reflect.ownKeys(value).map((key) => [String(key), structure(Reflect.get(value, key), depth + 1)]);
}

test('a Hallpass object prints no secret, idle or with a refresh under way', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const hallpass = hallpassOf(server, { security });
  const underWay = hallpass.accessToken.create(request);
  assertPrintsNoSecret(hallpass);
  assertPrintsNoSecret(hallpass.accessToken);
  await underWay;
  assertPrintsNoSecret(hallpass);
});

test('printing an answer shows no token; reading it by name returns it', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const answer = await hallpassOf(server).accessToken.create(request);
  const deep = { depth: Infinity, showHidden: true, getters: true } as const;
  for (const value of [answer, answer.accessTokenResponse]) {
    // The last is what `console.dir` does.
    const prints = [inspect(value), inspect(value, deep), format('%s %o %O', value, value, value)];
    for (const print of [...prints, inspect(value, { customInspect: false })]) {
      for (const secret of SECRETS) assert.ok(!print.includes(secret), `${secret} is in ${print}`);
    }
  }
  assert.match(inspect(answer), /tokenType: 'Bearer'/);
  assert.equal(answer.accessTokenResponse?.accessToken, TOKENS.access_token);
  assert.equal(answer.accessTokenResponse.refreshToken, TOKENS.refresh_token);
});

const COPIED = {
  accessToken: TOKENS.access_token,
  tokenType: 'Bearer',
  expiresIn: 900,
  scope: '/accounts.write',
  refreshToken: TOKENS.refresh_token,
};

test('a copy of an answer holds the tokens and can be sent on (ADR 42)', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const { accessTokenResponse } = await hallpassOf(server).accessToken.create(request);
  assert.ok(accessTokenResponse !== undefined);
  const copies = [
    { ...accessTokenResponse },
    Object.assign({}, accessTokenResponse),
    Object.fromEntries(Object.entries(accessTokenResponse)),
    structuredClone(accessTokenResponse),
  ];
  for (const copy of copies) {
    assert.deepEqual({ ...copy }, COPIED);
    assert.deepEqual(JSON.parse(JSON.stringify(copy)), COPIED);
  }
});

test('an answer without a refresh token is copied without one', async (t) => {
  const server = await startServer(t, { status: 200, body: { access_token: 'a', token_type: 'Bearer' } });
  const { accessTokenResponse } = await hallpassOf(server).accessToken.create(request);
  assert.equal(JSON.stringify({ ...accessTokenResponse }), '{"tokenType":"Bearer","accessToken":"a"}');
});

test('serialising an answer to JSON throws and says what to do: it neither drops nor logs the tokens', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const answer = await hallpassOf(server).accessToken.create(request);
  for (const value of [answer, answer.accessTokenResponse, [answer.accessTokenResponse]]) {
    assert.throws(
      () => JSON.stringify(value),
      (error) => {
        assertPrintsNoSecret(error);
        assert.match(
          String(error),
          /HallpassError: A token answer does not serialise to JSON.*\{ \.\.\.accessTokenResponse \}/,
        );
        return true;
      },
    );
  }
  // What is left of the answer is printed as ever.
  const { accessTokenResponse: _, rawResponse: __, ...rest } = answer;
  assert.equal(JSON.stringify(rest), '{"statusCode":200,"contentType":"application/json"}');
});

const echo: Answer = (response, { body, headers }) => {
  const error_description = `You sent ${body} ${decodeURIComponent(body)} ${headers.authorization} `.repeat(5);
  response.writeHead(400, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: 'invalid_request', error_description }));
};

test('a server that quotes its request does not put our secrets into our logs', async (t) => {
  const server = await startServer(t, echo);
  const hallpass = hallpassOf(server, { security });
  const calls = [
    () => hallpass.accessToken.create(request),
    () => hallpass.accessToken.revoke({ ...KEY, clientSecret: SECRET, token: REFRESH_TOKEN }),
    () => hallpass.ping(),
  ];
  for (const call of calls) {
    await assert.rejects(call, (error) => {
      assertPrintsNoSecret(error);
      assert.match(String(error), /The server says: You sent .*\[concealed\]/);
      return true;
    });
  }
});

test('an error code or a request id that is the secret is not repeated', async (t) => {
  const clientSecret = 'lower_case_secret';
  const server = await startServer(t, {
    status: 400,
    headers: { 'x-request-id': clientSecret },
    body: { error: clientSecret },
  });
  await assert.rejects(hallpassOf(server).accessToken.create({ ...FIRST, clientSecret }), (error) => {
    assert.ok(error instanceof Error && 'code' in error && 'requestId' in error);
    assert.equal(error.code, 'unexpected_answer');
    assert.equal(error.requestId, undefined);
    assert.ok(!`${error.stack}${JSON.stringify(error)}`.includes(clientSecret));
    return true;
  });
});

test('a secret that is part of ordinary words hides no error code, and is concealed once', async (t) => {
  const error_description = 'Client authentication failed. Check client_id and client_secret.';
  const server = await startServer(t, { status: 401, body: { error: 'invalid_client', error_description } });
  const credentials = { clientId: FIRST.clientId, clientSecret: 'client' };
  await assert.rejects(hallpassOf(server).accessToken.revoke({ ...credentials, token: 'once' }), {
    code: 'invalid_client',
    description: 'Client authentication failed. Check [concealed]_id and [concealed]_secret.',
  });
  // Each is in the word that stands for the other, and is a character of patterns.
  await assert.rejects(hallpassOf(server).accessToken.revoke({ ...credentials, clientSecret: '.', token: 'a' }), {
    code: 'invalid_client',
    description: error_description.replaceAll(/[a.]/g, '[concealed]'),
  });
});

test('control characters in an answer do not reach a log line', async (t) => {
  const error_description = 'one\ntwo\u001b[31m\u202e';
  const server = await startServer(t, { status: 400, body: { error: 'invalid_request', error_description } });
  await assert.rejects(hallpassOf(server).accessToken.create(FIRST), { description: 'one?two?[31m?' });
});

const tellingFetch: typeof globalThis.fetch = (_input, init) =>
  Promise.reject(new TypeError(`cannot send ${JSON.stringify(init)}`, { cause: { code: `E${SECRET}` } }));

test('an error of fetch that quotes its request is not passed on', async () => {
  const server = { url: 'https://auth.example.com', asked: [], tell: () => undefined };
  const hallpass = hallpassOf(server, { fetch: tellingFetch, security });
  for (const call of [() => hallpass.accessToken.create(request), () => hallpass.ping()]) {
    await assert.rejects(call, (error) => {
      assertPrintsNoSecret(error);
      assert.ok(error instanceof Error && error.cause === undefined);
      return true;
    });
  }
});

test('an error serialised to JSON has what a log needs', async (t) => {
  const server = await startServer(t, {
    status: 401,
    headers: { 'x-request-id': 'r1' },
    body: { error: 'invalid_client' },
  });
  await assert.rejects(hallpassOf(server).accessToken.create(FIRST), (error) => {
    assert.deepEqual(JSON.parse(JSON.stringify(error)), {
      name: 'HallpassError',
      code: 'invalid_client',
      message: 'The server does not accept this API key: check clientId and clientSecret. (invalid_client, status 401)',
      statusCode: 401,
      requestId: 'r1',
    });
    return true;
  });
});

test('no secret is in a URL (OAuth 2.1 §7.1)', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const hallpass = hallpassOf(server, { security });
  await hallpass.accessToken.create(request);
  await hallpass.accessToken.revoke({ ...KEY, token: REFRESH_TOKEN });
  await hallpass.ping();
  assert.deepEqual(
    server.asked.map(({ path }) => path),
    ['/oauth2/token', '/oauth2/revoke', '/ping'],
  );
});

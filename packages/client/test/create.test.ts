import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAsJavaScript, FIRST, hallpassOf, KEY, REFRESH, REFRESH_TOKEN, startServer, TOKENS } from './server.ts';

test('create posts a form that a browser sends without a preflight (Fetch §2.2.2)', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  await hallpassOf(server).accessToken.create(FIRST);
  const [asked] = server.asked;
  assert.equal(asked?.method, 'POST');
  assert.equal(asked?.path, '/oauth2/token');
  assert.equal(asked?.headers['content-type'], 'application/x-www-form-urlencoded');
  assert.equal(asked?.headers.authorization, undefined);
  assert.deepEqual(
    [...new URLSearchParams(asked?.body)],
    [
      ['grant_type', 'client_credentials'],
      ['client_id', KEY.clientId],
      ['client_secret', KEY.clientSecret],
      ['scope', '/accounts.write'],
    ],
  );
});

test('create returns the shapes of the seed page, and the raw answer is unread', async (t) => {
  const server = await startServer(t, { status: 200, headers: { 'x-request-id': 'r-1' }, body: TOKENS });
  const answer = await hallpassOf(server).accessToken.create(FIRST);
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.contentType, 'application/json');
  assert.equal(answer.accessTokenResponse?.accessToken, TOKENS.access_token);
  assert.equal(answer.accessTokenResponse.tokenType, 'Bearer');
  assert.equal(answer.accessTokenResponse.expiresIn, 900);
  assert.equal(answer.accessTokenResponse.scope, '/accounts.write');
  assert.equal(answer.accessTokenResponse.refreshToken, TOKENS.refresh_token);
  assert.equal(answer.rawResponse.status, 200);
  assert.equal(answer.rawResponse.headers.get('x-request-id'), 'r-1');
  assert.deepEqual(await answer.rawResponse.json(), TOKENS);
});

test('a refresh sends the refresh token, and the scope only if there is one (RFC 6749 §6)', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const { accessToken } = hallpassOf(server);
  await accessToken.create(REFRESH);
  await accessToken.create({ ...REFRESH, scope: '' });
  await accessToken.create({ ...REFRESH, scope: '/accounts.write' });
  const forms = server.asked.map(({ body }) => new URLSearchParams(body));
  assert.deepEqual(
    forms.map((form) => [form.get('refresh_token'), form.get('scope')]),
    [
      [REFRESH_TOKEN, null],
      [REFRESH_TOKEN, null],
      [REFRESH_TOKEN, '/accounts.write'],
    ],
  );
});

test('a refresh token passed with client_credentials is not sent (seed: the type allows it)', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  await hallpassOf(server).accessToken.create({ ...FIRST, refreshToken: REFRESH_TOKEN });
  assert.equal(new URLSearchParams(server.asked[0]?.body).has('refresh_token'), false);
});

test('resource is sent once for each value (RFC 8707 §2)', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const { accessToken } = hallpassOf(server);
  await accessToken.create({ ...FIRST, resource: 'https://a.example' });
  await accessToken.create({ ...FIRST, resource: ['https://a.example', 'https://b.example'] });
  const resources = server.asked.map(({ body }) => new URLSearchParams(body).getAll('resource'));
  assert.deepEqual(resources, [['https://a.example'], ['https://a.example', 'https://b.example']]);
});

test('characters with a meaning in forms arrive unchanged', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const clientSecret = 'a&b=c+d%20e f\u00e9\u{1f511}';
  await hallpassOf(server).accessToken.create({ ...FIRST, clientSecret });
  assert.equal(new URLSearchParams(server.asked[0]?.body).get('client_secret'), clientSecret);
});

test('an answer may lack optional members, have unknown ones, and write token_type in any case (RFC 6749 §5.1)', async (t) => {
  const body = { access_token: 'opaque', token_type: 'bEARER', shoe_size: 46, __proto__x: {}, refresh_token: '' };
  const server = await startServer(t, { status: 200, body });
  const { accessTokenResponse } = await hallpassOf(server).accessToken.create(FIRST);
  assert.equal(accessTokenResponse?.accessToken, 'opaque');
  assert.equal(accessTokenResponse.tokenType, 'bEARER');
  assert.equal(accessTokenResponse.expiresIn, undefined);
  assert.equal(accessTokenResponse.scope, undefined);
  assert.equal(accessTokenResponse.refreshToken, undefined);
});

for (const [what, told] of [
  ['no access token', { status: 200, body: { ...TOKENS, access_token: undefined } }],
  ['an empty access token', { status: 200, body: { ...TOKENS, access_token: '' } }],
  ['no token type', { status: 200, body: { ...TOKENS, token_type: undefined } }],
  ['a web page', { status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html>' }],
  ['an array', { status: 200, body: [TOKENS] }],
  ['nothing', { status: 200 }],
  ['tokens under another status', { status: 202, body: TOKENS }],
  ['an error that calls itself a success', { status: 200, body: { error: 'invalid_client' } }],
] as const) {
  test(`an answer with ${what} is unexpected (RFC 6749 §5.1)`, async (t) => {
    const server = await startServer(t, told);
    await assert.rejects(hallpassOf(server).accessToken.create(FIRST), {
      name: 'HallpassError',
      code: 'unexpected_answer',
      statusCode: told.status,
    });
    assert.equal(server.asked.length, 1);
  });
}

test('arguments that cannot work are refused before anything is sent', async (t) => {
  const server = await startServer(t, { status: 200, body: TOKENS });
  const { accessToken } = hallpassOf(server);
  const wrong: [unknown, RegExp][] = [
    [undefined, /object/],
    [null, /object/],
    [{ ...FIRST, clientId: '' }, /^clientId is required/],
    [{ ...FIRST, clientId: 7 }, /^clientId is required/],
    [{ ...FIRST, clientSecret: undefined }, /^clientSecret is required/],
    [{ ...FIRST, grantType: 'password' }, /^grantType is/],
    [{ ...FIRST, grantType: 'constructor' }, /^grantType is/],
    [{ ...REFRESH, refreshToken: '' }, /^refreshToken is required/],
    [{ ...REFRESH, refreshToken: undefined }, /^refreshToken is required/],
    [{ ...FIRST, scope: ['/a.read'] }, /^scope is a string/],
    [{ ...FIRST, resource: 7 }, /^resource is/],
    [{ ...FIRST, resource: ['https://a.example', 7] }, /^resource is/],
  ];
  for (const [request, message] of wrong) {
    await assert.rejects(callAsJavaScript(accessToken, 'create', request), {
      name: 'HallpassError',
      code: 'bad_argument',
      message,
    });
  }
  assert.equal(server.asked.length, 0);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HallpassError } from '@hallpass/client';
import { FIRST, hallpassOf, REFRESH, startServer, TOKENS, type Handler } from './server.ts';

const slowly =
  (status: number, body: object): Handler =>
  (response) => {
    setImmediate(() => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)));
  };
/** Every request gets a token of its own. */
const echo: Handler = (response, asked) => {
  slowly(200, { ...TOKENS, access_token: asked.body })(response, asked);
};

test('a thousand callers with one refresh token cause one request (SDK-02)', async (t) => {
  const server = await startServer(t, slowly(200, TOKENS));
  const { accessToken } = hallpassOf(server);
  const answers = await Promise.all(Array.from({ length: 1000 }, () => accessToken.create(REFRESH)));
  assert.equal(server.asked.length, 1);
  assert.ok(answers.every(({ accessTokenResponse }) => accessTokenResponse?.accessToken === TOKENS.access_token));
});

test('each of those callers can read the raw answer', async (t) => {
  const server = await startServer(t, slowly(200, TOKENS));
  const { accessToken } = hallpassOf(server);
  const [one, two] = await Promise.all([accessToken.create(REFRESH), accessToken.create(REFRESH)]);
  assert.notEqual(one.rawResponse, two.rawResponse);
  assert.deepEqual(await one.rawResponse.json(), TOKENS);
  assert.deepEqual(await two.rawResponse.json(), TOKENS);
});

test('each of those callers gets a separate error', async (t) => {
  const server = await startServer(t, slowly(400, { error: 'invalid_grant' }));
  const { accessToken } = hallpassOf(server);
  const settled = await Promise.allSettled([accessToken.create(REFRESH), accessToken.create(REFRESH)]);
  const bodies = settled.map(async (one) => {
    assert.ok(one.status === 'rejected' && one.reason instanceof HallpassError);
    return await one.reason.rawResponse?.json();
  });
  assert.deepEqual(await Promise.all(bodies), [{ error: 'invalid_grant' }, { error: 'invalid_grant' }]);
  assert.equal(server.asked.length, 1);
});

test('a finished refresh is not shared, whether it succeeded or failed', async (t) => {
  const server = await startServer(t, { status: 400, body: { error: 'invalid_grant' } }, { status: 200, body: TOKENS });
  const { accessToken } = hallpassOf(server);
  await assert.rejects(accessToken.create(REFRESH), { code: 'invalid_grant' });
  await accessToken.create(REFRESH);
  await accessToken.create(REFRESH);
  assert.equal(server.asked.length, 3);
});

for (const [what, other] of [
  ['refresh token', { refreshToken: 'hprt_other' }],
  ['client', { clientId: 'other' }],
  // A caller with a wrong secret must not get what a right one brought.
  ['secret', { clientSecret: 'wrong' }],
  ['scope', { scope: '/a.read' }],
  ['resource', { resource: 'https://a.example' }],
] as const) {
  test(`refreshes with a different ${what} do not share a request (SDK-01)`, async (t) => {
    const server = await startServer(t, echo);
    const { accessToken } = hallpassOf(server);
    const [one, two] = await Promise.all([accessToken.create(REFRESH), accessToken.create({ ...REFRESH, ...other })]);
    assert.equal(server.asked.length, 2);
    assert.notEqual(one.accessTokenResponse?.accessToken, two.accessTokenResponse?.accessToken);
  });
}

test('absent, empty and one-element forms of the same request share one request', async (t) => {
  const server = await startServer(t, slowly(200, TOKENS));
  const { accessToken } = hallpassOf(server);
  const resource = 'https://a.example';
  await Promise.all([accessToken.create(REFRESH), accessToken.create({ ...REFRESH, scope: '', resource: [] })]);
  assert.equal(server.asked.length, 1);
  await Promise.all([
    accessToken.create({ ...REFRESH, resource }),
    accessToken.create({ ...REFRESH, resource: [resource] }),
  ]);
  assert.equal(server.asked.length, 2);
});

test('first tokens are never shared: each is a separate grant (contract §1)', async (t) => {
  const server = await startServer(t, slowly(200, TOKENS));
  const { accessToken } = hallpassOf(server);
  await Promise.all([accessToken.create(FIRST), accessToken.create(FIRST)]);
  assert.equal(server.asked.length, 2);
});

test('two Hallpass objects share nothing', async (t) => {
  const server = await startServer(t, slowly(200, TOKENS));
  await Promise.all([hallpassOf(server).accessToken.create(REFRESH), hallpassOf(server).accessToken.create(REFRESH)]);
  assert.equal(server.asked.length, 2);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAsJavaScript, hallpassOf, KEY, REFRESH_TOKEN, startServer } from './server.ts';

const REVOKE = { ...KEY, token: REFRESH_TOKEN, tokenTypeHint: 'refresh_token' } as const;

test('revoke posts a form and resolves with 200 (seed; RFC 7009 §2.1)', async (t) => {
  const server = await startServer(t, { status: 200, body: {} });
  const answer = await hallpassOf(server).accessToken.revoke(REVOKE);
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.contentType, 'application/json');
  assert.equal(await answer.rawResponse.text(), '{}');
  const [asked] = server.asked;
  assert.equal(asked?.method, 'POST');
  assert.equal(asked?.path, '/oauth2/revoke');
  assert.equal(asked?.headers.authorization, undefined);
  assert.equal(asked?.headers['content-type'], 'application/x-www-form-urlencoded');
  assert.deepEqual(
    [...new URLSearchParams(asked?.body)],
    [
      ['client_id', KEY.clientId],
      ['client_secret', KEY.clientSecret],
      ['token', REFRESH_TOKEN],
      ['token_type_hint', 'refresh_token'],
    ],
  );
});

test('200 or 204, without a body or with JSON, acknowledges a revocation (RFC 7009 §2.2)', async (t) => {
  const server = await startServer(t, { status: 204 });
  const { accessToken } = hallpassOf(server);
  const answer = await accessToken.revoke({ ...KEY, token: 'x' });
  assert.equal(answer.statusCode, 204);
  assert.equal(await answer.rawResponse.text(), '');
  server.tell({ status: 200 });
  assert.equal((await accessToken.revoke({ ...KEY, token: 'x' })).statusCode, 200);
});

test('revoke can wait for guards, and reports how many have confirmed', async (t) => {
  const server = await startServer(t, { status: 200, headers: { 'hallpass-guards': 'confirmed=19, connected=20' } });
  const { accessToken } = hallpassOf(server);
  const waited = await accessToken.revoke({ ...REVOKE, waitSeconds: 10 });
  assert.deepEqual(waited.guards, { confirmed: 19, connected: 20 });
  assert.equal(server.asked[0]?.path, '/oauth2/revoke?wait=10');
  for (const odd of ['', 'confirmed=?1, connected=2', 'connected=2']) {
    server.tell({ status: 200, headers: { 'hallpass-guards': odd } });
    assert.ok(!('guards' in (await accessToken.revoke({ ...REVOKE, waitSeconds: 0 }))), odd);
  }
  assert.equal(server.asked.at(-1)?.path, '/oauth2/revoke?wait=0');
});

test('a web page with status 200 does not acknowledge a revocation', async (t) => {
  const server = await startServer(t, { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>Welcome' });
  await assert.rejects(hallpassOf(server).accessToken.revoke(REVOKE), { code: 'unexpected_answer', statusCode: 200 });
});

test('a refusal rejects with its code', async (t) => {
  const server = await startServer(t, { status: 401, body: { error: 'invalid_client' } });
  await assert.rejects(hallpassOf(server).accessToken.revoke(REVOKE), { code: 'invalid_client', statusCode: 401 });
  server.tell({ status: 202, body: {} });
  await assert.rejects(hallpassOf(server).accessToken.revoke(REVOKE), { code: 'unexpected_answer', statusCode: 202 });
});

test('revoke refuses arguments that cannot work', async (t) => {
  const server = await startServer(t, { status: 200 });
  const { accessToken } = hallpassOf(server);
  for (const wrong of [
    { token: '' },
    { token: undefined },
    { clientSecret: '' },
    { tokenTypeHint: 'id_token' },
    { waitSeconds: 11 },
    { waitSeconds: '5' },
    { waitSeconds: 0.5 },
  ]) {
    const message = new RegExp(`^${Object.keys(wrong).join('')} is `);
    const call = callAsJavaScript(accessToken, 'revoke', { ...REVOKE, ...wrong });
    await assert.rejects(call, { code: 'bad_argument', message });
  }
  assert.equal(server.asked.length, 0);
});

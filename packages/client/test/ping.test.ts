import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hallpassOf, startServer } from './server.ts';

const security = { accessToken: 'eyJ.secret-access.1' };

test('ping sends the access token and returns the status (contract §2)', async (t) => {
  const server = await startServer(t, { status: 200 });
  const answer = await hallpassOf(server, { security }).ping();
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.contentType, 'application/json');
  assert.equal(await answer.rawResponse.text(), '');
  const [asked] = server.asked;
  assert.equal(`${asked?.method} ${asked?.path}`, 'GET /ping');
  assert.equal(asked?.headers.authorization, 'Bearer eyJ.secret-access.1');
});

for (const none of [undefined, {}, { accessToken: '' }, { accessToken: undefined }]) {
  test(`ping with security ${JSON.stringify(none)} says what to do (seed: an empty token counts as absent)`, async (t) => {
    const server = await startServer(t, { status: 200 });
    await assert.rejects(hallpassOf(server, { security: none }).ping(), {
      name: 'HallpassError',
      code: 'bad_argument',
      message: /^ping needs an access token\. Create one and pass it/,
    });
    assert.equal(server.asked.length, 0);
  });
}

for (const accessToken of ['two words', 'line\nbreak', 'caf\u00e9', 'quote"']) {
  test(`ping neither sends nor repeats ${JSON.stringify(accessToken)} (RFC 6750 §2.1)`, async (t) => {
    const server = await startServer(t, { status: 200 });
    await assert.rejects(
      hallpassOf(server, { security: { accessToken } }).ping(),
      (error: Error) =>
        error.message.startsWith('security.accessToken is not') && !String(error.stack).includes(accessToken),
    );
    assert.equal(server.asked.length, 0);
  });
}

test('ping rejects with the code of the refusal (RFC 6750 §3.1)', async (t) => {
  const server = await startServer(
    t,
    { status: 401, body: { error: 'invalid_token' } },
    { status: 403, body: { error: 'insufficient_scope' } },
    { status: 200, headers: { 'content-type': 'text/html' }, body: '<p>Welcome' },
  );
  const hallpass = hallpassOf(server, { security });
  await assert.rejects(hallpass.ping(), { code: 'invalid_token', statusCode: 401 });
  await assert.rejects(hallpass.ping(), { code: 'insufficient_scope', statusCode: 403 });
  await assert.rejects(hallpass.ping(), { code: 'unexpected_answer', statusCode: 200 });
});

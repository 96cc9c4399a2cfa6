import { compilePolicy } from '@hallpass/guard';
import { protect } from '@hallpass/guard/node';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { after, test } from 'node:test';
import { assertAllowed, assertDenied, openBench } from '../harness.ts';
import { API } from '../issuer.ts';

const { issuer, guard } = await openBench();
const token = await issuer.token();
const policy = compilePolicy({ 'GET /accounts': '/accounts.read', 'POST /accounts': '/accounts.write' });
const api = createServer(protect(guard, policy, (_request, response) => void response.end('in')));
api.listen(0, '127.0.0.1');
await once(api, 'listening');
after(() => api.close());

interface Answer {
  readonly status: number;
  readonly challenge: string | undefined;
  readonly body: string;
}

/** Sends exactly these header lines over a bare socket. */
async function send(lines: readonly string[], target = '/accounts', method = 'GET'): Promise<Answer> {
  const address = api.address();
  assert.ok(typeof address === 'object' && address !== null);
  const socket = connect(address.port, '127.0.0.1');
  socket.write([`${method} ${target} HTTP/1.1`, 'Host: api', 'Connection: close', ...lines, '', ''].join('\r\n'));
  let text = '';
  for await (const piece of socket.setEncoding('utf8')) text += String(piece);
  const [head = '', body = ''] = text.split('\r\n\r\n', 2);
  const challenge = /^www-authenticate: (.*)$/im.exec(head)?.[1]?.trim();
  return { status: Number(head.split(' ')[1]), challenge, body };
}

test('a request without credentials gets a challenge without an error code (RFC 6750 §3.1)', async () => {
  assert.equal((await send([`Authorization: Bearer ${token}`])).status, 200);
  for (const lines of [[], ['Authorization:'], ['Authorization:   ']]) {
    const { status, challenge } = await send(lines);
    assert.equal(status, 401);
    assert.equal(challenge, `Bearer realm="${API}"`);
  }
});

test('another scheme counts as no credentials: a challenge without an error code (RFC 9110 §11.6.1)', async () => {
  for (const scheme of ['Basic dXNlcjpwYXNz', `Digest ${token}`, `Bearerx ${token}`, `Bear ${token}`, token]) {
    const { status, challenge } = await send([`Authorization: ${scheme}`]);
    assert.equal(status, 401, scheme);
    assert.equal(challenge, `Bearer realm="${API}"`);
  }
});

test('the scheme is case-insensitive (RFC 9110 §11.1)', async () => {
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) {
    assert.equal((await send([`Authorization: ${scheme} ${token}`])).status, 200, scheme);
  }
});

test('anything but one token after Bearer is a malformed request: 400 invalid_request (RFC 6750 §3.1)', async () => {
  const values = [
    'Bearer',
    `Bearer ${token} ${token}`,
    `Bearer ${token},${token}`,
    `Bearer ${token}, Bearer ${token}`,
    `Bearer\t${token}`,
    `Bearer\t${token}`,
    `Bearer "${token}"`,
    `Bearer ${token};x`,
    'Bearer =',
    `Bearer token=${token}`,
    'Bearer {}',
    `Bearer ${token}\u00e9`,
  ];
  for (const value of values) {
    const { status, challenge, body } = await send([`Authorization: ${value}`]);
    assert.equal(status, 400, value);
    assert.match(challenge ?? '', /^Bearer realm="[^"]*", error="invalid_request", error_description="[^"\\]*"$/);
    assert.match(body, /"error":"invalid_request"/);
  }
});

test('two Authorization headers are 400, in any order and with any schemes, even if they are equal (contract §9)', async () => {
  const good = `Authorization: Bearer ${token}`;
  const basic = 'Authorization: Basic dXNlcjpwYXNz';
  for (const lines of [
    [good, good],
    [good, basic],
    [basic, good],
    [basic, basic],
    [good, `authorization: Bearer x`],
    [good, 'AUTHORIZATION:'],
  ]) {
    assert.equal((await send(lines)).status, 400, lines.join(' | '));
  }
});

test('two credentials joined by Headers or a proxy are 400 (contract §9)', async () => {
  const one = new Headers({ authorization: `Bearer ${token}` });
  assertAllowed(await guard.check({ method: 'GET', url: '/', headers: one }, '/accounts.read'));
  for (const other of [`Bearer ${token}`, 'Basic dXNlcjpwYXNz', `DPoP ${token}`]) {
    const joined = new Headers({ authorization: other });
    joined.append('authorization', `Bearer ${token}`);
    assertDenied(await guard.check({ method: 'GET', url: '/', headers: joined }, '/accounts.read'), 400);
    const record = { Authorization: [other, `Bearer ${token}`] };
    assertDenied(await guard.check({ method: 'GET', url: '/', headers: record }, '/accounts.read'), 400);
    const twice = { Authorization: `Bearer ${token}`, authorization: other };
    assertDenied(await guard.check({ method: 'GET', url: '/', headers: twice }, '/accounts.read'), 400);
  }
});

test('a token in the query string is ignored, alone or next to another (OAuth 2.1 §5.1)', async () => {
  for (const query of [`access_token=${token}`, `token=${token}`, `authorization=Bearer%20${token}`]) {
    const { status, challenge } = await send([], `/accounts?${query}`);
    assert.equal(status, 401);
    assert.equal(challenge, `Bearer realm="${API}"`);
    assert.equal((await send([`Authorization: Bearer ${token}`], `/accounts?${query}`)).status, 200);
  }
});

test('a token in another header, a cookie or a body is ignored', async () => {
  const headers = [
    `Cookie: access_token=${token}`,
    `X-Authorization: Bearer ${token}`,
    `Proxy-Authorization: Bearer ${token}`,
    `X-Forwarded-Authorization: Bearer ${token}`,
  ];
  for (const line of headers) assert.equal((await send([line])).status, 401, line);
});

test('an invalid token is 401 invalid_token, one without the scope 403 insufficient_scope naming it (RFC 6750 §3.1)', async () => {
  const bad = await send(['Authorization: Bearer abc']);
  assert.equal(bad.status, 401);
  assert.match(bad.challenge ?? '', /^Bearer realm="[^"]*", error="invalid_token", error_description="[^"\\]*"$/);
  const lacking = await send([`Authorization: Bearer ${token}`], '/accounts', 'POST');
  assert.equal(lacking.status, 403);
  assert.match(
    lacking.challenge ?? '',
    /^Bearer realm="[^"]*", error="insufficient_scope", error_description="[^"\\]*", scope="\/accounts\.write"$/,
  );
});

test('the reason for a refusal goes to the log only, unless the token was genuine: then its holder learns what is wrong', async () => {
  const answers = new Set<string>();
  for (const bad of [
    'abc',
    // For another audience, but not genuine.
    (await issuer.token({ aud: 'x' })).replace(/.{4}$/, 'AAAA'),
    // Expired, but not genuine.
    (await issuer.token({ exp: 1 })).replace(/.{4}$/, 'AAAA'),
    await issuer.token({}, { kid: 'x' }),
  ]) {
    answers.add(JSON.stringify(await send([`Authorization: Bearer ${bad}`])));
  }
  assert.equal(answers.size, 1);
  const expired = await send([`Authorization: Bearer ${await issuer.token({ exp: 1 })}`]);
  assert.equal(expired.status, 401);
  assert.match(JSON.stringify(expired), /invalid_token.*has expired/);
  const elsewhere = await send([`Authorization: Bearer ${await issuer.token({ aud: 'x' })}`]);
  assert.equal(elsewhere.status, 401);
  assert.match(JSON.stringify(elsewhere), /invalid_token.*meant for another API/);
});

test("a denial contains neither the token nor the guard's credentials", async () => {
  const bad = await issuer.token({ aud: 'x' });
  const denial = await guard.check(
    { method: 'GET', url: '/', headers: { authorization: `Bearer ${bad}` } },
    '/accounts.read',
  );
  assert.ok(!JSON.stringify(denial).includes(bad));
  assert.ok(!JSON.stringify(denial).includes('not-for-any-log'));
});

test('a refusal is JSON and is never cached (contract §9)', async () => {
  const denial = assertDenied(await guard.check({ method: 'GET', url: '/', headers: {} }, '/accounts.read'), 401);
  const headers = new Headers(denial.headers);
  assert.equal(headers.get('content-type'), 'application/json');
  assert.equal(headers.get('cache-control'), 'no-store');
});

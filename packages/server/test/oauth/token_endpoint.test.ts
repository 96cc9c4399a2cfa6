import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimOf, decode, startHallpass, tokensOf } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const API = 'https://api.example.com';
const BILLING = 'https://billing.example.com/v1';
const forTwo = await hallpass.makeKey({ audiences: [API, BILLING] });
const PATH = '/oauth2/token';
const CREDENTIALS = { grant_type: 'client_credentials', scope: '/accounts.write' };

test('a good request gets exactly the members of RFC 6749 §5.1, and no nulls', async () => {
  const answer = await hallpass.form(PATH, CREDENTIALS, { key });
  assert.equal(answer.status, 200);
  assert.deepEqual(Object.keys(answer.body).toSorted(), [
    'access_token',
    'expires_in',
    'refresh_token',
    'scope',
    'token_type',
  ]);
  const { token_type, expires_in, scope } = answer.body;
  assert.deepEqual(
    { token_type, expires_in, scope },
    { token_type: 'Bearer', expires_in: 900, scope: '/accounts.write' },
  );
});

test('tokens are visible ASCII (RFC 6749 appendix A.12, A.17)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  assert.match(accessToken, /^[\x21-\x7e]+$/);
  assert.match(refreshToken, /^[\x21-\x7e]+$/);
});

test('a good answer is JSON that nobody stores (RFC 6749 §5.1)', async () => {
  const answer = await hallpass.form(PATH, CREDENTIALS, { key });
  assert.match(answer.header('content-type') ?? '', /^application\/json/);
  assert.match(answer.header('cache-control') ?? '', /no-store/);
  assert.equal(answer.header('pragma'), 'no-cache');
});

test('a key with refresh switched off gets no refresh token, and the member is absent, not null', async () => {
  const without = await hallpass.makeKey({ refresh: false });
  const answer = await hallpass.form(PATH, CREDENTIALS, { key: without });
  assert.equal(answer.status, 200);
  assert.equal(Object.hasOwn(answer.body, 'refresh_token'), false);
});

for (const [name, params, outcome] of [
  ['no grant_type', { scope: '/accounts.write' }, '400 invalid_request'],
  ['an empty grant_type, which is an absent one', { ...CREDENTIALS, grant_type: '' }, '400 invalid_request'],
  ['an unknown grant_type', { ...CREDENTIALS, grant_type: 'foo' }, '400 unsupported_grant_type'],
  ['a grant_type in another case', { ...CREDENTIALS, grant_type: 'Client_Credentials' }, '400 unsupported_grant_type'],
  [
    'a grant_type with a space before it',
    { ...CREDENTIALS, grant_type: ' client_credentials' },
    '400 unsupported_grant_type',
  ],
  ['the password grant', { ...CREDENTIALS, grant_type: 'password' }, '400 unsupported_grant_type'],
  [
    'a grant_type named like a prototype member',
    { ...CREDENTIALS, grant_type: 'constructor' },
    '400 unsupported_grant_type',
  ],
  ['grant_type=__proto__', { ...CREDENTIALS, grant_type: '__proto__' }, '400 unsupported_grant_type'],
] as const) {
  test(`${name} is ${outcome} (RFC 6749 §5.2)`, async () => {
    assert.equal((await hallpass.form(PATH, params, { key })).outcome, outcome);
    assert.equal((await hallpass.json(PATH, params, { key })).outcome, outcome);
  });
}

test('unknown parameters are ignored (RFC 6749 §3.2)', async () => {
  const more = { foo: 'bar', __proto__x: '1', constructor: '1' };
  assert.equal((await hallpass.form(PATH, { ...CREDENTIALS, ...more }, { key })).status, 200);
  assert.equal(
    (await hallpass.form(PATH, 'grant_type=client_credentials&scope=/accounts.write&__proto__=1', { key })).status,
    200,
  );
});

test('refresh_token beside client_credentials is ignored, a good one and a bad one (contract §3)', async () => {
  const first = await hallpass.issue(key);
  for (const refreshToken of [first.refreshToken, 'nonsense']) {
    const second = await hallpass.issue(key, '/accounts.write', { refresh_token: refreshToken });
    assert.notEqual(claimOf(second.accessToken, 'grant_id'), claimOf(first.accessToken, 'grant_id'));
  }
  assert.equal((await hallpass.refresh(key, first.refreshToken)).status, 200, 'it consumed nothing');
});

test('parameters in the query string are never read (contract §3)', async () => {
  const query = `?grant_type=client_credentials&scope=%2Faccounts.write&client_id=${key.clientId}&client_secret=${key.clientSecret}`;
  assert.equal((await hallpass.form(PATH + query, '')).outcome, '401 invalid_client');
  assert.equal((await hallpass.form(PATH + query, '', { key })).outcome, '400 invalid_request');
  const other = await hallpass.form(`${PATH}?scope=%2Faccounts.read`, CREDENTIALS, { key });
  assert.equal(tokensOf(other).scope, '/accounts.write');
});

test('the access token lives as long as expires_in says, to the second', async () => {
  const { accessToken, expiresIn } = await hallpass.issue(key);
  const { iat, exp } = decode(accessToken).claims;
  assert.equal(Number(exp) - Number(iat), expiresIn);
  hallpass.clock.advance(expiresIn - 1);
  assert.equal(await hallpass.isActive(key, accessToken), true);
  hallpass.clock.advance(1);
  assert.equal(await hallpass.isActive(key, accessToken), false);
});

test('no access token outlives its grant', async () => {
  const bounded = await hallpass.makeKey({ refreshMaxTtlSeconds: 1_000 });
  const { refreshToken } = await hallpass.issue(bounded);
  hallpass.clock.advance(900);
  const late = tokensOf(await hallpass.refresh(bounded, refreshToken));
  assert.equal(late.expiresIn, 100);
});

test('the lifetimes are the configured ones', async () => {
  const other = await startHallpass({
    environment: { HALLPASS_ACCESS_TTL_SECONDS: '60', HALLPASS_REFRESH_TTL_SECONDS: '600' },
  });
  const otherKey = await other.makeKey();
  const { expiresIn, refreshToken } = await other.issue(otherKey);
  assert.equal(expiresIn, 60);
  other.clock.advance(599);
  const second = tokensOf(await other.refresh(otherKey, refreshToken));
  assert.equal(second.expiresIn, 60);
  other.clock.advance(600);
  assert.equal((await other.refresh(otherKey, second.refreshToken)).outcome, '400 invalid_grant');
});

for (const [name, resource, aud] of [
  ['no resource: the first of the key', undefined, API],
  ['an empty resource: the first of the key', '', API],
  ['one resource: a text', BILLING, BILLING],
  ['several: an array in their order', [BILLING, API], [BILLING, API]],
  ['one named twice: a text', [BILLING, BILLING], BILLING],
] as const) {
  test(`aud with ${name} (RFC 8707 §2, contract §9)`, async () => {
    const params = resource === undefined ? CREDENTIALS : { ...CREDENTIALS, resource };
    for (const answer of [
      await hallpass.form(PATH, params, { key: forTwo }),
      await hallpass.json(PATH, params, { key: forTwo }),
    ]) {
      assert.deepEqual(decode(tokensOf(answer).accessToken).claims['aud'], aud);
    }
  });
}

for (const resource of [
  'https://other.example.com',
  'https://API.example.com',
  `${API}/`,
  `${API}:443`,
  `${API}#x`,
  'https://%61pi.example.com',
  '/v1',
  'javascript:alert(1)',
  ' ',
  `${API} ${BILLING}`,
  'https://api.example.com.',
  '__proto__',
]) {
  test(`resource=${resource} is refused: compared to the letter (RFC 8707 §2)`, async () => {
    assert.equal(
      (await hallpass.form(PATH, { ...CREDENTIALS, resource }, { key: forTwo })).outcome,
      '400 invalid_target',
    );
    const beside = { ...CREDENTIALS, resource: [API, resource] };
    assert.equal((await hallpass.form(PATH, beside, { key: forTwo })).outcome, '400 invalid_target');
  });
}

test('a key without audiences gets the default audience, and may name no other', async () => {
  const { accessToken } = await hallpass.issue(key, '/accounts.write', { resource: hallpass.issuer });
  assert.equal(claimOf(accessToken, 'aud'), hallpass.issuer);
  assert.equal((await hallpass.form(PATH, { ...CREDENTIALS, resource: API }, { key })).outcome, '400 invalid_target');
});

test('the default audience can be set', async () => {
  const other = await startHallpass({ environment: { HALLPASS_AUDIENCE: API } });
  const { accessToken } = await other.issue(await other.makeKey());
  assert.equal(claimOf(accessToken, 'aud'), API);
});

test('answers are never mixed up: each of many at once holds its own client, scope and audience', async () => {
  const many = await Promise.all(
    Array.from({ length: 20 }, async (_, at) => {
      const audience = `https://api${at}.example.com`;
      const made = await hallpass.makeKey({ scopes: [`/tenants/t${at}/{part}.read`], audiences: [audience] });
      return { ...made, at, audience };
    }),
  );
  const asked = Array.from({ length: 10 }, (_, round) =>
    many.map((one) => ({ ...one, scope: `/tenants/t${one.at}/r${round}.read` })),
  );
  const seen = new Set<string>();
  await Promise.all(
    asked.flat().map(async ({ clientId, clientSecret, scope, audience }) => {
      const { accessToken } = await hallpass.issue({ clientId, clientSecret }, scope);
      const { claims } = decode(accessToken);
      assert.deepEqual([claims['client_id'], claims['scope'], claims['aud']], [clientId, scope, audience]);
      seen.add(String(claims['jti']));
    }),
  );
  assert.equal(seen.size, 200, 'no jti comes twice (RFC 7519 §4.1.7)');
});

test('issuing writes nothing: only a rotation makes a family (contract §5)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  const grantId = claimOf(accessToken, 'grant_id');
  assert.equal(await hallpass.instance.store.findFamily(grantId), undefined);
  await hallpass.refresh(key, refreshToken);
  assert.equal((await hallpass.instance.store.findFamily(grantId))?.generation, 1);
});

test('whatever is issued can be used: a token too long to be read back is refused instead', async () => {
  const audiences = Array.from({ length: 40 }, (_, at) => `https://api${at}.example.com/${'a'.repeat(180)}`);
  const scopes = Array.from(
    { length: 16 },
    (_, at) => `/${['s', at, 'x'.repeat(120)].join('')}/${'y'.repeat(120)}/${'z'.repeat(120)}.read`,
  );
  const wide = await hallpass.makeKey({ audiences, scopes });
  const answer = await hallpass.json(
    PATH,
    { grant_type: 'client_credentials', scope: scopes.join(' '), resource: audiences },
    { key: wide },
  );
  if (answer.status === 200) {
    const { accessToken, refreshToken } = tokensOf(answer);
    assert.equal(await hallpass.isActive(wide, accessToken), true, 'the access token is known to its own server');
    assert.equal((await hallpass.refresh(wide, refreshToken)).status, 200);
  } else assert.equal(answer.status, 400, answer.text);
});

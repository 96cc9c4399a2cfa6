import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTokenIdentifier, parseIntrospectedToken } from '@hallpass/protocol';
import { decode, GRANT_SECONDS, startHallpass, tokensOf } from '../../../../testing/server/server.ts';

const hallpass = await startHallpass();
const API = 'https://api.example.com';
const BILLING = 'https://billing.example.com';
const key = await hallpass.makeKey({ audiences: [API, BILLING] });
const other = await hallpass.makeKey();
const api = await hallpass.makeKey({ scopes: [], resourceServerFor: [API] });
const billing = await hallpass.makeKey({ scopes: [], resourceServerFor: [BILLING, 'https://third.example.com'] });
const sample = await hallpass.issue(key);
const elsewhere = await startHallpass();
const foreign = await elsewhere.issue(await elsewhere.makeKey());

test('an active access token is described by its own claims, and by nothing else (RFC 7662 §2.2)', async () => {
  const { accessToken } = await hallpass.issue(key);
  const { grant_id: _, ...claims } = decode(accessToken).claims;
  for (const caller of [key, api]) {
    const answer = await hallpass.introspect(caller, accessToken);
    assert.deepEqual(answer.body, { active: true, ...claims, token_type: 'Bearer' });
    assert.match(answer.header('cache-control') ?? '', /no-store/);
    assert.match(answer.header('content-type') ?? '', /^application\/json/);
  }
});

test('an active refresh token is described to its own client', async () => {
  const { refreshToken } = await hallpass.issue(key);
  const now = hallpass.clock.seconds;
  const { jti, ...said } = (await hallpass.introspect(key, refreshToken)).body;
  assert.match(String(jti), /^[0-9a-f-]{36}\.0$/);
  assert.deepEqual(said, {
    active: true,
    token_type: 'refresh_token',
    sub: key.clientId,
    client_id: key.clientId,
    scope: '/accounts.write',
    aud: API,
    iss: hallpass.issuer,
    iat: now,
    exp: now + GRANT_SECONDS,
  });
});

test("the jti of a refresh token is one generation's, and of no form that an access token has (RFC 7519 §4.1.7)", async () => {
  const first = await hallpass.issue(key);
  const jtiOf = async (token: string): Promise<unknown> => (await hallpass.introspect(key, token)).body['jti'];
  const jtis = [await jtiOf(first.refreshToken), await jtiOf(first.accessToken)];
  const { refreshToken } = tokensOf(await hallpass.refresh(key, first.refreshToken));
  jtis.push(await jtiOf(refreshToken));
  assert.equal(new Set(jtis).size, 3);
  assert.equal(String(jtis[2]), String(jtis[0]).replace(/0$/, '1'));
  assert.equal(isTokenIdentifier(jtis[0]), false);
  assert.equal(isTokenIdentifier(jtis[1]), true);
  const described = (await hallpass.introspect(key, refreshToken)).body;
  assert.equal(parseIntrospectedToken(described), undefined, 'an API that asks about it takes it for no access token');
});

test('a refresh token is never active to a resource server, nor to another client (RFC 7662 §4)', async () => {
  const { refreshToken } = await hallpass.issue(key);
  for (const stranger of [api, billing, other]) assert.equal(await hallpass.isActive(stranger, refreshToken), false);
});

for (const [name, resource, seenByApi, seenByBilling] of [
  ['for the first API alone', API, true, false],
  ['for the second API alone', BILLING, false, true],
  ['for both', [API, BILLING], true, true],
] as const) {
  test(`a token ${name} is seen by the resource servers it is meant for (contract §4)`, async () => {
    const { accessToken } = await hallpass.issue(key, '/accounts.write', { resource });
    assert.equal(await hallpass.isActive(api, accessToken), seenByApi);
    assert.equal(await hallpass.isActive(billing, accessToken), seenByBilling);
    assert.equal(await hallpass.isActive(key, accessToken), true, 'its own client sees it');
    assert.equal(await hallpass.isActive(other, accessToken), false, 'a stranger does not');
  });
}

test("a key whose own tokens are for an audience does not see others' for it: it is no resource server", async () => {
  const neighbour = await hallpass.makeKey({ audiences: [API] });
  const { accessToken } = await hallpass.issue(key);
  assert.equal(await hallpass.isActive(neighbour, accessToken), false);
});

test('the caller authenticates (RFC 7662 §2.1), and a bearer token does not do', async () => {
  const { accessToken } = await hallpass.issue(key);
  assert.equal((await hallpass.form('/oauth2/introspect', { token: accessToken })).outcome, '401 invalid_client');
  const headers = { authorization: `Bearer ${accessToken}` };
  const bearer = await hallpass.form('/oauth2/introspect', { token: accessToken }, { headers });
  assert.equal(bearer.outcome, '401 invalid_client');
  assert.ok(bearer.header('www-authenticate') !== undefined);
});

test('a disabled resource server sees nothing any more', async () => {
  const off = await hallpass.makeKey({ scopes: [], resourceServerFor: [API] });
  const { accessToken } = await hallpass.issue(key);
  assert.equal(await hallpass.isActive(off, accessToken), true);
  await hallpass.keys.disable(off.clientId);
  assert.equal((await hallpass.introspect(off, accessToken)).outcome, '401 invalid_client');
});

for (const hint of ['access_token', 'refresh_token', 'foo', '__proto__']) {
  test(`token_type_hint=${hint} is only a hint (RFC 7662 §2.1)`, async () => {
    const { accessToken, refreshToken } = await hallpass.issue(key);
    for (const token of [accessToken, refreshToken]) {
      const answer = await hallpass.form('/oauth2/introspect', { token, token_type_hint: hint }, { key });
      assert.equal(answer.body['active'], true);
    }
  });
}

test('JSON is answered like a form', async () => {
  const { accessToken } = await hallpass.issue(key);
  const form = await hallpass.introspect(key, accessToken);
  const json = await hallpass.json('/oauth2/introspect', { token: accessToken }, { key });
  assert.equal(json.text, form.text);
});

const [header = '', claims = '', signature = ''] = sample.accessToken.split('.');
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const { header: headerMembers, claims: claimMembers } = decode(sample.accessToken);

for (const [name, token] of [
  ['nonsense', 'nonsense'],
  ['two parts', `${header}.${claims}`],
  ['four parts', `${sample.accessToken}.${signature}`],
  ['no signature', `${header}.${claims}.`],
  ['alg none', `${encode({ ...headerMembers, alg: 'none' })}.${claims}.`],
  ['alg HS256', `${encode({ ...headerMembers, alg: 'HS256' })}.${claims}.${signature}`],
  ['typ JWT', `${encode({ ...headerMembers, typ: 'JWT' })}.${claims}.${signature}`],
  ['an unknown kid', `${encode({ ...headerMembers, kid: '__proto__' })}.${claims}.${signature}`],
  ['a header member more', `${encode({ ...headerMembers, crit: ['x'] })}.${claims}.${signature}`],
  ['a later end', `${header}.${encode({ ...claimMembers, exp: Number(claimMembers['exp']) + 1 })}.${signature}`],
  ['another scope', `${header}.${encode({ ...claimMembers, scope: '/accounts.read' })}.${signature}`],
  ['a zero signature', `${header}.${claims}.${'A'.repeat(signature.length)}`],
  ['a signature with padding', `${sample.accessToken}=`],
  ["another server's access token", foreign.accessToken],
  ["another server's refresh token", foreign.refreshToken],
  ['control characters', '\u0000\r\n'],
  ['10,000 characters', 'a.b.'.repeat(2_500)],
] as const) {
  test(`${name}: exactly {"active":false}, to everyone (RFC 7662 §2.2)`, async () => {
    for (const caller of [key, api]) {
      const answer = await hallpass.introspect(caller, token);
      assert.equal(answer.status, 200);
      assert.equal(answer.text, '{"active":false}');
    }
  });
}

test('an access token is active until its exp, and not at it (RFC 7519 §4.1.4)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key);
  hallpass.clock.advance(899);
  assert.equal(await hallpass.isActive(api, accessToken), true);
  hallpass.clock.advance(1);
  assert.equal(await hallpass.isActive(api, accessToken), false);
  hallpass.clock.advance(GRANT_SECONDS - 901);
  assert.equal(await hallpass.isActive(key, refreshToken), true);
  hallpass.clock.advance(1);
  assert.equal(await hallpass.isActive(key, refreshToken), false);
});

test('a retired refresh token is not active, the newest and the one that still gets it are', async () => {
  const zeroth = await hallpass.issue(key);
  const first = tokensOf(await hallpass.refresh(key, zeroth.refreshToken));
  const second = tokensOf(await hallpass.refresh(key, first.refreshToken));
  assert.equal(await hallpass.isActive(key, zeroth.refreshToken), false);
  assert.equal(await hallpass.isActive(key, first.refreshToken), true);
  assert.equal(await hallpass.isActive(key, second.refreshToken), true);
  assert.equal((await hallpass.refresh(key, second.refreshToken)).status, 200, 'asking ends nothing');
});

test('a wrong secret learns nothing of a token', async () => {
  const { accessToken } = await hallpass.issue(key);
  const answer = await hallpass.introspect({ ...api, clientSecret: 'wrong' }, accessToken);
  assert.equal(answer.outcome, '401 invalid_client');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLocalJWKSet, jwtVerify, type JSONWebKeySet } from 'jose';
import { decode, startHallpass, tokensOf, type Hallpass } from '../../../../testing/server/server.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const CLAIMS = ['aud', 'client_id', 'exp', 'grant_id', 'iat', 'iss', 'jti', 'scope', 'sub'];

async function keySetOf(hallpass: Hallpass): Promise<JSONWebKeySet> {
  const { keys } = (await hallpass.request('/oauth2/jwks')).body;
  assert.ok(Array.isArray(keys));
  return { keys: keys.map((one: unknown) => Object.fromEntries(Object.entries(Object(one)))) };
}

for (const algorithm of ['ES256', 'EdDSA', 'RS256'] as const) {
  test(`${algorithm}: an independent library verifies the token by the published key (RFC 9068 §4)`, async () => {
    const hallpass = await startHallpass({ environment: { HALLPASS_SIGNING_ALGORITHM: algorithm } });
    const key = await hallpass.makeKey();
    const { accessToken } = await hallpass.issue(key);
    const keySet = createLocalJWKSet(await keySetOf(hallpass));
    const demands = {
      issuer: hallpass.issuer,
      audience: hallpass.issuer,
      typ: 'at+jwt',
      algorithms: [algorithm],
      currentDate: new Date(hallpass.clock.now()),
      requiredClaims: CLAIMS,
    };
    const { protectedHeader, payload } = await jwtVerify(accessToken, keySet, demands);
    assert.deepEqual(Object.keys(protectedHeader).toSorted(), ['alg', 'kid', 'typ']);
    assert.equal(protectedHeader.alg, algorithm);
    assert.equal(payload.sub, key.clientId);

    const [header = '', claims = '', signature = ''] = accessToken.split('.');
    const changed = Buffer.from(JSON.stringify({ ...decode(accessToken).claims, scope: '/accounts.read' })).toString(
      'base64url',
    );
    await assert.rejects(jwtVerify(`${header}.${changed}.${signature}`, keySet, demands), {
      code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
    });
    assert.equal(await hallpass.isActive(key, `${header}.${changed}.${signature}`), false);
    assert.equal(await hallpass.isActive(key, `${header}.${claims}.${signature}`), true);
  });
}

const hallpass = await startHallpass();
const key = await hallpass.makeKey();

test('the header is exactly alg, kid and typ: at+jwt (RFC 9068 §2.1)', async () => {
  const { header } = decode((await hallpass.issue(key)).accessToken);
  const { kid, ...rest } = header;
  assert.deepEqual(rest, { alg: 'ES256', typ: 'at+jwt' });
  assert.ok(typeof kid === 'string' && kid !== '');
});

test('the claims are exactly those of the profile (contract §5)', async () => {
  const { accessToken } = await hallpass.issue(key);
  const { claims } = decode(accessToken);
  assert.deepEqual(Object.keys(claims).toSorted(), CLAIMS);
  const { jti, grant_id, ...rest } = claims;
  const now = hallpass.clock.seconds;
  assert.deepEqual(rest, {
    iss: hallpass.issuer,
    sub: key.clientId,
    client_id: key.clientId,
    aud: hallpass.issuer,
    iat: now,
    exp: now + 900,
    scope: '/accounts.write',
  });
  assert.match(String(jti), UUID);
  assert.match(String(grant_id), UUID);
  assert.notEqual(jti, grant_id);
});

test('a refreshed token has the very same claim set, and the grant of its family', async () => {
  const first = await hallpass.issue(key);
  const second = tokensOf(await hallpass.refresh(key, first.refreshToken));
  const { claims } = decode(second.accessToken);
  assert.deepEqual(Object.keys(claims).toSorted(), CLAIMS);
  assert.equal(claims['grant_id'], decode(first.accessToken).claims['grant_id']);
});

test('request headers and odd parameters leave no trace in a token', async () => {
  const headers = {
    host: 'evil.example',
    'x-forwarded-host': 'evil.example',
    'x-request-id': 'evil',
    'user-agent': 'evil',
  };
  const params = {
    grant_type: 'client_credentials',
    scope: '/accounts.write',
    iss: 'evil',
    sub: 'evil',
    exp: '99999999999',
    aud: 'evil',
    cnf: 'evil',
    grant_id: 'evil',
    audience: 'evil',
  };
  const { accessToken } = tokensOf(await hallpass.form('/oauth2/token', params, { key, headers }));
  assert.doesNotMatch(JSON.stringify(decode(accessToken)), /evil/);
});

for (const milliseconds of [0, 1, 499, 500, 999]) {
  test(`iat is never ahead of the clock, ${milliseconds} ms into a second (RFC 7519 §4.1.6)`, async () => {
    const second = Math.ceil(hallpass.clock.now() / 1000) * 1000;
    hallpass.clock.set(second + milliseconds);
    const { iat, exp } = decode((await hallpass.issue(key)).accessToken).claims;
    assert.equal(iat, second / 1000);
    assert.ok(Number.isInteger(iat) && Number.isInteger(exp), 'whole seconds, as numbers');
  });
}

test('a token that waits for the second after a disable is not dated ahead either', async () => {
  const off = await hallpass.makeKey();
  await hallpass.keys.disable(off.clientId);
  await hallpass.keys.enable(off.clientId);
  const { accessToken } = await hallpass.issue(off);
  assert.ok(Number(decode(accessToken).claims['iat']) * 1000 <= hallpass.clock.now());
});

test('one audience is a text, several are an array (RFC 7519 §4.1.3)', async () => {
  const [a, b] = ['https://a.example.com', 'https://b.example.com'];
  const two = await hallpass.makeKey({ audiences: [a, b] });
  assert.equal(decode((await hallpass.issue(two)).accessToken).claims['aud'], a);
  const both = await hallpass.issue(two, '/accounts.write', { resource: [b, a] });
  assert.deepEqual(decode(both.accessToken).claims['aud'], [b, a]);
});

test('a changed algorithm signs with a new key, and tokens of the old one live on (RFC 7517 §4.5)', async () => {
  const environment = { HALLPASS_ISSUER: 'http://localhost:1' };
  const before = await startHallpass({ environment });
  const by = await before.makeKey();
  const old = await before.issue(by);
  await before.close();
  const after = await startHallpass({
    environment: { ...environment, HALLPASS_SIGNING_ALGORITHM: 'EdDSA' },
    folder: before.folder,
    clock: before.clock,
  });
  assert.equal(await after.isActive(by, old.accessToken), true);
  const fresh = tokensOf(await after.refresh(by, old.refreshToken));
  assert.equal(decode(fresh.accessToken).header['alg'], 'EdDSA');
  const keySet = createLocalJWKSet(await keySetOf(after));
  const currentDate = new Date(after.clock.now());
  for (const { accessToken } of [old, fresh]) await jwtVerify(accessToken, keySet, { currentDate, typ: 'at+jwt' });
});

import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACCESS_TOKEN_LENGTH_MAX, parseAccessTokenClaims } from '@hallpass/protocol';
import { openSealedToken, sealAccessToken } from '../../src/oauth/tokens/opaque_token.ts';
import {
  claimOf,
  startHallpass,
  TestClock,
  tokensOf,
  type Answer,
  type Hallpass,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const PREFIX = 'hpat_';

const hallpass = await startHallpass();
const key = await hallpass.makeKey({ accessTokenFormat: 'opaque' });
const plain = await hallpass.makeKey();
const api = await hallpass.makeReader();

const ping = (token: string, scheme = 'Bearer', at: Hallpass = hallpass): Promise<Answer> =>
  at.request('/ping', { headers: { authorization: `${scheme} ${token}` } });

test('a key with opaque tokens gets hpat_ tokens, another key signed ones (contract §5)', async () => {
  const { accessToken, expiresIn, scope } = await hallpass.issue(key);
  assert.match(accessToken, /^hpat_[A-Za-z0-9_-]+$/);
  assert.deepEqual({ expiresIn, scope }, { expiresIn: 900, scope: '/accounts.write' });
  assert.match((await hallpass.issue(plain)).accessToken, /^ey[^.]+\.[^.]+\.[^.]+$/);
});

test('introspection says of an opaque token just what it says of a signed one (RFC 7662 §2.2)', async () => {
  const scope = '/accounts.write /ping.read';
  const opaque = await hallpass.introspect(api, (await hallpass.issue(key, scope)).accessToken);
  const signed = await hallpass.introspect(api, (await hallpass.issue(plain, scope)).accessToken);
  assert.deepEqual(Object.keys(opaque.body), Object.keys(signed.body));
  const { client_id, sub, jti, ...rest } = opaque.body;
  const { client_id: _client, sub: _sub, jti: _jti, ...others } = signed.body;
  assert.deepEqual(rest, others);
  assert.deepEqual([client_id, sub], [key.clientId, key.clientId]);
  assert.match(String(jti), /^[0-9a-f-]{36}$/);
  assert.equal(rest['active'], true);
  assert.equal(rest['token_type'], 'Bearer');
});

test('an opaque token is seen by its own key and by its resource server, and by nobody else (contract §4)', async () => {
  const { accessToken } = await hallpass.issue(key);
  const stranger = await hallpass.makeKey({ scopes: [], resourceServerFor: ['https://other.example.com'] });
  assert.equal(await hallpass.isActive(key, accessToken), true);
  assert.equal(await hallpass.isActive(api, accessToken), true);
  for (const by of [plain, stranger]) assert.equal(await hallpass.isActive(by, accessToken), false);
});

test('/ping takes an opaque token with its scope; without it 403, and expired 401 (RFC 6750 §3.1)', async () => {
  const { accessToken } = await hallpass.issue(key, '/ping.read');
  assert.equal((await ping(accessToken)).status, 200);
  assert.equal((await ping((await hallpass.issue(key)).accessToken)).outcome, '403 insufficient_scope');
  hallpass.clock.advance(899);
  assert.equal((await ping(accessToken)).status, 200);
  hallpass.clock.advance(1);
  assert.equal((await ping(accessToken)).outcome, '401 invalid_token');
  assert.equal(await hallpass.isActive(key, accessToken), false);
});

test('a bound opaque token says so at introspection, and is no bearer token (RFC 9449 §6.2, §7.2)', async () => {
  const signer = await Signer.make();
  const { issuer, clock } = hallpass;
  const params = { grant_type: 'client_credentials', scope: '/ping.read' };
  const proof = await signer.prove({ url: `${issuer}/oauth2/token`, clock });
  const { accessToken } = tokensOf(await hallpass.form('/oauth2/token', params, { key, headers: { dpop: proof } }));
  const { token_type, cnf } = (await hallpass.introspect(api, accessToken)).body;
  assert.deepEqual({ token_type, cnf }, { token_type: 'DPoP', cnf: { jkt: signer.thumbprint } });
  assert.equal((await ping(accessToken)).outcome, '401 invalid_token');
  const dpop = await signer.prove({ method: 'GET', url: `${issuer}/ping`, clock, token: accessToken });
  const headers = { authorization: `DPoP ${accessToken}`, dpop };
  assert.equal((await hallpass.request('/ping', { headers })).status, 200);
});

test('revoked by its value: dead at once, and its family goes on (RFC 7009 §2)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key, '/ping.read');
  assert.equal((await hallpass.revoke(plain, accessToken)).outcome, '400 invalid_request', "another client's");
  assert.equal(await hallpass.isActive(key, accessToken), true);
  assert.equal((await hallpass.revoke(key, accessToken)).status, 200);
  assert.equal(await hallpass.isActive(key, accessToken), false);
  assert.equal((await ping(accessToken)).outcome, '401 invalid_token');
  assert.equal((await hallpass.refresh(key, refreshToken)).status, 200);
});

test('revoked by its family: the first token and the refreshed one are dead', async () => {
  const first = await hallpass.issue(key);
  const second = tokensOf(await hallpass.refresh(key, first.refreshToken));
  const bystander = await hallpass.issue(key);
  await hallpass.revoke(key, first.refreshToken);
  for (const { accessToken } of [first, second]) assert.equal(await hallpass.isActive(api, accessToken), false);
  assert.equal(await hallpass.isActive(api, bystander.accessToken), true);
});

test('a refresh gives an opaque token again, with the scope and the life of any other', async () => {
  const first = await hallpass.issue(key, '/accounts.write /ping.read');
  const second = tokensOf(await hallpass.refresh(key, first.refreshToken, { scope: '/ping.read' }));
  assert.match(second.accessToken, /^hpat_/);
  assert.equal((await hallpass.introspect(key, second.accessToken)).body['scope'], '/ping.read');
  assert.equal(second.expiresIn, 900);
});

test('a key that is set to opaque tokens later: the next refresh is opaque, the signed token lives to its end', async () => {
  const by = await hallpass.makeKey();
  const first = await hallpass.issue(by);
  await hallpass.keys.update(by.clientId, { accessTokenFormat: 'opaque' });
  const second = tokensOf(await hallpass.refresh(by, first.refreshToken));
  assert.match(second.accessToken, /^hpat_/);
  for (const { accessToken } of [first, second]) assert.equal(await hallpass.isActive(by, accessToken), true);
});

test('every character of an opaque token counts: changed, left out or added, it is no token', async () => {
  const { accessToken } = await hallpass.issue(key);
  const { keys } = hallpass.instance;
  assert.ok(openSealedToken(keys, accessToken) !== undefined);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/. ';
  for (let at = 0; at < accessToken.length; at++) {
    const [head, here, tail] = [accessToken.slice(0, at), accessToken[at], accessToken.slice(at + 1)];
    for (const other of alphabet) {
      if (other === here) continue;
      assert.equal(openSealedToken(keys, head + other + tail), undefined, `${other} at ${at}`);
    }
    assert.equal(openSealedToken(keys, head), undefined, `cut at ${at}`);
    assert.equal(openSealedToken(keys, head + tail), undefined, `without ${at}`);
  }
  for (const more of ['A', '=', '.', ' ', '\n', accessToken]) {
    assert.equal(openSealedToken(keys, accessToken + more), undefined);
  }
});

test('a changed or cut opaque token is inactive at introspection, and revokes nothing', async () => {
  const { accessToken } = await hallpass.issue(key);
  const middle = accessToken.length >> 1;
  const flipped =
    accessToken.slice(0, middle) + (accessToken[middle] === 'A' ? 'B' : 'A') + accessToken.slice(middle + 1);
  for (const token of [
    flipped,
    accessToken.slice(0, -1),
    `${accessToken}A`,
    accessToken.slice(PREFIX.length),
    PREFIX,
  ]) {
    assert.equal(await hallpass.isActive(key, token), false);
    assert.equal((await hallpass.revoke(key, token)).status, 200);
  }
  assert.equal(await hallpass.isActive(key, accessToken), true);
});

test('nothing can be read in an opaque token: no id, no scope, no audience, no time', async () => {
  const scope = '/accounts.write /accounts/a1/transfers.read';
  const { accessToken } = await hallpass.issue(key, scope);
  const bytes = Buffer.from(accessToken.slice(PREFIX.length), 'base64url');
  const { jti } = (await hallpass.introspect(key, accessToken)).body;
  const told = [key.clientId, 'accounts', 'a1', hallpass.issuer, '127.0.0.1', 'scope', '{"', String(jti)];
  for (const text of told.filter(({ length }) => length > 2)) {
    assert.ok(!bytes.includes(text), text);
    assert.ok(!accessToken.includes(text), text);
  }
  assert.ok(!bytes.includes(String(hallpass.clock.seconds)));
});

test('no two opaque tokens are equal, nor begin alike after their key id, though all they hold be the same', async () => {
  const answers = await Promise.all(Array.from({ length: 200 }, () => hallpass.issue(key)));
  assert.equal(new Set(answers.map(({ accessToken }) => accessToken)).size, 200);
  const { keys, random } = hallpass.instance;
  const claims = openSealedToken(keys, answers[0]?.accessToken ?? '');
  assert.ok(claims !== undefined);
  const [one, other] = [sealAccessToken(keys, random, claims), sealAccessToken(keys, random, claims)];
  const nonceOf = (token: string): string =>
    Buffer.from(token.slice(PREFIX.length), 'base64url').subarray(9, 21).toString('hex');
  assert.notEqual(nonceOf(one), nonceOf(other));
  for (const token of [one, other]) assert.deepEqual(openSealedToken(keys, token), parseAccessTokenClaims(claims));
});

test('an opaque token is no refresh token, and a refresh token no opaque one (RFC 8725 §3.12)', async () => {
  const { accessToken, refreshToken } = await hallpass.issue(key, '/ping.read');
  assert.equal((await hallpass.refresh(key, accessToken)).outcome, '400 invalid_grant');
  assert.equal((await ping(refreshToken)).outcome, '401 invalid_token');
  const [, body = ''] = /^[a-z]+_(.*)$/.exec(refreshToken) ?? [];
  assert.equal((await ping(PREFIX + body)).outcome, '401 invalid_token');
});

test('an opaque token of another server is not known here', async () => {
  const elsewhere = await startHallpass({ environment: { HALLPASS_ISSUER: 'http://127.0.0.1:8080' } });
  const by = await elsewhere.makeKey({ accessTokenFormat: 'opaque' });
  const { accessToken } = await elsewhere.issue(by, '/ping.read');
  assert.equal((await ping(accessToken, 'Bearer', elsewhere)).status, 200);
  assert.equal((await ping(accessToken)).outcome, '401 invalid_token');
  assert.equal(await hallpass.isActive(api, accessToken), false);
});

test('an opaque token of the same store under another issuer is not good (RFC 9068 §4)', async () => {
  const clock = new TestClock();
  clock.set(hallpass.clock.now());
  const renamed = await startHallpass({
    folder: hallpass.folder,
    clock,
    environment: { HALLPASS_ISSUER: 'http://localhost:1' },
  });
  const { accessToken } = await hallpass.issue(key, '/ping.read');
  assert.equal(await renamed.isActive(key, accessToken), false);
});

test('opaque tokens, and what was revoked of them, are the same after the server was opened again', async () => {
  const environment = { HALLPASS_ISSUER: 'http://127.0.0.1:8080' };
  const before = await startHallpass({ environment });
  const by = await before.makeKey({ accessTokenFormat: 'opaque' });
  const kept = await before.issue(by, '/ping.read');
  const revoked = await before.issue(by, '/ping.read');
  await before.revoke(by, revoked.accessToken);
  const seen = (await before.introspect(by, kept.accessToken)).body;
  await before.close();
  const again = await startHallpass({ folder: before.folder, clock: before.clock, environment });
  assert.deepEqual((await again.introspect(by, kept.accessToken)).body, seen);
  assert.equal((await ping(kept.accessToken, 'Bearer', again)).status, 200);
  assert.equal(await again.isActive(by, revoked.accessToken), false);
  const next = tokensOf(await again.refresh(by, kept.refreshToken));
  assert.match(next.accessToken, /^hpat_/);
});

test('the signed token of a key is not readable as an opaque one, whatever it begins with', async () => {
  const { accessToken } = await hallpass.issue(plain);
  assert.equal(claimOf(accessToken, 'client_id'), plain.clientId);
  assert.equal(await hallpass.isActive(plain, PREFIX + accessToken), false);
  assert.equal(await hallpass.isActive(plain, accessToken), true);
});

test('an opaque token is read up to the length limit, and not a character beyond it (contract §10)', async () => {
  const { keys, random } = hallpass.instance;
  const claims = openSealedToken(keys, (await hallpass.issue(key, '/ping.read')).accessToken);
  assert.ok(claims !== undefined);
  const ofLength = (length: number): string => {
    const bytes = Math.floor(((length - PREFIX.length) * 3) / 4);
    const bare = sealAccessToken(keys, random, { ...claims, scope: '' });
    const padding = bytes - Buffer.from(bare.slice(PREFIX.length), 'base64url').length;
    const token = sealAccessToken(keys, random, { ...claims, scope: 'x'.repeat(padding) });
    assert.equal(token.length, length);
    return token;
  };
  assert.ok(openSealedToken(keys, ofLength(ACCESS_TOKEN_LENGTH_MAX)) !== undefined);
  assert.equal(openSealedToken(keys, ofLength(ACCESS_TOKEN_LENGTH_MAX + 1)), undefined);
});

test('an opaque token has the layout of the contract, prefix and head authenticated, and no other version is read (contract §5)', async () => {
  const { keys } = hallpass.instance;
  const { accessToken } = await hallpass.issue(key, '/ping.read');
  const bytes = Buffer.from(accessToken.slice(PREFIX.length), 'base64url');
  const [head, salt] = [bytes.subarray(0, 33), bytes.subarray(9, 33)];
  assert.deepEqual([head[0], head.subarray(1, 9).toString('base64url')], [1, keys.seal.keyId]);
  const tokenKey = createHmac('sha256', keys.seal.bytes).update(salt).digest();
  const opener = createDecipheriv('aes-256-gcm', tokenKey, Buffer.alloc(12));
  opener.setAAD(Buffer.concat([Buffer.from(PREFIX), head])).setAuthTag(bytes.subarray(-16));
  const claims = Buffer.concat([opener.update(bytes.subarray(33, -16)), opener.final()]);
  assert.deepEqual(JSON.parse(claims.toString()), openSealedToken(keys, accessToken));

  const sealed = (version: number): string => {
    const otherHead = Buffer.concat([Uint8Array.of(version), head.subarray(1)]);
    const sealer = createCipheriv('aes-256-gcm', tokenKey, Buffer.alloc(12));
    sealer.setAAD(Buffer.concat([Buffer.from(PREFIX), otherHead]));
    const text = Buffer.concat([sealer.update(claims), sealer.final()]);
    return PREFIX + Buffer.concat([otherHead, text, sealer.getAuthTag()]).toString('base64url');
  };
  assert.equal(sealed(1), accessToken);
  assert.equal(openSealedToken(keys, sealed(2)), undefined);
});

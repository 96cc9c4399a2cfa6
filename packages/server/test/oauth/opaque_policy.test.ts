/** An opaque token is good only within what its client may have now, whoever has sealed it (contract §10). */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { makeIdentifier, type AccessTokenClaims } from '@hallpass/protocol';
import { openSealedToken, sealAccessToken } from '../../src/oauth/tokens/opaque_token.ts';
import { startHallpass, tokensOf, type Hallpass, type Key } from '../../../../testing/server/server.ts';

const AUDIENCE = 'https://api.example.com';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const TYPE = 'urn:ietf:params:oauth:token-type:access_token';

const hallpass = await startHallpass();
const api = await hallpass.makeKey({ scopes: [], resourceServerFor: [hallpass.issuer, AUDIENCE] });
const other = await hallpass.makeKey();
const SCOPES = ['/accounts.write', '/accounts/{accountID}/transfers.read', '/ping.read'];
const makeOpaque = (more = {}): Promise<Key> =>
  hallpass.makeKey({ accessTokenFormat: 'opaque', scopes: SCOPES, ...more });
const opaque = await makeOpaque();

/** What a thief makes who has the store and its master key: any claims, under the key of the issuer. */
function forge({ clientId }: Key, changes: Partial<AccessTokenClaims> = {}): string {
  const { instance, issuer, clock } = hallpass;
  const claims: AccessTokenClaims = {
    iss: issuer,
    sub: clientId,
    client_id: clientId,
    aud: issuer,
    iat: clock.seconds,
    exp: clock.seconds + 900,
    jti: makeIdentifier(clock.now(), instance.random),
    scope: '/accounts/a1/transfers.read /ping.read',
    grant_id: '019d5fd2-2b1a-7000-8000-000000000001',
    ...changes,
  };
  const token = sealAccessToken(instance.keys, instance.random, claims);
  assert.ok(openSealedToken(instance.keys, token) !== undefined, 'what is refused is refused for what it says');
  return token;
}

const ping = async (token: string): Promise<string> => (await hallpass.ping(token)).outcome;
const exchange = async (key: Key, token: string): Promise<string> => {
  const params = { grant_type: EXCHANGE, subject_token: token, subject_token_type: TYPE, scope: '/ping.read' };
  return (await hallpass.form('/oauth2/token', params, { key })).outcome;
};

async function assertGood(key: Key, token: string): Promise<void> {
  assert.equal(await hallpass.isActive(key, token), true);
  assert.equal(await hallpass.isActive(api, token), true);
  assert.equal((await hallpass.revoke(other, token)).outcome, '400 invalid_request', "another client's live token");
}

async function assertBad(key: Key, token: string, why: string): Promise<void> {
  for (const by of [key, api]) assert.equal(await hallpass.isActive(by, token), false, why);
  assert.equal(await ping(token), '401 invalid_token', why);
  assert.match(await exchange(key, token), /^400 invalid_(?:request|scope)/, why);
  assert.equal((await hallpass.revoke(other, token)).status, 200, `${why}: nothing to revoke`);
}

suite('a forged opaque token', () => {
  test('within the policy of a client that takes opaque tokens cannot be told from a good one', async () => {
    const token = forge(opaque);
    await assertGood(opaque, token);
    assert.equal(await ping(token), '200');
    assert.equal(await exchange(opaque, token), '200');
    await assertGood(opaque, forge(opaque, { exp: hallpass.clock.seconds + 3_600 }));
  });

  for (const [why, changes] of [
    ['a scope that the key does not have', { scope: '/admin.write' }],
    ['one scope too many', { scope: '/ping.read /accounts.read' }],
    ['a scope that is not filled', { scope: '/ping.read /accounts/{accountID}/transfers.read' }],
    ['a scope that is none', { scope: '/ping.read /accounts/*.read' }],
    ['an audience that the key does not have', { aud: AUDIENCE }],
    ['one audience too many', { aud: [hallpass.issuer, AUDIENCE] }],
    ['a longer life than any token', { exp: hallpass.clock.seconds + 3_601 }],
    ['a life that begins later', { iat: hallpass.clock.seconds + 3_600, exp: hallpass.clock.seconds + 7_200 }],
  ] as const satisfies readonly (readonly [string, Partial<AccessTokenClaims>])[]) {
    test(`with ${why} is no token`, async () => {
      await assertBad(opaque, forge(opaque, changes), why);
    });
  }

  test('of a client that takes signed tokens, or that has been deleted, or is disabled, is no token', async () => {
    await assertBad(other, forge(other), 'takes signed tokens');
    const gone = await makeOpaque();
    const token = forge(gone);
    await hallpass.keys.disable(gone.clientId);
    assert.equal(await hallpass.isActive(api, token), false);
    await hallpass.keys.delete(gone.clientId);
    assert.equal(await hallpass.isActive(api, token), false);
  });

  test('for a client that must bind its tokens is no token without a binding', async () => {
    const bound = await makeOpaque({ requireDpop: true });
    assert.equal(await hallpass.isActive(api, forge(bound)), false);
    assert.equal(await hallpass.isActive(api, forge(bound, { cnf: { jkt: 'A'.repeat(43) } })), true);
  });

  test('dated ahead counts as made now, so that what ends all tokens of its client until now ends it wherever it is known', async () => {
    const by = await makeOpaque();
    const { clock } = hallpass;
    const ahead = forge(by, { iat: clock.seconds + 2_700, exp: clock.seconds + 3_600 });
    const seen = (await hallpass.introspect(api, ahead)).body;
    assert.deepEqual([seen['active'], seen['iat']], [true, clock.seconds]);
    await hallpass.keys.revokeTokens(by.clientId);
    assert.equal(await hallpass.isActive(api, ahead), false);
  });
});

suite('when a policy changes', () => {
  test('an opaque token dies with its scope, with its audience, and with the format; and a signed one lives (contract §9, §10)', async () => {
    for (const changes of [
      { scopes: ['/ping.read'] },
      { audiences: ['https://another.example.com'] },
      { accessTokenFormat: 'jwt' },
    ] as const) {
      const policy = { audiences: [AUDIENCE], scopes: SCOPES };
      const [key, signed] = [await makeOpaque(policy), await hallpass.makeKey(policy)];
      const [token, jwt] = [await hallpass.issue(key), await hallpass.issue(signed)];
      await assertGood(key, token.accessToken);
      await hallpass.keys.update(key.clientId, changes);
      await hallpass.keys.update(signed.clientId, changes);
      assert.equal(await hallpass.isActive(api, token.accessToken), false, JSON.stringify(changes));
      assert.equal(await hallpass.isActive(api, jwt.accessToken), true);
    }
  });

  test('one of a scope that stays lives on', async () => {
    const key = await makeOpaque();
    const { accessToken } = await hallpass.issue(key, '/ping.read');
    await hallpass.keys.update(key.clientId, { scopes: ['/ping.read'] });
    assert.equal(await hallpass.isActive(key, accessToken), true);
    assert.equal(await ping(accessToken), '200');
  });

  test('of an opaque token that its own client revokes after the format has changed nothing comes back with the format', async () => {
    const key = await makeOpaque();
    const { accessToken } = await hallpass.issue(key);
    await hallpass.keys.update(key.clientId, { accessTokenFormat: 'jwt' });
    assert.equal((await hallpass.revoke(key, accessToken)).status, 200);
    await hallpass.keys.update(key.clientId, { accessTokenFormat: 'opaque' });
    assert.equal(await hallpass.isActive(key, accessToken), false);
  });

  test('a grant for the default audience of before gives no opaque token that would be dead on arrival', async () => {
    const on = (audience: string, at?: Hallpass): Promise<Hallpass> =>
      startHallpass({
        ...(at === undefined ? {} : { folder: at.folder, clock: at.clock }),
        environment: { HALLPASS_ISSUER: 'http://127.0.0.1:8080', HALLPASS_AUDIENCE: audience },
      });
    const before = await on('https://old.example.com');
    const [key, signed] = [await before.makeKey({ accessTokenFormat: 'opaque' }), await before.makeKey()];
    const [grant, signedGrant] = [await before.issue(key), await before.issue(signed)];
    const after = await on('https://new.example.com', before);
    assert.equal((await after.refresh(key, grant.refreshToken)).outcome, '400 invalid_target');
    assert.equal((await after.refresh(signed, signedGrant.refreshToken)).status, 200);
    const fresh = tokensOf(await after.refresh(key, (await after.issue(key)).refreshToken));
    assert.equal(await after.isActive(key, fresh.accessToken), true);
  });
});

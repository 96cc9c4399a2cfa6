import assert from 'node:assert/strict';
import { test } from 'node:test';
import { revocationOfEverything } from '../../src/oauth/tokens/revocations.ts';
import {
  claimOf,
  decode,
  startHallpass,
  TestClock,
  tokensOf,
  type Answer,
  type Hallpass,
  type Key,
  type Tokens,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const FIRST = 'https://first.example.com';
const SECOND = 'https://second.example.com';
const A1 = '/accounts/a1/transfers.read';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const api = await hallpass.makeKey({ scopes: [], resourceServerFor: [hallpass.issuer, FIRST, SECOND] });

type More = Readonly<Record<string, string | readonly string[]>>;

/** Cuts a token from another; `more` replaces or adds parameters. */
function cut(
  token: string,
  more: More = {},
  { by = key, at = hallpass, proof }: { by?: Key; at?: Hallpass; proof?: string } = {},
): Promise<Answer> {
  const params = { grant_type: GRANT, subject_token: token, subject_token_type: ACCESS, ...more };
  const headers = proof === undefined ? {} : { dpop: proof };
  return at.form('/oauth2/token', params, { key: by, headers });
}

const prove = (signer: Signer): Promise<string> =>
  signer.prove({ url: `${hallpass.issuer}/oauth2/token`, clock: hallpass.clock });

const everything = (at: Hallpass): Promise<void> =>
  at.instance.store.revoke([revocationOfEverything({ now: at.clock.seconds, clockSkewSeconds: 0 })]);

/** A chain of tokens, each cut from the one before it, the parent first. */
async function chain(parent: Tokens, length: number): Promise<readonly Tokens[]> {
  const all = [parent];
  while (all.length < length) all.push(tokensOf(await cut(all.at(-1)?.accessToken ?? '')));
  return all;
}

test('a smaller token from a larger one: one account of two, and the answer says what it is (RFC 8693 §2.2.1)', async () => {
  const parent = await hallpass.issue(key, `/accounts.write ${A1} /accounts/a2/transfers.read`);
  const answer = await cut(parent.accessToken, { scope: A1 });
  assert.equal(answer.status, 200, answer.text);
  const { access_token: token, ...rest } = answer.body;
  assert.deepEqual(rest, { token_type: 'Bearer', expires_in: 900, scope: A1, issued_token_type: ACCESS });
  assert.match(answer.header('cache-control') ?? '', /no-store/);
  assert.ok(typeof token === 'string');
  const { jti, iat, exp, ...claims } = decode(token).claims;
  const { jti: parentId, iat: _iat, exp: parentEnd, ...parents } = decode(parent.accessToken).claims;
  assert.deepEqual(claims, { ...parents, scope: A1 }, 'everything else is as in the parent, the grant too');
  assert.ok(String(jti).startsWith(`${String(parentId)}~`));
  assert.equal(exp, parentEnd);
  assert.equal(iat, hallpass.clock.seconds);
  const seen = await hallpass.introspect(api, token);
  assert.equal(seen.body['active'], true);
  assert.equal(seen.body['scope'], A1);
});

test('without scope the child has all of the parent (RFC 8693 §2.1), and never a refresh token', async () => {
  const parent = await hallpass.issue(key, '/accounts.write /ping.read');
  const answer = await cut(parent.accessToken, { requested_token_type: ACCESS });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body['scope'], '/accounts.write /ping.read');
  assert.equal('refresh_token' in answer.body, false);
  const { accessToken } = tokensOf(answer);
  assert.equal((await hallpass.ping(accessToken)).status, 200);
  const asRefresh = await hallpass.refresh(key, accessToken);
  assert.equal(asRefresh.outcome, '400 invalid_grant', 'and is none itself (RFC 8725 §3.12)');
});

for (const [what, scope] of [
  ["a scope of the key's that the parent does not hold", '/accounts.write /accounts.read'],
  ['another account', '/accounts/a2/transfers.read'],
  ['a template', '/accounts/{accountID}/transfers.read'],
  ['a scope that nobody has', '/nothing.read'],
  ['a scope that is none', 'accounts.write'],
  ['a scope in another case', '/Accounts.write'],
] as const) {
  test(`never wider: ${what} is invalid_scope (RFC 8693 §2.2.2), and the parent goes on`, async () => {
    const parent = await hallpass.issue(key, `/accounts.write ${A1}`);
    assert.equal((await cut(parent.accessToken, { scope })).outcome, '400 invalid_scope');
    assert.equal((await cut(parent.accessToken, { scope: '/accounts.write' })).status, 200);
    assert.equal(await hallpass.isActive(key, parent.accessToken), true);
  });
}

test('a child gives no more than it has itself: what it left out does not come back from the grandparent', async () => {
  const parent = await hallpass.issue(key, `/accounts.write ${A1}`);
  const child = tokensOf(await cut(parent.accessToken, { scope: A1 }));
  assert.equal((await cut(child.accessToken, { scope: '/accounts.write' })).outcome, '400 invalid_scope');
  assert.equal(tokensOf(await cut(child.accessToken)).scope, A1);
});

test('a scope that the key has lost is not issued any more, the others are (contract §9 Policy changes)', async () => {
  const by = await hallpass.makeKey();
  const parent = await hallpass.issue(by, '/accounts.write /ping.read');
  await hallpass.keys.update(by.clientId, { scopes: ['/ping.read'] });
  for (const more of [{}, { scope: '/accounts.write' }, { scope: '/accounts.write /ping.read' }]) {
    assert.equal((await cut(parent.accessToken, more, { by })).outcome, '400 invalid_scope');
  }
  assert.equal(tokensOf(await cut(parent.accessToken, { scope: '/ping.read' }, { by })).scope, '/ping.read');
});

test("the audience is never wider than the parent's, even if the key may have it (RFC 8707 §2.2)", async () => {
  const by = await hallpass.makeKey({ audiences: [FIRST, SECOND] });
  const both = await hallpass.issue(by, '/accounts.write', { resource: [FIRST, SECOND] });
  const first = await hallpass.issue(by, '/accounts.write', { resource: FIRST });
  const audienceOf = async (answer: Promise<Answer>): Promise<unknown> =>
    decode(tokensOf(await answer).accessToken).claims['aud'];
  assert.deepEqual(await audienceOf(cut(both.accessToken, {}, { by })), [FIRST, SECOND]);
  assert.equal(await audienceOf(cut(both.accessToken, { resource: SECOND }, { by })), SECOND);
  assert.equal(await audienceOf(cut(first.accessToken, { resource: FIRST }, { by })), FIRST);
  for (const resource of [SECOND, [FIRST, SECOND], `${FIRST}/`, hallpass.issuer]) {
    assert.equal((await cut(first.accessToken, { resource }, { by })).outcome, '400 invalid_target');
  }
});

test('audience names a target like resource does, and both count if both are given (RFC 8693 §2.1)', async () => {
  const by = await hallpass.makeKey({ audiences: [FIRST, SECOND] });
  const both = await hallpass.issue(by, '/accounts.write', { resource: [FIRST, SECOND] });
  const audienceOf = async (more: More): Promise<unknown> =>
    decode(tokensOf(await cut(both.accessToken, more, { by })).accessToken).claims['aud'];
  assert.equal(await audienceOf({ audience: SECOND }), SECOND);
  assert.equal(await audienceOf({ audience: FIRST, resource: FIRST }), FIRST);
  assert.deepEqual(await audienceOf({ audience: SECOND, resource: FIRST }), [FIRST, SECOND]);
  for (const audience of [`${SECOND}/`, hallpass.issuer, 'a logical name']) {
    assert.equal((await cut(both.accessToken, { audience }, { by })).outcome, '400 invalid_target');
  }
});

test('an audience that the key has lost is not issued any more, at exchange or refresh (contract §9)', async () => {
  const by = await hallpass.makeKey({ audiences: [FIRST, SECOND] });
  const both = await hallpass.issue(by, '/accounts.write', { resource: [FIRST, SECOND] });
  const first = await hallpass.issue(by, '/accounts.write', { resource: FIRST });
  await hallpass.keys.update(by.clientId, { audiences: [SECOND] });
  for (const answer of [await cut(both.accessToken, {}, { by }), await hallpass.refresh(by, both.refreshToken)]) {
    assert.equal(decode(tokensOf(answer).accessToken).claims['aud'], SECOND);
  }
  for (const answer of [await cut(first.accessToken, {}, { by }), await hallpass.refresh(by, first.refreshToken)]) {
    assert.equal(answer.outcome, '400 invalid_target');
  }
  await hallpass.keys.update(by.clientId, { audiences: [FIRST, SECOND] });
  const again = tokensOf(await hallpass.refresh(by, first.refreshToken));
  assert.equal(decode(again.accessToken).claims['aud'], FIRST, 'nothing was used up');
});

test('the child expires with its parent, to the second, however late it was cut', async () => {
  const parent = await hallpass.issue(key);
  const end = decode(parent.accessToken).claims['exp'];
  for (const seconds of [0, 400, 499]) {
    hallpass.clock.advance(seconds);
    const child = tokensOf(await cut(parent.accessToken));
    assert.equal(decode(child.accessToken).claims['exp'], end);
    assert.equal(child.expiresIn, Number(end) - hallpass.clock.seconds);
  }
  const last = tokensOf(await cut(parent.accessToken));
  assert.equal(last.expiresIn, 1);
  hallpass.clock.advance(1);
  assert.equal((await cut(parent.accessToken)).outcome, '400 invalid_request', 'at exp it is over');
  assert.equal(await hallpass.isActive(key, last.accessToken), false);
});

test("a child lives shorter than its parent if the key's lifetime was lowered since", async () => {
  const by = await hallpass.makeKey();
  const parent = await hallpass.issue(by);
  await hallpass.changeKey(by, { accessTtlSeconds: 60 });
  assert.equal(tokensOf(await cut(parent.accessToken, {}, { by })).expiresIn, 60);
});

test('exchanging a bound token requires a proof, and binds the child to that key (RFC 9449 §5)', async () => {
  const [mine, pages] = [await Signer.make(), await Signer.make('EdDSA')];
  const params = { grant_type: 'client_credentials', scope: '/accounts.write' };
  const bound = await hallpass.form('/oauth2/token', params, { key, headers: { dpop: await prove(mine) } });
  const { accessToken } = tokensOf(bound);
  assert.equal((await cut(accessToken)).outcome, '400 invalid_dpop_proof');
  const answer = await cut(accessToken, {}, { proof: await prove(pages) });
  assert.equal(answer.body['token_type'], 'DPoP');
  const child = tokensOf(answer).accessToken;
  assert.deepEqual(decode(child).claims['cnf'], { jkt: pages.thumbprint });
  assert.equal((await cut(child)).outcome, '400 invalid_dpop_proof', 'nor does a grandchild lose it');
  const spent = await prove(pages);
  assert.equal((await cut(accessToken, {}, { proof: spent })).status, 200);
  assert.equal((await cut(accessToken, {}, { proof: spent })).outcome, '400 invalid_dpop_proof', 'used once');
});

test('a proof binds the child of an unbound token; without one it is a bearer token', async () => {
  const parent = await hallpass.issue(key);
  const signer = await Signer.make();
  const bound = tokensOf(await cut(parent.accessToken, {}, { proof: await prove(signer) }));
  assert.deepEqual(decode(bound.accessToken).claims['cnf'], { jkt: signer.thumbprint });
  const unbound = tokensOf(await cut(parent.accessToken));
  assert.equal('cnf' in decode(unbound.accessToken).claims, false);
});

test('a key that requires DPoP requires it here as well', async () => {
  const by = await hallpass.makeKey();
  const parent = await hallpass.issue(by);
  await hallpass.changeKey(by, { requireDpop: true });
  assert.equal((await cut(parent.accessToken, {}, { by })).outcome, '400 invalid_dpop_proof');
  const proof = await prove(await Signer.make());
  assert.equal((await cut(parent.accessToken, {}, { by, proof })).status, 200);
});

for (const [what, more] of [
  ['no subject_token', { subject_token: '' }],
  ['no subject_token_type', { subject_token_type: '' }],
  ['a refresh token type', { subject_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
  ['a JWT type', { subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' }],
  ['an ID token type', { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }],
  ['a type in upper case', { subject_token_type: ACCESS.toUpperCase() }],
  ['a refresh token requested', { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }],
  ['an unknown type requested', { requested_token_type: '__proto__' }],
  ['an actor', { actor_token: 'x', actor_token_type: ACCESS }],
] as const) {
  test(`${what} is invalid_request (RFC 8693 §2.1), and nothing is issued`, async () => {
    const parent = await hallpass.issue(key);
    const answer = await cut(parent.accessToken, more);
    assert.equal(answer.outcome, '400 invalid_request', answer.text);
    assert.equal('access_token' in answer.body, false);
    assert.equal((await cut(parent.accessToken)).status, 200);
  });
}

test('without valid credentials there is no exchange, whatever the token (RFC 6749 §5.2)', async () => {
  const parent = await hallpass.issue(key);
  const answer = await cut(parent.accessToken, {}, { by: { ...key, clientSecret: 'x'.repeat(43) } });
  assert.equal(answer.outcome, '401 invalid_client');
});

test('any subject that is not a live access token of this key is the same invalid_request (RFC 8693 §2.2.2)', async () => {
  const other = await hallpass.makeKey();
  const opaque = await hallpass.makeKey({ accessTokenFormat: 'opaque' });
  const elsewhere = await startHallpass();
  const parent = await hallpass.issue(key);
  const { accessToken: revoked } = await hallpass.issue(key);
  assert.equal((await hallpass.revoke(key, revoked)).status, 200);
  const [header = '', claims = '', signature = ''] = parent.accessToken.split('.');
  const unsigned = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url');
  const subjects: Readonly<Record<string, string>> = {
    'a refresh token': parent.refreshToken,
    "another client's token": (await hallpass.issue(other)).accessToken,
    "another client's opaque token": (await hallpass.issue(opaque)).accessToken,
    "another issuer's token": (await elsewhere.issue(await elsewhere.makeKey())).accessToken,
    'a revoked token': revoked,
    'a token without its signature': `${header}.${claims}.`,
    'a token that says it is not signed': `${unsigned}.${claims}.${signature}`,
    'a token with a changed claim': `${header}.${claims.replace(/.$/, (c) => (c === 'A' ? 'B' : 'A'))}.${signature}`,
    'a text': 'x',
    'an opaque prefix': 'hpat_AAAA',
  };
  const said = new Set<unknown>();
  for (const [what, token] of Object.entries(subjects)) {
    const answer = await cut(token);
    assert.equal(answer.outcome, '400 invalid_request', what);
    said.add(answer.body['error_description']);
  }
  assert.equal(said.size, 1, 'nobody learns here what a token is');
  assert.equal((await cut(parent.accessToken)).status, 200);
});

test('an opaque token can be exchanged, and its child is opaque', async () => {
  const by = await hallpass.makeKey({ accessTokenFormat: 'opaque' });
  const parent = await hallpass.issue(by, `/accounts.write ${A1}`);
  const answer = await cut(parent.accessToken, { scope: A1 }, { by });
  assert.equal(answer.body['issued_token_type'], ACCESS);
  const child = tokensOf(answer);
  assert.match(child.accessToken, /^hpat_/);
  assert.equal((await hallpass.introspect(by, child.accessToken)).body['scope'], A1);
  assert.equal((await cut(parent.accessToken, { scope: '/ping.read' }, { by })).outcome, '400 invalid_scope');
  await hallpass.revoke(by, parent.accessToken);
  assert.equal(await hallpass.isActive(by, child.accessToken), false);
});

test('an exchange works in JSON as in a form', async () => {
  const parent = await hallpass.issue(key);
  const body = { grant_type: GRANT, subject_token: parent.accessToken, subject_token_type: ACCESS };
  assert.equal((await hallpass.json('/oauth2/token', body, { key })).status, 200);
  const without = await hallpass.json('/oauth2/token', { grant_type: GRANT, subject_token_type: ACCESS }, { key });
  assert.equal(without.outcome, '400 invalid_request');
});

for (const [how, end] of [
  ['by its value', (by, parent) => hallpass.revoke(by, parent.accessToken)],
  ['with its family', (by, parent) => hallpass.revoke(by, parent.refreshToken)],
  ['with all of its key', (by) => hallpass.keys.revokeTokens(by.clientId)],
  ['with its key, disabled', (by) => hallpass.keys.disable(by.clientId)],
  ['with its key, deleted', (by) => hallpass.keys.delete(by.clientId)],
] satisfies readonly (readonly [string, (by: Key, parent: Tokens) => Promise<unknown>])[]) {
  test(`revoking a token ${how} kills everything cut from it, and nothing else`, async () => {
    const by = await hallpass.makeKey();
    const parent = await hallpass.issue(by, '/ping.read');
    const child = tokensOf(await cut(parent.accessToken, {}, { by }));
    const grandchild = tokensOf(await cut(child.accessToken, {}, { by }));
    const bystander = tokensOf(await cut((await hallpass.issue(key)).accessToken));
    await end(by, parent);
    for (const { accessToken } of [parent, child, grandchild]) {
      assert.equal(await hallpass.isActive(api, accessToken), false);
      const ping = await hallpass.ping(accessToken);
      assert.equal(ping.outcome, '401 invalid_token');
      assert.notEqual((await cut(accessToken, {}, { by })).status, 200, 'nor is there anything more to cut from it');
    }
    assert.equal(await hallpass.isActive(api, bystander.accessToken), true);
  });
}

test('revoking everything kills children too; a child cut afterwards from a new token is alive', async () => {
  const at = await startHallpass();
  const by = await at.makeKey();
  const parent = await at.issue(by);
  const child = tokensOf(await cut(parent.accessToken, {}, { by, at }));
  await everything(at);
  assert.equal(await at.isActive(by, child.accessToken), false);
  assert.equal((await cut(parent.accessToken, {}, { by, at })).outcome, '400 invalid_request');
  at.clock.advance(1);
  const fresh = tokensOf(await cut((await at.issue(by)).accessToken, {}, { by, at }));
  assert.equal(await at.isActive(by, fresh.accessToken), true);
});

test('reuse of a refresh token kills the tokens cut in its family as well (RFC 9700 §4.14.2)', async () => {
  const parent = await hallpass.issue(key);
  const child = tokensOf(await cut(parent.accessToken));
  const first = tokensOf(await hallpass.refresh(key, parent.refreshToken));
  const second = tokensOf(await hallpass.refresh(key, first.refreshToken));
  assert.equal(await hallpass.isActive(key, child.accessToken), true);
  hallpass.clock.advance(11);
  assert.equal((await hallpass.refresh(key, parent.refreshToken)).outcome, '400 invalid_grant');
  for (const { accessToken } of [child, second]) assert.equal(await hallpass.isActive(key, accessToken), false);
});

test('revoking a child leaves its parent, its siblings and its grant alone', async () => {
  const parent = await hallpass.issue(key);
  const [child, sibling] = [tokensOf(await cut(parent.accessToken)), tokensOf(await cut(parent.accessToken))];
  const grandchild = tokensOf(await cut(child.accessToken));
  assert.notEqual(claimOf(child.accessToken, 'jti'), claimOf(sibling.accessToken, 'jti'));
  assert.equal((await hallpass.revoke(key, child.accessToken)).status, 200);
  for (const { accessToken } of [child, grandchild]) assert.equal(await hallpass.isActive(key, accessToken), false);
  for (const { accessToken } of [parent, sibling]) assert.equal(await hallpass.isActive(key, accessToken), true);
  assert.equal((await hallpass.refresh(key, parent.refreshToken)).status, 200);
});

test("another key can neither revoke nor use a child of this key's token (RFC 7009 §2.1)", async () => {
  const other = await hallpass.makeKey();
  const child = tokensOf(await cut((await hallpass.issue(key)).accessToken));
  assert.equal((await hallpass.revoke(other, child.accessToken)).outcome, '400 invalid_request');
  assert.equal((await cut(child.accessToken, {}, { by: other })).outcome, '400 invalid_request');
  assert.equal(await hallpass.isActive(key, child.accessToken), true);
});

test('tokens can be cut four deep and no deeper; revoking one kills exactly those below it', async () => {
  for (const at of [0, 1, 2, 3]) {
    const all = await chain(await hallpass.issue(key), 4);
    assert.equal((await cut(all.at(-1)?.accessToken ?? '')).outcome, '400 invalid_request', 'a fifth');
    assert.equal((await hallpass.revoke(key, all[at]?.accessToken ?? '')).status, 200);
    const alive = await Promise.all(all.map(({ accessToken }) => hallpass.isActive(key, accessToken)));
    assert.deepEqual(
      alive,
      all.map((_, place) => place < at),
    );
  }
});

test('the revocation of a parent outlives every child, although expired rows are forgotten', async () => {
  const parent = await hallpass.issue(key);
  hallpass.clock.advance(600);
  const child = tokensOf(await cut(parent.accessToken));
  await hallpass.revoke(key, parent.accessToken);
  hallpass.clock.advance(299);
  await hallpass.instance.store.forgetExpired(hallpass.clock.seconds, 500);
  assert.equal(await hallpass.isActive(key, child.accessToken), false);
});

test('another instance on the same store accepts the token as a subject, and refuses a revoked one at once', async () => {
  const clock = new TestClock();
  clock.set(hallpass.clock.now());
  const environment = { HALLPASS_ISSUER: hallpass.issuer };
  const beside = await startHallpass({ folder: hallpass.folder, clock, environment });
  const parent = await hallpass.issue(key);
  const child = tokensOf(await cut(parent.accessToken, {}, { at: beside }));
  assert.equal(await hallpass.isActive(key, child.accessToken), true);
  await hallpass.revoke(key, parent.accessToken);
  assert.equal((await cut(parent.accessToken, {}, { at: beside })).outcome, '400 invalid_request');
  assert.equal(await beside.isActive(key, child.accessToken), false);
});

/** What an access holds and how a refusal looks on the wire, reason by reason. */
import { listRefusals, refuse, type AccessTokenClaims, type RefusalReason } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deny, grantAccess } from '../src/decision.ts';
import { holderOf } from '../src/credentials/holder.ts';
import { API, makeId, NOW_SECONDS } from './issuer.ts';

const CLAIMS: AccessTokenClaims = {
  iss: 'https://auth.example.com',
  sub: 'client-1',
  client_id: 'client-1',
  aud: API,
  iat: NOW_SECONDS,
  exp: NOW_SECONDS + 900,
  jti: makeId(),
  scope: '/a.read /b.read',
  grant_id: makeId(),
};
const VALUES = { accountID: 'a1' };
const ACCESS = {
  allowed: true,
  client: { kind: 'client', clientId: 'client-1' },
  scopes: ['/a.read', '/b.read'],
  jti: CLAIMS.jti,
  expiresAt: CLAIMS.exp,
  headers: {},
  values: VALUES,
};

test('an access holds who asks, all that they may, until when, and the values; nothing is there that is not known', () => {
  const holder = holderOf(CLAIMS);
  assert.deepEqual(grantAccess(holder, { values: VALUES }, undefined), { ...ACCESS, grantId: CLAIMS.grant_id });
  assert.deepEqual(grantAccess(holderOf({ ...CLAIMS, grant_id: '' }), { values: VALUES }, undefined), ACCESS);
  const route = 'GET /accounts/{accountID}';
  assert.deepEqual(grantAccess(holder, { values: VALUES, route }, undefined), {
    ...ACCESS,
    grantId: CLAIMS.grant_id,
    route,
  });
  const bound = holderOf({ ...CLAIMS, cnf: { jkt: 'thumb' } });
  assert.deepEqual(grantAccess(bound, { values: VALUES }, 'n1'), {
    ...ACCESS,
    grantId: CLAIMS.grant_id,
    boundTo: 'thumb',
    headers: { 'DPoP-Nonce': 'n1', 'Cache-Control': 'no-store' },
  });
});

test('the headers of an access are its own: nobody can add to those of all others', () => {
  const { headers } = grantAccess(holderOf(CLAIMS), { values: VALUES }, undefined);
  assert.ok(Object.isFrozen(headers));
});

const REALM = { realm: 'api' };
const JSON_HEADERS = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };

/** What is about credentials: all others get no challenge (RFC 9110 §11.6.1). */
const CHALLENGED: Readonly<Partial<Record<RefusalReason, RegExp>>> = {
  missing_credentials: /^Bearer realm="api"$/,
  malformed_credentials: /^Bearer realm="api", error="invalid_request", /,
  token_not_good: /^Bearer realm="api", error="invalid_token", /,
  token_of_another_issuer: /^Bearer realm="api", error="invalid_token", /,
  token_for_another_audience: /^Bearer realm="api", error="invalid_token", /,
  value_not_allowed: /^Bearer realm="api", error="insufficient_scope", /,
  token_expired: /^Bearer realm="api", error="invalid_token", /,
  clock_differs: /^Bearer realm="api", error="invalid_token", /,
  token_is_bound: /^DPoP realm="api", error="invalid_token", /,
  resource_proof_not_good: /^DPoP realm="api", error="invalid_dpop_proof", /,
  resource_nonce_wanted: /^DPoP realm="api", error="use_dpop_nonce", /,
  insufficient_scope: /^Bearer realm="api", error="insufficient_scope", /,
  route_not_allowed: /^Bearer realm="api", error="insufficient_scope", /,
  authentication_failed: /^Basic realm="api", charset="UTF-8"$/,
};

test('every refusal there is has its status and its words, a challenge where it is about credentials, and a time where time helps', () => {
  for (const { reason, status, error } of listRefusals()) {
    const { headers, ...denial } = deny(refuse(reason), REALM);
    assert.deepEqual({ ...denial, body: denial.body.error }, { allowed: false, status, body: error, because: reason });
    const { 'WWW-Authenticate': challenge, 'Retry-After': retryAfter, ...others } = headers;
    assert.deepEqual(others, JSON_HEADERS, reason);
    const expected = CHALLENGED[reason];
    if (expected === undefined) assert.equal(challenge, undefined, reason);
    else assert.match(challenge ?? '', expected, reason);
    assert.equal(retryAfter, ['rate_limited', 'temporarily_unavailable'].includes(reason) ? '2' : undefined, reason);
  }
});

test('a scope that is missing is in the body and in the challenge, and no other refusal has one', () => {
  const missing = deny(refuse('insufficient_scope', { subject: '/a.read', because: 'why' }), REALM);
  assert.equal(missing.body.scope, '/a.read');
  assert.equal(missing.body.error, 'insufficient_scope');
  assert.match(missing.body.error_description, /\/a\.read/);
  assert.match(missing.headers['WWW-Authenticate'] ?? '', /, scope="\/a\.read"$/);
  assert.equal(missing.because, 'why');
  assert.ok(!('scope' in deny(refuse('insufficient_scope'), REALM).body));
  assert.ok(!('scope' in deny(refuse('token_not_good', { subject: '/a.read' }), REALM).body));
});

test('the nonce goes with a challenge for DPoP and with no other (RFC 9449 §9)', () => {
  const nonceOf = (refused: RefusalReason, scheme?: 'DPoP' | 'Bearer'): string | undefined =>
    deny(refuse(refused), { ...REALM, scheme, nonce: 'n1' }).headers['DPoP-Nonce'];
  assert.equal(nonceOf('resource_nonce_wanted'), 'n1');
  assert.equal(nonceOf('token_not_good', 'DPoP'), 'n1');
  assert.equal(nonceOf('token_not_good', 'Bearer'), undefined);
  assert.equal(nonceOf('missing_credentials'), undefined);
  assert.equal(nonceOf('malformed_path', 'DPoP'), undefined);
  assert.ok(!('DPoP-Nonce' in deny(refuse('resource_nonce_wanted'), REALM).headers));
});

test('when to come back is what the refusal says, where it says so', () => {
  assert.equal(deny(refuse('rate_limited', { retryAfterSeconds: 30 }), REALM).headers['Retry-After'], '30');
  assert.equal(deny(refuse('token_not_good', { retryAfterSeconds: 30 }), REALM).headers['Retry-After'], undefined);
});

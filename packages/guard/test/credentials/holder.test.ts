/** What every request with the same good credentials shares of its holder. */
import type { AccessTokenClaims } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holderOf } from '../../src/credentials/holder.ts';
import { API, makeId, NOW_SECONDS } from '../issuer.ts';

const CLAIMS: AccessTokenClaims = {
  iss: 'https://auth.example.com',
  sub: 'client-1',
  client_id: 'client-1',
  aud: API,
  iat: NOW_SECONDS,
  exp: NOW_SECONDS + 900,
  jti: makeId(),
  scope: '/b.read /a.read /b/c.write',
  grant_id: makeId(),
};

test('a holder is a client, with the scopes of the claims one by one, in their order', () => {
  const { claims, scopes, client, seen } = holderOf(CLAIMS);
  assert.equal(claims, CLAIMS);
  assert.deepEqual(scopes, ['/b.read', '/a.read', '/b/c.write']);
  assert.notEqual(seen, holderOf(CLAIMS).seen, 'what a guard has seen of one it has not of another');
  assert.deepEqual(client, { kind: 'client', clientId: 'client-1' });
  assert.deepEqual(holderOf({ ...CLAIMS, scope: '/a.read' }).scopes, ['/a.read']);
});

test('a handler that writes into what it got changes nothing for the next request', () => {
  const { scopes, client } = holderOf(CLAIMS);
  assert.throws(() => Object.assign(client, { clientId: 'somebody' }), TypeError);
  assert.throws(() => Object.assign(client, { more: 1 }), TypeError);
  assert.throws(() => Object.assign(scopes, { 0: '/x.read' }), TypeError);
  assert.throws(() => Object.assign(scopes, { 3: '/x.read' }), TypeError);
});

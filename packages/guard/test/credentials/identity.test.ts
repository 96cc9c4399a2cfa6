/** Which credentials are taken, and whom the issuer is asked about for each; through an issuer in memory. */
import { createTestIssuer } from '@hallpass/guard/testing';
import { isScope, parseScope, refuse, type Refusal, type Scope } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Identified } from '../../src/credentials/holder.ts';
import { Identity } from '../../src/credentials/identity.ts';
import { IssuerClient } from '../../src/issuer/issuer_client.ts';
import { KeySet } from '../../src/issuer/key_set.ts';
import { parseOptions, type GuardOptions } from '../../src/options.ts';
import type { PresentedKey } from '../../src/request.ts';
import { API, TestClock } from '../issuer.ts';

const clock = new TestClock();
const issuer = await createTestIssuer({ audience: API, clock });
issuer.addKey({ clientId: 'partner', clientSecret: 'secret', scopes: ['/accounts.read'] });
const signed = await issuer.token({ scope: '/accounts.read', clientId: 'signs' });
const opaque = await issuer.token({ scope: '/accounts.read', clientId: 'opaque', opaque: true });
const KEY = keyOf('secret');
const READ = scopeOf('/accounts.read');

function keyOf(clientSecret: string): PresentedKey {
  return { scheme: 'Basic', key: { clientId: 'partner', clientSecret }, address: '192.0.2.7' };
}

function scopeOf(text: string): Scope {
  const scope = parseScope(text);
  assert.ok(isScope(scope));
  return scope;
}

interface World {
  readonly identity: Identity;
  /** What the issuer was asked, and where the question was said to come from; but for its keys. */
  readonly asked: string[];
}

function identityOf(options: Partial<GuardOptions>): World {
  const asked: string[] = [];
  const settings = parseOptions({
    ...issuer.options,
    fetch: (input, init) => {
      const request = new Request(input, init);
      const { pathname } = new URL(request.url);
      if (!pathname.endsWith('/jwks')) asked.push(`${pathname} ${request.headers.get('hallpass-caller') ?? ''}`.trim());
      assert.ok(issuer.options.fetch !== undefined);
      return issuer.options.fetch(request);
    },
    ...options,
  });
  const issuerClient = new IssuerClient({ ...settings, closing: new AbortController().signal });
  const { algorithms } = settings;
  const keySet = new KeySet({ fetchKeySet: () => issuerClient.fetchKeySet(), algorithms, clock, report: () => {} });
  return { identity: new Identity(settings, { issuerClient, keySet, isRevoked: () => false }), asked };
}

function assertIs(identified: Identified | Refusal, clientId: string): void {
  assert.ok('holder' in identified, JSON.stringify(identified));
  assert.equal(identified.holder.client.clientId, clientId);
}

function assertRefused(identified: Identified | Refusal, refused: Refusal['refused']): void {
  assert.ok('refused' in identified);
  assert.equal(identified.refused, refused);
}

test('a signed token is verified here, whatever else is taken', async () => {
  for (const options of [{}, { opaqueTokenSeconds: 10 }, { apiKeySeconds: 10 }]) {
    const { identity, asked } = identityOf(options);
    assertIs(await identity.identifyToken(signed), 'signs');
    assertRefused(await identity.identifyToken(`${signed.slice(0, -8)}AAAAAAAA`), 'token_not_good');
    assert.deepEqual(asked, []);
  }
});

test('of an opaque token the issuer is asked where such tokens are taken, and nobody where they are not', async () => {
  const taking = identityOf({ opaqueTokenSeconds: 10 });
  assertIs(await taking.identity.identifyToken(opaque), 'opaque');
  assertIs(await taking.identity.identifyToken(opaque), 'opaque');
  assert.deepEqual(taking.asked, ['/oauth2/introspect']);
  // Each time anew: 0 seconds are a choice as well.
  const never = identityOf({ opaqueTokenSeconds: 0 });
  assertIs(await never.identity.identifyToken(opaque), 'opaque');
  assertIs(await never.identity.identifyToken(opaque), 'opaque');
  assert.equal(never.asked.length, 2);
  for (const options of [{}, { apiKeySeconds: 10 }]) {
    const { identity, asked } = identityOf(options);
    assertRefused(await identity.identifyToken(opaque), 'token_not_good');
    assert.deepEqual(asked, []);
  }
});

test('a key is exchanged for the scope that is needed, where keys are taken; elsewhere it is no credentials', async () => {
  const { identity, asked } = identityOf({ apiKeySeconds: 10 });
  assert.ok(identity.takesKeys);
  assertIs(await identity.identifyKey(KEY, READ), 'partner');
  assertIs(await identity.identifyKey(KEY, READ), 'partner');
  assert.deepEqual(asked, ['/oauth2/token 192.0.2.7']);
  assertRefused(await identity.identifyKey(KEY, scopeOf('/accounts.write')), 'insufficient_scope');
  assertRefused(await identity.identifyKey(keyOf('wrong'), READ), 'authentication_failed');
  for (const options of [{}, { opaqueTokenSeconds: 10 }]) {
    const blind = identityOf(options);
    assert.ok(!blind.identity.takesKeys);
    for (const scope of [READ, refuse('route_not_allowed')]) {
      assert.deepEqual(await blind.identity.identifyKey(KEY, scope), refuse('missing_credentials'));
    }
    assert.deepEqual(blind.asked, []);
  }
});

test('a request that no scope would open is refused as it would be, to who has a good key; a bad key is 401 all the same', async () => {
  const { identity, asked } = identityOf({ apiKeySeconds: 10 });
  const refusal = refuse('route_not_allowed');
  // Asked about once in the time for which a key is believed, like any other.
  for (let round = 0; round < 3; round++) assert.equal(await identity.identifyKey(KEY, refusal), refusal);
  assertRefused(await identity.identifyKey(keyOf('wrong'), refusal), 'authentication_failed');
  assert.deepEqual(asked, ['/ping 192.0.2.7', '/ping 192.0.2.7']);
});

test('as many tokens are remembered as the guard is told to', async () => {
  for (const [rememberedTokensMax, count] of [
    [0, 2],
    [1, 1],
  ] as const) {
    const opaques = identityOf({ opaqueTokenSeconds: 10, rememberedTokensMax });
    for (let round = 0; round < 2; round++) assertIs(await opaques.identity.identifyToken(opaque), 'opaque');
    assert.equal(opaques.asked.length, count);
    const keys = identityOf({ apiKeySeconds: 10, rememberedTokensMax });
    for (let round = 0; round < 2; round++) assertIs(await keys.identity.identifyKey(KEY, READ), 'partner');
    assert.equal(keys.asked.length, count);
  }
});

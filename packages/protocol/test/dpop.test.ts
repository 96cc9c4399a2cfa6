import { judgeDpopProof, parseDpopProof, printBase64url, utf8, type DpopExpectation } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';

const NOW = 2_000_000_000;
const URL_OF_TOKEN = 'https://auth.example.com/oauth2/token';
const CLAIMS = { jti: 'j', htm: 'POST', htu: URL_OF_TOKEN, iat: NOW };
const judge = (claims: object, expected: Partial<DpopExpectation> = {}): ReturnType<typeof judgeDpopProof> =>
  judgeDpopProof(new Map(Object.entries({ ...CLAIMS, ...claims })), {
    method: 'POST',
    url: URL_OF_TOKEN,
    now: NOW,
    ...expected,
  });
const segment = (value: unknown): string => printBase64url(utf8(JSON.stringify(value)));
const jwk = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
const HEADER = { typ: 'dpop+jwt', alg: 'EdDSA', jwk };
const make = (header: unknown, claims: unknown = CLAIMS): string => `${segment(header)}.${segment(claims)}.AAAA`;

for (const [claims, fault] of [
  [{}, undefined],
  [{ htm: 'post' }, 'htm is another method'],
  [{ htm: undefined }, 'htm is another method'],
  [{ htu: `${URL_OF_TOKEN}?q#f` }, undefined],
  [{ htu: 'HTTPS://AUTH.example.COM:443/oauth2/token' }, undefined],
  [{ htu: 'https://auth.example.com:80/oauth2/token' }, 'htu is another address'],
  [{ htu: 'https://auth.example.com:444/oauth2/token' }, 'htu is another address'],
  [{ htu: 'http://auth.example.com/oauth2/token' }, 'htu is another address'],
  [{ htu: 'https://auth.example.com/oauth2/Token' }, 'htu is another address'],
  [{ htu: 'https://auth.example.com.evil.example/oauth2/token' }, 'htu is another address'],
  [{ htu: 'https://auth.example.com@evil.example/oauth2/token' }, 'htu is another address'],
  [{ htu: '' }, 'htu is another address'],
  [{ htu: 7 }, 'htu is another address'],
  [{ iat: NOW - 60 }, undefined],
  [{ iat: NOW - 60.5 }, 'iat is too far from now'],
  [{ iat: NOW + 10 }, undefined],
  [{ iat: NOW + 10.5 }, 'iat is too far from now'],
  [{ iat: 1e308 }, 'iat is too far from now'],
  [{ iat: Number.NaN }, 'iat is missing'],
  [{ iat: String(NOW) }, 'iat is missing'],
  [{ jti: 'j'.repeat(256) }, undefined],
  [{ jti: 'j'.repeat(257) }, 'jti is missing or too long'],
  [{ jti: '' }, 'jti is missing or too long'],
] as const) {
  const name = Object.entries(claims)
    .map(([claim, value]) => `${claim} ${String(value).slice(0, 50)}`)
    .join();
  test(`${name === '' ? 'correct claims' : name}: ${fault ?? 'good'} (RFC 9449 §4.3)`, () => {
    const judged = judge(claims);
    assert.equal('fault' in judged ? judged.fault : undefined, fault);
  });
}

test('with an access token the proof must hold its hash (RFC 9449 §4.3)', () => {
  assert.equal('fault' in judge({ ath: 'a' }, { ath: 'a' }), false);
  for (const ath of ['b', '', undefined, ['a']]) assert.equal('fault' in judge({ ath }, { ath: 'a' }), true);
});

test('where nonces are required, a proof without a valid one is asked for it, and an otherwise bad proof is not (RFC 9449 §8)', () => {
  const isNonceGood = (nonce: string): boolean => nonce === 'n';
  assert.equal('fault' in judge({ nonce: 'n' }, { isNonceGood }), false);
  for (const nonce of ['m', '', undefined, 7]) {
    assert.deepEqual(judge({ nonce }, { isNonceGood }), { fault: 'nonce is missing or old', wantsNonce: true });
  }
  assert.deepEqual(judge({ htm: 'GET' }, { isNonceGood }), { fault: 'htm is another method' });
});

test('a jti is remembered for as long as its proof would be accepted, and no claims throw (RFC 9449 §11.1)', () => {
  fc.assert(
    fc.property(
      fc.double({ min: NOW - 60, max: NOW + 10, noNaN: true }),
      fc.integer({ min: 0, max: 200 }),
      (iat, later) => {
        const judged = judge({ iat });
        assert.ok(!('fault' in judged));
        if (!('fault' in judge({ iat }, { now: NOW + later }))) assert.ok(NOW + later < judged.expiresAt);
      },
    ),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(CLAIMS), 'ath', 'nonce'), fc.anything()), (claims) => {
      judge(claims, { ath: 'a', isNonceGood: () => true });
    }),
  );
});

test('a proof carries its key, and the key determines the algorithm (RFC 9449 §4.3)', () => {
  // RFC 7515 §4: what is not understood is ignored.
  for (const more of [{}, { kid: 'a' }, { 'x5t#S256': 'a' }, { jku: 'https://a.example' }, { foo: { bar: [] } }]) {
    assert.equal(parseDpopProof(make({ ...HEADER, ...more }))?.key.algorithm, 'EdDSA');
  }
  for (const header of [
    { ...HEADER, typ: 'JWT' },
    { ...HEADER, alg: 'ES256' },
    { ...HEADER, alg: 'none' },
    { ...HEADER, crit: ['a'] },
    { ...HEADER, crit: [] },
    { ...HEADER, b64: true },
    { ...HEADER, jwk: { ...jwk, d: 'AAAA' } },
    { ...HEADER, jwk: { ...jwk, x: 'AAAA' } },
    { ...HEADER, jwk: undefined },
  ]) {
    assert.equal(parseDpopProof(make(header)), undefined);
  }
});

test('the longest proof is 4096 characters, and no text throws', () => {
  const short = make(HEADER);
  const good = short + 'A'.repeat(4_096 - short.length - ((4_096 - short.length) % 4));
  assert.ok(parseDpopProof(good) !== undefined);
  assert.equal(parseDpopProof(good + 'AAAA'.repeat(1_024)), undefined);
  fc.assert(
    fc.property(fc.string(), fc.jsonValue(), fc.jsonValue(), (text, header, claims) => {
      parseDpopProof(text);
      parseDpopProof(make(header, claims));
      parseDpopProof(make({ ...HEADER, jwk: header }, claims));
    }),
  );
});

test('escapes in a URL are compared case-insensitively and not decoded (RFC 9449 §4.3, RFC 3986 §6.2.2.1)', () => {
  const url = 'https://api.example.com/caf%C3%A9/x';
  assert.ok('jti' in judge({ htu: 'https://api.example.com/caf%c3%a9/x' }, { url }));
  assert.ok('fault' in judge({ htu: 'https://api.example.com/caf%C3%A9%2Fx' }, { url }));
  assert.ok('fault' in judge({ htu: 'https://api.example.com/caf%C3%A9/%78' }, { url }));
});

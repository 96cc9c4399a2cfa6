import { judgeClientAssertion, parseClientAssertion, printBase64url, utf8 } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const NOW = 2_000_000_000;
const EXPECTED = { clientId: 'me', issuer: 'https://auth.example.com', now: NOW };
const CLAIMS = { iss: 'me', sub: 'me', aud: EXPECTED.issuer, jti: 'j', exp: NOW + 60 };
const judge = (claims: object): ReturnType<typeof judgeClientAssertion> =>
  judgeClientAssertion(new Map(Object.entries({ ...CLAIMS, ...claims })), EXPECTED);
const segment = (value: unknown): string => printBase64url(utf8(JSON.stringify(value)));
const make = (header: object, claims: object = CLAIMS): string => `${segment(header)}.${segment(claims)}.AAAA`;

for (const [claims, fault] of [
  [{}, undefined],
  [{ iss: 'you' }, 'iss and sub are not the client'],
  [{ sub: 'you' }, 'iss and sub are not the client'],
  [{ aud: [EXPECTED.issuer] }, 'aud is not the issuer'],
  [{ aud: `${EXPECTED.issuer}/` }, 'aud is not the issuer'],
  [{ exp: NOW - 60 }, 'expired'],
  [{ exp: NOW - 59.5 }, undefined],
  [{ exp: NOW + 360 }, undefined],
  [{ exp: NOW + 360.5 }, 'exp is too far ahead'],
  [{ exp: Number.NaN }, 'expired'],
  [{ exp: Infinity }, 'expired'],
  [{ exp: 1e308 }, 'expired'],
  [{ exp: undefined }, 'expired'],
  [{ iat: NOW + 10 }, undefined],
  [{ iat: NOW + 10.5 }, 'not valid yet'],
  [{ nbf: NOW + 10 }, undefined],
  [{ nbf: NOW + 11 }, 'not valid yet'],
  [{ nbf: null }, 'not valid yet'],
  [{ iat: -1 }, 'not valid yet'],
  [{ jti: 'j'.repeat(256) }, undefined],
  [{ jti: 'j'.repeat(257) }, 'jti is missing or too long'],
  [{ jti: '' }, 'jti is missing or too long'],
  [{ jti: undefined }, 'jti is missing or too long'],
] as const) {
  const name = Object.entries(claims)
    .map(([claim, value]) => `${claim} ${String(value).slice(0, 30)}`)
    .join();
  test(`${name === '' ? 'correct claims' : name}: ${fault ?? 'good'} (RFC 7523 §3)`, () => {
    const judged = judge(claims);
    assert.equal('fault' in judged ? judged.fault : undefined, fault);
  });
}

test('a jti is remembered for as long as its assertion would be accepted, and no claims throw (RFC 7523 §3)', () => {
  fc.assert(
    fc.property(
      fc.double({ min: NOW - 100, max: NOW + 400, noNaN: true }),
      fc.integer({ min: 0, max: 500 }),
      (exp, later) => {
        const judged = judge({ exp });
        if ('fault' in judged) return;
        assert.equal(judged.jti, 'j');
        const then = judgeClientAssertion(new Map(Object.entries({ ...CLAIMS, exp })), {
          ...EXPECTED,
          now: NOW + later,
        });
        if (!('fault' in then)) assert.ok(NOW + later <= judged.expiresAt);
      },
    ),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(CLAIMS), 'iat', 'nbf'), fc.anything()), (claims) => {
      judge(claims);
    }),
  );
});

test('the header may have one of two types and unknown members, but no crit or b64 (RFC 7515 §4)', () => {
  for (const header of [
    {},
    { alg: 'ES256' },
    { kid: 'a' },
    { typ: 'JWT' },
    { typ: 'client-authentication+jwt' },
    { 'x5t#S256': 'a' },
    { jwk: {} },
    { jku: 'x' },
    { zip: 'DEF' },
  ]) {
    assert.equal(parseClientAssertion(make(header))?.clientId, 'me');
  }
  for (const header of [
    { typ: 'jwt' },
    { typ: 'dpop+jwt' },
    { typ: null },
    { crit: [] },
    { crit: ['exp'] },
    { crit: null },
    { b64: true },
  ]) {
    assert.equal(parseClientAssertion(make(header)), undefined);
  }
});

test('an assertion whose sub is not a string is refused', () => {
  for (const sub of [undefined, null, 7, ['me'], {}])
    assert.equal(parseClientAssertion(make({}, { ...CLAIMS, sub })), undefined);
});

test('the longest assertion is 4096 characters, and no text throws', () => {
  const shorter = make({}, { ...CLAIMS, x: '' });
  const good = shorter + 'A'.repeat(4_096 - shorter.length - ((4_096 - shorter.length) % 4));
  assert.ok(parseClientAssertion(good) !== undefined);
  assert.equal(parseClientAssertion(good + 'AAAA'.repeat(1_024)), undefined);
  fc.assert(
    fc.property(fc.string(), fc.jsonValue(), fc.jsonValue(), (text, header, claims) => {
      parseClientAssertion(text);
      parseClientAssertion(`${segment(header)}.${segment(claims)}.AAAA`);
    }),
  );
});

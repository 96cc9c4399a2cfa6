import {
  ACCESS_TOKEN_LENGTH_MAX,
  ACCESS_TOKEN_SECONDS_MAX,
  isMeantFor,
  OPAQUE_TOKEN_PREFIX,
  parseAccessToken,
  parseAccessTokenClaims,
  printAccessTokenHeader,
  printSigningInput,
  SIGNING_ALGORITHMS,
  utf8,
  type AccessTokenClaims,
} from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const CLAIMS: AccessTokenClaims = {
  iss: 'https://auth.example.com',
  sub: 'key-1',
  client_id: 'key-1',
  aud: 'https://api.example.com',
  iat: 1_900_000_000,
  exp: 1_900_000_900,
  jti: '01890a5d-ac96-774b-bcce-b302099a8057',
  scope: '/accounts.write',
  grant_id: '01890a5d-ac96-774b-bcce-b302099a8058',
};
const HEADER = printAccessTokenHeader({ alg: 'ES256', kid: 'k1' });
const TOKEN = `${printSigningInput(HEADER, CLAIMS)}.AAAA`;
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

test('header and claims are exactly those of the profile (contract §5; RFC 9068 §2)', () => {
  const [header = '', payload = ''] = TOKEN.split('.');
  assert.equal(Buffer.from(header, 'base64url').toString(), '{"alg":"ES256","kid":"k1","typ":"at+jwt"}');
  assert.equal(Buffer.from(payload, 'base64url').toString(), JSON.stringify(CLAIMS));
  const dropped = { ...CLAIMS, admin: true };
  assert.equal(printSigningInput(HEADER, dropped), printSigningInput(HEADER, CLAIMS));
});

test('the published constants of tokens: algorithms, limits and the prefix of opaque ones (contract §5)', () => {
  assert.deepEqual(SIGNING_ALGORITHMS, ['ES256', 'EdDSA', 'RS256']);
  assert.equal(ACCESS_TOKEN_LENGTH_MAX, 14_336);
  assert.equal(ACCESS_TOKEN_SECONDS_MAX, 3_600);
  assert.equal(OPAQUE_TOKEN_PREFIX, 'hpat_');
});

test('a token parses into its parts, and its claims into what was printed', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 });
  const seconds = fc.integer({ min: 0, max: 2 ** 40 });
  fc.assert(
    fc.property(
      fc.record({
        id: text,
        iss: text,
        aud: fc.oneof(text, fc.array(text, { minLength: 1 })),
        iat: seconds,
        scope: text,
      }),
      ({ id, ...some }) => {
        const claims = { ...CLAIMS, ...some, sub: id, client_id: id };
        const signingInput = printSigningInput(HEADER, claims);
        const parsed = parseAccessToken(`${signingInput}.AQID`);
        assert.equal(parsed?.header, HEADER);
        assert.equal(parsed.kid, 'k1');
        assert.equal(parsed.signingInput, signingInput);
        assert.deepEqual(parsed.signature(), Uint8Array.of(1, 2, 3));
        assert.deepEqual(parsed.claims(), claims);
        // By the bytes of whoever has decoded them.
        assert.deepEqual(parsed.claims(utf8(JSON.stringify(CLAIMS))), CLAIMS);
      },
    ),
  );
});

for (const [what, token] of [
  ['two parts', TOKEN.split('.').slice(0, 2).join('.')],
  ['four parts', `${TOKEN}.AAAA`],
  ['five parts, like an encrypted one', `${TOKEN}.AAAA.AAAA`],
  ['nothing', ''],
  ['padding', `${TOKEN}=`],
  ['a signature of an impossible length', `${TOKEN}A`],
  ['a newline at its end', `${TOKEN}\n`],
  ['a space at its start', ` ${TOKEN}`],
  ['no kid', `${encode({ alg: 'ES256' })}.e30.AAAA`],
  ['a kid that is no text', `${encode({ alg: 'ES256', kid: 7 })}.e30.AAAA`],
  ['a header that is an array', `${encode(['k1'])}.e30.AAAA`],
  ['a header that is null', `${encode(null)}.e30.AAAA`],
  ['a header that is no JSON', `AAAA.e30.AAAA`],
  ['a header with unused bits', `${HEADER}B.e30.AAAA`],
] as const) {
  test(`a token with ${what} is refused (RFC 7515 §7.1)`, () => {
    assert.ok(parseAccessToken(TOKEN));
    assert.equal(parseAccessToken(token), undefined);
  });
}

test('claims in a second spelling are refused before anything is verified', () => {
  for (const payload of ['e31', 'e30=', 'e3+9', 'e 30', 'e30\n']) {
    assert.equal(parseAccessToken(`${HEADER}.${payload}.AAAA`), undefined, payload);
  }
  assert.ok(parseAccessToken(`${HEADER}.e30.AAAA`));
});

test('a token of 14336 characters is parsed, a longer one is not', () => {
  const longest = `${HEADER}.${'A'.repeat(ACCESS_TOKEN_LENGTH_MAX - HEADER.length - 6)}.AAAA`;
  assert.ok(parseAccessToken(longest));
  assert.equal(parseAccessToken(longest.replace('.', '.A')), undefined);
});

test('claims that cannot be read are undefined, and no text throws', () => {
  for (const payload of ['', 'AAAA', 'e30=', '*', encode([]), encode('x'), encode({})]) {
    assert.equal(parseAccessToken(`${HEADER}.${payload}.AAAA`)?.claims(), undefined);
  }
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, two) => {
      parseAccessToken(one);
      parseAccessToken(`${HEADER}.${one}.${two}`)?.claims();
    }),
  );
});

for (const name of Object.keys(CLAIMS)) {
  test(`claims without ${name}, or with one of another type, are refused (RFC 9068 §2.2)`, () => {
    assert.deepEqual(parseAccessTokenClaims(CLAIMS), CLAIMS);
    const { [name]: _, ...rest } = Object.fromEntries(Object.entries(CLAIMS));
    assert.equal(parseAccessTokenClaims(rest), undefined);
    const numeric = name === 'iat' || name === 'exp';
    const wrong: unknown[] = [null, true, {}, [], numeric ? '1900000000' : 7];
    if (numeric) wrong.push(1.5, -1, 2 ** 53);
    for (const value of wrong)
      assert.equal(parseAccessTokenClaims({ ...CLAIMS, [name]: value }), undefined, String(value));
  });
}

for (const [what, wrong] of [
  ['sub that is not client_id', { sub: 'key-2' }],
  ['empty client_id', { sub: '', client_id: '' }],
  ['client_id that is no text, in both places', { sub: 7, client_id: 7 }],
  ['empty list of audiences', { aud: [] }],
  ['audience that is no text', { aud: ['https://api.example.com', 7] }],
  ['jti that is no identifier', { jti: 'x' }],
  ['grant_id that is no identifier', { grant_id: CLAIMS.grant_id.toUpperCase() }],
  // A token that is bound in a way we do not know must not pass for an unbound one.
  ['cnf of another kind', { cnf: { 'x5t#S256': 'x' } }],
  ['cnf that is null', { cnf: null }],
  ['cnf that is a text', { cnf: 'x' }],
  ['jkt that is no text', { cnf: { jkt: 7 } }],
] as const) {
  test(`claims with a ${what} are refused`, () => {
    assert.equal(parseAccessTokenClaims({ ...CLAIMS, ...wrong }), undefined);
  });
}

test('a bound token keeps its key, and unknown claims are dropped', () => {
  const bound = { ...CLAIMS, cnf: { jkt: 'thumb' } };
  assert.deepEqual(parseAccessTokenClaims({ ...bound, admin: true }), bound);
  for (const value of [null, undefined, 7, 'x', [CLAIMS], Object.assign([], CLAIMS)])
    assert.equal(parseAccessTokenClaims(value), undefined);
});

test('nbf is kept with the other claims, and must be a NumericDate (RFC 7519 §4.1.5)', () => {
  for (const more of [{}, { nbf: 0 }, { nbf: 1_900_000_000 }, { cnf: { jkt: 'a' } }, { nbf: 1, cnf: { jkt: 'a' } }]) {
    assert.deepStrictEqual(parseAccessTokenClaims({ ...CLAIMS, ...more }), { ...CLAIMS, ...more });
  }
  assert.deepStrictEqual(Object.keys(parseAccessTokenClaims(CLAIMS) ?? {}), Object.keys(CLAIMS));
  for (const nbf of [null, '1900000000', 1.5, -1, true, {}, [], 2 ** 53]) {
    assert.equal(parseAccessTokenClaims({ ...CLAIMS, nbf }), undefined, JSON.stringify(nbf));
  }
});

test('an audience is compared character by character (RFC 7519 §4.1.3)', () => {
  for (const aud of ['https://a.example', ['https://b.example', 'https://a.example']]) {
    assert.ok(isMeantFor(aud, 'https://a.example'));
    for (const other of ['https://a.example/', 'https://A.example', 'a.example', ''])
      assert.ok(!isMeantFor(aud, other));
  }
});

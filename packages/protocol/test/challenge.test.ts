import { isRefusal, parseAccessTokenHeader, printBasicChallenge, printChallenge, refuse } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

test('without credentials the challenge has no error code (RFC 6750 §3.1)', () => {
  assert.equal(printChallenge(refuse('missing_credentials'), { realm: 'api' }), 'Bearer realm="api"');
});

test('with an invalid token the challenge has an error code, and no scope (RFC 6750 §3)', () => {
  const challenge = printChallenge(refuse('token_not_good', { subject: '/a.read' }), { realm: 'api' });
  assert.match(challenge, /^Bearer realm="api", error="invalid_token", error_description="[^"]+"$/);
});

test('insufficient_scope names the missing scope (RFC 6750 §3)', () => {
  const challenge = printChallenge(refuse('insufficient_scope', { subject: '/a.read' }), { realm: 'api' });
  assert.match(
    challenge,
    /^Bearer realm="api", error="insufficient_scope", error_description="[^"]+", scope="\/a\.read"$/,
  );
});

test('insufficient_scope without a known scope names none', () => {
  const challenge = printChallenge(refuse('insufficient_scope'), { realm: 'api' });
  assert.match(challenge, /^Bearer realm="api", error="insufficient_scope", error_description="[^"]+"$/);
});

test('a refusal about proofs gets a DPoP challenge, whatever the scheme of the request (RFC 9449 §7.1, §9)', () => {
  for (const refused of ['token_is_bound', 'resource_proof_not_good', 'resource_nonce_wanted'] as const) {
    assert.match(printChallenge(refuse(refused), { realm: 'api' }), /^DPoP realm="api", .*, algs="ES256 EdDSA PS256"$/);
  }
  assert.match(printChallenge(refuse('token_not_good'), { realm: 'api' }), /^Bearer [^=]*="api", (?!.*algs)/);
});

test('the URL of the metadata comes last, with or without credentials (RFC 9728 §5.1)', () => {
  const resourceMetadata = 'https://api.example.com/.well-known/oauth-protected-resource';
  assert.equal(
    printChallenge(refuse('missing_credentials'), { realm: 'api', resourceMetadata }),
    `Bearer realm="api", resource_metadata="${resourceMetadata}"`,
  );
  const challenge = printChallenge(refuse('token_is_bound'), { realm: 'api', resourceMetadata });
  assert.ok(challenge.endsWith(`, algs="ES256 EdDSA PS256", resource_metadata="${resourceMetadata}"`));
});

test('the challenge has the scheme of the request, and DPoP lists its algorithms (RFC 9449 §7.1)', () => {
  const refusal = refuse('token_not_good');
  assert.match(
    printChallenge(refusal, { realm: 'api', scheme: 'DPoP' }),
    /^DPoP realm="api", .*algs="ES256 EdDSA PS256"/,
  );
  assert.match(
    printChallenge(refusal, { realm: 'api', scheme: 'Bearer' }),
    /^Bearer realm="api", error="invalid_token"/,
  );
  assert.match(printChallenge(refuse('token_is_bound'), { realm: 'api', scheme: 'Bearer' }), /^DPoP .*algs="/);
});

test('a Basic challenge names the charset (RFC 7617 §2.1)', () => {
  assert.equal(printBasicChallenge('api'), 'Basic realm="api", charset="UTF-8"');
  assert.equal(printBasicChallenge('a"p\\\\i'), 'Basic realm="api", charset="UTF-8"');
});

test('a quotation mark in a realm cannot end it and inject a parameter', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('a', '"', '\\', ',', '=') }), (realm) => {
      assert.match(printBasicChallenge(realm), /^Basic realm="[^"\\]*", charset="UTF-8"$/);
    }),
  );
});

for (const [header, found] of [
  ['Bearer abc', { scheme: 'Bearer', token: 'abc' }],
  ['bearer abc', { scheme: 'Bearer', token: 'abc' }],
  ['BEARER a-b._~+/c==', { scheme: 'Bearer', token: 'a-b._~+/c==' }],
  ['DPoP abc', { scheme: 'DPoP', token: 'abc' }],
  ['dpop abc', { scheme: 'DPoP', token: 'abc' }],
  ['DPOP a-b._~+/c==', { scheme: 'DPoP', token: 'a-b._~+/c==' }],
  [undefined, 'missing_credentials'],
  ['', 'missing_credentials'],
  ['Basic YTpi', 'missing_credentials'],
  ['Bearerabc', 'missing_credentials'],
  ['DPoPabc', 'missing_credentials'],
  ['X Bearer abc', 'missing_credentials'],
  ['Bearer 0aZ9', { scheme: 'Bearer', token: '0aZ9' }],
  ['Bearer', 'malformed_credentials'],
  ['DPoP', 'malformed_credentials'],
  ['Bearer ', 'malformed_credentials'],
  ['Bearer\tabc', 'malformed_credentials'],
  ['DPoP  abc  ', 'malformed_credentials'],
  ['Bearer  a b', 'malformed_credentials'],
  ['Bearer\tabc', 'malformed_credentials'],
  ['Bearer abc ', 'malformed_credentials'],
  ['Bearer abc\n', 'malformed_credentials'],
  ['Bearer abc def', 'malformed_credentials'],
  ['DPoP abc def', 'malformed_credentials'],
  ['Bearer abc, Bearer def', 'malformed_credentials'],
  ['Bearer a=b', 'malformed_credentials'],
  ['Bearer =', 'malformed_credentials'],
  ['Bearer caf\u00e9', 'malformed_credentials'],
] as const) {
  const holds = typeof found === 'string' ? found : `${found.token} for ${found.scheme}`;
  test(`Authorization: ${JSON.stringify(header)} holds ${holds} (RFC 6750 §2.1, RFC 9449 §7.1)`, () => {
    const parsed = parseAccessTokenHeader(header);
    assert.deepEqual(isRefusal(parsed) ? parsed.refused : parsed, found);
  });
}

import { CLIENT_ALGORITHMS, parseJws, parsePublicJwk, printBase64url, thumbprintInput, utf8 } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';

const segment = (text: string): string => printBase64url(utf8(text));
const jws = (header: string, claims = '{}', signature = 'AAAA'): string =>
  `${segment(header)}.${segment(claims)}.${signature}`;
const someText = fc.string({ unit: fc.constantFrom(...Array.from('AQew.-_= {}"\\:,[]0\u00e9')), maxLength: 40 });

test('a compact JWS is split into header, signing input, signature and claims (RFC 7515 §7.1)', () => {
  const text = jws('{"alg":"ES256"}', '{"a":1}', 'AQID');
  const parsed = parseJws(text);
  assert.deepEqual([...(parsed?.header ?? [])], [['alg', 'ES256']]);
  assert.equal(parsed?.signingInput, text.slice(0, text.lastIndexOf('.')));
  assert.deepEqual(parsed?.signature(), Uint8Array.of(1, 2, 3));
  assert.deepEqual([...(parsed?.claims() ?? [])], [['a', 1]]);
  assert.equal(parsed?.headerText, segment('{"alg":"ES256"}'));
  assert.deepEqual(parsed.payload(), utf8('{"a":1}'));
});

test('a known header is not parsed again, and any other is', () => {
  const text = jws('{"alg":"ES256"}');
  const known = { text: segment('{"alg":"ES256"}'), members: new Map([['alg', 'known']]) };
  assert.equal(parseJws(text, known)?.header, known.members);
  assert.equal(parseJws(jws('{"alg":"ES384"}'), known)?.header.get('alg'), 'ES384');
});

test('members come back unchanged from a header and from claims', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.uint8Array(), (members, signature) => {
      const text = JSON.stringify(members);
      const parsed = parseJws(jws(text, text, printBase64url(signature)));
      const expected: unknown = JSON.parse(text);
      assert.ok(typeof expected === 'object' && expected !== null);
      assert.deepEqual([...(parsed?.header ?? [])], Object.entries(expected));
      assert.deepEqual([...(parsed?.claims() ?? [])], Object.entries(expected));
    }),
  );
});

test('no text throws (RFC 7515 §5.2)', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), someText), someText, someText, (text, header, claims) => {
      parseJws(text)?.claims();
      parseJws(jws(header, claims))?.claims();
      parseJws(`${header}.${claims}.${text}`)?.claims();
    }),
    { numRuns: 500 },
  );
});

test('every JSON object with a member twice is refused, however its name is written (RFC 7515 §4)', () => {
  const member = fc.tuple(fc.string(), fc.jsonValue());
  fc.assert(
    fc.property(fc.array(member, { maxLength: 5 }), member, fc.boolean(), (members, [name, value], escaped) => {
      const written = escaped ? `"${escape(name)}"` : JSON.stringify(name);
      const rest = members
        .filter(([other]) => other !== name)
        .map(([n, v]) => `${JSON.stringify(n)}: ${JSON.stringify(v)}`);
      const one = [...rest, `${JSON.stringify(name)}:${JSON.stringify(value)}`];
      const unique = new Set(members.map(([other]) => other)).size === members.length;
      if (unique) assert.ok(parseJws(jws(`{${one.join(',')}}`)) !== undefined);
      assert.equal(parseJws(jws(`{${[...one, `${written} : 0`].join(', ')}}`)), undefined);
    }),
  );
});

function escape(name: string): string {
  return Array.from({ length: name.length }, (_, at) => `\\u${name.charCodeAt(at).toString(16).padStart(4, '0')}`).join(
    '',
  );
}

for (const [name, text] of [
  ['no text', ''],
  ['one part that could be all three', 'e30A'],
  ['two parts', `${segment('{}')}.${segment('{}')}`],
  ['four parts', `${jws('{}')}.AAAA`],
  ['a header that is an array', jws('[]')],
  ['a header that is null', jws('null')],
  ['a header that is no JSON', jws('{')],
  ['a header with a byte order mark', jws('\ufeff{}')],
  ['a header that is not UTF-8', `_w.${segment('{}')}.AAAA`],
  ['padding', `${jws('{}')}=`],
  ['unused bits in the signature', jws('{}', '{}', 'AB')],
  ['unused bits in the claims', `${segment('{}')}.e31.AAAA`],
  ['another alphabet in the claims', `${segment('{}')}.e3+9.AAAA`],
  ['white space', `${jws('{}')} `],
] as const) {
  test(`${name} is not a JWS (RFC 7515 §7.1)`, () => {
    assert.equal(parseJws(text), undefined);
    assert.ok(parseJws(jws('{}')) !== undefined);
  });
}

test('a repeated member is found at any depth, with or without escapes', () => {
  for (const [good, bad] of [
    ['{"a":1}', '{"a":1,"a":1}'],
    ['{"a":"","b":""}', '{"a":"","a":""}'],
    ['{"a":[{"b":1},{"b":2}]}', '{"a":[{"b":1,"b":2}]}'],
    ['{"a":{"b":null,"c":{}},"b":true}', '{"a":{"b":null,"b":{}},"b":true}'],
    ['{"__proto__":1,"constructor":2}', '{"__proto__":1,"__proto__":2}'],
    ['{ "a" : [ "x", ["y"] ], "1": 2 }', '{ "1" : [ "x", ["y"] ], "1": 2 }'],
    // What would be quotes, were they not escaped.
    ['{"a":"\\"","b":"\\"a\\":"}', '{"a":"\\"","a":"\\"a\\":"}'],
    ['{"a":1,"\\u0062":2}', '{"a":1,"\\u0061":2}'],
    ['{"a":"\\\\","b":{"a":1}}', '{"a":"\\\\","b":{"a":1,"a":2}}'],
  ] as const) {
    assert.ok(parseJws(jws(good)) !== undefined, good);
    assert.ok(parseJws(jws('{}', good))?.claims() !== undefined, good);
    assert.equal(parseJws(jws(bad)), undefined, bad);
    assert.equal(parseJws(jws('{}', bad))?.claims(), undefined, bad);
  }
});

test('empty claims are undefined, and the other parts are there', () => {
  const parsed = parseJws('e30..AQID');
  assert.equal(parsed?.signingInput, 'e30.');
  assert.deepEqual(parsed.payload(), new Uint8Array());
  assert.equal(parsed.claims(), undefined);
});

test('claims that are not a JSON object, or repeat a member, are undefined', () => {
  for (const claims of ['', '[]', '1', '{', '{"a":1,"a":1}'])
    assert.equal(parseJws(jws('{}', claims))?.claims(), undefined);
});

// Public keys

const jwkOf = (key: { readonly publicKey: { export: (as: { format: 'jwk' }) => object } }): object =>
  key.publicKey.export({ format: 'jwk' });
const ec = jwkOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
const okp = jwkOf(generateKeyPairSync('ed25519'));
const rsa = jwkOf(generateKeyPairSync('rsa', { modulusLength: 2048 }));
const modulus = (bits: number): string => {
  const bytes = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
  bytes[0] = 0xff >> ((8 - (bits % 8)) % 8);
  return printBase64url(bytes);
};

for (const [name, jwk, found] of [
  ['P-256', ec, 'ES256'],
  ['Ed25519', okp, 'EdDSA'],
  ['RSA of 2048 bits', rsa, 'PS256'],
  ['P-256 with use, alg and kid', { ...ec, use: 'sig', alg: 'ES256', kid: 'a' }, 'ES256'],
  ['RSA of 8192 bits', { ...rsa, n: modulus(8192) }, 'PS256'],
  ['RSA of 2047 bits', { ...rsa, n: modulus(2047) }, 'weak'],
  ['RSA of 2041 bits', { ...rsa, n: modulus(2041) }, 'weak'],
  ['RSA of 1024 bits', { ...rsa, n: modulus(1024) }, 'weak'],
  ['RSA of 8193 bits', { ...rsa, n: modulus(8193) }, 'weak'],
  ['RSA of no bits', { ...rsa, n: '' }, 'weak'],
  ['RSA with a zero before it', { ...rsa, n: printBase64url(new Uint8Array(257)) }, 'malformed'],
  ['RSA without n', { ...rsa, n: undefined }, 'weak'],
  ['RSA with a padded n', { ...rsa, n: `${modulus(2048)}==` }, 'malformed'],
  ['RSA with the exponent 3', { ...rsa, e: 'Aw' }, 'weak'],
  ...[
    [],
    [1],
    [1, 0],
    [1, 0, 0],
    [1, 0, 2],
    [1, 1, 1],
    [0, 0, 1],
    [2, 0, 1],
    [3, 0, 1],
    [1, 0, 1, 0],
    [1, 0, 1, 1],
  ].map(
    (bytes) =>
      [
        `RSA with the exponent of bytes ${bytes.join()}`,
        { ...rsa, e: printBase64url(Uint8Array.from(bytes)) },
        'weak',
      ] as const,
  ),
  ['RSA with a padded e', { ...rsa, e: 'AQAB=' }, 'malformed'],
  [
    'RSA with a zero before 2048 bits',
    { ...rsa, n: printBase64url(Uint8Array.of(0, ...new Uint8Array(256).fill(0xff))) },
    'malformed',
  ],
  [
    'RSA with a zero within 2048 bits',
    { ...rsa, n: printBase64url(Uint8Array.of(0xff, 0, ...new Uint8Array(254).fill(0xff))) },
    'PS256',
  ],
  ['RSA with a zero before the exponent', { ...rsa, e: 'AAEAAQ' }, 'weak'],
  ['RSA with a curve', { ...rsa, crv: 'P-256' }, 'unknown_kind'],
  ['RSA for RS256', { ...rsa, alg: 'RS256' }, 'unknown_kind'],
  ['P-384', { ...ec, crv: 'P-384' }, 'unknown_kind'],
  ['secp256k1', { ...ec, crv: 'secp256k1' }, 'unknown_kind'],
  ['X25519', { ...okp, crv: 'X25519' }, 'unknown_kind'],
  ['Ed448', { ...okp, crv: 'Ed448' }, 'unknown_kind'],
  ['no kty', { ...ec, kty: undefined }, 'unknown_kind'],
  ['kty in an array', { ...ec, kty: ['EC'] }, 'unknown_kind'],
  ['no members', {}, 'unknown_kind'],
  ['x that is short', { ...ec, x: 'AAAA' }, 'malformed'],
  ['no y', { ...ec, y: undefined }, 'malformed'],
  ['padded x', { ...ec, x: `${'A'.repeat(43)}=` }, 'malformed'],
  ['padded y', { ...ec, y: `${'A'.repeat(43)}=` }, 'malformed'],
  ['padded x of Ed25519', { ...okp, x: `${'A'.repeat(43)}=` }, 'malformed'],
  ['x that is short, and alg', { ...ec, x: 'AAAA', alg: 'ES256' }, 'malformed'],
  ['x that is a number', { ...okp, x: 7 }, 'malformed'],
  ['use: enc', { ...ec, use: 'enc' }, 'wrong_use'],
  ['use: null', { ...ec, use: null }, 'wrong_use'],
  ...['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].map(
    (member) => [member, { ...ec, [member]: null }, 'private'] as const,
  ),
  ['a symmetric key', { kty: 'oct', k: 'AAAA' }, 'private'],
  ['a text', 'text', 'not_an_object'],
  ['null', null, 'not_an_object'],
  ['an array', [ec], 'not_an_object'],
  ['nothing', undefined, 'not_an_object'],
] as const) {
  test(`a JWK with ${name} is ${found} (RFC 7517 §4, RFC 9449 §4.3, FAPI 2.0 §5.4)`, () => {
    const parsed = parsePublicJwk(jwk);
    assert.equal(typeof parsed === 'string' ? parsed : parsed.algorithm, found);
  });
}

test('only the required members of a key are kept, in the order of their names (RFC 7638 §3)', () => {
  for (const [jwk, names] of [
    [ec, ['crv', 'kty', 'x', 'y']],
    [okp, ['crv', 'kty', 'x']],
    [rsa, ['e', 'kty', 'n']],
  ] as const) {
    const parsed = parsePublicJwk({ kid: 'a', ...jwk, use: 'sig' });
    assert.ok(typeof parsed !== 'string');
    const members = new Map<string, unknown>(Object.entries(jwk));
    assert.deepEqual(
      Object.entries(parsed.jwk),
      names.map((name) => [name, members.get(name)]),
    );
  }
});

test('clients sign only with the algorithms of FAPI 2.0 (§5.4.1)', () => {
  assert.deepEqual(CLIENT_ALGORITHMS, ['ES256', 'EdDSA', 'PS256']);
});

test('no value throws as a JWK', () => {
  fc.assert(
    fc.property(
      fc.anything(),
      fc.jsonValue(),
      fc.constantFrom('kty', 'crv', 'x', 'y', 'use', 'alg'),
      (any, value, name) => {
        parsePublicJwk(any);
        parsePublicJwk({ ...ec, [name]: value });
      },
    ),
  );
});

test('the thumbprint is that of the example in the RFC, whatever else the JWK holds (RFC 7638 §3.1)', () => {
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw';
  const parsed = parsePublicJwk({ kty: 'RSA', kid: '2011-04-29', n, e: 'AQAB' });
  assert.ok(typeof parsed !== 'string');
  const thumbprint = createHash('sha256').update(thumbprintInput(parsed)).digest('base64url');
  assert.equal(thumbprint, 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
});

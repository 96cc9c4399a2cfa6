/**
 * Attacks on JWTs beyond those in `verification.test.ts`, family by family (docs/threats.md). Each is signed with the
 * issuer's own keys as far as the attack allows, and each family has its nearest valid neighbors, which must be
 * accepted: a guard that refuses everything fails.
 */
import { printBase64url, REFRESH_TOKEN_PREFIX, sealRefreshToken, utf8 } from '@hallpass/protocol';
import { importJWK, exportSPKI } from 'jose';
import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync, KeyObject, sign, timingSafeEqual } from 'node:crypto';
import { test } from 'node:test';
import { assertAllowed, assertDenied, guardOf, openIssuer, words } from './harness.ts';
import { API, forge, makeId, makeKey, NOW_SECONDS, type SigningKey } from './issuer.ts';
import { Prover } from './prover.ts';

const es256 = await makeKey('es');
const eddsa = await makeKey('ed', 'EdDSA');
const rs256 = await makeKey('rs', 'RS256');
const issuer = await openIssuer(es256, eddsa, rs256);
const { check } = guardOf(issuer, { leewaySeconds: 5 });

interface Family {
  readonly good: readonly string[];
  readonly bad: readonly string[];
}

let families = 0;
let attacks = 0;

/** Neighbors are accepted; attacks are refused as an invalid token (RFC 6750 §3.1) or as a malformed header. */
function attack(name: string, make: () => Family | Promise<Family>): void {
  families += 1;
  test(name, async () => {
    const { good, bad } = await make();
    assert.ok(good.length > 0 && bad.length > 0);
    for (const [at, token] of good.entries())
      assertAllowed(await check(token), `neighbour ${at}: ${token.slice(0, 300)}`);
    for (const [at, token] of bad.entries()) {
      const isToken68 = /^[A-Za-z0-9._~+/-]+=*$/.test(token);
      const { body } = assertDenied(await check(token), isToken68 ? 401 : 400, `attack ${at}: ${token.slice(0, 300)}`);
      assert.equal(body.error, isToken68 ? 'invalid_token' : 'invalid_request');
      attacks += 1;
    }
    // The attacks have had no lasting effect.
    for (const token of good) assertAllowed(await check(token));
  });
}

const headerOf = (key: SigningKey = es256): Record<string, unknown> => ({ alg: key.alg, kid: key.kid, typ: 'at+jwt' });
const HEADER = JSON.stringify(headerOf());

/** Encodes a text or bytes as a segment. */
const segment = (content: string | Uint8Array): string =>
  printBase64url(typeof content === 'string' ? utf8(content) : content);

/** The raw signature over a signing input, in JOSE's format. */
function signatureOf(input: string, key: SigningKey = es256): Uint8Array {
  const digest = key.alg === 'EdDSA' ? null : 'sha256';
  return sign(digest, Buffer.from(input), { key: KeyObject.from(key.privateKey), dsaEncoding: 'ieee-p1363' });
}

/** Signs exactly these segments. */
const sealSegments = (header: string, payload: string, key?: SigningKey): string =>
  `${header}.${payload}.${printBase64url(signatureOf(`${header}.${payload}`, key))}`;

const seal = (header: string | Uint8Array, payload: string | Uint8Array, key?: SigningKey): string =>
  sealSegments(segment(header), segment(payload), key);

/** A token from the issuer with these claims changed; `undefined` removes one. */
const withClaims = (changes: Readonly<Record<string, unknown>> = {}, header: string = HEADER): string =>
  seal(header, JSON.stringify(issuer.claims(changes)));

/** Valid claims as JSON, with one piece of the text replaced. */
const claimsText = (from: string | RegExp, to: string): string => {
  const text = JSON.stringify(issuer.claims());
  const changed = text.replace(from, () => to);
  assert.notEqual(changed, text);
  return changed;
};

const N = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
const numberOf = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
const bytesOf = (value: bigint, length: number): Uint8Array =>
  Uint8Array.from(Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex'));

attack('HS256 with a public key as its secret: DER, PKCS #1, points, members of the JWK (RFC 8725 §3.1)', async () => {
  const secrets: [SigningKey, Uint8Array | string][] = [];
  for (const key of [es256, eddsa, rs256]) {
    const publicKey = createPublicKey({ key: key.jwk, format: 'jwk' });
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const imported = await importJWK(key.jwk, key.alg, { extractable: true });
    assert.ok(!(imported instanceof Uint8Array));
    const pem = await exportSPKI(imported);
    const members = [key.jwk.x, key.jwk.y, key.jwk.n, key.jwk.e, key.kid].filter((member) => member !== undefined);
    const forms = [
      spki,
      spki.toString('base64'),
      spki.subarray(-65),
      spki.subarray(-32),
      pem,
      pem.trim(),
      JSON.stringify(key.jwk),
      '',
      pem.replaceAll('\n', '\r\n'),
      `${pem}\n`,
      JSON.stringify({ keys: [key.jwk] }),
      ...(key === rs256
        ? [publicKey.export({ type: 'pkcs1', format: 'der' }), publicKey.export({ type: 'pkcs1', format: 'pem' })]
        : []),
      ...members,
      ...members.map((member) => Buffer.from(member, 'base64url')),
      '\0',
    ];
    secrets.push(...forms.map((form): [SigningKey, Uint8Array | string] => [key, form]));
  }
  const bad = secrets.flatMap(([key, secret]) =>
    ['HS256', 'HS384', 'HS512'].map((alg) => {
      const input = `${segment(JSON.stringify({ ...headerOf(key), alg }))}.${segment(JSON.stringify(issuer.claims()))}`;
      return `${input}.${printBase64url(
        createHmac(`sha${alg.slice(2)}`, secret)
          .update(input)
          .digest(),
      )}`;
    }),
  );
  return { good: [withClaims()], bad };
});

attack('alg in another spelling, or an algorithm that the key also supports (RFC 8725 §3.1)', () => ({
  good: [withClaims()],
  bad: [
    ...words('es256 Es256 ES256K ES384 ECDSA SHA256withECDSA ESP256 -7 HS256 dir none PS256'),
    'ES256 ',
    ' ES256',
    'ES256\0',
  ].map((alg) => withClaims({}, JSON.stringify({ ...headerOf(), alg }))),
}));

attack('ECDSA: a signature on another curve, with another hash, or over another text (RFC 7518 §3.4)', () => {
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  const good = withClaims();
  const [header = '', payload = ''] = good.split('.');
  const input = Buffer.from(`${header}.${payload}`);
  const dsaEncoding = 'ieee-p1363';
  const key = KeyObject.from(es256.privateKey);
  const signatures = [
    sign('sha384', input, { key: p384.privateKey, dsaEncoding }),
    sign('sha256', input, { key: k1.privateKey, dsaEncoding }),
    sign('sha384', input, { key, dsaEncoding }),
    sign('sha1', input, { key, dsaEncoding }),
    sign('sha256', Buffer.from(header), { key, dsaEncoding }),
    sign('sha256', Buffer.from(payload), { key, dsaEncoding }),
    sign('sha256', Buffer.from(`${header}${payload}`), { key, dsaEncoding }),
    sign('sha256', Buffer.from(`${header}.${payload}.`), { key, dsaEncoding }),
    sign('sha256', Buffer.from(JSON.stringify(issuer.claims())), { key, dsaEncoding }),
  ];
  return { good: [good], bad: signatures.map((bytes) => `${header}.${payload}.${printBase64url(bytes)}`) };
});

attack(
  "ECDSA: the other s of a signature is valid too (RFC 7518 §3.4 doesn't require a low s); n − r, s + n, r + n, and swapped r and s are not",
  () => {
    const good = withClaims();
    const [header = '', payload = ''] = good.split('.');
    const signature = signatureOf(`${header}.${payload}`);
    const [r, s] = [numberOf(signature.subarray(0, 32)), numberOf(signature.subarray(32))];
    const made = (one: bigint, other: bigint, length = 32): string =>
      `${header}.${payload}.${printBase64url(Uint8Array.from([...bytesOf(one, length), ...bytesOf(other, length)]))}`;
    return {
      // Both are the same token: same claims, and one `jti` to revoke.
      good: [made(r, s), made(r, N - s)],
      bad: [
        made(N - r, s),
        made(N - r, N - s),
        made(s, r),
        made(r, s + N, 33),
        made(r + N, s, 33),
        made(r, s, 33),
        made(r, s, 48),
      ],
    };
  },
);

attack(
  'Ed25519: s + L, the identity and other small points as R, and a signature of a prehash (RFC 8032 §5.1.7)',
  () => {
    const good = seal(JSON.stringify(headerOf(eddsa)), JSON.stringify(issuer.claims()), eddsa);
    const [header = '', payload = ''] = good.split('.');
    const signature = signatureOf(`${header}.${payload}`, eddsa);
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = numberOf(signature.subarray(32).toReversed());
    const little = (value: bigint): Uint8Array => bytesOf(value, 32).toReversed();
    const r = signature.subarray(0, 32);
    const made = (point: Uint8Array, scalar: Uint8Array): string =>
      `${header}.${payload}.${printBase64url(Uint8Array.from([...point, ...scalar]))}`;
    const identity = little(1n);
    const bad = [
      made(r, little(s + order)),
      made(r, little(order - s)),
      made(r, little(0n)),
      made(identity, little(0n)),
      made(little(0n), little(0n)),
      made(little(2n ** 255n - 20n), little(0n)),
      made(little(2n ** 255n - 18n), little(0n)),
      made(r.toReversed(), signature.subarray(32)),
      made(signature.subarray(32), r),
    ];
    return { good: [made(r, little(s)), good], bad };
  },
);

attack(
  'RSA: s + n, a shorter or longer number, the encoded message itself, PSS, other hashes and algorithms (RFC 8017 §8.2.2)',
  () => {
    const good = seal(JSON.stringify(headerOf(rs256)), JSON.stringify(issuer.claims()), rs256);
    const [header = '', payload = ''] = good.split('.');
    const input = Buffer.from(`${header}.${payload}`);
    const key = KeyObject.from(rs256.privateKey);
    const signature = signatureOf(`${header}.${payload}`, rs256);
    const n = numberOf(Buffer.from(rs256.jwk.n ?? '', 'base64url'));
    const made = (bytes: Uint8Array): string => `${header}.${payload}.${printBase64url(bytes)}`;
    const bad = [
      bytesOf(numberOf(signature) + n, 257),
      Uint8Array.from([0, ...signature]),
      signature.subarray(0, -1),
      bytesOf(n - numberOf(signature), 256),
      bytesOf(0n, 256),
      bytesOf(1n, 256),
      bytesOf(n - 1n, 256),
      bytesOf(n, 256),
      sign('sha256', input, { key, padding: 6, saltLength: 32 }),
      sign('sha384', input, { key }),
      sign('sha1', input, { key }),
    ].map(made);
    // The same key under an algorithm that it isn't published for.
    const others = (['PS256', 'RS512'] as const).map((alg) => {
      const other = `${segment(JSON.stringify({ ...headerOf(rs256), alg }))}.${payload}`;
      const options = alg === 'PS256' ? { key, padding: 6, saltLength: 32 } : { key };
      return `${other}.${printBase64url(sign(alg === 'PS256' ? 'sha256' : 'sha512', Buffer.from(other), options))}`;
    });
    return { good: [good, made(signature)], bad: [...bad, ...others] };
  },
);

attack('an extra header member, whether libraries know it or not (RFC 7515 §4.1, contract §5)', () => {
  const members = [
    ...words(
      'x5t zip cty enc x5c jwk jku x5u x5t#S256 url nonce epk p2c p2s iv tag apu iss sub aud exp svt ppt Alg KID',
    ),
    'constructor',
    '',
    ' alg',
  ];
  const more = (name: string): string => JSON.stringify({ ...headerOf(), [name]: 'A' });
  return {
    good: [
      withClaims({}, HEADER),
      withClaims({}, JSON.stringify({ typ: 'at+jwt', kid: 'es', alg: 'ES256' })),
      withClaims({}, ` ${HEADER}\n`),
    ],
    bad: [
      ...members.map((name) => withClaims({}, more(name))),
      ...[null, false, 0, '', [], {}].map((value) => withClaims({}, JSON.stringify({ ...headerOf(), crit: value }))),
      ...[true, false].map((b64) => withClaims({}, JSON.stringify({ ...headerOf(), b64, crit: ['b64'] }))),
    ],
  };
});

attack('an unencoded payload (RFC 7797) or a detached one', () => {
  const header = JSON.stringify({ ...headerOf(), b64: false, crit: ['b64'] });
  const claims = JSON.stringify(issuer.claims());
  const good = seal(HEADER, claims);
  const [head = '', payload = '', signature = ''] = good.split('.');
  const raw = `${segment(header)}.${claims.replaceAll('.', '_')}`;
  return {
    good: [good],
    bad: [
      `${raw}.${printBase64url(signatureOf(raw))}`,
      `${head}..${signature}`,
      `${head}.${signature}`,
      `.${payload}.${signature}`,
    ],
  };
});

attack('a header that names a member twice, the second time with an escape (RFC 7515 §4)', () => ({
  good: [withClaims({}, HEADER.replace('"alg"', '"\\u0061lg"'))],
  bad: words(
    String.raw`"\u0061lg":"none" "al\u0067":"ES256" "k\u0069d":"ed" "ty\u0070":"at+jwt" "alg":"ES256"`,
  ).flatMap((member) => [
    withClaims({}, `{${member},${HEADER.slice(1)}`),
    withClaims({}, `${HEADER.slice(0, -1)},${member}}`),
  ]),
}));

attack(
  'a segment in another spelling of base64url, with a signature over that very spelling (RFC 7515 §2, RFC 4648 §3.5)',
  () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    // Padded to lengths with unused bits, and with bytes that need the last two letters of the alphabet.
    const claims = (length: number): string => {
      const text = JSON.stringify(issuer.claims({ extra: '\u00bf\u00be\u00ff~~~???' }));
      return text.padEnd(Math.ceil(utf8(text).length / 3) * 3 + length - (utf8(text).length - text.length), ' ');
    };
    const [head, payload] = [segment(`${HEADER} `.padEnd(64)), segment(claims(1))];
    assert.ok(head.length % 4 === 2 && payload.length % 4 === 2 && /[-_]/.test(payload));
    const next = (text: string, step: number): string =>
      text.slice(0, -1) + alphabet.charAt(alphabet.indexOf(text.slice(-1)) + step);
    const spoil = (text: string): readonly string[] => [
      next(text, 1),
      next(text, 15),
      text.slice(0, -1),
      ...['==', '=', '%3D', 'A', 'AAA='].map((end) => text + end),
      ...['\n', ' ', '\u0000', '\u00e9'].map((odd) => text.slice(0, 8) + odd + text.slice(8)),
    ];
    const standard = payload.replaceAll('-', '+').replaceAll('_', '/');
    assert.notEqual(standard, payload);
    return {
      good: [
        sealSegments(head, payload),
        sealSegments(head, segment(claims(2))),
        sealSegments(segment(HEADER), segment(claims(0))),
      ],
      bad: [
        ...spoil(head).map((text) => sealSegments(text, payload)),
        ...spoil(payload).map((text) => sealSegments(head, text)),
        sealSegments(head, standard),
      ],
    };
  },
);

attack('invalid UTF-8, a byte order mark, and characters that some parsers drop (RFC 8725 §3.7, RFC 3629 §10)', () => {
  const good = JSON.stringify(issuer.claims());
  const bytes = (...parts: readonly (string | readonly number[])[]): Uint8Array =>
    Uint8Array.from(parts.flatMap((part) => (typeof part === 'string' ? [...utf8(part)] : part)));
  const [start, end] = [good.slice(0, -1), '}'];
  const utf16 = Uint8Array.from(Buffer.from(good, 'utf16le'));
  return {
    good: [seal(HEADER, good), seal(HEADER, bytes(start, ',"extra":"\u00e9\u{1f3ab}"', end))],
    bad: [
      seal(HEADER, bytes([0xef, 0xbb, 0xbf], good)),
      seal(bytes([0xef, 0xbb, 0xbf], HEADER), good),
      seal(HEADER, utf16),
      seal(Uint8Array.from(Buffer.from(HEADER, 'utf16le')), good),
      ...words('ff c0af eda080 f4908080 c3 80 e080af')
        .map((hex) => [...Buffer.from(hex, 'hex')])
        .flatMap((odd) => [
          seal(HEADER, bytes(start, ',"extra":"', odd, '"', end)),
          seal(bytes(HEADER.replace('"es"', '"es'), odd, '"}'), good),
        ]),
      ...[`${good}\0`, `\0${good}`, `${good}{}`, `${good}//`, `${good}\u00a0`].map((text) => seal(HEADER, text)),
      seal(`${HEADER}\0`, good),
      seal(HEADER, good.replaceAll('"', "'")),
      seal(HEADER, good.replace('}', ',}')),
    ],
  };
});

attack(
  'iss and aud that look similar: case, escapes, unicode, ports, NUL, user information (RFC 7519 §4.1.1, §4.1.3)',
  () => {
    const { url } = issuer;
    const host = API.slice('https://'.length);
    const issuers: readonly (readonly unknown[])[] = [
      ['\0', '#', '?', '/.', '.', `,${url}`, '/', '0'].map((end) => url + end),
      [url.replace('http:', 'https:'), url.replace('http:', 'HTTP:'), url.replace('127.0.0.1', 'localhost')],
      [{ toString: url }, [url], url.slice(0, -1), ` ${url}`, '', null, {}, undefined],
    ];
    return {
      good: [
        seal(HEADER, claimsText('"iss":"http', '"iss":"\\u0068ttp')),
        withClaims({ aud: ['https://other.example', API] }),
        withClaims({ aud: [API, API] }),
      ],
      bad: [
        ...issuers.flat().map((iss) => withClaims({ iss })),
        ...[
          [':443', '\0', '.', '#', '?', ' https://x.example', ',https://x.example'].map((end) => API + end),
          [`https://${host.toUpperCase()}`, `http://${host}`, `https://u@${host}`, ` ${API}`],
          [API.replace('a', '\u0430'), 'https://evil.example', '*', [`${API}/`], { 0: API, length: 1 }, '', [], ['x']],
          [[[API]], [API, 7], 7, null, {}, undefined, [[API], API], [API, null], true],
        ]
          .flat()
          .map((aud) => withClaims({ aud })),
      ],
    };
  },
);

attack('times that are not whole seconds, or far off (RFC 7519 §2, §4.1.4 to §4.1.6)', () => {
  const odd = (name: string, text: string): string =>
    seal(HEADER, claimsText(new RegExp(`"${name}":\\d+`), `"${name}":${text}`));
  const now = String(NOW_SECONDS);
  return {
    good: [
      odd('exp', String(NOW_SECONDS - 4)),
      // The issuer enforces its longest lifetime; the guard doesn't know its settings.
      odd('exp', String(Number.MAX_SAFE_INTEGER)),
      odd('exp', `${NOW_SECONDS + 900}.0`),
      odd('iat', '0'),
      odd('iat', String(NOW_SECONDS + 5)),
      withClaims({ nbf: NOW_SECONDS - 1 }),
    ],
    bad: [
      ...[
        words('0 -1 -0.0 1e3 null true [] {} 1e309 -1e309 9007199254740992 1e16'),
        [`${now}.5`, `"${now}"`, `[${now}]`, `${now}000e-6`],
      ]
        .flat()
        .map((text) => odd('exp', text)),
      // In milliseconds, a common mistake: far in the future, and so is the issue time.
      seal(HEADER, claimsText(/"iat":\d+,"exp":\d+/, `"iat":${NOW_SECONDS}000,"exp":${NOW_SECONDS + 900}000`)),
      ...[
        words('-1 null 1e309 1e16'),
        [`${now}.5`, `"${now}"`, String(NOW_SECONDS + 6), String(Number.MAX_SAFE_INTEGER)],
      ]
        .flat()
        .map((text) => odd('iat', text)),
      ...[String(NOW_SECONDS), null, '', [], {}, true, NOW_SECONDS + 6, NOW_SECONDS + 1e6].map((nbf) =>
        withClaims({ nbf }),
      ),
    ],
  };
});

attack('sub and client_id that differ in any way (contract §5)', () => ({
  good: [withClaims({ sub: 'x', client_id: 'x' }), withClaims({ sub: '__proto__', client_id: '__proto__' })],
  bad: [
    ...['Client-1', 'client-1 ', 'client-1\0', 'client\u20101', 'client-2'].map((sub) => withClaims({ sub })),
    ...['', ['client-1'], 7].map((both) => withClaims({ sub: both, client_id: both })),
    withClaims({ sub: undefined, client_id: undefined, azp: 'client-1', cid: 'client-1' }),
  ],
}));

attack('names from Object.prototype as claims: prototypes are never read (CVE-2021-27582 and similar)', () => ({
  good: [
    withClaims({ constructor: 'x', toString: 'y' }),
    seal(HEADER, claimsText(/\}$/, ',"__proto__":{"scope":"x"}}')),
  ],
  bad: [
    seal(HEADER, `{"__proto__":${JSON.stringify(issuer.claims())}}`),
    seal(HEADER, `{"constructor":{"prototype":${JSON.stringify(issuer.claims())}}}`),
    seal(HEADER, claimsText(/"scope":"([^"]*)"/, '"__proto__":{"scope":"/accounts.read"}')),
    seal(HEADER, claimsText(/\}$/, ',"cnf":{"__proto__":{"jkt":"A"}}}')),
    seal(`{"__proto__":${HEADER}}`, JSON.stringify(issuer.claims())),
    seal(HEADER.replace('"kid":"es"', '"__proto__":{"kid":"es"}'), JSON.stringify(issuer.claims())),
  ],
}));

attack('any confirmation other than a bound key, sent as Bearer (RFC 7800 §3.1, RFC 9449 §7.2)', () => ({
  good: [withClaims(), withClaims({ CNF: { jkt: 'A' }, 'cnf ': 1 })],
  bad: [
    [{ jkt: new Prover().jkt }, { jkt: '' }, { jkt: null }, { jkt: ['A'] }, { JKT: 'A' }, { jwk: es256.jwk }],
    [{ kid: 'es' }, { jku: 'https://evil.example' }, { jwe: 'A' }, { 'x5t#S256': 'A', jkt: 'A' }, [{ jkt: 'A' }]],
    ['A', '', 0, false, true, null],
  ]
    .flat()
    .map((cnf) => withClaims({ cnf })),
}));

attack('other kinds of tokens signed with the same keys (RFC 8725 §2.8, §3.11, §3.12)', () => {
  const { url } = issuer;
  const plain = (typ: unknown, claims: Readonly<Record<string, unknown>>): string =>
    withClaims(claims, JSON.stringify({ ...headerOf(), typ }));
  const mac = (bytes: Uint8Array): Uint8Array => createHmac('sha256', 'k').update(bytes).digest();
  const refreshToken = sealRefreshToken(
    {
      grantId: makeId(),
      generation: 0,
      clientId: 'client-1',
      issuedAt: NOW_SECONDS,
      expiresAt: NOW_SECONDS + 900,
      scope: '/accounts.read',
      audiences: [API],
    },
    { keyId: 'AAAAAAAAAAA', mac },
  );
  assert.ok(refreshToken.startsWith(REFRESH_TOKEN_PREFIX) && timingSafeEqual(mac(utf8('x')), mac(utf8('x'))));
  const prover = new Prover();
  const idToken = {
    scope: undefined,
    client_id: undefined,
    grant_id: undefined,
    nonce: 'n',
    auth_time: NOW_SECONDS,
    azp: 'client-1',
  };
  const good = withClaims();
  return {
    good: [good, withClaims({ nonce: 'n', auth_time: NOW_SECONDS, acr: '1' })],
    bad: [
      refreshToken,
      `${refreshToken}.${refreshToken}.${refreshToken}`,
      refreshToken.slice(REFRESH_TOKEN_PREFIX.length),
      // An ID token, a logout token, a security event, a client assertion, a request object, a JARM response.
      plain('JWT', idToken),
      plain(undefined, idToken),
      plain('at+jwt', idToken),
      ...words(`
        logout+jwt secevent+jwt client-authentication+jwt oauth-authz-req+jwt token-introspection+jwt JOSE vc+sd-jwt
        dpop+jwt rt+jwt
      `).map((typ) => plain(typ, {})),
      plain('JWT', { iss: 'client-1', sub: 'client-1', aud: url }),
      plain('at+jwt', { iss: 'client-1', sub: 'client-1', aud: url }),
      plain('at+jwt', { events: {}, scope: undefined }),
      // A proof of possession: with a client's key, with the issuer's key id, with an access token's claims.
      prover.prove(good),
      prover.seal({ alg: 'ES256', typ: 'dpop+jwt', jwk: prover.jwk }, issuer.claims()),
      prover.seal(headerOf(), issuer.claims()),
      // An introspection response and a key set, unchanged; a token inside a token.
      forge({ active: true }, issuer.claims()),
      seal(HEADER, good),
      seal(HEADER, JSON.stringify(good)),
      seal(JSON.stringify({ ...headerOf(), cty: 'JWT' }), good),
      seal(HEADER, JSON.stringify({ token: good })),
    ],
  };
});

attack('parts of two valid tokens combined, and valid parts with more around them (RFC 7515 §5.2)', () => {
  const [one, other] = [withClaims({ scope: '/accounts.write' }), withClaims()];
  const [h1 = '', p1 = '', s1 = ''] = one.split('.');
  const [h2 = '', p2 = '', s2 = ''] = other.split('.');
  const rsa = seal(JSON.stringify(headerOf(rs256)), JSON.stringify(issuer.claims()), rs256);
  const [h3 = '', p3 = '', s3 = ''] = rsa.split('.');
  return {
    good: [other, rsa],
    bad: [
      [`${h1}.${p1}.${s2}`, `${h2}.${p2}.${s1}`, `${h3}.${p2}.${s2}`, `${h2}.${p3}.${s3}`, `${h2}.${p2}.${s3}`],
      [`${h2}.${p2}.${s2}.${s2}`, `${h2}.${p2}..${s2}`, `${h2}..${p2}.${s2}`, `..${h2}.${p2}.${s2}`],
      [`${h2}.${p2}.${s2}..`, `${s2}.${p2}.${h2}`, `${other}.${rsa}`, `${other},${rsa}`, `${other} ${rsa}`],
      [`${other}\n`, other.replaceAll('.', '\u3002'), other.replaceAll('.', '%2e'), `"${other}"`],
    ].flat(),
  };
});

attack('kid is only looked up: objects, numbers, lists, near misses (RFC 8725 §3.10)', () => ({
  good: [
    withClaims({}, JSON.stringify({ ...headerOf(), kid: 'es' })),
    seal(JSON.stringify(headerOf(eddsa)), JSON.stringify(issuer.claims()), eddsa),
  ],
  bad: [
    ...[
      [0, 1, '0', -1, ['es'], { es: 1 }, null, false, 'es\n', '\u0435s', "es' --", 'k'.repeat(64 * 1024)],
      words('ES e es,ed es/../es ./es valueOf length %65s ed rs es|ls ${es} ../../dev/null __proto__ constructor'),
      words('toString hasOwnProperty http://127.0.0.1/key'),
    ]
      .flat()
      .map((kid) => withClaims({}, JSON.stringify({ ...headerOf(), kid }))),
    withClaims({}, JSON.stringify({ alg: 'ES256', typ: 'at+jwt' })),
    withClaims({}, JSON.stringify({ alg: 'ES256', typ: 'at+jwt', KID: 'es' })),
  ],
}));

test('the table is complete: 19 families and at least 400 attacks', () => {
  assert.equal(families, 19);
  assert.ok(attacks >= 400, String(attacks));
});

import { ACCESS_TOKEN_LENGTH_MAX, printBase64url, utf8 } from '@hallpass/protocol';
import * as fc from 'fast-check';
import { base64url, CompactEncrypt, generateKeyPair } from 'jose';
import assert from 'node:assert/strict';
import { createHmac, createPrivateKey, generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import { assertAllowed, assertDenied, openBench, type Bench } from '../harness.ts';
import { answerWith, forge, makeId, makeKey, NOW_SECONDS, type SigningKey } from '../issuer.ts';
import { caseCount } from '../../../../testing/case_count.ts';

/** Asserts a refusal as a bad token, 401 `invalid_token` (RFC 6750 §3.1), with this reason if given. */
async function refused({ check }: Bench, token: string, because?: RegExp): Promise<void> {
  const denial = assertDenied(await check(token), 401, token.slice(0, 200));
  assert.equal(denial.body.error, 'invalid_token');
  if (because !== undefined) assert.match(denial.because, because);
}

const es256 = await makeKey('es');
const eddsa = await makeKey('ed', 'EdDSA');
const rs256 = await makeKey('rs', 'RS256');
const bench = await openBench({ leewaySeconds: 5 }, es256, eddsa, rs256);
const { issuer, check } = bench;

function header(more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { alg: 'ES256', kid: 'es', typ: 'at+jwt', ...more };
}

/** A JWS of exactly these texts, signed with the issuer's own ES256 key. */
function signTexts(headerText: string, payloadText: string, key: SigningKey = es256): string {
  const input = `${printBase64url(utf8(headerText))}.${printBase64url(utf8(payloadText))}`;
  const signature = sign('sha256', Buffer.from(input), {
    key: KeyObject.from(key.privateKey),
    dsaEncoding: 'ieee-p1363',
  });
  return `${input}.${printBase64url(signature)}`;
}

for (const key of [es256, eddsa, rs256]) {
  test(`a token signed with ${key.alg} is accepted, and refused if one bit of its signature changes`, async () => {
    const token = await issuer.token({}, {}, key);
    const decision = await check(token);
    assertAllowed(decision);
    const [first = '', payload = '', signature = ''] = token.split('.');
    const bytes = base64url.decode(signature);
    bytes[9] = (bytes[9] ?? 0) ^ 1;
    await refused(bench, `${first}.${payload}.${printBase64url(bytes)}`);
  });
}

test("an access names the caller, always a client and never a user, and the token's scopes (contract §8)", async () => {
  const jti = makeId();
  const grant_id = makeId();
  const decision = await check(await issuer.token({ jti, grant_id, scope: '/accounts.read /accounts.write' }));
  assert.ok(decision.allowed);
  assert.deepEqual(decision.client, { kind: 'client', clientId: 'client-1' });
  assert.deepEqual(decision.scopes, ['/accounts.read', '/accounts.write']);
  assert.equal(decision.grantId, grant_id);
  assert.equal(decision.expiresAt, NOW_SECONDS + 900);
});

test("a handler that changes what it got can't change what the next request gets", async () => {
  const token = await issuer.token();
  const first = await check(token);
  assert.ok(first.allowed);
  const { client, scopes, headers } = first;
  for (const shared of [client, scopes, headers]) assert.throws(() => Object.assign(shared, { 0: 'x' }), TypeError);
  assert.throws(() => Object.assign(client, { clientId: 'somebody' }), TypeError);
  assert.deepEqual(await check(token), first);
});

test("an algorithm that the guard doesn't accept is refused, whatever the key set offers", async () => {
  const strict = await openBench({ algorithms: ['ES256'] }, es256, rs256);
  assertAllowed(await strict.check(await strict.issuer.token({}, {}, es256)));
  await refused(strict, await strict.issuer.token({}, {}, rs256));
});

test('typ is at+jwt or application/at+jwt in any case, and nothing else (RFC 9068 §4)', async () => {
  for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt', 'Application/At+Jwt']) {
    assertAllowed(await check(await issuer.token({}, { typ })), typ);
  }
  for (const typ of ['JWT', 'jwt', 'dpop+jwt', 'at+jwt ', 'application/jwt', 'text/at+jwt', 'application/at', '', 7]) {
    await refused(bench, signTexts(JSON.stringify(header({ typ })), JSON.stringify(issuer.claims())), /typ/);
  }
  await refused(bench, await issuer.token({}, { typ: undefined }), /typ/);
});

test('exp is extended by the leeway and not a second more (RFC 9068 §4)', async () => {
  assertAllowed(await check(await issuer.token({ exp: NOW_SECONDS - 4 })));
  await refused(bench, await issuer.token({ exp: NOW_SECONDS - 5 }), /expired/);
  const strict = await openBench({ leewaySeconds: 0 });
  assertAllowed(await strict.check(await strict.issuer.token({ exp: NOW_SECONDS + 1 })));
  await refused(strict, await strict.issuer.token({ exp: NOW_SECONDS }), /expired/);
});

test('nbf and iat allow for the leeway (RFC 7519 §4.1.5, §4.1.6)', async () => {
  assertAllowed(await check(await issuer.token({ nbf: NOW_SECONDS + 5 })));
  await refused(bench, await issuer.token({ nbf: NOW_SECONDS + 6 }));
  await refused(bench, await issuer.token({ nbf: String(NOW_SECONDS) }));
  assertAllowed(await check(await issuer.token({ iat: NOW_SECONDS + 5 })));
  await refused(bench, await issuer.token({ iat: NOW_SECONDS + 6 }), /not yet good/);
});

test('a token with a missing or mistyped claim is refused (contract §5)', async () => {
  assertAllowed(await check(await issuer.token()));
  const notText: readonly unknown[] = [undefined, null, 7, true, ['x'], {}];
  const wrong: Readonly<Record<string, readonly unknown[]>> = {
    sub: [...notText, 'another', ''],
    client_id: [...notText, 'another', ''],
    exp: [undefined, null, String(NOW_SECONDS + 900), NOW_SECONDS + 900.5, -1, [NOW_SECONDS + 900], true],
    iat: [undefined, null, String(NOW_SECONDS), NOW_SECONDS - 0.5, -1, true],
    jti: [...notText, '', 'short', `${makeId()} `, makeId().toUpperCase()],
    scope: notText,
    grant_id: [...notText, '', '../x'],
  };
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) await refused(bench, await issuer.token({ [name]: value }));
  }
  for (const text of ['1e400', '-0.1', '9007199254740993', '"NaN"']) {
    const payload = JSON.stringify(issuer.claims({ exp: 0 })).replace('"exp":0', `"exp":${text}`);
    await refused(bench, signTexts(JSON.stringify(header()), payload));
  }
});

test('a payload that is not a JSON object is refused, even if the issuer signed it', async () => {
  for (const payload of ['[]', '"x"', 'null', '7', '', '{', '\ufeff{}']) {
    await refused(bench, signTexts(JSON.stringify(header()), payload));
  }
});

test('a token one character over the limit is refused before any other work', async () => {
  const fill = async (length: number): Promise<string> => {
    const bare = await issuer.token({ scope: '/accounts.read ' });
    const wanted = Math.floor(((length - bare.length) * 3) / 4);
    return await issuer.token({ scope: `/accounts.read ${'x'.repeat(wanted)}` });
  };
  const long = await fill(ACCESS_TOKEN_LENGTH_MAX - 4);
  assert.ok(long.length <= ACCESS_TOKEN_LENGTH_MAX && long.length > ACCESS_TOKEN_LENGTH_MAX - 12);
  assertAllowed(await check(long));
  await refused(bench, await fill(ACCESS_TOKEN_LENGTH_MAX + 8), /form/);
});

test('none is refused in every spelling, with and without a signature (RFC 8725 §3.1)', async () => {
  const spellings = ['none', 'None', 'NONE', 'nOnE', ' none', 'none ', '', 'no\u0000ne'];
  for (const alg of [...spellings, null, undefined, 0, [], ['ES256'], {}]) {
    for (const signature of [new Uint8Array(), new Uint8Array(64)]) {
      await refused(bench, forge(header({ alg }), issuer.claims(), signature));
    }
  }
});

test("a token under another key's id or algorithm is refused (RFC 8725 §3.1)", async () => {
  const keys = [es256, eddsa, rs256];
  for (const signer of keys) {
    for (const named of keys) {
      for (const alg of ['ES256', 'EdDSA', 'RS256', 'PS256', 'RS512', 'ES384', 'ES256K', 'Ed25519']) {
        if (signer === named && alg === signer.alg) continue;
        const input = (await issuer.token({}, {}, signer)).split('.').slice(1).join('.');
        await refused(bench, `${printBase64url(utf8(JSON.stringify(header({ alg, kid: named.kid }))))}.${input}`);
      }
    }
  }
});

test('a published key without alg, or symmetric, private or meant for encryption, verifies nothing (CVE-2026-22817)', async () => {
  const good = await makeKey('good');
  const odd = await makeKey('odd');
  const { alg: _alg, ...withoutAlg } = odd.jwk;
  const secret = new Uint8Array(32).fill(7);
  const { d } = createPrivateKey({
    key: KeyObject.from(odd.privateKey).export({ format: 'jwk' }),
    format: 'jwk',
  }).export({ format: 'jwk' });
  const sets: readonly unknown[] = [
    withoutAlg,
    { ...odd.jwk, alg: 'HS256' },
    { ...odd.jwk, d },
    { ...odd.jwk, use: 'enc' },
    ...[
      { kid: 7 },
      { alg: ['ES256'] },
      { alg: 'ES384' },
      { kty: undefined },
      { kty: 'ec' },
      { use: '' },
      { k: 'AAAA' },
    ].map((changes) => ({ ...odd.jwk, ...changes })),
    // Not a point of its curve, or no point at all: the runtime can't import either.
    { ...odd.jwk, y: odd.jwk.x },
    { ...odd.jwk, x: undefined },
    [odd.jwk],
    7,
    { kty: 'oct', kid: 'odd', alg: 'HS256', k: printBase64url(secret) },
    { kty: 'oct', kid: 'odd', alg: 'ES256', k: printBase64url(secret) },
    null,
    'odd',
  ];
  for (const jwk of sets) {
    const own = await openBench({}, good);
    own.issuer.instead.set('/oauth2/jwks', answerWith(200, JSON.stringify({ keys: [jwk, good.jwk] })));
    assertAllowed(await own.check(await own.issuer.token({}, {}, good)));
    await refused(own, await own.issuer.token({}, {}, odd));
    const head = printBase64url(utf8(JSON.stringify(header({ alg: 'HS256', kid: 'odd' }))));
    const input = `${head}.${printBase64url(utf8(JSON.stringify(own.issuer.claims())))}`;
    await refused(own, `${input}.${printBase64url(createHmac('sha256', secret).update(input).digest())}`);
  }
});

/** The order of P-256's group (FIPS 186-5). */
const N = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');

function p1363(r: bigint, s: bigint): Uint8Array {
  const hex = r.toString(16).padStart(64, '0') + s.toString(16).padStart(64, '0');
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

test('degenerate ECDSA signatures are refused: zeros, n and beyond, DER, other lengths (CVE-2022-21449)', async () => {
  const token = await issuer.token();
  assertAllowed(await check(token));
  const [head = '', payload = '', signature = ''] = token.split('.');
  const good = base64url.decode(signature);
  const r = BigInt(`0x${Buffer.from(good.subarray(0, 32)).toString('hex')}`);
  const s = BigInt(`0x${Buffer.from(good.subarray(32)).toString('hex')}`);
  const max = 2n ** 256n - 1n;
  const der = sign('sha256', Buffer.from(`${head}.${payload}`), { key: KeyObject.from(es256.privateKey) });
  const degenerate = [
    ...[0n, 1n, N - 1n, N, N + 1n, max].flatMap((value) => [p1363(value, value), p1363(r, value), p1363(value, s)]),
    p1363(0n, N),
    p1363(N, 0n),
    Uint8Array.from(der),
    new Uint8Array(),
    good.subarray(0, 63),
    good.subarray(0, 32),
    Uint8Array.from([...good, 0]),
    Uint8Array.from([0, ...good]),
    Uint8Array.from([...good, ...good]),
    new Uint8Array(132),
  ];
  for (const bytes of degenerate) await refused(bench, `${head}.${payload}.${printBase64url(bytes)}`);
  for (const key of [eddsa, rs256]) {
    const [h = '', p = '', other = ''] = (await issuer.token({}, {}, key)).split('.');
    const bytes = base64url.decode(other);
    const longer = Uint8Array.from([...bytes, 0]);
    for (const bad of [new Uint8Array(), new Uint8Array(bytes.length), bytes.subarray(1), longer]) {
      await refused(bench, `${h}.${p}.${printBase64url(bad)}`);
    }
  }
});

test('a key that the token contains or points to is never used or fetched (RFC 8725 §3.10)', async () => {
  const theirs = await makeKey('es');
  for (const members of [
    { jwk: theirs.jwk },
    { jku: `${issuer.url}/theirs` },
    { x5u: `${issuer.url}/theirs` },
    { jku: 'file:///etc/passwd' },
  ]) {
    await refused(bench, await issuer.token({}, members, theirs), /header/);
    await refused(bench, await issuer.token({}, members), /header/);
  }
  await refused(bench, await issuer.token({}, {}, theirs), /Signature/);
  assert.equal(issuer.count('/theirs'), 0);
});

test('an encrypted token of five parts is refused, and so is any number of parts other than three (RFC 7516 §7.1)', async () => {
  const { publicKey } = await generateKeyPair('RSA-OAEP-256');
  const jwe = await new CompactEncrypt(utf8(JSON.stringify(issuer.claims())))
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A256GCM', kid: 'es', typ: 'at+jwt' })
    .encrypt(publicKey);
  await refused(bench, jwe, /form/);
  const token = await issuer.token();
  assertAllowed(await check(token));
  const [head = '', payload = ''] = token.split('.');
  const two = `${head}.${payload}`;
  for (const odd of [head, two, `${two}.`, `${token}.`, `.${token}`, `${token}.${head}`, '..', '.']) {
    await refused(bench, odd);
  }
});

test('an RSA key shorter than the standard requires verifies nothing (RFC 7518 §3.3)', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const weak = await openBench();
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'weak', alg: 'RS256' };
  weak.issuer.instead.set('/oauth2/jwks', answerWith(200, JSON.stringify({ keys: [jwk] })));
  const head = printBase64url(utf8(JSON.stringify(header({ alg: 'RS256', kid: 'weak' }))));
  const input = `${head}.${printBase64url(utf8(JSON.stringify(weak.issuer.claims())))}`;
  await refused(weak, `${input}.${printBase64url(sign('sha256', Buffer.from(input), privateKey))}`);
});

test('no text makes the guard throw, and no random text is accepted', async () => {
  const json = fc.json({ maxDepth: 3 }).map((text) => printBase64url(utf8(text)));
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    json,
    fc.constant(printBase64url(utf8(JSON.stringify(header())))),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
      const decision = await check(pieces.join('.'));
      assert.ok(!decision.allowed);
      assert.ok(decision.status === 401 || decision.status === 400);
    }),
    { numRuns: caseCount(200) },
  );
});

test('the log gets the reason why a token was refused', async () => {
  const reasons = {
    'claims outside the profile': await issuer.token({ jti: 'x' }),
    'of another issuer': await issuer.token({ iss: 'https://other.example' }),
    'for another audience': await issuer.token({ aud: 'https://other.example' }),
    expired: await issuer.token({ exp: NOW_SECONDS - 60 }),
    'not yet good': await issuer.token({ nbf: NOW_SECONDS + 60 }),
    'not yet good: issued 60 s from now': await issuer.token({ iat: NOW_SECONDS + 60 }),
    'algorithm not allowed': forge(header({ alg: 'HS256' }), issuer.claims()),
    'typ is not at+jwt': await issuer.token({}, { typ: 'JWT' }),
    'unexpected header members': await issuer.token({}, { jku: 'https://other.example' }),
    'the issuer has no such key': await issuer.token({}, { kid: 'x' }),
    'not in the form of an access token': 'x.y',
    JWSSignatureVerificationFailed: (await issuer.token()).replace(/.{8}$/, 'AAAAAAAA'),
  };
  for (const [because, token] of Object.entries(reasons)) {
    assert.equal(assertDenied(await check(token), 401, because).because, because);
  }
});

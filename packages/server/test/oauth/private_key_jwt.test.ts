import assert from 'node:assert/strict';
import { constants, createPrivateKey, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { test } from 'node:test';
import { CLIENT_ASSERTION_TYPE, CLIENT_ALGORITHMS } from '@hallpass/protocol';
import { exportJWK, generateKeyPair } from 'jose';
import { forge, privateKeyOf, segment, withSignature } from './forger.ts';
import {
  anyOf,
  makeMessage,
  testMembers,
  testSignedMessage,
  type Changes,
  type SignedMessage,
  type Values,
} from './jws_cases.ts';
import { sentenceOf } from '../../src/cli/refusal_sentences.ts';
import { OperatorRefusal } from '../../src/operator/operator_refusal.ts';
import { basicOf, startHallpass, type Answer, type Hallpass } from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

// An issuer of letters: a host in upper case is another text than this one.
const environment = { HALLPASS_ISSUER: 'http://localhost:1' };
const hallpass = await startHallpass({ environment });
const { issuer, clock } = hallpass;
const signer = await Signer.make();
const stranger = await Signer.make();
const rsa = await Signer.make('PS256');
const edwards = await Signer.make('EdDSA');
const { clientId } = await hallpass.makeKey({ publicKeys: [signer.jwk] });
const byRsa = await hallpass.makeKey({ publicKeys: [rsa.jwk] });
const byEdwards = await hallpass.makeKey({ publicKeys: [edwards.jwk] });
const withSecret = await hallpass.makeKey();

const TOKEN = '/oauth2/token';
const ASK = { grant_type: 'client_credentials', scope: '/accounts.write' };
const ENDPOINTS = [
  [TOKEN, ASK],
  ['/oauth2/revoke', { token: 'x' }],
  ['/oauth2/introspect', { token: 'x' }],
] as const;

const goodClaims = (of = clientId): Record<string, unknown> => {
  const now = clock.seconds;
  return { iss: of, sub: of, aud: issuer, jti: randomUUID(), iat: now, exp: now + 60 };
};
const ASSERTION: SignedMessage = {
  name: 'an assertion',
  signers: { ES256: signer, EdDSA: edwards, PS256: rsa },
  header: (by) => ({ alg: by.algorithm }),
  claims: (by) => goodClaims(by === rsa ? byRsa.clientId : by === edwards ? byEdwards.clientId : clientId),
  send: (jws) => ask(jws),
  assertRefused: (answer) => assertNotAuthenticated(answer),
};
const make = (changes?: Changes, by?: Signer): string => makeMessage(ASSERTION, changes, by);
function ask(client_assertion: string, more: object = {}, at: Hallpass = hallpass): Promise<Answer> {
  return at.form(TOKEN, { ...ASK, client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion, ...more });
}

const wrongSecretAt = (path: string): Promise<Answer> =>
  hallpass.form(path, { ...ASK, client_id: withSecret.clientId, client_secret: 'wrong' });
const WRONG_SECRET = new Map<string, string>(
  await Promise.all(ENDPOINTS.map(async ([path]) => [path, (await wrongSecretAt(path)).visible] as const)),
);
function assertNotAuthenticated(answer: Answer, path: string = TOKEN): void {
  assert.equal(answer.outcome, '401 invalid_client');
  assert.equal(answer.visible, WRONG_SECRET.get(path), 'nothing tells it from a wrong secret');
}

for (const algorithm of CLIENT_ALGORITHMS) {
  for (const [path, params] of ENDPOINTS) {
    test(`${path}: an assertion signed with ${algorithm} authenticates, another key's does not (RFC 7523 §3, PK-01, PK-11)`, async () => {
      const own = await Signer.make(algorithm);
      const key = await hallpass.makeKey({ publicKeys: [own.jwk] });
      assert.equal(key.clientSecret, '', 'a key that signs has no secret');
      const good = await hallpass.form(path, { ...params, ...(await own.assert(hallpass, key.clientId)) });
      assert.equal(good.status, 200, good.text);
      const other = await Signer.make(algorithm);
      assertNotAuthenticated(
        await hallpass.form(path, { ...params, ...(await other.assert(hallpass, key.clientId)) }),
        path,
      );
    });
  }
}

test('client_id beside the assertion must be its subject (RFC 7521 §4.2)', async () => {
  assert.equal((await ask(make(), { client_id: clientId })).status, 200);
  for (const client_id of [
    withSecret.clientId,
    byRsa.clientId,
    'nobody',
    `${clientId} `,
    clientId.toLowerCase() + 'X',
  ]) {
    assertNotAuthenticated(await ask(make(), { client_id }));
  }
});

test('an assertion in JSON authenticates like one in a form (contract §3)', async () => {
  const params = { ...ASK, client_assertion_type: CLIENT_ASSERTION_TYPE };
  assert.equal((await hallpass.json(TOKEN, { ...params, client_assertion: make() })).status, 200);
  const bad = await hallpass.json(TOKEN, { ...params, client_assertion: make({ claims: { aud: 'x' } }) });
  assert.equal(bad.outcome, '401 invalid_client');
});

for (const [name, params] of [
  ['the type without an assertion', { client_assertion: '' }],
  ['an assertion without the type', { client_assertion_type: '' }],
  ['the SAML type', { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' }],
  ['the type in upper case', { client_assertion_type: CLIENT_ASSERTION_TYPE.toUpperCase() }],
  ['the type with a space behind it', { client_assertion_type: `${CLIENT_ASSERTION_TYPE} ` }],
  ['a secret', { client_id: clientId, client_secret: 'secret' }],
  ['the right secret of another key', { client_id: withSecret.clientId, client_secret: withSecret.clientSecret }],
  ['two assertions', { client_assertion: [make(), make()] }],
] as const) {
  test(`${name}: 400 invalid_request (RFC 6749 §2.3, RFC 7521 §4.2, PK-01)`, async () => {
    assert.equal((await ask(make(), params)).outcome, '400 invalid_request');
  });
}

for (const authorization of [basicOf(withSecret), basicOf({ clientId, clientSecret: '' }), 'Bearer x', 'x']) {
  test(`an assertion beside Authorization: ${authorization.slice(0, 7)} is 400 invalid_request (RFC 6749 §2.3)`, async () => {
    const params = { ...ASK, client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion: make() };
    const answer = await hallpass.form(TOKEN, params, { headers: { authorization } });
    assert.equal(answer.outcome, '400 invalid_request');
    assert.equal((await ask(params.client_assertion)).status, 200, 'and the assertion is still good');
  });
}

test('a key that signs accepts no secret, in the header or in the body (contract §9)', async () => {
  const inHeader = await hallpass.form(TOKEN, ASK, { key: { ...withSecret, clientSecret: 'wrong' } });
  for (const clientSecret of ['secret', 'A'.repeat(43), JSON.stringify(signer.jwk)]) {
    assertNotAuthenticated(await hallpass.form(TOKEN, { ...ASK, client_id: clientId, client_secret: clientSecret }));
    const answer = await hallpass.form(TOKEN, ASK, { key: { clientId, clientSecret } });
    assert.equal(answer.visible, inHeader.visible);
  }
  assertNotAuthenticated(await hallpass.form(TOKEN, { ...ASK, client_id: clientId }));
  await assert.rejects(hallpass.keys.rotateSecret(clientId, 0), { code: 'key_signs' });
});

test('a key with a secret accepts no assertion, even with a public key beside it (contract §9)', async () => {
  const claims = goodClaims(withSecret.clientId);
  assertNotAuthenticated(await ask(forge(signer, { alg: 'ES256' }, claims)));
  assertNotAuthenticated(await ask(forge(signer, { alg: 'HS256' }, claims)));
  const both = await hallpass.makeKey();
  await hallpass.changeKey(both, { publicKeys: [{ algorithm: 'ES256', jwk: publicJwk() }] });
  assertNotAuthenticated(await ask(forge(signer, { alg: 'ES256' }, goodClaims(both.clientId))));
  await assert.rejects(hallpass.keys.setPublicKeys(withSecret.clientId, [signer.jwk]), { code: 'key_has_secret' });
});

function publicJwk(): Record<string, string> {
  const { crv = '', kty = '', x = '', y = '' } = signer.jwk;
  return { crv, kty, x, y };
}

test('a disabled key is refused like a wrong secret, and works again once it is enabled', async () => {
  // A server of its own: after the key was disabled its first token waits for the next second.
  const own = await startHallpass({ environment });
  const key = await own.makeKey({ publicKeys: [signer.jwk] });
  await own.keys.disable(key.clientId);
  assertNotAuthenticated(await ask(forge(signer, { alg: 'ES256' }, goodClaims(key.clientId)), {}, own));
  await own.keys.enable(key.clientId);
  assert.equal((await ask(forge(signer, { alg: 'ES256' }, goodClaims(key.clientId)), {}, own)).status, 200);
});

test('the public stand-in for missing keys authenticates nobody', async () => {
  // Its point is the base of the curve, so that its private key is 1.
  const one = Buffer.alloc(32);
  one[31] = 1;
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    d: one.toString('base64url'),
    x: 'axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY',
    y: 'T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU',
  };
  const signingKey = createPrivateKey({ key: jwk, format: 'jwk' });
  for (const nobody of ['nobody', withSecret.clientId, byRsa.clientId, clientId]) {
    const forged = withSignature(forge(signer, { alg: 'ES256' }, goodClaims(nobody)), (_, input) =>
      sign('sha256', Buffer.from(input), { key: signingKey, dsaEncoding: 'ieee-p1363' }),
    );
    assertNotAuthenticated(await ask(forged));
  }
});

test('an unknown key is refused like a wrong secret', async () => {
  for (const nobody of ['nobody', '', '__proto__', '*', 'x'.repeat(2_000)]) {
    assertNotAuthenticated(await ask(forge(signer, { alg: 'ES256' }, goodClaims(nobody))));
  }
});

for (const [name, claims] of [
  ['iss is another key', { iss: withSecret.clientId }],
  ['iss is missing', { iss: undefined }],
  ['iss is an array', { iss: [clientId] }],
  ['iss is the issuer', { iss: issuer }],
  ['iss has a space behind it', { iss: `${clientId} ` }],
  ['sub is another key', { sub: byEdwards.clientId }],
  ['sub is missing', { sub: undefined }],
  ['sub is an array', { sub: [clientId] }],
  ['sub is null', { sub: null }],
  ['sub is an object', { sub: { toString: clientId } }],
  ['iss and sub are both another key that signs', { iss: byRsa.clientId, sub: byRsa.clientId }],
] as const) {
  test(`${name}: 401 invalid_client (RFC 7523 §3, PK-02)`, async () => {
    assertNotAuthenticated(await ask(make({ claims })));
  });
}

testSignedMessage(ASSERTION);

const { seconds: NOW } = clock;
const CLAIMS: Readonly<Record<string, Values>> = {
  aud: {
    good: [issuer],
    bad: anyOf(
      ['/oauth2/token', '/oauth2/introspect', '/'].map((path) => `${issuer}${path}`),
      ['http://LOCALHOST:1', 'HTTP://localhost:1', 'http://localhost', 'https://localhost:1', hallpass.url],
      [` ${issuer}`, 'https://evil.example', '', undefined, null, 1, { 0: issuer }],
      [[], [issuer], [issuer, 'https://evil.example'], [`${issuer}/oauth2/token`]],
    ),
  },
  exp: {
    good: [NOW + 1, NOW + 0.5, NOW + 300, NOW - 59],
    bad: anyOf(
      [NOW - 60, NOW - 300, NOW + 361, NOW + 86_400, (NOW + 60) * 1000, 1e308, -1, 0],
      [undefined, null, String(NOW + 60), 'NaN', true, [NOW + 60], {}],
    ),
  },
  iat: { good: [undefined, NOW + 8], bad: [NOW + 61, String(NOW), null] },
  nbf: { good: [NOW, NOW + 8], bad: [NOW + 61, 1e308, 'soon'] },
  anything: { good: [{ else: ['', {}] }] },
};
testMembers(ASSERTION, 'claims', CLAIMS, 'RFC 7523 §3, rfc7523bis §4, FAPI 2.0 §5.3.2.1, PK-04, PK-05, PK-07');

test('an exp of 1e999, which is Infinity when read, is refused', async () => {
  const claims = JSON.stringify(goodClaims()).replace(/"exp":\d+/, '"exp":1e999');
  assertNotAuthenticated(await ask(forge(signer, { alg: 'ES256' }, claims)));
});

const HEADERS: Readonly<Record<string, Values>> = {
  typ: {
    good: [undefined, 'JWT', 'client-authentication+jwt'],
    bad: ['jwt', 'at+jwt', 'dpop+jwt', 'application/client-authentication+jwt', '', null, ['JWT']],
  },
  // The key is the registered one, whatever the header brings.
  jwk: { good: [stranger.jwk] },
};
testMembers(ASSERTION, 'header', HEADERS, 'RFC 7515 §4.1.9, RFC 8725 §3.11, PK-13');

for (const [name, change] of [
  ['a space before it', (jws: string) => ` ${jws}`],
  ['a space behind it', (jws: string) => `${jws} `],
  ['a line feed behind it', (jws: string) => `${jws}\n`],
  ['a line feed in it', (jws: string) => jws.replace('.', '.\n')],
  ['a null byte behind it', (jws: string) => `${jws}\0`],
] as const) {
  test(`an assertion with ${name} is 401, the same without 200 (RFC 7515 §2)`, async () => {
    const jws = make();
    assertNotAuthenticated(await ask(change(jws)));
    assert.equal((await ask(jws)).status, 200);
  });
}

test('an RSA key works with PS256 and a salt as long as the hash, and with nothing else (RFC 7518 §3.5, PK-11)', async () => {
  const key = privateKeyOf(rsa);
  const signedWith = (alg: string, options: object): string => {
    const input = `${segment({ alg })}.${segment(goodClaims(byRsa.clientId))}`;
    return `${input}.${sign('sha256', Buffer.from(input), { key, ...options }).toString('base64url')}`;
  };
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING };
  assert.equal((await ask(signedWith('PS256', { ...pss, saltLength: 32 }))).status, 200);
  assertNotAuthenticated(await ask(signedWith('RS256', { padding: constants.RSA_PKCS1_PADDING })));
  assertNotAuthenticated(await ask(signedWith('PS256', { padding: constants.RSA_PKCS1_PADDING })));
  assertNotAuthenticated(await ask(signedWith('RS256', { ...pss, saltLength: 32 })));
  assertNotAuthenticated(await ask(signedWith('PS256', { ...pss, saltLength: 0 })));
  assertNotAuthenticated(await ask(signedWith('PS256', { ...pss, saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN })));
});

test('during a rotation both public keys work; after set-public-keys the old one is gone (PK-10)', async () => {
  const old = await Signer.make();
  const next = await Signer.make('EdDSA');
  const key = await hallpass.makeKey({ publicKeys: [old.jwk] });
  const by = async (own: Signer): Promise<Answer> =>
    await hallpass.form(TOKEN, { ...ASK, ...(await own.assert(hallpass, key.clientId)) });
  assertNotAuthenticated(await by(next));
  await hallpass.keys.setPublicKeys(key.clientId, [old.jwk, next.jwk]);
  assert.equal((await by(old)).status, 200);
  assert.equal((await by(next)).status, 200);
  assertNotAuthenticated(await ask(forge(next, { alg: 'ES256' }, goodClaims(key.clientId))));
  await hallpass.keys.setPublicKeys(key.clientId, [next.jwk]);
  assertNotAuthenticated(await by(old));
  assert.equal((await by(next)).status, 200);
});

test('two public keys of one algorithm work side by side', async () => {
  const key = await hallpass.makeKey({ publicKeys: [stranger.jwk, signer.jwk] });
  for (const own of [stranger, signer]) {
    assert.equal((await ask(forge(own, { alg: 'ES256' }, goodClaims(key.clientId)))).status, 200);
  }
});

test('an assertion works once, at any endpoint (RFC 7523 §3, OIDC Core §9, CVE-2020-5300, PK-08)', async () => {
  for (const [first, firstParams] of ENDPOINTS) {
    const shared = { client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion: make() };
    assert.equal((await hallpass.form(first, { ...firstParams, ...shared })).status, 200, first);
    for (const [path, params] of ENDPOINTS) {
      assertNotAuthenticated(await hallpass.form(path, { ...params, ...shared }), path);
    }
  }
});

test('a jti is used up for its own key only, whatever else the next assertion says', async () => {
  const jti = randomUUID();
  assert.equal((await ask(make({ claims: { jti } }))).status, 200);
  assertNotAuthenticated(await ask(make({ claims: { jti, exp: NOW + 200 } })));
  assert.equal((await ask(forge(rsa, { alg: 'PS256' }, { ...goodClaims(byRsa.clientId), jti }))).status, 200);
});

test('a request that is refused for another reason does not use up the assertion (contract §9, PK-08)', async () => {
  const assertion = make();
  for (const [params, outcome] of [
    [{ scope: '/secrets.read' }, '400 invalid_scope'],
    [{ scope: '' }, '400 invalid_scope'],
    [{ grant_type: '' }, '400 invalid_request'],
    [{ grant_type: 'password' }, '400 unsupported_grant_type'],
    [{ resource: 'https://evil.example' }, '400 invalid_target'],
    [{ grant_type: 'refresh_token', refresh_token: 'x' }, '400 invalid_grant'],
    [{ client_id: 'nobody' }, '401 invalid_client'],
  ] as const) {
    assert.equal((await ask(assertion, params)).outcome, outcome);
  }
  const shared = { client_assertion_type: CLIENT_ASSERTION_TYPE, client_assertion: assertion };
  for (const path of ['/oauth2/revoke', '/oauth2/introspect']) {
    assert.equal((await hallpass.form(path, shared)).outcome, '400 invalid_request', 'no token');
  }
  const { accessToken } = await hallpass.issue(withSecret);
  const foreign = await hallpass.form('/oauth2/revoke', { ...shared, token: accessToken });
  assert.equal(foreign.outcome, '400 invalid_request', "another key's token");
  assert.equal((await ask(assertion)).status, 200);
  assertNotAuthenticated(await ask(assertion));
});

test('a refresh needs a new assertion each time; a used one does not revoke the grant (RFC 6749 §6)', async () => {
  const first = make();
  const issued = await ask(first);
  const refresh = { grant_type: 'refresh_token', refresh_token: String(issued.body['refresh_token']) };
  assertNotAuthenticated(await ask(first, refresh));
  const second = make();
  const rotated = await ask(second, refresh);
  assert.equal(rotated.status, 200, rotated.text);
  assertNotAuthenticated(await ask(second, { ...refresh, refresh_token: String(rotated.body['refresh_token']) }));
  const last = await ask(make(), { ...refresh, refresh_token: String(rotated.body['refresh_token']) });
  assert.equal(last.status, 200, last.text);
});

test('of 100 simultaneous uses of one assertion, at two servers on one store, one succeeds (PK-08)', async () => {
  const there = await startHallpass({ environment, folder: hallpass.folder, clock });
  const assertion = make();
  const uses = Array.from({ length: 100 }, (_, at) => ask(assertion, {}, at % 2 === 0 ? hallpass : there));
  const answers = await Promise.all(uses);
  assert.equal(answers.filter(({ status }) => status === 200).length, 1);
  for (const answer of answers) if (answer.status !== 200) assertNotAuthenticated(answer);
});

test('a used assertion stays used across a restart, until it expires (PK-08)', async () => {
  const before = await startHallpass({ environment });
  const key = await before.makeKey({ publicKeys: [signer.jwk] });
  const now = before.clock.seconds;
  const used = forge(signer, { alg: 'ES256' }, { ...goodClaims(key.clientId), exp: now + 300 });
  const fresh = forge(signer, { alg: 'ES256' }, { ...goodClaims(key.clientId), exp: now + 300 });
  assert.equal((await ask(used, {}, before)).status, 200);
  await before.close();
  const after = await startHallpass({ environment, folder: before.folder, clock: before.clock });
  assertNotAuthenticated(await ask(used, {}, after));
  // The last second in which clocks that differ still let it pass; what is forgotten by then is what nobody would take.
  after.clock.advance(359);
  await after.instance.store.forgetExpired(after.clock.seconds, 1_000);
  assertNotAuthenticated(await ask(used, {}, after));
  assert.equal((await ask(fresh, {}, after)).status, 200);
  after.clock.advance(120);
  assert.ok((await after.instance.store.forgetExpired(after.clock.seconds, 1_000)) >= 1);
  assertNotAuthenticated(await ask(used, {}, after));
});

const privateOf = async (algorithm: string, options: object = {}): Promise<Record<string, unknown>> => {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true, ...options });
  return { ...(await exportJWK(privateKey)) };
};

test('a private or symmetric JWK is not registered, and the message does not repeat it (RFC 7517 §9.3, PK-16)', async () => {
  const count = (await hallpass.keys.list()).length;
  for (const jwk of [
    await privateOf('ES256'),
    await privateOf('EdDSA'),
    await privateOf('PS256'),
    { kty: 'oct', k: 'c2VjcmV0c2VjcmV0' },
    { ...signer.jwk, k: 'c2VjcmV0c2VjcmV0' },
    { ...signer.jwk, d: null },
  ]) {
    const texts = Object.entries(jwk).filter(([name]) => !['kty', 'crv', 'e'].includes(name));
    for (const attempt of [
      (): Promise<unknown> => hallpass.makeKey({ publicKeys: [jwk] }),
      (): Promise<unknown> => hallpass.keys.setPublicKeys(clientId, [signer.jwk, jwk]),
    ]) {
      await assert.rejects(attempt, (error: unknown) => {
        assert.ok(error instanceof OperatorRefusal);
        assert.deepEqual(error.data, { field: 'publicKeys', fault: 'private' });
        for (const [name, value] of texts) {
          if (typeof value === 'string') assert.equal(sentenceOf(error).includes(value), false, name);
        }
        return true;
      });
    }
  }
  assert.equal((await hallpass.keys.list()).length, count, 'nothing was kept');
  assert.deepEqual((await hallpass.keys.show(clientId)).publicKeys.length, 1);
});

test('weak keys, unknown curves and other values are not registered (FAPI 2.0 §5.4, PK-11)', async () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
  const p384 = await generateKeyPair('ES384', { extractable: true });
  for (const [jwk, fault] of [
    [weak, 'weak'],
    [await exportJWK(p384.publicKey), 'unknown_kind'],
    [{ ...signer.jwk, crv: 'secp256k1' }, 'unknown_kind'],
    [{ ...edwards.jwk, crv: 'X25519' }, 'unknown_kind'],
    [{ ...edwards.jwk, crv: 'Ed448' }, 'unknown_kind'],
    [{ ...rsa.jwk, e: 'Aw' }, 'weak'],
    [{ ...rsa.jwk, alg: 'RS256' }, 'unknown_kind'],
    [{ ...signer.jwk, use: 'enc' }, 'wrong_use'],
    [{ ...signer.jwk, x: 'AA' }, 'malformed'],
    [{}, 'unknown_kind'],
    ['text', 'not_an_object'],
    [null, 'not_an_object'],
  ] as const) {
    const why = { code: 'public_key_unusable', data: { field: 'publicKeys', fault } };
    await assert.rejects(hallpass.makeKey({ publicKeys: [jwk] }), why);
    await assert.rejects(hallpass.keys.setPublicKeys(clientId, [jwk]), why);
  }
  await assert.rejects(hallpass.makeKey({ publicKeys: [signer.jwk, rsa.jwk, edwards.jwk] }), {
    code: 'too_many_items',
  });
  await assert.rejects(hallpass.keys.setPublicKeys(clientId, []), { code: 'public_keys_needed' });
});

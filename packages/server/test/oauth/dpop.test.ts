import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { CLIENT_ALGORITHMS } from '@hallpass/protocol';
import { exportJWK } from 'jose';
import { privateKeyOf, withSignature } from './forger.ts';
import {
  anyOf,
  makeMessage,
  testMembers,
  testSignedMessage,
  type Changes,
  type SignedMessage,
  type Values,
} from './jws_cases.ts';
import {
  basicOf,
  decode,
  printForm,
  startHallpass,
  tokensOf,
  type Answer,
  type Hallpass,
} from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const environment = { HALLPASS_ISSUER: 'http://localhost:1' };
const hallpass = await startHallpass({ environment });
const { issuer, clock } = hallpass;
const signer = await Signer.make();
const other = await Signer.make();
const rsa = await Signer.make('PS256');
const edwards = await Signer.make('EdDSA');
const key = await hallpass.makeKey();
const bound = await hallpass.makeKey({ requireDpop: true });

const TOKEN = '/oauth2/token';
const ADDRESS = `${issuer}${TOKEN}`;
const ASK = { grant_type: 'client_credentials', scope: '/accounts.write /ping.read' };

const PROOF: SignedMessage = {
  name: 'a proof',
  signers: { ES256: signer, EdDSA: edwards, PS256: rsa },
  header: (by) => ({ typ: 'dpop+jwt', alg: by.algorithm, jwk: by.jwk }),
  claims: () => ({ jti: randomUUID(), htm: 'POST', htu: ADDRESS, iat: clock.seconds }),
  send: (jws) => ask(jws),
  assertRefused: assertNotGood,
};
const make = (changes?: Changes, by?: Signer): string => makeMessage(PROOF, changes, by);

function ask(dpop: string, more: object = {}, at: Hallpass = hallpass): Promise<Answer> {
  return at.form(TOKEN, { ...ASK, ...more }, { key, headers: { dpop } });
}

function assertNotGood(answer: Answer): void {
  assert.equal(answer.outcome, '400 invalid_dpop_proof', answer.text);
  assert.match(answer.header('cache-control') ?? '', /no-store/);
}

const jktOf = (token: string): unknown => {
  const { cnf } = decode(token).claims;
  return typeof cnf === 'object' && cnf !== null && 'jkt' in cnf ? cnf.jkt : undefined;
};
for (const algorithm of CLIENT_ALGORITHMS) {
  test(`a proof by ${algorithm} binds the token to the RFC 7638 thumbprint of its key (RFC 9449 §5, §6.1, DP-11)`, async () => {
    const own = await Signer.make(algorithm);
    const answer = await ask(await own.prove({ url: ADDRESS, clock }));
    const { accessToken } = tokensOf(answer);
    assert.equal(answer.body['token_type'], 'DPoP');
    assert.deepEqual(decode(accessToken).claims['cnf'], { jkt: own.thumbprint });
    const shown = (await hallpass.introspect(key, accessToken)).body;
    assert.equal(shown['token_type'], 'DPoP');
    assert.deepEqual(shown['cnf'], { jkt: own.thumbprint }, 'RFC 9449 §6.2');
  });
}

test('without a proof the token is a bearer token without cnf (RFC 6749 §5.1)', async () => {
  const answer = await hallpass.form(TOKEN, ASK, { key });
  const { accessToken } = tokensOf(answer);
  assert.equal(answer.body['token_type'], 'Bearer');
  assert.equal('cnf' in decode(accessToken).claims, false);
  const shown = (await hallpass.introspect(key, accessToken)).body;
  assert.equal(shown['token_type'], 'Bearer');
  assert.equal('cnf' in shown, false);
});

test('extra members of the jwk do not change the thumbprint (RFC 7638 §3.2.1)', async () => {
  const jwk = { use: 'sig', kid: 'a', alg: 'ES256', ...signer.jwk, ext: true };
  assert.equal(jktOf(tokensOf(await ask(make({ header: { jwk } }))).accessToken), signer.thumbprint);
});

test('a key that requires DPoP gets no token without a proof, and a bound one with it (contract §9)', async () => {
  assertNotGood(await hallpass.form(TOKEN, ASK, { key: bound }));
  const answer = await hallpass.form(TOKEN, ASK, { key: bound, headers: { dpop: make() } });
  const { refreshToken } = tokensOf(answer);
  assertNotGood(await hallpass.refresh(bound, refreshToken));
  const params = { grant_type: 'refresh_token', refresh_token: refreshToken };
  const again = await hallpass.form(TOKEN, params, { key: bound, headers: { dpop: make() } });
  assert.equal(again.body['token_type'], 'DPoP');
});

test("a refreshed access token is bound to the key of that refresh's proof (RFC 9449 §5)", async () => {
  const first = tokensOf(await ask(make()));
  const refresh = async (refreshToken: string, proof?: string): Promise<Answer> =>
    await hallpass.form(
      TOKEN,
      { grant_type: 'refresh_token', refresh_token: refreshToken },
      { key, headers: proof === undefined ? {} : { dpop: proof } },
    );
  const second = tokensOf(await refresh(first.refreshToken, make()));
  assert.equal(jktOf(second.accessToken), signer.thumbprint);
  const third = tokensOf(await refresh(second.refreshToken, make({}, edwards)));
  assert.equal(jktOf(third.accessToken), edwards.thumbprint);
  const fourth = tokensOf(await refresh(third.refreshToken));
  assert.equal(jktOf(fourth.accessToken), undefined);
  // A proof that will not do refuses the refresh, and the token is as good as before.
  assertNotGood(await refresh(fourth.refreshToken, make({ claims: { htm: 'GET' } })));
  assert.equal((await refresh(fourth.refreshToken, make())).status, 200);
});

test('an assertion and a proof can come together, and each works once (RFC 7523 §3, RFC 9449 §11.1)', async () => {
  const { clientId } = await hallpass.makeKey({ publicKeys: [signer.jwk] });
  const assertion = await signer.assert(hallpass, clientId);
  const proof = make();
  const send = async (shared: object, dpop: string): Promise<Answer> =>
    await hallpass.form(TOKEN, { ...ASK, ...shared }, { headers: { dpop } });
  assertNotGood(await send(assertion, make({ claims: { htm: 'GET' } })));
  assert.equal((await send(assertion, proof)).status, 200);
  assert.equal((await send(assertion, make())).outcome, '401 invalid_client');
  const next = await signer.assert(hallpass, clientId);
  assertNotGood(await send(next, proof));
  assert.equal((await send(next, make())).status, 200, 'what came with a used proof was not used itself');
});

testSignedMessage(PROOF);

const { seconds: now } = clock;
const CLAIMS: Readonly<Record<string, Values>> = {
  htm: { good: ['POST'], bad: ['GET', 'post', '', undefined, ['POST']] },
  htu: {
    good: [`${ADDRESS}?a=b`, `${ADDRESS}#part`, `${ADDRESS}?a=b#part`, 'HTTP://LOCALHOST:1/oauth2/token'],
    bad: [
      `${issuer}/oauth2/revoke`,
      `${issuer}/OAUTH2/token`,
      `${ADDRESS}/`,
      `${issuer}//oauth2/token`,
      `${ADDRESS}%2f`,
      issuer,
      'http://localhost/oauth2/token',
      'http://localhost:2/oauth2/token',
      'https://localhost:1/oauth2/token',
      'http://evil.example/oauth2/token',
      'http://localhost:1@evil.example/oauth2/token',
      'http://user@localhost:1/oauth2/token',
      `http://evil.example/?${ADDRESS}`,
      `${hallpass.url}${TOKEN}`,
      TOKEN,
      ` ${ADDRESS}`,
      '',
      undefined,
      [ADDRESS],
    ],
  },
  iat: {
    good: [now - 60, now - 10, now + 10],
    bad: anyOf(
      [-61, 11, 61, -3600, 3600].map((seconds) => now + seconds),
      [now * 1000, String(now), 1e308, 0, null, undefined],
    ),
  },
  ath: { good: ['anything'] },
  nonce: { good: ['anything'] },
};
testMembers(PROOF, 'claims', CLAIMS, 'RFC 9449 §4.2, §4.3, DP-07, DP-08, DP-13');

const p384 = await exportJWK(generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey);
const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
const jwkFaults: readonly object[] = [
  { d: 'AAAA' },
  { d: '' },
  { k: 'AAAA' },
  { use: 'enc' },
  { alg: 'ES384' },
  { crv: 'P-521' },
  { x: signer.jwk.y },
  { x: 'A'.repeat(43), y: 'A'.repeat(43) },
  { y: `${signer.jwk.y ?? ''}=` },
];
const HEADERS: Readonly<Record<string, Values>> = {
  typ: { bad: [undefined, 'JWT', 'at+jwt', 'DPOP+JWT', 'application/dpop+jwt', ['dpop+jwt']] },
  jwk: {
    bad: anyOf(
      [undefined, null, 'text', [signer.jwk], {}, other.jwk, edwards.jwk, { kty: 'oct', k: 'AAAA' }],
      jwkFaults.map((change) => ({ ...signer.jwk, ...change })),
    ),
  },
};
testMembers(PROOF, 'header', HEADERS, 'RFC 9449 §4.3, DP-02, DP-05');

test('a key of another curve, a weak one and one that costs much to use are refused (RFC 9449 §4.3, DP-05, DP-16)', async () => {
  for (const header of [
    { jwk: p384, alg: 'ES384' },
    { jwk: weak, alg: 'PS256' },
    { jwk: { ...rsa.jwk, e: 'AQAB'.repeat(100) }, alg: 'PS256' },
    { jwk: { kty: 'RSA', n: Buffer.alloc(2_048, 0xff).toString('base64url'), e: 'AQAB' }, alg: 'PS256' },
  ]) {
    assertNotGood(await ask(make({ header })));
  }
});

test('a proof that contains the private key is refused, and the response does not repeat it (CVE-2026-54431, DP-05)', async () => {
  const { d } = privateKeyOf(signer).export({ format: 'jwk' });
  assert.ok(typeof d === 'string');
  const answer = await ask(make({ header: { jwk: { ...signer.jwk, d } } }));
  assertNotGood(answer);
  assert.equal(answer.text.includes(d), false);
});

test('an empty proof is 400', async () => assertNotGood(await ask('')));

test('two DPoP headers are 400, each of them alone 200 (RFC 9449 §4.3, DP-01)', async () => {
  const first = make();
  const body = printForm(ASK);
  const send = (...proofs: readonly string[]): Promise<string> =>
    hallpass.raw(
      [
        `POST ${TOKEN} HTTP/1.1`,
        'Host: localhost',
        `Authorization: ${basicOf(key)}`,
        ...proofs.map((proof) => `DPoP: ${proof}`),
        'Content-Type: application/x-www-form-urlencoded',
        `Content-Length: ${body.length}`,
        'Connection: close',
        '',
        body,
      ].join('\r\n'),
    );
  for (const proofs of [[first, make()], [first, first], [first, ''], [`${first}, ${make()}`]]) {
    const answer = await send(...proofs);
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.match(answer, /invalid_dpop_proof/);
  }
  assert.match(await send(first), /^HTTP\/1\.1 200 /);
});

test('a proof works once, whichever API key it comes with (RFC 9449 §11.1)', async () => {
  const proof = make();
  assert.equal((await ask(proof)).status, 200);
  assertNotGood(await ask(proof));
  assertNotGood(await hallpass.form(TOKEN, ASK, { key: bound, headers: { dpop: proof } }));
  const jti = randomUUID();
  assert.equal((await ask(make({ claims: { jti } }))).status, 200);
  assertNotGood(await ask(make({ claims: { jti, iat: clock.seconds - 1 } })));
  assert.equal((await ask(make({ claims: { jti } }, other))).status, 200, "a jti is its own key's");
});

test('a request that is refused for another reason does not use up the proof', async () => {
  const proof = make();
  for (const [params, outcome] of [
    [{ scope: '/secrets.read' }, '400 invalid_scope'],
    [{ grant_type: 'password' }, '400 unsupported_grant_type'],
    [{ resource: 'https://evil.example' }, '400 invalid_target'],
    [{ grant_type: 'refresh_token', refresh_token: 'x' }, '400 invalid_grant'],
    [{ client_id: 'nobody' }, '400 invalid_request'],
  ] as const) {
    assert.equal((await ask(proof, params)).outcome, outcome);
  }
  const wrong = { ...key, clientSecret: 'wrong' };
  assert.equal(
    (await hallpass.form(TOKEN, ASK, { key: wrong, headers: { dpop: proof } })).outcome,
    '401 invalid_client',
  );
  assert.equal((await ask(proof)).status, 200);
});

test('of 100 simultaneous uses of one proof, at two servers on one store, one succeeds', async () => {
  const there = await startHallpass({ environment, folder: hallpass.folder, clock });
  const proof = make();
  const uses = Array.from({ length: 100 }, (_, at) => ask(proof, {}, at % 2 === 0 ? hallpass : there));
  const answers = await Promise.all(uses);
  assert.equal(answers.filter(({ status }) => status === 200).length, 1);
  for (const answer of answers) if (answer.status !== 200) assertNotGood(answer);
});

test('a used proof stays used across a restart, for as long as its iat is good (RFC 9449 §11.1)', async () => {
  const before = await startHallpass({ environment });
  const by = await before.makeKey();
  const send = (at: Hallpass, proof: string): Promise<Answer> =>
    at.form(TOKEN, ASK, { key: by, headers: { dpop: proof } });
  const claims = { iat: before.clock.seconds + 10 };
  const [used, fresh] = [make({ claims }), make({ claims })];
  assert.equal((await send(before, used)).status, 200);
  await before.close();
  const after = await startHallpass({ environment, folder: before.folder, clock: before.clock });
  assertNotGood(await send(after, used));
  after.clock.advance(70);
  await after.instance.store.forgetExpired(after.clock.seconds, 1_000);
  assertNotGood(await send(after, used));
  assert.equal((await send(after, fresh)).status, 200);
  after.clock.advance(120);
  assert.ok((await after.instance.store.forgetExpired(after.clock.seconds, 1_000)) >= 1);
  assertNotGood(await send(after, used));
});

const withNonces = { ...environment, HALLPASS_DPOP_NONCES: 'on' };

test('with nonces on: 400 use_dpop_nonce with a nonce, and the retry with it works, on every instance (RFC 9449 §8, DP-14)', async () => {
  const here = await startHallpass({ environment: withNonces });
  const there = await startHallpass({ environment: withNonces, folder: here.folder, clock: here.clock });
  const by = await here.makeKey();
  const send = async (at: Hallpass, nonce?: unknown): Promise<Answer> =>
    await at.form(TOKEN, ASK, {
      key: by,
      headers: { dpop: make({ claims: { nonce, iat: at.clock.seconds } }) },
    });
  const first = await send(here);
  assert.equal(first.outcome, '400 use_dpop_nonce');
  const nonce = first.header('dpop-nonce') ?? '';
  assert.match(nonce, /^[\x21\x23-\x5b\x5d-\x7e]+$/, 'RFC 9449 §8.1');
  for (const bad of ['', 'x', `${nonce}x`, nonce.slice(1), 7, null, [nonce]]) {
    assert.equal((await send(here, bad)).outcome, '400 use_dpop_nonce', JSON.stringify(bad));
  }
  for (const at of [here, there]) {
    const answer = await send(at, nonce);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.header('dpop-nonce'), nonce, 'a good answer tells the nonce for the next time (§8.2)');
  }
  here.clock.advance(60);
  const later = await send(here, nonce);
  assert.equal(later.status, 200, 'the last period is good');
  assert.notEqual(later.header('dpop-nonce'), nonce);
  here.clock.advance(120);
  const late = await send(there, nonce);
  assert.equal(late.outcome, '400 use_dpop_nonce', 'an old one is not');
  assert.equal((await send(there, late.header('dpop-nonce'))).status, 200);
  // A proof that is bad in itself is not helped by a nonce.
  const bad = make({ claims: { nonce: late.header('dpop-nonce'), htm: 'GET', iat: here.clock.seconds } });
  assertNotGood(await here.form(TOKEN, ASK, { key: by, headers: { dpop: bad } }));
  assert.equal((await here.form(TOKEN, ASK, { key: by })).status, 200, 'without a proof none is asked for');
});

test('with nonces off, no response contains one', async () => {
  assert.equal((await ask(make())).header('dpop-nonce'), undefined);
  assert.equal((await ask('x')).header('dpop-nonce'), undefined);
});

const PING = `${issuer}/ping`;
const athOf = (token: string): string => createHash('sha256').update(token).digest('base64url');
const proveFor = (token: string, changes: Changes = {}, by = signer): string =>
  make({ ...changes, claims: { htm: 'GET', htu: PING, ath: athOf(token), ...changes.claims } }, by);
const ping = (token: string, proof?: string, scheme = 'DPoP', at: Hallpass = hallpass): Promise<Answer> =>
  at.request('/ping', {
    headers: { authorization: `${scheme} ${token}`, ...(proof === undefined ? {} : { dpop: proof }) },
  });
const challengeOf = (answer: Answer): string => answer.header('www-authenticate') ?? '';
const boundToken = tokensOf(await ask(make())).accessToken;
const secondToken = tokensOf(await ask(make())).accessToken;
const bearerToken = tokensOf(await hallpass.form(TOKEN, ASK, { key })).accessToken;

test('a bound token with the DPoP scheme and a proof of its key is 200 (RFC 9449 §7.1, GD-19)', async () => {
  for (const scheme of ['DPoP', 'dpop', 'DPOP']) {
    assert.equal((await ping(boundToken, proveFor(boundToken), scheme)).status, 200, scheme);
  }
  assert.equal((await ping(boundToken, proveFor(boundToken, { claims: { htu: `${PING}?x=y` } }))).status, 200);
});

test('a bound token as Bearer is 401, with a proof and without (RFC 9449 §7.2, GD-20)', async () => {
  for (const proof of [undefined, proveFor(boundToken)]) {
    const answer = await ping(boundToken, proof, 'Bearer');
    assert.equal(answer.outcome, '401 invalid_token');
    assert.match(challengeOf(answer), /^DPoP .*error="invalid_token".*algs="ES256 EdDSA PS256"/);
  }
});

for (const [name, proof] of [
  ['no proof', () => undefined],
  ['no ath', () => proveFor(boundToken, { claims: { ath: undefined } })],
  ["another token's ath", () => proveFor(boundToken, { claims: { ath: athOf(secondToken) } })],
  [
    'an ath in hexadecimal',
    () => proveFor(boundToken, { claims: { ath: Buffer.from(athOf(boundToken), 'base64url').toString('hex') } }),
  ],
  ['a padded ath', () => proveFor(boundToken, { claims: { ath: `${athOf(boundToken)}=` } })],
  ['a proof of another key', () => proveFor(boundToken, {}, other)],
  ['a proof of a key of another kind', () => proveFor(boundToken, {}, edwards)],
  ['the proof of a token request', () => make({ claims: { ath: athOf(boundToken) } })],
  ['another method', () => proveFor(boundToken, { claims: { htm: 'POST' } })],
  ['another address', () => proveFor(boundToken, { claims: { htu: `${PING}/x` } })],
  ['an old iat', () => proveFor(boundToken, { claims: { iat: clock.seconds - 61 } })],
  ['an iat ahead', () => proveFor(boundToken, { claims: { iat: clock.seconds + 61 } })],
  ['a typ of JWT', () => proveFor(boundToken, { header: { typ: 'JWT' } })],
  ['a private jwk', () => proveFor(boundToken, { header: { jwk: { ...signer.jwk, d: 'AAAA' } } })],
  ['a flipped signature', () => withSignature(proveFor(boundToken), (bytes) => bytes.map((byte) => byte ^ 1))],
  ['two proofs', () => `${proveFor(boundToken)}, ${proveFor(boundToken)}`],
] as const) {
  test(`a bound token with ${name} is 401, and the challenge names DPoP and the algorithms (RFC 9449 §7.1, GD-19, GD-22)`, async () => {
    const answer = await ping(boundToken, proof());
    assert.equal(answer.outcome, '401 invalid_dpop_proof');
    assert.match(challengeOf(answer), /^DPoP realm="[^"]+", error="invalid_dpop_proof".*algs="ES256 EdDSA PS256"/);
  });
}

test('a proof opens a resource once, even with a second token (RFC 9449 §11.1)', async () => {
  const proof = proveFor(boundToken);
  assert.equal((await ping(boundToken, proof)).status, 200);
  const again = await ping(boundToken, proof);
  assert.equal(again.outcome, '401 invalid_dpop_proof');
  assert.match(challengeOf(again), /^DPoP /);
  assert.equal((await ping(secondToken, proof)).outcome, '401 invalid_dpop_proof');
});

test('only an admitted request uses up its proof: one without the scope does not', async () => {
  const narrow = tokensOf(await ask(make(), { scope: '/accounts.write' })).accessToken;
  const proof = proveFor(narrow);
  assert.equal((await ping(narrow, proof)).outcome, '403 insufficient_scope');
  assert.equal((await ping(narrow, proof)).outcome, '403 insufficient_scope');
  const jti = randomUUID();
  assert.equal((await ping(narrow, proveFor(narrow, { claims: { jti } }))).status, 403);
  assert.equal((await ping(boundToken, proveFor(boundToken, { claims: { jti } }))).status, 200);
  assert.equal((await ping(boundToken, proveFor(boundToken, { claims: { jti } }))).status, 401);
});

test('a bearer token sent as DPoP is 401, whatever the proof (RFC 9449 §7.1)', async () => {
  for (const proof of [undefined, proveFor(bearerToken)]) {
    assert.equal((await ping(bearerToken, proof)).outcome, '401 invalid_token');
  }
  assert.equal((await ping(bearerToken, undefined, 'Bearer')).status, 200);
});

test('a bound token that is revoked or lacks the scope is refused with a good proof, in the scheme that was tried (RFC 9449 §7.1)', async () => {
  const revoked = tokensOf(await ask(make())).accessToken;
  assert.equal((await hallpass.revoke(key, revoked)).status, 200);
  const dead = await ping(revoked, proveFor(revoked));
  assert.equal(dead.outcome, '401 invalid_token');
  assert.match(challengeOf(dead), /^DPoP .*error="invalid_token".*algs="/);
  const narrow = tokensOf(await ask(make(), { scope: '/accounts.write' })).accessToken;
  const lacking = await ping(narrow, proveFor(narrow));
  assert.equal(lacking.outcome, '403 insufficient_scope');
  assert.match(challengeOf(lacking), /^DPoP .*scope="\/ping\.read"/);
  assert.match(challengeOf(await ping('nonsense', proveFor('nonsense'))), /^DPoP .*error="invalid_token"/);
});

test('an opaque token can be bound too (contract §5)', async () => {
  const opaque = await hallpass.makeKey({ accessTokenFormat: 'opaque' });
  const { accessToken } = tokensOf(await hallpass.form(TOKEN, ASK, { key: opaque, headers: { dpop: make() } }));
  assert.equal((await ping(accessToken, proveFor(accessToken))).status, 200);
  assert.equal((await ping(accessToken, undefined, 'Bearer')).outcome, '401 invalid_token');
  assert.equal((await ping(accessToken, proveFor(accessToken, {}, other))).outcome, '401 invalid_dpop_proof');
  const shown = (await hallpass.introspect(opaque, accessToken)).body;
  assert.deepEqual([shown['token_type'], shown['cnf']], ['DPoP', { jkt: signer.thumbprint }]);
});

test('with nonces on, a resource requires one as well: 401 use_dpop_nonce (RFC 9449 §9, GD-22)', async () => {
  const own = await startHallpass({ environment: withNonces });
  const by = await own.makeKey();
  const first = await own.form(TOKEN, ASK, { key: by, headers: { dpop: make() } });
  const nonce = first.header('dpop-nonce');
  const proved = await own.form(TOKEN, ASK, { key: by, headers: { dpop: make({ claims: { nonce } }) } });
  const { accessToken } = tokensOf(proved);
  const without = await ping(accessToken, proveFor(accessToken), 'DPoP', own);
  assert.equal(without.outcome, '401 use_dpop_nonce');
  assert.match(challengeOf(without), /^DPoP .*error="use_dpop_nonce"/);
  const told = without.header('dpop-nonce');
  const good = await ping(accessToken, proveFor(accessToken, { claims: { nonce: told } }), 'DPoP', own);
  assert.equal(good.status, 200);
});

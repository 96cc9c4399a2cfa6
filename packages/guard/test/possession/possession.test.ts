/** Proofs of possession by themselves: each good one beside the nearest bad ones, and the reason that a log is told. */
import { constants, sign } from 'node:crypto';
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import type { NoncesNow } from '../../src/possession/nonces.ts';
import { verifyPossession, type Possession, type ProvedRequest } from '../../src/possession/possession.ts';
import { API, makeId, NOW_SECONDS } from '../issuer.ts';
import { hash, Prover } from '../prover.ts';

const TOKEN = 'the.access.token';
const URL_CALLED = `${API}/accounts`;
const NOT_GOOD = 'resource_proof_not_good';
const prover = new Prover();

function requestOf(proof: string | undefined, changes: Partial<ProvedRequest> = {}): ProvedRequest {
  return {
    method: 'GET',
    url: URL_CALLED,
    proofs: proof === undefined ? [] : [proof],
    token: TOKEN,
    boundTo: prover.jkt,
    clientId: 'client-1',
    now: NOW_SECONDS,
    nonces: undefined,
    ...changes,
  };
}

async function assertGood(request: ProvedRequest, hint?: string): Promise<Possession> {
  const verified = await verifyPossession(request);
  assert.ok('proof' in verified, `${hint}: ${JSON.stringify(verified)}`);
  return verified;
}

async function assertRefused(request: ProvedRequest, because: string, refused = NOT_GOOD): Promise<void> {
  assert.deepEqual(await verifyPossession(request), { refused, because });
}

test('a good proof is told by its client, its key and its jti, until it is too old (RFC 9449 §4.2, §11.1)', async () => {
  const jti = makeId();
  const verified = await assertGood(requestOf(prover.prove(TOKEN, { jti, iat: NOW_SECONDS - 3 })));
  assert.deepEqual(verified, {
    proof: { clientId: 'client-1', id: hash(`${prover.jkt} ${jti}`), expiresAt: NOW_SECONDS - 3 + 61 },
    newNonce: undefined,
  });
  const other = new Prover();
  const theirs = await assertGood(requestOf(other.prove(TOKEN, { jti }), { boundTo: other.jkt, clientId: 'client-2' }));
  assert.equal(theirs.proof.id, hash(`${other.jkt} ${jti}`));
  assert.equal(theirs.proof.clientId, 'client-2');
});

test('one proof is needed, and no more; the address has to be known (RFC 9449 §4.3)', async () => {
  const proof = prover.prove(TOKEN);
  await assertGood(requestOf(proof));
  await assertRefused(requestOf(undefined), 'no proof');
  await assertRefused(requestOf(undefined, { proofs: [proof, proof] }), 'more than one proof');
  await assertRefused(requestOf(undefined, { proofs: [proof, prover.prove(TOKEN)] }), 'more than one proof');
  await assertRefused(requestOf(`${proof}, ${proof}`), 'the proof is malformed');
  await assertRefused(requestOf(''), 'the proof is malformed');
  await assertRefused(
    requestOf(proof, { url: undefined }),
    'the address that clients call is not known: set publicURL',
  );
});

test('a proof of each algorithm is good, and with one bit of its signature changed it is not', async () => {
  for (const algorithm of ['ES256', 'EdDSA', 'PS256'] as const) {
    const its = new Prover(algorithm);
    const proof = its.prove(TOKEN);
    await assertGood(requestOf(proof, { boundTo: its.jkt }), algorithm);
    const [header = '', payload = '', signature = ''] = proof.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    bytes.writeUInt8(bytes.readUInt8(8) ^ 1, 8);
    for (const other of [
      `${header}.${payload}.${bytes.toString('base64url')}`,
      `${header}.${its.prove(TOKEN).split('.')[1] ?? ''}.${signature}`,
    ]) {
      await assertRefused(requestOf(other, { boundTo: its.jkt }), 'the signature of the proof is wrong');
    }
  }
});

test('the salt of PS256 is as long as its hash (RFC 7518 §3.5)', async () => {
  const its = new Prover('PS256');
  const [header = '', payload = ''] = its.prove(TOKEN).split('.');
  for (const saltLength of [32, 31, 0, 64]) {
    const key = { key: its.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
    const signature = sign('sha256', Buffer.from(`${header}.${payload}`), key).toString('base64url');
    const request = requestOf(`${header}.${payload}.${signature}`, { boundTo: its.jkt });
    if (saltLength === 32) await assertGood(request);
    else await assertRefused(request, 'the signature of the proof is wrong');
  }
});

test('a token that is bound to no point of the curve opens nothing, whoever signs: such a key has no signatures', async () => {
  const { crv, kty, x } = prover.jwk;
  const jwk = { crv, kty, x, y: x };
  const boundTo = hash(JSON.stringify(jwk));
  await assertRefused(requestOf(prover.prove(TOKEN, {}, { jwk }), { boundTo }), 'the signature of the proof is wrong');
  const same = { crv, kty, x, y: prover.jwk['y'] };
  await assertGood(requestOf(prover.prove(TOKEN, {}, { jwk: same }), { boundTo: hash(JSON.stringify(same)) }));
});

test('a proof of another key than that of the token is refused before anything is verified with it', async () => {
  const other = new Prover();
  const verify = mock.method(crypto.subtle, 'verify');
  try {
    await assertRefused(requestOf(other.prove(TOKEN)), 'the proof is of another key');
    assert.equal(verify.mock.callCount(), 0);
    await assertGood(requestOf(other.prove(TOKEN), { boundTo: other.jkt }));
    assert.equal(verify.mock.callCount(), 1);
  } finally {
    verify.mock.restore();
  }
  await assertRefused(
    requestOf(prover.prove(TOKEN), { boundTo: prover.jkt.toLowerCase() }),
    'the proof is of another key',
  );
  await assertRefused(requestOf(prover.prove(TOKEN), { boundTo: '' }), 'the proof is of another key');
});

test('a proof is for this method, address, token and moment (RFC 9449 §4.3)', async () => {
  await assertRefused(requestOf(prover.prove(TOKEN, { htm: 'POST' })), 'htm is another method');
  await assertGood(requestOf(prover.prove(TOKEN, { htm: 'POST' }), { method: 'POST' }));
  await assertRefused(requestOf(prover.prove(TOKEN), { url: `${API}/transfers` }), 'htu is another address');
  await assertRefused(requestOf(prover.prove(TOKEN), { token: 'another' }), 'ath is not of this access token');
  await assertGood(requestOf(prover.prove('another'), { token: 'another' }));
  await assertGood(requestOf(prover.prove(TOKEN), { now: NOW_SECONDS + 60 }));
  await assertRefused(requestOf(prover.prove(TOKEN), { now: NOW_SECONDS + 61 }), 'iat is too far from now');
});

test('what is signed well and has no claims is refused', async () => {
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: prover.jwk };
  for (const claims of ['', 'null', '[]', '7', '{"jti":', '{"jti":"a","jti":"b"}']) {
    await assertRefused(requestOf(prover.seal(header, claims)), 'jti is missing or too long');
  }
});

test('where nonces are asked for a proof has a good one, and one that ends soon is answered with the next (RFC 9449 §9)', async () => {
  const nonces: NoncesNow = {
    current: 'now',
    isGood: (nonce) => ['now', 'old'].includes(nonce),
    isOld: (nonce) => nonce === 'old',
  };
  const present = (nonce: unknown): ProvedRequest => requestOf(prover.prove(TOKEN, { nonce }), { nonces });
  assert.equal((await assertGood(present('now'))).newNonce, undefined);
  assert.equal((await assertGood(present('old'))).newNonce, 'now');
  for (const nonce of [undefined, 'gone', 7]) {
    await assertRefused(present(nonce), 'nonce is missing or old', 'resource_nonce_wanted');
  }
  // Nobody is told to come again with a nonce whose proof is no good for another reason.
  await assertRefused(requestOf(prover.prove(TOKEN, { htm: 'PUT' }), { nonces }), 'htm is another method');
  assert.equal((await assertGood(requestOf(prover.prove(TOKEN, { nonce: 'of another server' })))).newNonce, undefined);
});

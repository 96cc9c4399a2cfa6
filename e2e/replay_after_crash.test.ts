/** What may be used once stays used when the server dies between the answer and the next request (RFC 7523 §3, RFC 9449 §11.1). */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { createKey, makeDataDir, RIG, startHallpass } from '../testing/process/process.ts';
import { createSigningKey } from './signing_key.ts';

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const issuer = RIG['HALLPASS_ISSUER'] ?? '';

test('a used assertion and a used proof are refused after kill -9; fresh ones are accepted (rule PK-08)', async (t) => {
  const { dataDir, remove } = makeDataDir();
  t.after(remove);
  const signing = await createSigningKey(dataDir, ['signs', '--scope', '/accounts.write']);
  const withSecret = await createKey(dataDir, ['proves', '--scope', '/accounts.write']);
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = await exportJWK(publicKey);

  const assertion = (): Promise<string> =>
    new SignJWT({ jti: randomUUID() })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer(signing.clientId)
      .setSubject(signing.clientId)
      .setAudience(issuer)
      .setIssuedAt()
      .setExpirationTime('60s')
      .sign(signing.privateKey);
  const proof = (): Promise<string> =>
    new SignJWT({ jti: randomUUID(), htm: 'POST', htu: `${issuer}/oauth2/token` })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
      .setIssuedAt()
      .sign(privateKey);
  const post = async (url: string, more: Readonly<Record<string, string>>, headers = {}): Promise<unknown> => {
    const body = new URLSearchParams({ grant_type: 'client_credentials', scope: '/accounts.write', ...more });
    const answer = await fetch(`${url}/oauth2/token`, { method: 'POST', body, headers });
    const { error }: { readonly error?: string } = await answer.json();
    return error ?? answer.status;
  };
  const byAssertion = (url: string, text: string): Promise<unknown> =>
    post(url, { client_assertion_type: ASSERTION_TYPE, client_assertion: text });
  const byProof = (url: string, dpop: string): Promise<unknown> =>
    post(url, { client_id: withSecret.clientId, client_secret: withSecret.clientSecret }, { dpop });

  const [usedAssertion, usedProof] = [await assertion(), await proof()];
  const first = await startHallpass(dataDir, RIG);
  try {
    assert.equal(await byAssertion(first.url, usedAssertion), 200);
    assert.equal(await byProof(first.url, usedProof), 200);
  } finally {
    await first.kill();
  }
  const second = await startHallpass(dataDir, RIG);
  try {
    assert.equal(await byAssertion(second.url, usedAssertion), 'invalid_client');
    assert.equal(await byProof(second.url, usedProof), 'invalid_dpop_proof');
    assert.equal(await byAssertion(second.url, await assertion()), 200);
    assert.equal(await byProof(second.url, await proof()), 200);
  } finally {
    await second.stop();
  }
});

/** Whether a request was signed with the key that its access token is bound to (RFC 9449 §7). */
import {
  judgeDpopProof,
  parseDpopProof,
  printBase64url,
  refuse,
  thumbprintInput,
  utf8,
  type ClientAlgorithm,
  type ClientPublicKey,
  type NumericDate,
  type Refusal,
  type UnverifiedProof,
} from '@hallpass/protocol';
import type { UsedProof } from './proof_memory.ts';

/** What a proof has to fit. */
export interface ProvedRequest {
  readonly method: string;
  /** Where the client sent it; undefined when that cannot be known. */
  readonly url: string | undefined;
  /** The values of its `DPoP` headers. */
  readonly proofs: readonly string[];
  readonly token: string;
  /** The thumbprint of the key that the token is bound to. */
  readonly boundTo: string;
  readonly now: NumericDate;
}

/**
 * The proof of a request, good in all but that it may have been used before: that is for the caller to find out, when
 * all else holds.
 */
export async function verifyPossession(request: ProvedRequest): Promise<UsedProof | Refusal> {
  const { method, url, proofs, token, boundTo, now } = request;
  if (url === undefined) return notGood('the address that clients call is not known: set publicURL');
  const [header, ...more] = proofs;
  if (header === undefined) return notGood('no proof');
  if (more.length > 0) return notGood('more than one proof');
  const proof = parseDpopProof(header);
  if (proof === undefined) return notGood('the proof is malformed');
  // Before the signature: a stranger's key, as large as it likes, costs a hash.
  if ((await sha256(thumbprintInput(proof.key))) !== boundTo) return notGood('the proof is of another key');
  if (!(await isSigned(proof))) return notGood('the signature of the proof is wrong');
  const ath = await sha256(utf8(token));
  const judged = judgeDpopProof(proof.claims() ?? new Map(), { method, url, now, ath });
  if ('fault' in judged) return notGood(judged.fault);
  return { jkt: boundTo, id: await sha256(utf8(`${boundTo} ${judged.jti}`)), expiresAt: judged.expiresAt };
}

function notGood(because: string): Refusal {
  return refuse('resource_proof_not_good', { because });
}

/** SHA-256 as base64url. */
async function sha256(bytes: Uint8Array): Promise<string> {
  return printBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.from(bytes))));
}

interface Verifying {
  readonly key: EcKeyImportParams | RsaHashedImportParams | Algorithm;
  readonly signature: EcdsaParams | RsaPssParams | Algorithm;
}

/** In the terms of Web Crypto (RFC 7518 §3.1, RFC 8037 §3.1). The salt of PS256 is as long as its hash (RFC 7518 §3.5). */
const VERIFYING: Readonly<Record<ClientAlgorithm, Verifying>> = {
  ES256: { key: { name: 'ECDSA', namedCurve: 'P-256' }, signature: { name: 'ECDSA', hash: 'SHA-256' } },
  EdDSA: { key: { name: 'Ed25519' }, signature: { name: 'Ed25519' } },
  PS256: { key: { name: 'RSA-PSS', hash: 'SHA-256' }, signature: { name: 'RSA-PSS', saltLength: 32 } },
};

/** Whether a proof is signed by the key in it. A key that is no point of its curve has no good signatures. */
async function isSigned({ key: { algorithm, jwk }, signingInput, signature }: UnverifiedProof): Promise<boolean> {
  const verifying = VERIFYING[algorithm];
  try {
    const key = await importKey(jwk, verifying.key);
    return await crypto.subtle.verify(
      verifying.signature,
      key,
      Uint8Array.from(signature),
      Uint8Array.from(utf8(signingInput)),
    );
  } catch {
    return false;
  }
}

function importKey(jwk: ClientPublicKey['jwk'], algorithm: Verifying['key']): Promise<CryptoKey> {
  return crypto.subtle.importKey('jwk', jwk, algorithm, false, ['verify']);
}

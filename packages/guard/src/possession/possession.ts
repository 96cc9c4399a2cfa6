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
import type { NoncesNow } from './nonces.ts';
import type { UsedProof } from './proof_memory.ts';

/** What the proof must match. */
export interface ProofContext {
  readonly method: string;
  /** The URL that the client called; undefined if the guard can't know it. */
  readonly url: string | undefined;
  /** The values of the `DPoP` header. */
  readonly proofs: readonly string[];
  readonly token: string;
  /** The thumbprint of the key that the token is bound to. */
  readonly boundTo: string;
  /** The token's client. */
  readonly clientId: string;
  readonly now: NumericDate;
  /** The nonces that are valid now, if this API requires one. */
  readonly nonces: NoncesNow | undefined;
}

/** A verified proof. */
export interface Possession {
  readonly proof: UsedProof;
  /** The next nonce, if the one in this proof is about to expire. */
  readonly newNonce: string | undefined;
}

/** Verifies a request's proof, except that it may have been used before: the caller checks that last. */
export async function verifyPossession(request: ProofContext): Promise<Possession | Refusal> {
  const { method, url, proofs, token, boundTo, clientId, now, nonces } = request;
  if (url === undefined) return refuseProof('the address that clients call is not known: set publicURL');
  const [header, ...more] = proofs;
  if (header === undefined) return refuseProof('no proof');
  if (more.length > 0) return refuseProof('more than one proof');
  const proof = parseDpopProof(header);
  if (proof === undefined) return refuseProof('the proof is malformed');
  // Before the signature, so that a stranger's key, however large, costs us one hash.
  if ((await sha256(thumbprintInput(proof.key))) !== boundTo) return refuseProof('the proof is of another key');
  if (!(await isSigned(proof))) return refuseProof('the signature of the proof is wrong');
  const ath = await sha256(utf8(token));
  const claims = proof.claims() ?? new Map<string, unknown>();
  const judged = judgeDpopProof(claims, { method, url, now, ath, isNonceGood: nonces?.isGood });
  if ('fault' in judged) {
    return judged.wantsNonce === true
      ? refuse('resource_nonce_wanted', { because: judged.fault })
      : refuseProof(judged.fault);
  }
  const { jti, expiresAt } = judged;
  // A `jti` is unique per key: another key may use the same one (RFC 9449 §4.2).
  const used = { clientId, id: await sha256(utf8(`${boundTo} ${jti}`)), expiresAt };
  return { proof: used, newNonce: nonces?.isExpiring(claims.get('nonce')) === true ? nonces.current : undefined };
}

function refuseProof(because: string): Refusal {
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

/** Web Crypto's parameters (RFC 7518 §3.1, RFC 8037 §3.1). The salt of PS256 is as long as its hash (RFC 7518 §3.5). */
const VERIFYING: Readonly<Record<ClientAlgorithm, Verifying>> = {
  ES256: { key: { name: 'ECDSA', namedCurve: 'P-256' }, signature: { name: 'ECDSA', hash: 'SHA-256' } },
  EdDSA: { key: { name: 'Ed25519' }, signature: { name: 'Ed25519' } },
  PS256: { key: { name: 'RSA-PSS', hash: 'SHA-256' }, signature: { name: 'RSA-PSS', saltLength: 32 } },
};

/**
 * Whether the key in a proof signed it. An invalid key, such as a point that isn't on its curve, has no valid
 * signatures.
 */
async function isSigned({ key: { algorithm, jwk }, signingInput, signature }: UnverifiedProof): Promise<boolean> {
  const verifying = VERIFYING[algorithm];
  try {
    const key = await importKey(jwk, verifying.key);
    return await crypto.subtle.verify(
      verifying.signature,
      key,
      Uint8Array.from(signature()),
      Uint8Array.from(utf8(signingInput)),
    );
  } catch {
    return false;
  }
}

function importKey(jwk: ClientPublicKey['jwk'], algorithm: Verifying['key']): Promise<CryptoKey> {
  return crypto.subtle.importKey('jwk', jwk, algorithm, false, ['verify']);
}

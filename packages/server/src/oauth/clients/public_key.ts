/** Signatures of assertions and proofs, verified with Node's cryptography. */
import { constants, createHash, createPublicKey, verify } from 'node:crypto';
import { thumbprintInput, type ClientAlgorithm, type ClientPublicKey } from '@hallpass/protocol';

const VERIFYING = {
  ES256: { digest: 'sha256', options: { dsaEncoding: 'ieee-p1363' } },
  EdDSA: { digest: null, options: {} },
  // The salt is as long as the hash (RFC 7518 §3.5). By default Node accepts any length.
  PS256: { digest: 'sha256', options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } },
} as const satisfies Record<ClientAlgorithm, unknown>;

/** Whether this key made a signature. False, too, for a key that is not a point of its curve. Never throws. */
export function isSignedBy({ algorithm, jwk }: ClientPublicKey, input: string, signature: Uint8Array): boolean {
  const { digest, options } = VERIFYING[algorithm];
  try {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    return verify(digest, Buffer.from(input), { key, ...options }, signature);
  } catch {
    return false;
  }
}

/** The thumbprint of a key (RFC 7638), SHA-256 as base64url. */
export function thumbprintOf(key: ClientPublicKey): string {
  return sha256(thumbprintInput(key));
}

/** SHA-256 as base64url. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('base64url');
}

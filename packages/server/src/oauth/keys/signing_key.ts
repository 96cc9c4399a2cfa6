/** Signing keys: how they are generated, and how they sign and verify. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto';
import { printAccessTokenHeader, SIGNING_ALGORITHMS, type SigningAlgorithm } from '@hallpass/protocol';
import { StoreUnusable } from '../../store/store.ts';
import type { OpenedKey } from './key_wrapping.ts';

/** A public key as the key set publishes it (RFC 7517 §4). */
export type PublicJwk = Readonly<Record<string, string>>;

/** A signing key, ready to use. */
export interface SigningKey {
  readonly keyId: string;
  readonly algorithm: SigningAlgorithm;
  /** Milliseconds. */
  readonly createdAt: number;
  /** The first segment of every token that this key signs. */
  readonly header: string;
  readonly publicJwk: PublicJwk;
  readonly sign: (input: string) => Uint8Array;
  readonly verify: (input: string, signature: Uint8Array) => boolean;
}

const SIGNING = {
  ES256: {
    generate: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    digest: 'sha256',
    options: { dsaEncoding: 'ieee-p1363' },
  },
  EdDSA: { generate: () => generateKeyPairSync('ed25519').privateKey, digest: null, options: {} },
  RS256: {
    generate: () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
    digest: 'sha256',
    options: {},
  },
} as const satisfies Record<SigningAlgorithm, unknown>;

/** A new private key, as PKCS #8. */
export function generateSigningKey(algorithm: SigningAlgorithm): Uint8Array {
  return SIGNING[algorithm].generate().export({ type: 'pkcs8', format: 'der' });
}

/** Opens a decrypted key. Throws `StoreUnusable` if its algorithm is unknown. */
export function openSigningKey({ keyId, algorithm: name, createdAt, bytes }: OpenedKey): SigningKey {
  const algorithm = SIGNING_ALGORITHMS.find((candidate) => candidate === name);
  if (algorithm === undefined)
    throw new StoreUnusable(
      `The store holds a signing key for ${name}, an algorithm that this Hallpass does not know.`,
    );
  const privateKey = createPrivateKey({ key: Buffer.from(bytes), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  const { digest, options } = SIGNING[algorithm];
  return {
    keyId,
    algorithm,
    createdAt,
    header: printAccessTokenHeader({ alg: algorithm, kid: keyId }),
    publicJwk: publicJwkOf(publicKey, { keyId, algorithm }),
    sign: (input) => sign(digest, Buffer.from(input), { key: privateKey, ...options }),
    verify: (input, signature) => verify(digest, Buffer.from(input), { key: publicKey, ...options }, signature),
  };
}

/** Names the public members, so that no private one can slip out (RFC 7517 §9.3). */
function publicJwkOf(
  key: KeyObject,
  { keyId, algorithm }: { readonly keyId: string; readonly algorithm: SigningAlgorithm },
): PublicJwk {
  const { kty, crv, x, y, n, e } = key.export({ format: 'jwk' });
  const members = Object.entries({ kty, crv, x, y, n, e }).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name, value] as const] : [],
  );
  return { ...Object.fromEntries(members), kid: keyId, alg: algorithm, use: 'sig' };
}

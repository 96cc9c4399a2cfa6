/** What a signing library would not make: a JWS with any header, any payload and any signature, for the nearest rejects. */
import { constants, KeyObject, sign } from 'node:crypto';
import type { ClientAlgorithm } from '@hallpass/protocol';
import type { Signer } from '../../../../testing/client/signer.ts';

/** A text as it is, or an object as JSON, to a segment of a compact JWS. */
export function segment(value: string | object): string {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
}

/** A JWS that is signed by the signer's own algorithm, whatever its header says. */
export function forge(signer: Signer, header: string | object, claims: string | object): string {
  const input = `${segment(header)}.${segment(claims)}`;
  return `${input}.${signBytes(signer, input).toString('base64url')}`;
}

/** The same JWS with another signature. */
export function withSignature(jws: string, change: (signature: Buffer, input: string) => Uint8Array): string {
  const at = jws.lastIndexOf('.');
  const input = jws.slice(0, at);
  return `${input}.${Buffer.from(change(Buffer.from(jws.slice(at + 1), 'base64url'), input)).toString('base64url')}`;
}

export function privateKeyOf({ privateKey }: Signer): KeyObject {
  return KeyObject.from(privateKey);
}

function signBytes(signer: Signer, input: string): Buffer {
  const { digest, options } = SIGNING[signer.algorithm];
  return sign(digest, Buffer.from(input), { key: privateKeyOf(signer), ...options });
}

const SIGNING = {
  ES256: { digest: 'sha256', options: { dsaEncoding: 'ieee-p1363' } },
  EdDSA: { digest: null, options: {} },
  PS256: { digest: 'sha256', options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } },
} as const satisfies Record<ClientAlgorithm, unknown>;

/** Signatures by ECDSA that are none, or are another's spelling of one (CVE-2022-21449). P-256, 32 bytes each of r and s. */
export const DEGENERATE_SIGNATURES: Readonly<Record<string, (signature: Buffer) => Uint8Array>> = {
  'one bit flipped': (signature) => signature.map((byte, at) => (at === 20 ? byte ^ 1 : byte)),
  'r = s = 0': () => new Uint8Array(64),
  'r = s = 1': () => Uint8Array.from({ length: 64 }, (_, at) => (at % 32 === 31 ? 1 : 0)),
  'r = s = n': () => Buffer.concat([P256_ORDER, P256_ORDER]),
  's = 0': (signature) => Buffer.concat([signature.subarray(0, 32), new Uint8Array(32)]),
  "r and s in each other's place": (signature) => Buffer.concat([signature.subarray(32), signature.subarray(0, 32)]),
  'the last byte cut off': (signature) => signature.subarray(0, -1),
  'a byte more': (signature) => Buffer.concat([signature, Buffer.of(0)]),
  'no bytes': () => new Uint8Array(0),
};

const P256_ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');

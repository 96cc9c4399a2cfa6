/** The public keys that clients sign with, as JWKs (RFC 7517), and their thumbprints (RFC 7638). */
import { parseBase64url, utf8 } from './bytes.ts';
import { isObject } from './json.ts';

/** The algorithms that clients may sign assertions and proofs with (FAPI 2.0 Security Profile §5.4.1). */
export const CLIENT_ALGORITHMS = ['ES256', 'EdDSA', 'PS256'] as const;
/** One of `CLIENT_ALGORITHMS`. */
export type ClientAlgorithm = (typeof CLIENT_ALGORITHMS)[number];

/** A client's public key and the only algorithm it is used with. A header never chooses the algorithm (RFC 8725 §3.1). */
export interface ClientPublicKey {
  readonly algorithm: ClientAlgorithm;
  /** Only the required members, in the order of their names: what RFC 7638 §3 hashes, and what we store. */
  readonly jwk: Readonly<Record<string, string>>;
}

/** Why a JWK cannot be a client's public key. */
export type JwkFault = 'not_an_object' | 'private' | 'unknown_kind' | 'malformed' | 'wrong_use' | 'weak';

/** The bounds of an RSA modulus, in bits. A shorter key is weak; a longer one lets a client make verification expensive. */
const RSA_BITS_MIN = 2048;
const RSA_BITS_MAX = 8192;

/**
 * Parses a JWK (RFC 7517 §4), or says why it cannot be a client's public key. Private and symmetric members are refused
 * and not dropped: the sender has just disclosed a secret and must learn of it (RFC 7517 §9.3, RFC 9449 §4.3).
 */
export function parsePublicJwk(value: unknown): ClientPublicKey | JwkFault {
  if (!isObject(value)) return 'not_an_object';
  const members = new Map<string, unknown>(Object.entries(value));
  if (['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'].some((name) => members.has(name))) return 'private';
  const use = members.get('use');
  if (use !== undefined && use !== 'sig') return 'wrong_use';
  const key = parseKeyMembers(members);
  if (typeof key === 'string') return key;
  const alg = members.get('alg');
  return alg === undefined || alg === key.algorithm ? key : 'unknown_kind';
}

function parseKeyMembers(members: ReadonlyMap<string, unknown>): ClientPublicKey | JwkFault {
  const textOf = (name: string): string => {
    const text = members.get(name);
    return typeof text === 'string' ? text : '';
  };
  const decoded = (name: string): Uint8Array | undefined => parseBase64url(textOf(name));
  const required = (...names: readonly string[]): Record<string, string> =>
    Object.fromEntries(names.map((name) => [name, textOf(name)]));
  const kind = `${textOf('kty')} ${textOf('crv')}`;
  if (kind === 'EC P-256') {
    if (decoded('x')?.length !== 32 || decoded('y')?.length !== 32) return 'malformed';
    return { algorithm: 'ES256', jwk: required('crv', 'kty', 'x', 'y') };
  }
  if (kind === 'OKP Ed25519') {
    return decoded('x')?.length === 32 ? { algorithm: 'EdDSA', jwk: required('crv', 'kty', 'x') } : 'malformed';
  }
  if (kind === 'RSA ') {
    const modulus = decoded('n');
    const exponent = decoded('e');
    if (modulus === undefined || exponent === undefined || modulus[0] === 0) return 'malformed';
    const bits = modulus.length * 8 - (Math.clz32(modulus[0] ?? 0) - 24);
    // Only 65537: small exponents have broken schemes, and a huge one makes each verification slow.
    const isUsual = exponent.length === 3 && exponent[0] === 1 && exponent[1] === 0 && exponent[2] === 1;
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX || !isUsual) return 'weak';
    return { algorithm: 'PS256', jwk: required('e', 'kty', 'n') };
  }
  return 'unknown_kind';
}

/** The bytes to hash for a key's thumbprint (RFC 7638 §3): its required members in order, without white space. */
export function thumbprintInput({ jwk }: ClientPublicKey): Uint8Array {
  return utf8(JSON.stringify(jwk));
}

/** A compact JWS to its parts, strictly (RFC 7515 §7.1), and the public keys that such things are signed with (RFC 7517). */
import { isBase64url, parseBase64url, utf8 } from './bytes.ts';
import { isObject, parseStrictObject } from './json.ts';

/** The parts of a JWS, not yet believed. */
export interface UnverifiedJws {
  readonly header: ReadonlyMap<string, unknown>;
  /** The segment of the header, as it came. */
  readonly headerText: string;
  readonly signingInput: string;
  readonly signature: () => Uint8Array;
  readonly payload: () => Uint8Array;
  /** Parses the claims; call it when the signature has been found good, never before. */
  readonly claims: () => ReadonlyMap<string, unknown> | undefined;
}

/** A header that was read before. */
export interface KnownHeader {
  /** The segment. */
  readonly text: string;
  readonly members: ReadonlyMap<string, unknown>;
}

/** A text to the parts of a compact JWS with a JSON object inside; undefined when it has not that form. */
export function parseJws(text: string, known?: KnownHeader): UnverifiedJws | undefined {
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  // Two at the least; a third one would stand in the signature, and is no character of it.
  if (second < 0) return undefined;
  const [headerText, payload, signature] = [
    text.slice(0, first),
    text.slice(first + 1, second),
    text.slice(second + 1),
  ];
  const header = known?.text === headerText ? known.members : parseMembers(headerText);
  if (header === undefined || !isBase64url(payload) || !isBase64url(signature)) return undefined;
  return {
    header,
    headerText,
    signingInput: text.slice(0, second),
    signature: () => bytesOf(signature),
    payload: () => bytesOf(payload),
    claims: () => parseMembers(payload),
  };
}

/** The bytes of what was found to be base64url. */
function bytesOf(text: string): Uint8Array {
  return parseBase64url(text) ?? new Uint8Array();
}

/**
 * Whether a header asks for a treatment that is not given here: any `crit`, since no extension is understood (RFC 7515
 * §4.1.11), and `b64`, which changes what is signed (RFC 7797 §6). Whatever else a header says and nobody reads is
 * ignored (RFC 7515 §4): it can name neither a key nor an algorithm.
 */
export function asksForMore(header: ReadonlyMap<string, unknown>): boolean {
  return header.has('crit') || header.has('b64');
}

/** A segment to the members of the JSON object in it. */
function parseMembers(segment: string): ReadonlyMap<string, unknown> | undefined {
  const bytes = parseBase64url(segment);
  const object = bytes === undefined ? undefined : parseStrictObject(bytes);
  return object === undefined ? undefined : new Map<string, unknown>(Object.entries(object));
}

/** The algorithms that clients may sign with, in assertions and proofs (FAPI 2.0 Security Profile §5.4.1). */
export const CLIENT_ALGORITHMS = ['ES256', 'EdDSA', 'PS256'] as const;
export type ClientAlgorithm = (typeof CLIENT_ALGORITHMS)[number];

/** A public key of a client with the one algorithm that it is for: a header never chooses (RFC 8725 §3.1). */
export interface ClientPublicKey {
  readonly algorithm: ClientAlgorithm;
  /** The required members alone, in the order of their names: what RFC 7638 §3 hashes, and what is kept. */
  readonly jwk: Readonly<Record<string, string>>;
}

/** Why a JWK cannot be a client's public key. */
export type JwkFault = 'not_an_object' | 'private' | 'unknown_kind' | 'malformed' | 'wrong_use' | 'weak';

/** The bounds of an RSA key, in bits of its modulus: below it is weak, above it costs whoever verifies (CVE-2025-29775's kind). */
const RSA_BITS_MIN = 2048;
const RSA_BITS_MAX = 8192;

/**
 * A JWK to the public key in it, or why not. Private and symmetric members are refused rather than dropped: whoever sent
 * them has just given a secret away, and must hear of it (RFC 7517 §9.3, RFC 9449 §4.3).
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
    // 65537 alone: 3 has had its accidents, and a huge one makes each verification a small attack.
    const usual = exponent.length === 3 && exponent[0] === 1 && exponent[1] === 0 && exponent[2] === 1;
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX || !usual) return 'weak';
    return { algorithm: 'PS256', jwk: required('e', 'kty', 'n') };
  }
  return 'unknown_kind';
}

/** What is hashed for the thumbprint of a key (RFC 7638 §3): its required members in order, without white space. */
export function thumbprintInput({ jwk }: ClientPublicKey): Uint8Array {
  return utf8(JSON.stringify(jwk));
}

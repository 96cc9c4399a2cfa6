/** Splits a compact JWS strictly into its parts (RFC 7515 §7.1). */
import { isBase64url, parseBase64url } from './bytes.ts';
import { parseStrictObject } from './json.ts';

/** The longest `jti` of an assertion or a proof, in characters. It is remembered, so it must have a bound. */
export const JTI_LENGTH_MAX = 256;

/** The parts of a JWS whose signature has not been checked yet. */
export interface UnverifiedJws {
  readonly header: ReadonlyMap<string, unknown>;
  /** The first segment, as received. */
  readonly headerText: string;
  readonly signingInput: string;
  readonly signature: () => Uint8Array;
  readonly payload: () => Uint8Array;
  /** Parses the claims; undefined when they are not a JSON object, or name a member twice. Check the signature first. */
  readonly claims: () => ReadonlyMap<string, unknown> | undefined;
}

/** A header that was parsed before. */
export interface KnownHeader {
  /** Its segment. */
  readonly text: string;
  readonly members: ReadonlyMap<string, unknown>;
}

/**
 * Splits a text into the parts of a compact JWS with a JSON object as its header; undefined when it does not have that
 * form, or a segment is not strict base64url. Never throws. Pass the `known` header to save parsing it again.
 */
export function parseJws(text: string, known?: KnownHeader): UnverifiedJws | undefined {
  const first = text.indexOf('.');
  const second = text.indexOf('.', first + 1);
  // A third dot would be part of the signature, and base64url has no dot.
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

/** Decodes a segment that passed `isBase64url`. */
function bytesOf(text: string): Uint8Array {
  return parseBase64url(text) ?? new Uint8Array();
}

/**
 * Whether a header needs an extension that we do not have: any `crit` (RFC 7515 §4.1.11), and `b64`, which changes what
 * is signed (RFC 7797 §6). Other unknown members are ignored (RFC 7515 §4). They can choose neither key nor algorithm.
 */
export function needsExtension(header: ReadonlyMap<string, unknown>): boolean {
  return header.has('crit') || header.has('b64');
}

/** Parses a segment as the members of a JSON object. */
function parseMembers(segment: string): ReadonlyMap<string, unknown> | undefined {
  const bytes = parseBase64url(segment);
  const object = bytes === undefined ? undefined : parseStrictObject(bytes);
  return object === undefined ? undefined : new Map<string, unknown>(Object.entries(object));
}

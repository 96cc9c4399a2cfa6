/**
 * The refresh token: a self-contained, authenticated, deterministic encoding of its grant's state (contract §3, §5).
 *
 *   "hprt_" base64url( version 1 byte | key id 8 bytes | payload | HMAC-SHA-256 32 bytes )
 *
 * It is self-contained so that a first refresh token needs no row, and deterministic so that a lost answer can be sent
 * again, byte for byte, from what was stored at the rotation. The tag covers everything before it, the prefix included.
 * The payload is not read until the tag has been found good.
 */
import { concatBytes, parseBase64url, printBase64url, utf8 } from './bytes.ts';
import { isNumericDate } from './access_token.ts';
import type { NumericDate } from './clock.ts';
import { isIdentifier } from './identifier.ts';
import { parseJson } from './json.ts';

/** The prefix of every refresh token. Scanners for leaked secrets can look for it. */
export const REFRESH_TOKEN_PREFIX = 'hprt_';
/** The longest refresh token, in characters. It has to fit in a body with the other parameters. */
export const REFRESH_TOKEN_LENGTH_MAX = 14_336;
/** The length of a MAC key's id, in bytes. */
export const REFRESH_KEY_ID_BYTES = 8;
const TAG_BYTES = 32;
const VERSION = 1;

/** The state of a grant at one generation, as its refresh token holds it. */
export interface RefreshTokenState {
  readonly grantId: string;
  /** 0 for the family's first token; each rotation adds 1. */
  readonly generation: number;
  readonly clientId: string;
  /** When this generation was made. */
  readonly issuedAt: NumericDate;
  /** When this token expires, if the family does not rotate before that. */
  readonly expiresAt: NumericDate;
  /** The scopes first granted, separated by single spaces. Narrowing at a refresh does not change them. */
  readonly scope: string;
  /** The audiences first granted. */
  readonly audiences: readonly string[];
}

/** A key that authenticates refresh tokens. */
export interface RefreshKey {
  /** 8 bytes as base64url. */
  readonly keyId: string;
  /** The HMAC-SHA-256 of these bytes: 32 bytes. */
  readonly mac: (bytes: Uint8Array) => Uint8Array;
}

/**
 * Seals a state in a token. The same state and key always give the same token. Do not issue one longer than
 * `REFRESH_TOKEN_LENGTH_MAX`: it could not be opened. Throws for a key whose id is not 8 bytes.
 */
export function sealRefreshToken(state: RefreshTokenState, key: RefreshKey): string {
  const { grantId, generation, clientId, issuedAt, expiresAt, scope, audiences } = state;
  const payload = utf8(JSON.stringify([grantId, generation, clientId, issuedAt, expiresAt, scope, ...audiences]));
  const keyId = parseBase64url(key.keyId);
  if (keyId?.length !== REFRESH_KEY_ID_BYTES) throw new Error('a MAC key has an id of eight bytes');
  const body = concatBytes(Uint8Array.of(VERSION), keyId, payload);
  return REFRESH_TOKEN_PREFIX + printBase64url(concatBytes(body, key.mac(tagInput(body))));
}

/** Opens a token; undefined unless the key it names is known and its tag is good. Never throws. */
export function openRefreshToken(
  token: string,
  keys: {
    readonly find: (keyId: string) => RefreshKey | undefined;
    /** Compares in constant time, so that timing does not show how much of a forged tag was right. */
    readonly equal: (a: Uint8Array, b: Uint8Array) => boolean;
  },
): RefreshTokenState | undefined {
  if (!token.startsWith(REFRESH_TOKEN_PREFIX) || token.length > REFRESH_TOKEN_LENGTH_MAX) return undefined;
  const bytes = parseBase64url(token.slice(REFRESH_TOKEN_PREFIX.length));
  const payloadStart = 1 + REFRESH_KEY_ID_BYTES;
  if (bytes === undefined || bytes.length <= payloadStart + TAG_BYTES || bytes[0] !== VERSION) return undefined;
  const body = bytes.subarray(0, -TAG_BYTES);
  const key = keys.find(printBase64url(body.subarray(1, payloadStart)));
  if (key === undefined || !keys.equal(key.mac(tagInput(body)), bytes.subarray(-TAG_BYTES))) return undefined;
  return parsePayload(body.subarray(payloadStart));
}

/** The tag covers the prefix too, so that a tag for another kind of token is never good here. */
function tagInput(body: Uint8Array): Uint8Array {
  return concatBytes(utf8(REFRESH_TOKEN_PREFIX), body);
}

function parsePayload(bytes: Uint8Array): RefreshTokenState | undefined {
  const payload = parseJson(bytes);
  if (!Array.isArray(payload)) return undefined;
  const [grantId, generation, clientId, issuedAt, expiresAt, scope, ...audiences]: unknown[] = payload;
  if (!isIdentifier(grantId) || !isNumericDate(generation) || typeof clientId !== 'string') return undefined;
  if (!isNumericDate(issuedAt) || !isNumericDate(expiresAt) || typeof scope !== 'string') return undefined;
  const texts = audiences.filter((audience) => typeof audience === 'string');
  if (texts.length < audiences.length || texts.length === 0) return undefined;
  return { grantId, generation, clientId, issuedAt, expiresAt, scope, audiences: texts };
}

/**
 * The refresh token: a self-contained, authenticated, deterministic encoding of where its grant stands (contract §3, §5).
 *
 *   "hprt_" base64url( version 1 byte | key id 8 bytes | payload | HMAC-SHA-256 32 bytes )
 *
 * Self-contained, so that a first refresh token needs no row. Deterministic, so that an answer that was lost can be
 * made again, byte for byte, from what was stored at the rotation. The tag covers everything before it; nothing in the
 * payload is looked at until the tag has been found good.
 */
import { concatBytes, parseBase64url, printBase64url, utf8 } from './bytes.ts';
import { isNumericDate } from './access_token.ts';
import type { NumericDate } from './clock.ts';
import { isIdentifier } from './identifier.ts';
import { parseJson } from './json.ts';

/** What every refresh token starts with; a scanner for leaked secrets can look for it. */
export const REFRESH_TOKEN_PREFIX = 'hprt_';
/** The longest refresh token, in characters: it has to fit in a body beside the rest. */
export const REFRESH_TOKEN_LENGTH_MAX = 14_336;
/** The length of a MAC key's id, in bytes, and of the tag. */
export const REFRESH_KEY_ID_BYTES = 8;
const TAG_BYTES = 32;
const VERSION = 1;

/** Where a grant stands: what the token of one generation says. */
export interface RefreshTokenState {
  readonly grantId: string;
  /** 0 for the first token of the family, one more with each rotation. */
  readonly generation: number;
  readonly clientId: string;
  /** When this generation was made. */
  readonly issuedAt: NumericDate;
  /** When this token ends, unless the family has rotated since: `oauth/grant_end.ts` has the rule. */
  readonly expiresAt: NumericDate;
  /** The scopes as first granted, one space between; narrowing at a refresh does not touch them. */
  readonly scope: string;
  /** The audiences as first granted. */
  readonly audiences: readonly string[];
}

/** A MAC key, as far as this file needs to know it. */
export interface RefreshKey {
  /** 8 bytes as base64url. */
  readonly keyId: string;
  /** HMAC-SHA-256, 32 bytes. */
  readonly mac: (bytes: Uint8Array) => Uint8Array;
}

/**
 * A state to its token; the same state and key always give the same token. One that is longer than
 * `REFRESH_TOKEN_LENGTH_MAX` must not be given out: nobody could open it.
 */
export function sealRefreshToken(state: RefreshTokenState, key: RefreshKey): string {
  const { grantId, generation, clientId, issuedAt, expiresAt, scope, audiences } = state;
  const payload = utf8(JSON.stringify([grantId, generation, clientId, issuedAt, expiresAt, scope, ...audiences]));
  const keyId = parseBase64url(key.keyId);
  if (keyId?.length !== REFRESH_KEY_ID_BYTES) throw new Error('a MAC key has an id of eight bytes');
  const body = concatBytes(Uint8Array.of(VERSION), keyId, payload);
  return REFRESH_TOKEN_PREFIX + printBase64url(concatBytes(body, key.mac(tagInput(body))));
}

/** A token to its state, when the key it names is known and its tag is good; undefined otherwise. Never throws. */
export function openRefreshToken(
  token: string,
  keys: {
    readonly find: (keyId: string) => RefreshKey | undefined;
    /** Compares in constant time: how far a forged tag was right must not show. */
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

/** The prefix is under the tag as well, so that the key can never be made to speak for another kind of token. */
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

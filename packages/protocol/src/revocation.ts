/** Revocations as the feed carries them (contract §9 Feed), and which tokens they end. */
import { isNumericDate, type AccessTokenClaims } from './access_token.ts';
import type { NumericDate } from './clock.ts';
import { lineageOf } from './identifier.ts';

/**
 * What a revocation ends.
 *   token   one access token and those exchanged for it; `id` is its `jti`
 *   grant   a family with all its tokens; `id` is its `grant_id`
 *   client  every token of one client issued before `before`; `id` is its `client_id`
 *   before  every token of the issuer issued before `before`; `id` is `*`
 */
export type RevocationKind = 'token' | 'grant' | 'client' | 'before';

/** A revocation, with the member names of the feed. */
export interface Revocation {
  readonly kind: RevocationKind;
  readonly id: string;
  /** Only with `client` and `before`: tokens with an `iat` below this are revoked. */
  readonly before?: NumericDate;
  /** When every token that this covers has expired. The entry can be forgotten then. */
  readonly expires_at: NumericDate;
}

/** A revocation with its position in the feed. */
export interface RevocationEntry extends Revocation {
  /** Where to continue reading, opaque. Send it back as `Last-Event-ID` or `?after=`. */
  readonly cursor: string;
}

/** The longest cursor, in characters. */
export const CURSOR_LENGTH_MAX = 64;
const CURSOR = /^[A-Za-z0-9_-]+$/;
const KINDS: readonly string[] = ['token', 'grant', 'client', 'before'] satisfies RevocationKind[];

/** Parses an entry of the feed; undefined when it is not one. Unknown members are ignored. Never throws. */
export function parseRevocationEntry(value: unknown): RevocationEntry | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const members = new Map<string, unknown>(Object.entries(value));
  const cursor = members.get('cursor');
  const kind = members.get('kind');
  const id = members.get('id');
  const before = members.get('before');
  const expires_at = members.get('expires_at');
  if (!isCursor(cursor) || !isKind(kind) || typeof id !== 'string' || id === '') return undefined;
  if (!isNumericDate(expires_at)) return undefined;
  const wantsBefore = kind === 'client' || kind === 'before';
  if (!wantsBefore) return { cursor, kind, id, expires_at };
  return isNumericDate(before) ? { cursor, kind, id, before, expires_at } : undefined;
}

/** Whether a value has the form of a cursor. A cursor goes into an event stream, so it must not hold a line break. */
export function isCursor(value: unknown): value is string {
  return typeof value === 'string' && value.length <= CURSOR_LENGTH_MAX && CURSOR.test(value);
}

function isKind(value: unknown): value is RevocationKind {
  return typeof value === 'string' && KINDS.includes(value);
}

/** Whether a revocation ends this token. */
export function revokes(
  revocation: Revocation,
  token: Pick<AccessTokenClaims, 'jti' | 'grant_id' | 'client_id' | 'iat'>,
): boolean {
  switch (revocation.kind) {
    case 'token':
      return lineageOf(token.jti).includes(revocation.id);
    case 'grant':
      return revocation.id === token.grant_id;
    case 'client':
      return revocation.id === token.client_id && token.iat < (revocation.before ?? Infinity);
    case 'before':
      return token.iat < (revocation.before ?? Infinity);
  }
}

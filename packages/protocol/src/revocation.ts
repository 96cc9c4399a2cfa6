/** A revocation as the feed carries it (contract §9 Feed), and what it means for a token. */
import { isNumericDate, type AccessTokenClaims } from './access_token.ts';
import type { NumericDate } from './clock.ts';
import { lineageOf } from './identifier.ts';

/**
 * What is revoked.
 *   token   one access token and those that were cut from it; `id` is its `jti`
 *   grant   a family with all its tokens; `id` is its `grant_id`
 *   client  every token of one client issued before `before`; `id` is its `client_id`
 *   before  every token of the issuer issued before `before`; `id` is `*`
 */
export type RevocationKind = 'token' | 'grant' | 'client' | 'before';

export interface Revocation {
  readonly kind: RevocationKind;
  readonly id: string;
  /** With `client` and `before`, and only there: tokens whose `iat` is below this are dead. */
  readonly before?: NumericDate;
  /** When no token that this is about can be alive any more; the entry may be forgotten then. */
  readonly expires_at: NumericDate;
}

/** A revocation in its place in the feed. */
export interface RevocationEntry extends Revocation {
  /** Opaque; where to go on reading. Given back as `Last-Event-ID` or `?after=`. */
  readonly cursor: string;
}

/** The longest cursor, in characters. */
export const CURSOR_LENGTH_MAX = 64;
const CURSOR = /^[A-Za-z0-9_-]+$/;
const KINDS: readonly string[] = ['token', 'grant', 'client', 'before'] satisfies RevocationKind[];

/** A value from the feed to an entry; undefined when it is none. Unknown members are ignored. */
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

/** Whether a text can be a cursor. */
export function isCursor(value: unknown): value is string {
  return typeof value === 'string' && value.length <= CURSOR_LENGTH_MAX && CURSOR.test(value);
}

function isKind(value: unknown): value is RevocationKind {
  return typeof value === 'string' && KINDS.includes(value);
}

/** Whether a revocation ends a token. */
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

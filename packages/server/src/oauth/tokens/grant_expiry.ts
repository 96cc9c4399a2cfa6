/**
 * When a grant expires (contract §3 Lifetimes): `refreshSeconds` after its last rotation, or after its first token if it was
 * never refreshed, and never later than `refreshMaxSeconds` after its first token. Every refresh is authenticated by the
 * key, so only a grant that nobody uses any more expires (ADR 41). Pure rules.
 */
import { momentOfIdentifier, numericDate, type NumericDate, type RefreshTokenState } from '@hallpass/protocol';
import type { Family } from '../../store/store.ts';
import type { Lifetimes } from './lifetimes.ts';

type Limits = Pick<Lifetimes, 'refreshSeconds' | 'refreshMaxSeconds'>;

/** When a grant's next refresh token expires if it is made at `issuedAt`. */
export function expiryOfNextToken(grantId: string, issuedAt: NumericDate, limits: Limits): NumericDate {
  return Math.min(issuedAt + limits.refreshSeconds, latestExpiry(grantId, limits));
}

/**
 * When a grant expires as things stand: what was sealed or stored at its last rotation, or sooner if a setting or the key
 * was tightened since. The same for a predecessor: while its grant lives it returns the newest token, however late
 * (contract §3). `family` is undefined for a grant that was never refreshed.
 */
export function expiryOfGrant(
  {
    grantId,
    generation,
    issuedAt,
    expiresAt,
  }: Pick<RefreshTokenState, 'grantId' | 'generation' | 'issuedAt' | 'expiresAt'>,
  family: Pick<Family, 'generation' | 'rotatedAt' | 'expiresAt'> | undefined,
  limits: Limits,
): NumericDate {
  // A token that is newer than the store's row knows its expiry better than the store does.
  const storeKnows = family !== undefined && family.generation >= generation;
  const newest = storeKnows
    ? { madeAt: numericDate(family.rotatedAt), expiresAt: family.expiresAt }
    : { madeAt: issuedAt, expiresAt };
  return Math.min(newest.expiresAt, expiryOfNextToken(grantId, newest.madeAt, limits));
}

/** A grant's identifier holds the moment of its first token. */
function latestExpiry(grantId: string, { refreshMaxSeconds = Infinity }: Limits): number {
  return numericDate(momentOfIdentifier(grantId)) + refreshMaxSeconds;
}

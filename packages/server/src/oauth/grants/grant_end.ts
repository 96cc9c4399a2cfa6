/**
 * When a grant ends (contract §3 Lifetimes): `refreshSeconds` after its last rotation, or its first token where there was
 * none, and never later than `refreshMaxSeconds` after its first token. Every refresh is authenticated by the key, so it
 * is a grant that nobody uses any more which ends (ADR 41). Pure rules.
 */
import { momentOfIdentifier, numericDate, type NumericDate, type RefreshTokenState } from '@hallpass/protocol';
import type { Family } from '../../store/store.ts';
import type { Lifetimes } from '../authority.ts';

type Limits = Pick<Lifetimes, 'refreshSeconds' | 'refreshMaxSeconds'>;

/** When the next token of a grant ends that is made at `issuedAt`. */
export function endOfNext(grantId: string, issuedAt: NumericDate, limits: Limits): NumericDate {
  return Math.min(issuedAt + limits.refreshSeconds, latestEnd(grantId, limits));
}

/**
 * When a grant ends as things stand: by what was sealed or kept at its last rotation, or sooner, where a setting or the key
 * was tightened since. For a predecessor as well: while its grant lives it gets the newest token, however late (contract
 * §3). `family` is undefined for a grant that was never refreshed.
 */
export function endOfGrant(
  {
    grantId,
    generation,
    issuedAt,
    expiresAt,
  }: Pick<RefreshTokenState, 'grantId' | 'generation' | 'issuedAt' | 'expiresAt'>,
  family: Pick<Family, 'generation' | 'rotatedAt' | 'expiresAt'> | undefined,
  limits: Limits,
): NumericDate {
  // A token that is newer than the store knows more of its end than the store does.
  const isBehind = family !== undefined && family.generation >= generation;
  const newest = isBehind
    ? { madeAt: numericDate(family.rotatedAt), end: family.expiresAt }
    : { madeAt: issuedAt, end: expiresAt };
  return Math.min(newest.end, endOfNext(grantId, newest.madeAt, limits));
}

/** The identifier of a grant holds the moment of its first token. */
function latestEnd(grantId: string, { refreshMaxSeconds = Infinity }: Limits): number {
  return numericDate(momentOfIdentifier(grantId)) + refreshMaxSeconds;
}

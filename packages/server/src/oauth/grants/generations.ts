/** The rule of generations (contract §3): what a refresh token is worth, by how its generation compares to the newest. */
import { numericDate, type RefreshTokenState } from '@hallpass/protocol';
import type { Family } from '../../store/store.ts';
import type { RefreshKeyIds } from './grant.ts';

/** How long the token before the predecessor is refused without revoking the grant, in milliseconds: a slow tab. */
const SLOW_TAB_MS = 10_000;

/** How the generation of a refresh token compares to the newest one. */
export type Standing = 'newest' | 'predecessor' | 'late' | 'reused' | 'newer_than_store';

/**
 * How a refresh token compares to its family. A token of the newest generation that was made at another moment than the
 * stored one comes from another history of the store, like one that is newer. `family` is undefined for a grant that was
 * never refreshed: its newest generation is 0. `now` is in milliseconds; `graceSeconds` limits how long after a rotation
 * the predecessor still works.
 */
export function judgeGeneration({
  presented: { generation, issuedAt },
  family,
  now,
  graceSeconds,
}: {
  readonly presented: Pick<RefreshTokenState, 'generation' | 'issuedAt'>;
  readonly family: Pick<Family, 'generation' | 'rotatedAt'> | undefined;
  readonly now: number;
  readonly graceSeconds: number | undefined;
}): Standing {
  const newest = family?.generation ?? 0;
  const sinceRotation = now - (family?.rotatedAt ?? now);
  if (generation > newest) return 'newer_than_store';
  if (generation === newest) {
    const isOurs = family === undefined || issuedAt === numericDate(family.rotatedAt);
    return isOurs ? 'newest' : 'newer_than_store';
  }
  if (generation === newest - 1) {
    const inTime = graceSeconds === undefined || (graceSeconds > 0 && sinceRotation <= graceSeconds * 1000);
    return inTime ? 'predecessor' : 'reused';
  }
  return generation === newest - 2 && sinceRotation <= SLOW_TAB_MS ? 'late' : 'reused';
}

/**
 * Whether the newest token of a family can be made again. Without the key that sealed it the token is dead, and the
 * client asks for a new grant with its own secret.
 */
export function canRepeat(keys: Pick<RefreshKeyIds, 'has'>, family: Family | undefined): boolean {
  return family !== undefined && keys.has(family.keyId);
}

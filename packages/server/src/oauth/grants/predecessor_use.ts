/**
 * Judges the use of a predecessor, the refresh token just before the newest (contract §10). It still returns the newest one,
 * because a lost response or a second tab uses it too. But an owner and a thief who share a grant can only go on by taking
 * turns: one rotates, the other follows with the predecessor, in every generation. A pure rule; the store records what it
 * finds.
 */
import type { Family, PredecessorShown } from '../../store/store.ts';

/** How long after the rotation a retry or a second tab may still use the predecessor, in milliseconds. */
const PREDECESSOR_LATE_MS = 60_000;
/** In how many successive generations the predecessor must be used before that is suspicious. */
const SUCCESSIVE_PREDECESSORS_MIN = 3;

/** What to record about a predecessor that is used at `now` (milliseconds); undefined: nothing new. */
export function judgePredecessorUse(family: Family, now: number): PredecessorShown | undefined {
  const { grantId, clientId, generation, rotatedAt, shownGeneration, shownInARow, suspectedGeneration } = family;
  const isFirst = shownGeneration < generation;
  const before = shownGeneration === generation - 1 ? shownInARow : 0;
  const inARow = isFirst ? before + 1 : shownInARow;
  const sinceRotation = now - rotatedAt;
  const reason =
    inARow >= SUCCESSIVE_PREDECESSORS_MIN
      ? ('successive' as const)
      : sinceRotation > PREDECESSOR_LATE_MS
        ? ('late' as const)
        : undefined;
  const shown = { grantId, generation, inARow };
  if (reason === undefined || suspectedGeneration >= generation) return isFirst ? shown : undefined;
  const seconds = Math.round(sinceRotation / 1000);
  const detail = `${reason}: generation ${generation - 1} of ${generation}, ${seconds} s after its rotation, ${inARow} in a row`;
  return {
    ...shown,
    suspicion: { reason, event: { at: now, kind: 'refresh_token_turns', clientId, grantId, detail } },
  };
}

/**
 * What it means that the predecessor of a grant's newest refresh token is shown (contract §10). It still gets the newest
 * one, since a lost answer or a second tab shows it too. But an owner and a thief who share a grant can only go on by
 * taking turns: one rotates, the other follows with the predecessor, in every generation. A pure rule; the store
 * remembers what it finds.
 */
import type { Family, PredecessorShown } from '../../store/store.ts';

/** How long after its rotation a predecessor is what a retry or a second tab shows, in milliseconds. */
const PREDECESSOR_LATE_MS = 60_000;
/** In how many successive generations it is shown before that is suspicious. */
const SUCCESSIVE_PREDECESSORS_MIN = 3;

/** What is to be remembered of a predecessor that is shown at `now` (milliseconds); undefined: it is known already. */
export function judgePredecessor(family: Family, now: number): PredecessorShown | undefined {
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

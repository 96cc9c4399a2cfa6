/** Finds which known name a misspelled one probably meant, for the "did you mean" of an error. */

/** The `countMax` names most like this one, the best first. A name is judged by the characters it shares at start and end. */
export function findNearest(name: string, names: readonly string[], countMax = 1): readonly string[] {
  const scored = names.map((other) => ({ other, score: likeness(other, name) }));
  return scored
    .toSorted((a, b) => b.score - a.score)
    .slice(0, countMax)
    .map(({ other }) => other);
}

/** Whether a name may be a misspelling of another: together, start and end share half of the shorter one. */
export function isLike(name: string, other: string): boolean {
  return countShared(other, name) >= Math.min(name.length, other.length) / 2;
}

function likeness(other: string, name: string): number {
  return countShared(other, name) - Math.abs(name.length - other.length) / 2;
}

function countShared(other: string, name: string): number {
  let head = 0;
  while (head < name.length && name[head] === other[head]) head += 1;
  let tail = 0;
  while (tail < name.length - head && name.at(-1 - tail) === other.at(-1 - tail)) tail += 1;
  return head + tail;
}

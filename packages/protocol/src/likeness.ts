/** Which of some names was probably meant by one that is not among them: for the end of an error's sentence. */

/** The names most like it, the likest first: those that share the most characters at their start and their end. */
export function findNearest(name: string, names: readonly string[], countMax = 1): readonly string[] {
  const scored = names.map((other) => ({ other, score: likeness(other, name) }));
  return scored
    .toSorted((a, b) => b.score - a.score)
    .slice(0, countMax)
    .map(({ other }) => other);
}

/** Whether a name may be a misspelling of another: they share half of the shorter one, at its start and its end. */
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

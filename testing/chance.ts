/** Random choices that can be repeated: the same seed gives the same choices. */
export interface Chance {
  /** 0 to just below 1. */
  readonly next: () => number;
  /** From `min` to just below `max`. */
  readonly between: (min: number, max: number) => number;
  /** Up to `count` of the items, each at most once. */
  readonly sample: <Item>(items: readonly Item[], count: number) => readonly Item[];
}

/** The choices of a seed, by Mulberry32: 32 bits of state are plenty for choosing when to kill. */
export function chanceOf(seed: number): Chance {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (min, max) => min + next() * (max - min),
    sample: (items, count) => {
      if (items.length <= count) return items;
      const chosen = new Set<number>();
      while (chosen.size < count) chosen.add(Math.floor(next() * items.length));
      return [...chosen].flatMap((at) => items.slice(at, at + 1));
    },
  };
}

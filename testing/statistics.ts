/** The middle value; of an even number of values, the lower of the two. Throws if there are none. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The smallest value that at least this percentage of the values does not exceed. Throws if there are none. */
export function percentile(values: readonly number[], percent: number): number {
  const ordered = values.toSorted((a, b) => a - b);
  const value = ordered[Math.max(0, Math.ceil((ordered.length * percent) / 100) - 1)];
  if (value === undefined) throw new RangeError('a percentile needs at least one value');
  return value;
}

/** Rounds to significant digits, for people. */
export function rounded(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}

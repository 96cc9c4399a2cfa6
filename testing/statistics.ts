/** The value in the middle, when they are put in order; of an even number the lower one. */
export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** The smallest value that at least this share of them, in percent, does not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const ordered = values.toSorted((a, b) => a - b);
  const value = ordered[Math.max(0, Math.ceil((ordered.length * percent) / 100) - 1)];
  if (value === undefined) throw new RangeError('there is no value to choose from');
  return value;
}

/** To so many significant digits, for people. */
export function rounded(value: number, digits = 3): number {
  return Number(value.toPrecision(digits));
}

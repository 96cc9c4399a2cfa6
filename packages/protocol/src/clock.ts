/** The clock and the random source. Both are arguments everywhere, so that a test can fix them. */

/** Whole seconds since 1970-01-01T00:00:00Z (RFC 7519 §2). */
export type NumericDate = number;

/** Where the time comes from. */
export interface Clock {
  /** Whole milliseconds since 1970-01-01T00:00:00Z. */
  readonly now: () => number;
}

/** Returns this many unpredictable bytes, in a new array that the caller may change. */
export type Random = (byteCount: number) => Uint8Array;

/** Converts milliseconds since 1970 to a NumericDate, rounding down. */
export function numericDate(milliseconds: number): NumericDate {
  return Math.floor(milliseconds / 1000);
}

/** Where time and chance come from. Both are arguments everywhere, so that a test can hold them still. */

/** Seconds since 1970-01-01T00:00:00Z, whole (RFC 7519 §2). */
export type NumericDate = number;

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z, whole. */
  readonly now: () => number;
}

/** That many bytes that nobody can predict. */
export type Random = (byteCount: number) => Uint8Array;

/** The second that an instant in milliseconds lies in. */
export function numericDate(milliseconds: number): NumericDate {
  return Math.floor(milliseconds / 1000);
}

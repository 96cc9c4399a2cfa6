/** Time and chance. Arguments everywhere else, so that a test can hold them still; this file alone touches the real ones. */
export interface Surroundings {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly now: () => number;
  /** A number from 0 up to but not including 1; good enough to spread retries, and for nothing else. */
  readonly random: () => number;
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Rings once after that time, unless what it gives back is called before. */
  readonly alarm: (milliseconds: number, ring: () => void) => () => void;
}

/** The real ones. */
export const REAL_SURROUNDINGS: Surroundings = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (milliseconds) =>
    new Promise((resolve) => {
      setTimeout(resolve, milliseconds);
    }),
  alarm: (milliseconds, ring) => {
    const timer = setTimeout(ring, milliseconds);
    return () => {
      clearTimeout(timer);
    };
  },
};

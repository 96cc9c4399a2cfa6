/** What the client takes from its runtime besides `fetch`. Only this file touches the real clock, timers and random source. */
export interface Runtime {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly now: () => number;
  /** A number from 0 up to but not including 1. Good enough to spread retries, and for nothing else. */
  readonly random: () => number;
  /** Resolves after this time. */
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Calls `onEnd` once after this time, unless the function it returns is called first. */
  readonly startTimer: (milliseconds: number, onEnd: () => void) => () => void;
}

/** The real clock, timers and random source. */
export const REAL_RUNTIME: Runtime = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (milliseconds) =>
    new Promise((resolve) => {
      setTimeout(resolve, milliseconds);
    }),
  startTimer: (milliseconds, onEnd) => {
    const timer = setTimeout(onEnd, milliseconds);
    return () => {
      clearTimeout(timer);
    };
  },
};

/** The clock that the server is given. Only `serving/system.ts` touches the real one; tests bring their own. */
import type { Clock } from '@hallpass/protocol';

/** A wall clock, a monotonic clock, and a way to wait. All in milliseconds. */
export interface ServerClock extends Clock {
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Time on a monotonic clock, which nobody can set. Its zero is arbitrary. */
  readonly elapsed: () => number;
}

/** An instant that is over at the issuer, whatever this machine's clock says: what ended before it may be forgotten. */
import { ACCESS_TOKEN_SECONDS_MAX, numericDate, type Clock, type NumericDate } from '@hallpass/protocol';
import type { IssuerTime } from './issuer_time.ts';
import type { GuardClock } from '../runtime.ts';

/**
 * How long a revocation matters at the most after it was heard of, in seconds: an hour of the token, a minute that the
 * issuer adds, a minute of leeway here, and one more for instances that disagree.
 */
export const REVOCATION_SECONDS_MAX = ACCESS_TOKEN_SECONDS_MAX + 180;

/**
 * Never later than the issuer's own time, nor than the time of day here, so that both have to be wrong before anything is
 * forgotten early. When the issuer's answers don't tell its time, it starts at this machine's, never runs faster than
 * `elapsed`, and stays behind by as long as any revocation can matter.
 */
export class TrailingClock implements Clock {
  readonly #clock: GuardClock;
  readonly #issuerTime: Pick<IssuerTime, 'earliest'>;
  /** Without the issuer's time: where this was, and when by `elapsed`; milliseconds. */
  #reached: number;
  #reachedAt: number;
  #latest: NumericDate = -Infinity;

  constructor(clock: GuardClock, issuerTime: Pick<IssuerTime, 'earliest'>) {
    this.#clock = clock;
    this.#issuerTime = issuerTime;
    this.#reached = clock.now();
    this.#reachedAt = clock.elapsed();
  }

  /** In milliseconds. May go back, with the time of day. */
  readonly now = (): number => {
    const wall = this.#clock.now();
    const elapsed = this.#clock.elapsed();
    this.#reached = Math.min(wall, this.#reached + (elapsed - this.#reachedAt));
    this.#reachedAt = elapsed;
    const issuer = this.#issuerTime.earliest();
    if (issuer === undefined) return this.#reached - REVOCATION_SECONDS_MAX * 1000;
    const past = Math.min(wall, issuer);
    // Up with time, and down only when the issuer says that it is not so late: never because the clock here was set back.
    this.#latest = Math.min(Math.max(this.#latest, numericDate(past)), numericDate(issuer));
    return past;
  };

  /**
   * The latest second that this ever gave, as long as the issuer agrees. What ended before it is over for good: its
   * revocation may be forgotten, and a clock that is set back must not bring it to life again.
   */
  get latest(): NumericDate {
    return this.#latest;
  }
}

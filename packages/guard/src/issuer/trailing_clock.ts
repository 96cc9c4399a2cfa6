/**
 * A clock that never runs ahead of the issuer's. Whatever has expired by it can be forgotten, even if this machine's
 * clock is wrong.
 */
import { ACCESS_TOKEN_SECONDS_MAX, numericDate, type Clock, type NumericDate } from '@hallpass/protocol';
import type { IssuerTime } from './issuer_time.ts';
import type { GuardClock } from '../runtime.ts';

/**
 * How long a revocation can matter after it arrived, in seconds: an hour for the token, a minute that the issuer adds,
 * a minute of leeway here, and one more for instances that disagree.
 */
export const REVOCATION_SECONDS_MAX = ACCESS_TOKEN_SECONDS_MAX + 180;

/**
 * Never ahead of the issuer's time or of this machine's, so both must be wrong before anything is forgotten early. If
 * the issuer's responses don't show its time, this clock starts at this machine's, never runs faster than `elapsed`,
 * and stays behind by as long as any revocation can matter.
 */
export class TrailingClock implements Clock {
  readonly #clock: GuardClock;
  readonly #issuerTime: Pick<IssuerTime, 'earliest'>;
  /** Used without the issuer's time: this clock's last reading, and `elapsed` then; milliseconds. */
  #reached: number;
  #reachedAt: number;
  #latest: NumericDate = -Infinity;

  constructor(clock: GuardClock, issuerTime: Pick<IssuerTime, 'earliest'>) {
    this.#clock = clock;
    this.#issuerTime = issuerTime;
    this.#reached = clock.now();
    this.#reachedAt = clock.elapsed();
  }

  /** In milliseconds. Can go back when the time of day does. */
  readonly now = (): number => {
    const wall = this.#clock.now();
    const elapsed = this.#clock.elapsed();
    this.#reached = Math.min(wall, this.#reached + (elapsed - this.#reachedAt));
    this.#reachedAt = elapsed;
    const issuer = this.#issuerTime.earliest();
    if (issuer === undefined) return this.#reached - REVOCATION_SECONDS_MAX * 1000;
    const past = Math.min(wall, issuer);
    // Moves forward with time. Moves back only if the issuer says that it's earlier, never because this machine's clock
    // was set back.
    this.#latest = Math.min(Math.max(this.#latest, numericDate(past)), numericDate(issuer));
    return past;
  };

  /**
   * The latest second this clock has shown, unless the issuer's time disagrees. Whatever expired before it is gone for
   * good: its revocation may have been forgotten, so setting the clock back must not bring it back to life.
   */
  get latest(): NumericDate {
    return this.#latest;
  }
}

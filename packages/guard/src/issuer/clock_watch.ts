/** Notices when the time of day was set, by comparing it with a monotonic clock. */
import type { GuardEvent } from '../guard_event.ts';
import type { GuardClock } from '../runtime.ts';

/** How far the time of day may move against the monotonic clock between two looks, in seconds. */
export const CLOCK_JUMP_SECONDS = 2;

/**
 * Called with the size of a jump, in seconds. A jump means that someone set the clock, or that the machine slept and
 * the monotonic clock stood still.
 */
export type OnJump = (seconds: number) => void;

/** Called by each check and each message on the feed, so at least once a second while the guard is connected. */
export class ClockWatch {
  readonly #clock: GuardClock;
  readonly #report: (event: GuardEvent) => void;
  #listeners: OnJump[] = [];
  /** The time of day minus `elapsed`. It follows slow drift: NTP corrects a clock by up to 43 s a day. */
  #difference: number;

  constructor(clock: GuardClock, report: (event: GuardEvent) => void) {
    this.#clock = clock;
    this.#report = report;
    this.#difference = clock.now() - clock.elapsed();
  }

  onJump(listener: OnJump): void {
    this.#listeners.push(listener);
  }

  /** Compares the clocks and returns `elapsed`. Listeners have been called when it returns. */
  look(): number {
    const elapsed = this.#clock.elapsed();
    const difference = this.#clock.now() - elapsed;
    const seconds = (difference - this.#difference) / 1000;
    this.#difference = difference;
    if (Math.abs(seconds) > CLOCK_JUMP_SECONDS) this.#jumped(seconds);
    return elapsed;
  }

  #jumped(seconds: number): void {
    this.#report({ kind: 'clock_jumped', seconds: Math.round(seconds) });
    for (const listener of this.#listeners) listener(seconds);
  }
}

/** Notices when the time of day was set, by a clock that nobody sets. */
import type { GuardEvent } from '../guard_event.ts';
import type { GuardClock } from '../runtime.ts';

/** How far the time of day may move against the clock that nobody sets, between two looks, in seconds. */
export const CLOCK_JUMP_SECONDS = 2;

/** What a jump may mean: nothing but a set clock, or that the machine slept while the clock that nobody sets stood still. */
export type OnJump = (seconds: number) => void;

/** Looked at with each check and each word of the feed, so at least once a second while the guard is connected. */
export class ClockWatch {
  readonly #clock: GuardClock;
  readonly #report: (event: GuardEvent) => void;
  #listeners: OnJump[] = [];
  /** The time of day less what has elapsed. Slow drift moves it along: NTP corrects a clock by up to 43 s a day. */
  #difference: number;

  constructor(clock: GuardClock, report: (event: GuardEvent) => void) {
    this.#clock = clock;
    this.#report = report;
    this.#difference = clock.now() - clock.elapsed();
  }

  onJump(listener: OnJump): void {
    this.#listeners.push(listener);
  }

  /** Compares the clocks; whoever listens hears of a jump before this returns. Gives `elapsed`. */
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

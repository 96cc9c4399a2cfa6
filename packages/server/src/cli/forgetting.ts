/** Forgetting what nothing can refer to any more, in small steps. */
import { numericDate } from '@hallpass/protocol';
import type { Instance } from './instance.ts';

/** The most rows that one step of forgetting takes: small enough not to hold up a request. */
const FORGET_ROWS_MAX = 500;
const PAUSE_MS = 10;

/**
 * Whoever sets a clock forward, by mistake or by attack, must not make a server forget revocations that are needed when
 * the clock is set back. So the time by which it forgets never runs faster than one that nobody sets; what is kept for
 * longer by that is harmless.
 */
export class Forgetting {
  readonly #instance: Instance;
  /** Milliseconds of a clock that nobody sets, since whenever. */
  readonly #elapsed: () => number;
  #trusted: number;
  #at: number;

  constructor(instance: Instance, elapsed: () => number = () => performance.now()) {
    this.#instance = instance;
    this.#elapsed = elapsed;
    this.#trusted = instance.clock.now();
    this.#at = elapsed();
  }

  /** Until there is nothing more to forget. */
  async run(): Promise<void> {
    const { store, clock } = this.#instance;
    const at = this.#elapsed();
    this.#trusted = Math.min(clock.now(), this.#trusted + (at - this.#at));
    this.#at = at;
    const now = numericDate(this.#trusted);
    while ((await store.forgetExpired(now, FORGET_ROWS_MAX)) === FORGET_ROWS_MAX) await clock.sleep(PAUSE_MS);
  }
}

/** Asking all followers of the feed to confirm: once for all who wait, and not too often. */
import type { Store } from '../../store/store.ts';
import type { ServerClock } from '../clock.ts';

/** How much time lies between two calls of a process, at least, in milliseconds. */
export const FOLLOWER_CALL_INTERVAL_MS = 100;

/**
 * Every call makes every guard ask the issuer for a page. So whoever waits joins the next call of this process, and none
 * joins one that has begun: what that one covers was read before.
 */
export class FollowerCalls {
  readonly #store: Store;
  readonly #clock: ServerClock;
  /** The call that is still to begin. */
  #next: Promise<string> | undefined;
  #lastAt = -Infinity;

  constructor(store: Store, clock: ServerClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Resolves when all followers were asked, with the end of the feed: it covers all that was revoked before this call. */
  join(): Promise<string> {
    this.#next ??= this.#call();
    return this.#next;
  }

  async #call(): Promise<string> {
    const left = this.#lastAt + FOLLOWER_CALL_INTERVAL_MS - this.#clock.now();
    // At most an interval: a clock that was set back must not make anybody wait for longer.
    await this.#clock.sleep(Math.min(FOLLOWER_CALL_INTERVAL_MS, Math.max(0, left)));
    this.#next = undefined;
    this.#lastAt = this.#clock.now();
    return await this.#store.askFollowers();
  }
}

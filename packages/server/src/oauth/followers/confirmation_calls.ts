/** Asks all followers of the feed to confirm: once for all requests that wait, and not too often. */
import type { Store } from '../../store/store.ts';
import type { ServerClock } from '../clock.ts';

/** The shortest time between two calls of a process, in milliseconds. */
export const FOLLOWER_CALL_INTERVAL_MS = 100;

/**
 * Every call makes every guard fetch a page from the issuer. So requests that wait share the next call of this process. They
 * never share one that has already begun, because that one covers only what was revoked before it.
 */
export class FollowerCalls {
  readonly #store: Store;
  readonly #clock: ServerClock;
  /** The call that has not begun yet. */
  #next: Promise<string> | undefined;
  #lastAt = -Infinity;

  constructor(store: Store, clock: ServerClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Resolves once all followers have been asked, with the end of the feed: everything revoked before this call is in it. */
  join(): Promise<string> {
    this.#next ??= this.#call();
    return this.#next;
  }

  async #call(): Promise<string> {
    const left = this.#lastAt + FOLLOWER_CALL_INTERVAL_MS - this.#clock.now();
    // At most one interval: a clock that was set back must not make the wait longer.
    await this.#clock.sleep(Math.min(FOLLOWER_CALL_INTERVAL_MS, Math.max(0, left)));
    this.#next = undefined;
    this.#lastAt = this.#clock.now();
    return await this.#store.askFollowers();
  }
}

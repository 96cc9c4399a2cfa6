/**
 * Whether this process can do everything, the store's writes included. That is found out by a tiny write, since a disk that
 * is full, slow or read-only still answers every read. Load balancers may ask as often as they like; the writes are few.
 */
import { StoreUnavailable, type Store } from '../../store/store.ts';
import type { ServerClock } from '../clock.ts';

/** How long an answer holds, in milliseconds: a process writes at most once in that time to find out. */
export const READINESS_MS = 1_000;
/** How long that write may take, in milliseconds. When commits take longer, most requests are about to fail. */
export const READINESS_WRITE_MS_MAX = 5_000;

export class Readiness {
  readonly #store: Store;
  readonly #clock: ServerClock;
  #checking: { readonly done: Promise<void>; readonly since: number } | undefined;
  #found: { readonly at: number; readonly outage: unknown } | undefined;

  constructor(store: Store, clock: ServerClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /**
   * Rejects with why this process is not ready. Never has more than one write under way: while that one takes too long, the
   * answer comes at once.
   */
  async check(): Promise<void> {
    const now = this.#clock.elapsed();
    if (this.#checking === undefined && this.#found !== undefined && now - this.#found.at < READINESS_MS) {
      if (this.#found.outage !== undefined) throw this.#found.outage;
      return;
    }
    this.#checking ??= { done: this.#ask(now), since: now };
    if (now - this.#checking.since > READINESS_WRITE_MS_MAX) throw tooSlow();
    await this.#checking.done;
  }

  /** The store has deadlines of its own, so this settles before an answer is due. */
  async #ask(began: number): Promise<void> {
    let outage: unknown;
    try {
      await this.#store.check();
      if (this.#clock.elapsed() - began > READINESS_WRITE_MS_MAX) outage = tooSlow();
    } catch (error) {
      outage = error;
    }
    this.#found = { at: this.#clock.elapsed(), outage };
    this.#checking = undefined;
    if (outage !== undefined) throw outage;
  }
}

function tooSlow(): StoreUnavailable {
  return new StoreUnavailable(
    `The store took longer than ${READINESS_WRITE_MS_MAX / 1000} s for a small write. Its disk, or its database, is too slow or stands still.`,
  );
}

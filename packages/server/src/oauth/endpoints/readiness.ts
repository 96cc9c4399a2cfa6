/**
 * Whether this process can do everything, including writes to the store. A tiny write finds out, because a full, slow or
 * read-only disk still answers every read. Load balancers may ask as often as they like; there are few writes.
 */
import { StoreUnavailable, type Store } from '../../store/store.ts';
import type { ServerClock } from '../clock.ts';

/** How long a result holds, in milliseconds: a process writes at most once in that time. */
export const READINESS_MS = 1_000;
/** How long that write may take, in milliseconds. If commits take longer, most requests are about to fail. */
export const READINESS_WRITE_MS_MAX = 5_000;

/** The readiness of one process. */
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
   * Rejects with the reason if this process is not ready. There is never more than one write under way: once that one takes
   * too long, every check fails at once.
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

  /** The store has its own deadlines, so this settles before a response is due. */
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
    `The store took longer than ${READINESS_WRITE_MS_MAX / 1000} s for a small write. Its disk or its database is too slow, or has stopped.`,
  );
}

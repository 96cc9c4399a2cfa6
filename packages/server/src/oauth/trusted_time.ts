/**
 * The time, even when a clock is wrong (contract §10 Clocks). Nothing acknowledged may be forgotten, left out of the feed or
 * treated as expired because one machine's clock jumped. So every rule that depends on the time asks for one of these:
 *
 *   now       the time to date tokens by. On a database, an instance whose clock jumps keeps to the time it had.
 *   earliest  the time that decides whether something has expired, if it is then forgotten.
 *   latest    the time from which the lifetime of a revocation counts.
 */
import type { StoredTime, Store } from '../store/store.ts';
import type { ServerClock } from './clock.ts';

/** How far the clocks of instances may be apart (contract, Many instances), in milliseconds. */
const SKEW_MS = 5_000;
/** How long a clock has to run evenly before it is trusted again, in milliseconds. */
const SETTLED_MS = 300_000;
const DAY_MS = 86_400_000;
/** The largest difference between this machine's clock and the last stored time at which a revocation is still dated, in milliseconds. */
export const KEPT_DIFFERENCE_MS_MAX = 60_000;

/** Two clocks that disagree. All in milliseconds. */
export interface ClockDifference {
  readonly machine: number;
  /** The database's clock, or on the embedded store the time that a server last stored. */
  readonly store: number;
  readonly of: 'database' | 'embedded store';
}

/** A moment on the monotonic clock, and what time it was then. */
interface Reference {
  readonly elapsed: number;
  readonly time: number;
}

/** The time by this machine's clock, the store's, and the monotonic clock together. */
export class TrustedTime {
  readonly #store: Store;
  readonly #machine: ServerClock;
  /** The time that this instance goes by, carried on by the monotonic clock. */
  #believed: Reference;
  /** When the machine's clock was last compared with the monotonic one, and since when both run alike. */
  #compared: Reference;
  #evenSince: number;
  #hasJumped = false;
  #kept: (StoredTime & { readonly elapsed: number }) | undefined;
  /** Whether the engine has its own clock. */
  #onDatabase = false;
  #differsBy = 0;
  /** The latest time that `now` returned. */
  #latest = 0;

  private constructor(store: Store, machine: ServerClock) {
    this.#store = store;
    this.#machine = machine;
    const elapsed = machine.elapsed();
    this.#compared = { elapsed, time: machine.now() };
    this.#believed = this.#compared;
    this.#evenSince = elapsed;
  }

  /** Reads what the store knows about the time. Rejects with `StoreUnavailable`. */
  static async open(store: Store, machine: ServerClock): Promise<TrustedTime> {
    const time = new TrustedTime(store, machine);
    await time.#compareWithStore();
    const kept = await store.findTime();
    if (kept !== undefined) time.#take(kept);
    // The embedded store has no other clock than this machine's, so a command goes by the time that a server stored.
    if (!time.#onDatabase && kept !== undefined) time.#believed = { elapsed: machine.elapsed(), time: kept.seenAt };
    return time;
  }

  /** Called when a server starts: on the embedded store it goes by its machine's clock from then on. */
  begin(): void {
    if (!this.#onDatabase) this.#believed = { elapsed: this.#machine.elapsed(), time: this.#machine.now() };
  }

  /**
   * The time to date tokens by, in milliseconds. On a database it stays within the allowed skew of what it was a moment ago,
   * whatever happens to this machine's clock: a token dated hours ahead would outlive the revocation of its key.
   */
  now(): number {
    const machine = this.#machine.now();
    const believed = this.#timeOf(this.#believed);
    const held = this.#onDatabase && Math.abs(machine - believed) > SKEW_MS ? Math.round(believed) : machine;
    this.#latest = Math.max(this.#latest, held);
    return held;
  }

  /** A time that has certainly passed; milliseconds. Until a server has stored the time, this machine's clock. */
  earliest(): number {
    const now = this.now();
    return this.#kept === undefined ? now : Math.min(now, this.#kept.trusted + this.#since(this.#kept.elapsed));
  }

  /** No earlier than any time there has been, except by a clock more than a day ahead; milliseconds. */
  latest(): number {
    const now = this.now();
    return Math.round(Math.max(now, this.#timeOf(this.#believed), Math.min(this.#latest, now + DAY_MS)));
  }

  /** How far this machine's clock is ahead of the trusted time, in milliseconds; negative: behind. */
  get differsBy(): number {
    return this.#differsBy;
  }

  /**
   * The difference between this machine's clock and the store's time; undefined while they agree well enough to date a
   * revocation. A clock that is behind would miss tokens; one that is ahead would stop all issuing until then.
   */
  async findDifference(): Promise<ClockDifference | undefined> {
    await this.#compareWithStore();
    const machine = this.#machine.now();
    const store = Math.round(this.#timeOf(this.#believed));
    const difference = Math.abs(machine - store);
    if (this.#onDatabase) return difference > SKEW_MS ? { machine, store, of: 'database' } : undefined;
    return difference > KEPT_DIFFERENCE_MS_MAX ? { machine, store, of: 'embedded store' } : undefined;
  }

  /** The store's time, regardless of this machine's clock; milliseconds. */
  storeNow(): number {
    return Math.round(this.#timeOf(this.#believed));
  }

  /** This machine's clock; milliseconds. */
  machineNow(): number {
    return this.#machine.now();
  }

  /** The monotonic clock; milliseconds. */
  elapsed(): number {
    return this.#machine.elapsed();
  }

  /**
   * Stores the time, and returns the time before which everything expired may be forgotten (milliseconds). Each serving
   * process calls it every few seconds.
   */
  async keep(): Promise<number> {
    this.#compareWithElapsed();
    await this.#compareWithStore();
    const isEven = this.#since(this.#evenSince) >= SETTLED_MS;
    if (!this.#onDatabase && (isEven || !this.#hasJumped)) {
      this.#believed = { elapsed: this.#machine.elapsed(), time: this.#machine.now() };
    }
    const now = Math.round(this.#timeOf(this.#believed));
    const trusted = this.#kept === undefined ? now : Math.round(this.#kept.trusted + this.#since(this.#kept.elapsed));
    this.#differsBy = this.#machine.now() - now;
    // The stored time may be ahead because a clock was wrong when the store was new. A clock that runs evenly corrects it.
    this.#take(await this.#store.saveTime({ now, trusted, settled: isEven }));
    return Math.min(this.#kept?.trusted ?? now, this.#machine.now(), now);
  }

  /** Notices whether this machine's clock was set since it was last compared with the monotonic one. */
  #compareWithElapsed(): void {
    const time = this.#machine.now();
    if (Math.abs(time - this.#timeOf(this.#compared)) > SKEW_MS) {
      this.#evenSince = this.#machine.elapsed();
      this.#hasJumped = true;
    }
    this.#compared = { elapsed: this.#machine.elapsed(), time };
  }

  /**
   * Follows the database's clock: at the start, as it drifts, and when this machine's clock confirms a jump (a machine that
   * slept). If the database jumps alone, as after a failover to one with a wrong clock, it is not followed.
   */
  async #compareWithStore(): Promise<void> {
    const time = await this.#store.readClock();
    if (time === undefined) return;
    const isFirst = !this.#onDatabase;
    this.#onDatabase = true;
    const drifts = Math.abs(time - this.#timeOf(this.#believed)) <= SKEW_MS;
    const agrees = Math.abs(time - this.#machine.now()) <= SKEW_MS;
    if (isFirst || drifts || agrees) this.#believed = { elapsed: this.#machine.elapsed(), time };
  }

  #take(kept: StoredTime): void {
    this.#kept = { ...kept, elapsed: this.#machine.elapsed() };
  }

  #timeOf({ elapsed, time }: Reference): number {
    return time + this.#since(elapsed);
  }

  #since(elapsed: number): number {
    return this.#machine.elapsed() - elapsed;
  }
}

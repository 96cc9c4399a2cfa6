/**
 * What time it is, where a clock may lie (contract §10 Clocks). Nothing that was acknowledged may be forgotten, left out of
 * the feed or taken for expired because one machine's clock jumped, so three things are asked here and nowhere else:
 *
 *   now       the time to date by. On a database, an instance whose clock jumps goes on by the time it had.
 *   earliest  the time to call something expired by, where that means to forget it.
 *   latest    the time to count lifetimes of revocations from.
 */
import type { StoredTime, Store } from '../store/store.ts';
import type { ServerClock } from './clock.ts';

/** How far the clocks of instances may be apart (contract, Many instances), in milliseconds. */
const SKEW_MS = 5_000;
/** How long a clock has to run evenly before it is believed again, in milliseconds. */
const SETTLED_MS = 300_000;
const DAY_MS = 86_400_000;
/** How far this machine's clock and the time that a server last kept may be apart for a revocation to be dated, in milliseconds. */
export const KEPT_DIFFERENCE_MS_MAX = 60_000;

/** Two clocks that do not agree. All in milliseconds. */
export interface ClockDifference {
  readonly machine: number;
  /** The database's clock, or on the embedded store the time that a server last kept. */
  readonly store: number;
  readonly of: 'database' | 'embedded store';
}

/** A moment on the clock that nobody sets, and what time it was then. */
interface Reference {
  readonly elapsed: number;
  readonly time: number;
}

export class TrustedTime {
  readonly #store: Store;
  readonly #machine: ServerClock;
  /** What the time is, going by the clock that nobody sets. */
  #believed: Reference;
  /** The machine's clock as it was last compared with the one that nobody sets, and since when both run alike. */
  #compared: Reference;
  #evenSince: number;
  #hasJumped = false;
  #kept: (StoredTime & { readonly elapsed: number }) | undefined;
  /** Whether the engine has a clock of its own. */
  #onDatabase = false;
  #differsBy = 0;
  /** The latest time that was gone by. */
  #latest = 0;

  private constructor(store: Store, machine: ServerClock) {
    this.#store = store;
    this.#machine = machine;
    const elapsed = machine.elapsed();
    this.#compared = { elapsed, time: machine.now() };
    this.#believed = this.#compared;
    this.#evenSince = elapsed;
  }

  /** Reads what the store knows of the time. Rejects with `StoreUnavailable`. */
  static async open(store: Store, machine: ServerClock): Promise<TrustedTime> {
    const time = new TrustedTime(store, machine);
    await time.#compareWithStore();
    const kept = await store.findTime();
    if (kept !== undefined) time.#take(kept);
    // Nothing but this machine's clock is there to go by; a command goes by what a server has kept.
    if (!time.#onDatabase && kept !== undefined) time.#believed = { elapsed: machine.elapsed(), time: kept.seenAt };
    return time;
  }

  /** For a server that starts: on the embedded store its machine's clock is the one to go by from here on. */
  begin(): void {
    if (!this.#onDatabase) this.#believed = { elapsed: this.#machine.elapsed(), time: this.#machine.now() };
  }

  /**
   * The time to date by, in milliseconds. On a database it stays within the skew of what it was a moment ago, whatever
   * is done to this machine's clock: a token dated hours ahead would outlive the revocation of its key.
   */
  now(): number {
    const machine = this.#machine.now();
    const believed = this.#timeOf(this.#believed);
    const held = this.#onDatabase && Math.abs(machine - believed) > SKEW_MS ? Math.round(believed) : machine;
    this.#latest = Math.max(this.#latest, held);
    return held;
  }

  /** No later than it can be: milliseconds. Until a server has kept the time, this machine's clock. */
  earliest(): number {
    const now = this.now();
    return this.#kept === undefined ? now : Math.min(now, this.#kept.trusted + this.#since(this.#kept.elapsed));
  }

  /** No earlier than it has been, but for a clock that was more than a day ahead: milliseconds. */
  latest(): number {
    const now = this.now();
    return Math.round(Math.max(now, this.#timeOf(this.#believed), Math.min(this.#latest, now + DAY_MS)));
  }

  /** How far this machine's clock is ahead of the time that is gone by, in milliseconds; negative: behind. */
  get differsBy(): number {
    return this.#differsBy;
  }

  /**
   * How this machine's clock stands to the store's time; undefined while they agree well enough to date a revocation
   * by: it would miss tokens if it were behind, and stop all issuing until then if it were ahead.
   */
  async findDifference(): Promise<ClockDifference | undefined> {
    await this.#compareWithStore();
    const machine = this.#machine.now();
    const store = Math.round(this.#timeOf(this.#believed));
    const difference = Math.abs(machine - store);
    if (this.#onDatabase) return difference > SKEW_MS ? { machine, store, of: 'database' } : undefined;
    return difference > KEPT_DIFFERENCE_MS_MAX ? { machine, store, of: 'embedded store' } : undefined;
  }

  /** The time of the store, whatever this machine's clock says: milliseconds. */
  storeNow(): number {
    return Math.round(this.#timeOf(this.#believed));
  }

  machineNow(): number {
    return this.#machine.now();
  }

  /** Milliseconds of the clock that nobody sets. */
  elapsed(): number {
    return this.#machine.elapsed();
  }

  /**
   * Keeps the time in the store and answers with what may be forgotten by (milliseconds). To be called every few seconds
   * by each process that serves.
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
    // What is kept may be ahead since a clock was wrong when the store was new: one that runs evenly sets it right.
    this.#take(await this.#store.saveTime({ now, trusted, settled: isEven }));
    return Math.min(this.#kept?.trusted ?? now, this.#machine.now(), now);
  }

  /** Whether this machine's clock was set since it was last compared with the one that nobody sets. */
  #compareWithElapsed(): void {
    const time = this.#machine.now();
    if (Math.abs(time - this.#timeOf(this.#compared)) > SKEW_MS) {
      this.#evenSince = this.#machine.elapsed();
      this.#hasJumped = true;
    }
    this.#compared = { elapsed: this.#machine.elapsed(), time };
  }

  /**
   * Takes over the database's clock: as it drifts, as it is at the start, and where this machine's clock agrees with it
   * about a jump (a machine that slept). A database that jumps alone, as after a failover to one whose clock is wrong, is
   * not followed.
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

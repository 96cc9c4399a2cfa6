/** Counting in periods, by one process or by several together (ADR 12). They share one function, `Count`. */
import { StoreUnavailable, type Counter } from '../../store/store.ts';

/** Adds to a counter and returns its new value. Rejects with `StoreUnavailable` if the counter is shared and out of reach. */
export type Count = (counter: Counter) => Promise<number>;

/** Counts for a single process. It keeps one number per name, that of the latest period. */
export function countAlone(): Count {
  const counters = new Map<string, { readonly period: number; used: number }>();
  return async ({ name, period, by }) => {
    const known = counters.get(name);
    const counter = known?.period === period ? known : { period, used: 0 };
    counters.set(name, counter);
    counter.used += by;
    return counter.used;
  };
}

/** Undefined while the store is away: a limit must not stop the tokens that can still be issued then. */
async function countUnlessAway(count: Count, counter: Counter): Promise<number | undefined> {
  try {
    return await count(counter);
  } catch (outage) {
    if (outage instanceof StoreUnavailable) return undefined;
    throw outage;
  }
}

/** The part of a budget that a process has taken in a period. */
interface Taken {
  readonly period: number;
  left: number;
  /** Nothing is left in this period. */
  spent: boolean;
  /** The share that is being taken right now. Requests that come meanwhile wait for it. */
  taking: Promise<void> | undefined;
}

/**
 * Budgets per period, by default a second. A process takes a budget in shares, by default a tenth each, and hands out what
 * it has taken. So all processes together never exceed the budget, and the counter is asked once per share, not once per
 * request.
 */
export class Budgets {
  readonly #count: Count;
  readonly #periodSeconds: number;
  readonly #shares: number;
  readonly #taken = new Map<string, Taken>();

  constructor(
    count: Count,
    { periodSeconds = 1, shares = 10 }: { readonly periodSeconds?: number; readonly shares?: number } = {},
  ) {
    this.#count = count;
    this.#periodSeconds = periodSeconds;
    this.#shares = shares;
  }

  /** Takes one from a budget in the period of `now` (milliseconds). False: none was left. */
  async take(name: string, { budget, now }: { readonly budget: number; readonly now: number }): Promise<boolean> {
    const taken = this.#find(name, Math.floor(now / 1000 / this.#periodSeconds));
    while (taken.left < 1 && !taken.spent) {
      taken.taking ??= this.#takeShare(name, budget, taken);
      await taken.taking;
    }
    if (taken.left < 1) return false;
    taken.left -= 1;
    return true;
  }

  #find(name: string, period: number): Taken {
    const known = this.#taken.get(name);
    if (known?.period === period) return known;
    const taken: Taken = { period, left: 0, spent: false, taking: undefined };
    this.#taken.set(name, taken);
    return taken;
  }

  async #takeShare(name: string, budget: number, taken: Taken): Promise<void> {
    const by = Math.ceil(budget / this.#shares);
    const { period } = taken;
    const counter = { name: `budget ${name}`, period, by, expiresAt: (period + 1) * this.#periodSeconds };
    const total = await countUnlessAway(this.#count, counter).finally(() => {
      taken.taking = undefined;
    });
    // While the store is away, each process has the whole budget to itself.
    const granted = total === undefined ? budget : Math.min(by, Math.max(0, budget - (total - by)));
    taken.left += granted;
    taken.spent = total === undefined || granted < by;
  }
}

/** Failures per period. Each process knows the count as of the last time that it added to it. */
export class Failures {
  readonly #count: Count;
  readonly #known = new Map<string, { readonly period: number; count: number }>();
  readonly #periodSeconds: number;

  constructor(count: Count, periodSeconds: number) {
    this.#count = count;
    this.#periodSeconds = periodSeconds;
  }

  /** How many this process knows of in the period of `now` (milliseconds). */
  known(name: string, now: number): number {
    const known = this.#known.get(name);
    return known?.period === this.#periodOf(now) ? known.count : 0;
  }

  /** Adds one, and returns how many there are now. */
  async add(name: string, now: number): Promise<number> {
    const known = this.addHere(name, now);
    const { period } = known;
    const expiresAt = (period + 1) * this.#periodSeconds;
    const total = await countUnlessAway(this.#count, { name: `failures ${name}`, period, by: 1, expiresAt });
    const count = Math.max(known.count, total ?? 0);
    // If several are added at once, the last one knows about all of them.
    if (this.#known.get(name) === known) known.count = count;
    return count;
  }

  /** Adds one that only this process knows about. */
  addHere(name: string, now: number): { readonly period: number; count: number } {
    const known = { period: this.#periodOf(now), count: this.known(name, now) + 1 };
    this.#known.set(name, known);
    return known;
  }

  /** How much of the period of `now` is left, in milliseconds. */
  left(now: number): number {
    return (this.#periodOf(now) + 1) * this.#periodSeconds * 1000 - now;
  }

  #periodOf(now: number): number {
    return Math.floor(now / 1000 / this.#periodSeconds);
  }
}

/**
 * Limits the events of one kind that a key's requests can add to the store in an hour. A key that sends old refresh tokens,
 * or other keys' tokens, by the thousand must neither fill the table nor bury what else an operator should see. All
 * processes count together. Events beyond the limit are still in the log and the metrics.
 */
import type { Clock } from '@hallpass/protocol';
import type { StoreEvent } from '../../store/store.ts';
import type { BoundReached } from './bounds.ts';
import { Budgets, type Count } from './counts.ts';

/** The most security events of one kind that are stored for one API key in an hour. */
export const SECURITY_EVENTS_PER_CLIENT_HOUR_MAX = 100;
const PERIOD_SECONDS = 3_600;

/** The limit, for all keys. */
export class SecurityEventLimit {
  readonly #clock: Clock;
  readonly #boundReached: BoundReached;
  readonly #budgets: Budgets;

  constructor({
    clock,
    count,
    boundReached,
  }: {
    readonly clock: Clock;
    readonly count: Count;
    readonly boundReached: BoundReached;
  }) {
    this.#clock = clock;
    this.#boundReached = boundReached;
    // Shares of one: anything that a process took and did not use would be lost for the hour.
    this.#budgets = new Budgets(count, { periodSeconds: PERIOD_SECONDS, shares: SECURITY_EVENTS_PER_CLIENT_HOUR_MAX });
  }

  /** The event, if it may be stored; undefined beyond the limit. */
  async admit(event: StoreEvent): Promise<StoreEvent | undefined> {
    const now = this.#clock.now();
    const budget = SECURITY_EVENTS_PER_CLIENT_HOUR_MAX;
    if (await this.#budgets.take(`events ${event.kind} ${event.clientId ?? ''}`, { budget, now })) return event;
    this.#boundReached('SECURITY_EVENTS_PER_CLIENT_HOUR_MAX');
    return undefined;
  }
}

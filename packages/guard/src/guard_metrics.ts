/** Counts of what a guard did. All names come from closed sets, so nothing here grows with what callers send. */
import type { RefusalReason } from '@hallpass/protocol';
import type { GuardEvent } from './guard_event.ts';

/** Counts since the guard was created. */
export interface GuardMetrics {
  /** Checks that were allowed. */
  readonly allowed: number;
  /** Refused checks by reason (see docs/errors.md). Reasons that haven't occurred are absent. */
  readonly refused: Readonly<Partial<Record<RefusalReason, number>>>;
  /** How often each event occurred. */
  readonly events: Readonly<Record<GuardEvent['kind'], number>>;
}

/** Counts decisions and events. */
export class GuardCounts {
  #allowed = 0;
  readonly #refused: Partial<Record<RefusalReason, number>> = {};
  readonly #events: Record<GuardEvent['kind'], number> = {
    feed_connected: 0,
    feed_lost: 0,
    feed_refused: 0,
    key_set_fetched: 0,
    key_set_failed: 0,
    introspection_failed: 0,
    clock_jumped: 0,
    feed_reread: 0,
    clock_differs: 0,
    clock_agrees: 0,
    issuer_differs: 0,
    issuer_agrees: 0,
    audience_differs: 0,
  };

  allow(): void {
    this.#allowed += 1;
  }

  refuse(reason: RefusalReason): void {
    this.#refused[reason] = (this.#refused[reason] ?? 0) + 1;
  }

  addEvent(kind: GuardEvent['kind']): void {
    this.#events[kind] += 1;
  }

  read(): GuardMetrics {
    return { allowed: this.#allowed, refused: { ...this.#refused }, events: { ...this.#events } };
  }
}

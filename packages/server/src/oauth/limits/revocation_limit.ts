/**
 * Limits the revocations that one key may add in an hour. Each stays in the memory of every guard for up to an hour, and a full
 * guard refuses everybody: without a limit, three keys could fill them all (ADR 19). All processes count together.
 */
import { refuse, type Clock, type Refusal } from '@hallpass/protocol';
import { StoreUnavailable, type Store } from '../../store/store.ts';
import type { BoundReached } from './bounds.ts';
import { Budgets, type Count } from './counts.ts';

const PERIOD_SECONDS = 3_600;
/** A process takes a hundredth at a time, because what it takes and does not use is lost for the hour. */
const SHARES = 100;

interface Allowed {
  /** The first word of its counters' names. */
  readonly what: 'revocations' | 'reuses';
  readonly bound: 'KEY_REVOCATIONS_PER_HOUR' | 'KEY_REUSES_PER_HOUR';
  readonly event: string;
}

const REVOCATIONS: Allowed = {
  what: 'revocations',
  bound: 'KEY_REVOCATIONS_PER_HOUR',
  event: 'key_revocation_limit_reached',
};
/** Grants revoked because an old refresh token was reused. Counted apart: a thief must not use up what the owner may revoke. */
const REUSES: Allowed = { what: 'reuses', bound: 'KEY_REUSES_PER_HOUR', event: 'key_reuse_limit_reached' };

/** The limit, for all keys. */
export class RevocationLimit {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #boundReached: BoundReached;
  readonly #budgets: Budgets;
  readonly #perHour: number;
  /** The last period in which a limit was recorded as reached, by limit and client. */
  readonly #recorded = new Map<string, number>();

  /** `perHour`: revocations by a key itself, and as many by reused refresh tokens; 0: no limit. */
  constructor({
    perHour,
    store,
    clock,
    count,
    boundReached,
  }: {
    readonly perHour: number;
    readonly store: Store;
    readonly clock: Clock;
    readonly count: Count;
    readonly boundReached: BoundReached;
  }) {
    this.#store = store;
    this.#clock = clock;
    this.#boundReached = boundReached;
    this.#budgets = new Budgets(count, { periodSeconds: PERIOD_SECONDS, shares: SHARES });
    this.#perHour = perHour;
  }

  /** Takes one of the revocations that a key may request; a refusal if none is left this hour. */
  async takeRevocation(clientId: string): Promise<Refusal | undefined> {
    if (await this.#take(REVOCATIONS, clientId)) return undefined;
    const elapsed = Math.floor(this.#clock.now() / 1000) % PERIOD_SECONDS;
    const because = `${clientId} has revoked ${this.#perHour} times in this hour`;
    return refuse('rate_limited', { because, retryAfterSeconds: PERIOD_SECONDS - elapsed });
  }

  /**
   * Whether a grant that is revoked because of a reused refresh token may get its own entry. If not, one entry that revokes
   * everything of the key must respond to the theft instead.
   */
  async takeReuse(clientId: string): Promise<boolean> {
    return await this.#take(REUSES, clientId);
  }

  async #take(allowed: Allowed, clientId: string): Promise<boolean> {
    const { what, bound } = allowed;
    const now = this.#clock.now();
    const perHour = this.#perHour;
    if (perHour === 0 || (await this.#budgets.take(`${what} ${clientId}`, { budget: perHour, now }))) return true;
    this.#boundReached(bound);
    await this.#record(allowed, { clientId, now });
    return false;
  }

  /** Once per key and hour, by whichever process is first. */
  async #record(
    { what, event: kind }: Allowed,
    { clientId, now }: { readonly clientId: string; readonly now: number },
  ): Promise<void> {
    const period = Math.floor(now / 1000 / PERIOD_SECONDS);
    const name = `${what} ${clientId}`;
    if (this.#recorded.get(name) === period) return;
    const mark = { space: 'bound reached', id: `${name} ${period}`, expiresAt: (period + 1) * PERIOD_SECONDS };
    try {
      const isFirst = (await this.#store.useOnce([mark])) === 'fresh';
      if (isFirst) await this.#store.recordEvent({ at: now, kind, clientId, detail: `${this.#perHour} an hour` });
    } catch (outage) {
      // An outage here must not turn the refusal into a 503.
      if (!(outage instanceof StoreUnavailable)) throw outage;
      return;
    }
    this.#recorded.set(name, period);
  }
}

/** What happens to a check while the guard may have missed revocations (the option `whenStale`). */
import type { GuardEvent } from './guard_event.ts';
import type { ClockWatch } from './issuer/clock_watch.ts';
import type { IssuerClient } from './issuer/issuer_client.ts';
import { adviceFor } from './misconfiguration.ts';
import type { GuardSettings } from './settings.ts';
import { nameOf, Outage } from './outage.ts';
import type { RevocationFeed } from './revocations/revocation_feed.ts';

/** What freshness depends on. */
export interface FreshnessOptions {
  readonly settings: Pick<GuardSettings, 'whenStale' | 'maxStalenessSeconds'>;
  readonly feed: RevocationFeed;
  readonly watch: ClockWatch;
  readonly issuer: Pick<IssuerClient, 'introspect'>;
  readonly report: (event: GuardEvent) => void;
}

/** Knows whether the revocations are recent enough, and what to do if not. */
export class Freshness {
  readonly #options: FreshnessOptions;

  constructor(options: FreshnessOptions) {
    this.#options = options;
  }

  /** Whether the guard's knowledge of revocations is older than `maxStalenessSeconds`. */
  isStale(elapsed: number = this.#options.watch.look()): boolean {
    const { feed, settings } = this.#options;
    return feed.stalenessAt(elapsed) > settings.maxStalenessSeconds;
  }

  /** A stale guard waits here for its first read of the feed, at most `startWaitSeconds`. */
  async awaitStart(): Promise<void> {
    if (this.isStale()) await this.#options.feed.start().settled;
  }

  /** Whether a token counts as active while the feed is stale. Throws `Outage` where the guard must not decide. */
  async isActive(token: string): Promise<boolean> {
    const { settings, feed, issuer, report } = this.#options;
    if (settings.whenStale === 'allow') return true;
    const { refusedStatus: status } = feed;
    if (status !== undefined) throw new Outage(adviceFor({ kind: 'feed_refused', status }));
    if (settings.whenStale === 'refuse') throw new Outage('The revocation feed is stale.');
    try {
      const answer = await issuer.introspect(token);
      // Anything but `true` means no (RFC 7662 §2.2).
      return typeof answer === 'object' && answer !== null && 'active' in answer && answer.active === true;
    } catch (error) {
      report({ kind: 'introspection_failed', because: nameOf(error) });
      throw error;
    }
  }

  /** Throws `Outage` if the feed went stale during a check, unless stale checks are allowed. */
  assertStillFresh(): void {
    if (this.isStale() && this.#options.settings.whenStale !== 'allow') {
      throw new Outage('The revocation feed went stale during the check.');
    }
  }
}

/**
 * Reads the whole feed again after the machine's clock was set, beside the connection that follows it. A wrong clock may
 * have made us drop entries too early; this brings them back. It only ever adds to what is held.
 */
import type { RevocationEntry } from '@hallpass/protocol';
import { parsePage, type FeedPage } from './feed_page.ts';
import type { GuardEvent } from '../guard_event.ts';
import { Refused } from '../outage.ts';
import { jittered, sleep, secondsSince, type GuardClock } from '../runtime.ts';

/** The shortest time between two full reads, in seconds: a clock that keeps being set must not load the issuer. */
export const REREAD_INTERVAL_SECONDS = 60;
/** The pause between two pages, in milliseconds. Pages count against the rate limit of the guard's key. */
const PAGE_PAUSE_MS = 50;
/** The pause after a failure, in milliseconds. It doubles with each failure up to the maximum. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 8_000;
/** The pause after the issuer refused our credentials, in milliseconds. Only an operator can fix that. */
export const REFUSED_PAUSE_MS = 10_000;

/** What `FullReread` needs. */
export interface FullRereadOptions {
  /** Reads the page after a cursor, or the first one, as JSON, without confirming anything. Throws `Refused` or `Outage`. */
  readonly rereadPage: (cursor: string | undefined) => Promise<unknown>;
  /** Holds an entry. Throws `Outage` if it cannot. */
  readonly take: (entry: RevocationEntry | undefined) => void;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  readonly report: (event: GuardEvent) => void;
  readonly closing: AbortSignal;
}

/** Reads the feed from the start on request: one read at a time, at most one a minute, retried until it succeeds. */
export class FullReread {
  readonly #options: FullRereadOptions;
  #isRequested = false;
  #isRunning = false;
  #startedAt = -Infinity;

  constructor(options: FullRereadOptions) {
    this.#options = options;
  }

  /** Asks for a read that begins after this call. Never throws. */
  request(): void {
    this.#isRequested = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    const { clock, closing } = this.#options;
    while (this.#isRequested && !closing.aborted) {
      const leftSeconds = REREAD_INTERVAL_SECONDS - secondsSince(clock, this.#startedAt);
      if (leftSeconds > 0) await sleep(leftSeconds * 1000, closing);
      this.#isRequested = false;
      this.#startedAt = clock.elapsed();
      await this.#readAll();
    }
    this.#isRunning = false;
  }

  async #readAll(): Promise<void> {
    const { report, closing } = this.#options;
    let cursor: string | undefined;
    let revocations = 0;
    for (let failures = 0; !closing.aborted;) {
      try {
        const page = await this.#readPage(cursor);
        ({ cursor } = page);
        revocations += page.entries.length;
        failures = 0;
        if (page.more) {
          await sleep(PAGE_PAUSE_MS, closing);
          continue;
        }
        if (!closing.aborted) report({ kind: 'feed_reread', revocations });
        return;
      } catch (error) {
        failures += 1;
        const retryMs = Math.min(RETRY_MS * 2 ** failures, RETRY_MS_MAX);
        await sleep(jittered(error instanceof Refused ? REFUSED_PAUSE_MS : retryMs), closing);
      }
    }
  }

  async #readPage(after: string | undefined): Promise<FeedPage> {
    const { rereadPage, take } = this.#options;
    const page = parsePage(await rereadPage(after));
    for (const entry of page.entries) take(entry);
    return page;
  }
}

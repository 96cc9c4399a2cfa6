/**
 * Reads the whole feed again, beside the one that is followed, after the clock was set: whatever a wrong clock may have
 * kept from us comes once more. What is held stays, so this can only add.
 */
import type { RevocationEntry } from '@hallpass/protocol';
import { parsePage } from './feed_page.ts';
import type { GuardEvent } from '../guard_event.ts';
import { Outage, Refused } from '../outage.ts';
import { jittered, sleep, secondsSince, type GuardClock } from '../runtime.ts';

/** How often, at most, the feed is read again, in seconds: a clock that is set all the time must not load the issuer. */
export const REREAD_INTERVAL_SECONDS = 60;
/** The pause between two pages, in milliseconds: they count against the budget of the guard's key, as introspection does. */
const PAGE_PAUSE_MS = 50;
/** The pauses after a failure, in milliseconds: doubled up to the longest. */
const RETRY_MS = 500;
const RETRY_MS_MAX = 8_000;
/** The pause after the issuer refused our credentials: only an operator can help. In milliseconds. */
export const REFUSED_PAUSE_MS = 10_000;

export interface FeedRereadOptions {
  /** Reads what is behind a cursor, or the beginning, as JSON, without confirming anything. Throws `Refused` or `Outage`. */
  readonly rereadPage: (cursor: string | undefined) => Promise<unknown>;
  /** Throws `Outage` for what cannot be taken. */
  readonly take: (entry: RevocationEntry | undefined) => void;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  readonly report: (event: GuardEvent) => void;
  readonly closing: AbortSignal;
}

export class FeedReread {
  readonly #options: FeedRereadOptions;
  #isWanted = false;
  #isRunning = false;
  #startedAt = -Infinity;

  constructor(options: FeedRereadOptions) {
    this.#options = options;
  }

  /** Has everything read from the start, from now on. Never throws; tries for as long as it takes. */
  want(): void {
    this.#isWanted = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    const { clock, closing } = this.#options;
    while (this.#isWanted && !closing.aborted) {
      const leftSeconds = REREAD_INTERVAL_SECONDS - secondsSince(clock, this.#startedAt);
      if (leftSeconds > 0) await sleep(leftSeconds * 1000, closing);
      this.#isWanted = false;
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
        revocations += page.count;
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

  async #readPage(
    after: string | undefined,
  ): Promise<{ readonly cursor: string; readonly more: boolean; readonly count: number }> {
    const { rereadPage, take } = this.#options;
    const page = parsePage(await rereadPage(after));
    if (page === undefined) throw new Outage('The issuer answered with something that is no page of the feed.');
    for (const entry of page.entries) take(entry);
    return { cursor: page.cursor, more: page.more, count: page.entries.length };
  }
}

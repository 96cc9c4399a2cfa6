/**
 * Follows the issuer's revocation feed, and knows how fresh what it heard is (contract §9 Feed): over an event stream,
 * and by pages while no stream can be had.
 */
import { isCursor, parseJson, parseRevocationEntry, type RevocationEntry } from '@hallpass/protocol';
import { Confirmations } from './confirmations.ts';
import { parsePage } from './feed_page.ts';
import { FeedReread, REFUSED_PAUSE_MS } from './feed_reread.ts';
import { readStream } from './feed_stream.ts';
import type { StreamEvent } from './event_stream.ts';
import type { GuardEvent } from '../guard_event.ts';
import { nameOf, Outage, Refused } from '../outage.ts';
import type { RevocationSet } from './revocation_set.ts';
import { jittered, sleep, secondsBetween, secondsSince, type GuardClock } from '../runtime.ts';

/** The pause after a connection was lost, doubled with each that fails, and the longest one. In milliseconds. */
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 2_000;
/** How often, at most, the stream is cut and opened at once, in seconds: a clock may run wild. */
const REOPEN_SECONDS = 2;
/** How long the stream may say nothing before pages are read: a server speaks every second. In milliseconds. */
const POLL_AFTER_MS = 2_000;
/** The longest pause between two pages, in milliseconds; the shortest is half of it. */
const POLL_MS = 500;
/** How often the stream is tried while pages do, in milliseconds. */
const STREAM_AGAIN_MS = 60_000;

/** How the guard hears of revocations now. */
export type FeedTransport = 'stream' | 'poll' | 'none';

export interface RevocationFeedOptions {
  /** Opens the stream after a cursor, or from its beginning. */
  readonly open: (cursor: string | undefined, signal: AbortSignal) => Promise<Response>;
  /** Reads what is behind a cursor, or the beginning, as JSON. Throws `Refused` or `Outage`. */
  readonly readPage: (cursor: string | undefined) => Promise<unknown>;
  /** The same, without confirming anything. */
  readonly rereadPage: (cursor: string | undefined) => Promise<unknown>;
  readonly set: RevocationSet;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  /** Called with whatever arrives, before it is taken; it may call `clockJumped`. */
  readonly look?: () => void;
  /** A stream without a byte for so long is given up, in seconds. */
  readonly silenceSecondsMax: number;
  /** How long after the start a check may wait for the first heartbeat, in seconds. */
  readonly startWaitSeconds: number;
  readonly report: (event: GuardEvent) => void;
  /** Hears which key set is published, by its version, with each heartbeat that says so. */
  readonly hearKeysVersion: (version: string) => void;
  readonly closing: AbortSignal;
  /** How long a silent stream is waited for before pages are read, in milliseconds; for tests. */
  readonly pollAfterMs?: number;
}

export class RevocationFeed {
  readonly #options: RevocationFeedOptions;
  readonly #confirmations: Confirmations;
  readonly #reread: FeedReread;
  /** Everything up to here was taken. */
  #cursor: string | undefined;
  /** Everything that was revoked before this instant is known; milliseconds of `elapsed`. */
  #freshAt = -Infinity;
  #transport: FeedTransport = 'none';
  /** The status with which the issuer does not let us in, now. */
  #refusedStatus: number | undefined;
  /** The stream was. Pages are not asked for then, and come back with it. */
  #streamRefused = false;
  #lastError: string | undefined;
  #started: { readonly settled: Promise<void> } | undefined;
  #onAnswer: (() => void)[] = [];
  /** How often the machine may have slept. What was asked for before that vouches for nothing. */
  #sleeps = 0;
  /** Cuts the stream that is open, to open another at once. */
  #reopen: (() => void) | undefined;
  #isReopening = false;
  /** Whether the stream has spoken since that was last asked. */
  #beaten = false;

  constructor(options: RevocationFeedOptions) {
    this.#options = options;
    this.#confirmations = new Confirmations(options);
    this.#reread = new FeedReread({ ...options, take: (entry) => this.#takeEntry(entry) });
  }

  get transport(): FeedTransport {
    return this.#transport;
  }

  /** Why the feed was lost last, for a log. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The status (401 or 403) with which the issuer refuses our credentials now; undefined while it does not. */
  get refusedStatus(): number | undefined {
    return this.#refusedStatus;
  }

  /** Everything revoked before so many seconds ago is known here. Infinity before the first heartbeat. */
  get stalenessSeconds(): number {
    return this.stalenessAt(this.#options.clock.elapsed());
  }

  /** The same at this moment of `elapsed`. */
  stalenessAt(elapsed: number): number {
    return secondsBetween(this.#freshAt, elapsed);
  }

  /**
   * Begins to follow, at the first call. `settled` resolves with the first heartbeat, when the issuer does not let us in,
   * when the time to wait is over (counted from the start and not from each check), or when the guard is closed. After the
   * machine may have slept there is another `settled`, counted from then.
   */
  start(): { readonly settled: Promise<void> } {
    if (this.#started !== undefined) return this.#started;
    this.#started = { settled: this.#orInTime(this.#nextAnswer()) };
    void this.#followStream();
    void this.#followPages();
    return this.#started;
  }

  /**
   * The time of day moved against the clock that nobody sets. Everything is read again. Forward, the machine may have
   * slept, while that clock stood still: so much more time has passed, and what is in the buffers is of long ago.
   */
  clockJumped(seconds: number): void {
    if (this.#started === undefined) return;
    this.#reread.want();
    if (seconds < 0) return;
    this.#sleeps += 1;
    this.#freshAt -= seconds * 1000;
    this.#started = { settled: this.#orInTime(this.#nextAnswer()) };
    this.#reopen?.();
  }

  /** Resolves when the feed was heard once, or the issuer does not let us in; at once where that is so already. */
  async answered(): Promise<void> {
    this.start();
    if (this.#freshAt === -Infinity && this.#refusedStatus === undefined) await this.#nextAnswer();
  }

  /** Resolves with the next heartbeat, or the next refusal of our credentials. */
  #nextAnswer(): Promise<void> {
    return new Promise((resolve) => {
      this.#onAnswer.push(resolve);
    });
  }

  #hearRefused(error: unknown): void {
    this.#refusedStatus = error instanceof Refused ? error.status : undefined;
    if (this.#refusedStatus !== undefined) for (const resolve of this.#onAnswer.splice(0)) resolve();
  }

  async #orInTime(answered: Promise<void>): Promise<void> {
    const { startWaitSeconds, closing } = this.#options;
    await Promise.race([answered, sleep(startWaitSeconds * 1000, closing)]);
  }

  // The stream: tried for ever, seldom while pages do.

  async #followStream(): Promise<void> {
    const { clock, closing } = this.#options;
    let failures = 0;
    let reopenedAt = -Infinity;
    while (!closing.aborted) {
      const error = await this.#readStream().catch((thrown: unknown) => thrown);
      if (closing.aborted) return;
      if (this.#isReopening) {
        this.#isReopening = false;
        if (secondsSince(clock, reopenedAt) < REOPEN_SECONDS) await sleep(jittered(REOPEN_SECONDS * 1000), closing);
        reopenedAt = clock.elapsed();
        continue;
      }
      if (this.#transport === 'stream') failures = 0;
      this.#streamRefused = error instanceof Refused;
      this.#hearRefused(error);
      this.#lastError = nameOf(error);
      // What was no stream while pages did has taken nothing away.
      if (this.#transport !== 'poll') this.#lose(error);
      const backoffMs = Math.min(BACKOFF_MS * 2 ** failures, BACKOFF_MS_MAX);
      const pauseMs = this.#transport === 'poll' ? STREAM_AGAIN_MS : backoffMs;
      await sleep(jittered(this.#streamRefused ? REFUSED_PAUSE_MS : pauseMs), closing);
      failures += 1;
    }
  }

  async #readStream(): Promise<never> {
    const { open, closing } = this.#options;
    const ending = new AbortController();
    const end = (): void => {
      ending.abort();
    };
    closing.addEventListener('abort', end);
    this.#reopen = () => {
      this.#isReopening = true;
      end();
    };
    try {
      return await readStream({
        ...this.#options,
        open: (signal) => open(this.#cursor, signal),
        take: (event) => this.#takeEvent(event),
        closing: ending.signal,
      });
    } finally {
      this.#reopen = undefined;
      closing.removeEventListener('abort', end);
    }
  }

  #takeEvent({ type, data, lastEventId }: StreamEvent): void {
    const cursor = isCursor(lastEventId) ? lastEventId : undefined;
    if (type === 'revocation') this.#takeEntry(parseRevocationEntry(parseJson(data)));
    // Whoever waits for us may know: everything up to here was taken.
    if (type === 'confirm' && cursor !== undefined) this.#confirmations.send(cursor);
    if (type !== 'revocation' && type !== 'heartbeat') return;
    // Only now: an entry that was not taken is to be sent again.
    this.#cursor = cursor ?? this.#cursor;
    if (type !== 'heartbeat') return;
    const beat = parseJson(data);
    const keys = typeof beat === 'object' && beat !== null && 'keys' in beat ? beat.keys : undefined;
    this.#beaten = true;
    // Everything that was committed before it was sent has been sent.
    this.#hearFresh({ transport: 'stream', at: this.#options.clock.elapsed(), keys });
  }

  // Pages: read while the stream says nothing, whatever keeps it from us.

  async #followPages(): Promise<void> {
    const { closing, pollAfterMs = POLL_AFTER_MS } = this.#options;
    let failures = 0;
    for (let pauseMs = pollAfterMs; ; pauseMs = jittered(pauseMs)) {
      await sleep(pauseMs, closing);
      if (closing.aborted) return;
      if (this.#beaten) {
        this.#beaten = false;
        pauseMs = pollAfterMs * 2;
        continue;
      }
      // Whom the issuer does not let in has nothing to gain from asking twice.
      const error = this.#streamRefused ? undefined : await this.#readPages().catch((thrown: unknown) => thrown);
      failures = error === undefined ? 0 : failures + 1;
      if (error instanceof Refused) this.#hearRefused(error);
      if (error !== undefined && this.#transport === 'poll') this.#lose(error);
      pauseMs = error instanceof Refused ? REFUSED_PAUSE_MS : Math.min(POLL_MS * 2 ** failures, BACKOFF_MS_MAX);
    }
  }

  /** Up to the end of the feed. */
  async #readPages(): Promise<undefined> {
    const { clock, look, readPage, closing } = this.#options;
    for (;;) {
      // The page was made after this instant, however long it was on its way, or we were stopped.
      const at = clock.elapsed();
      const sleeps = this.#sleeps;
      const page = parsePage(await readPage(this.#cursor));
      if (closing.aborted) return undefined;
      look?.();
      if (page === undefined) throw new Outage('The issuer answered with something that is no page of the feed.');
      for (const entry of page.entries) this.#takeEntry(entry);
      this.#cursor = page.cursor;
      if (page.more) continue;
      if (this.#sleeps > sleeps) return undefined;
      this.#hearFresh({ transport: this.#beaten ? 'stream' : 'poll', at, keys: page.keys });
      return undefined;
    }
  }

  // Both

  #takeEntry(entry: RevocationEntry | undefined): void {
    // What cannot be read may be the very revocation that matters. Without it the feed must not count as fresh.
    if (entry === undefined) throw new Outage('The feed holds a revocation that cannot be read.');
    this.#options.set.add(entry);
  }

  #hearFresh({
    transport,
    at,
    keys,
  }: {
    readonly transport: 'stream' | 'poll';
    readonly at: number;
    readonly keys: unknown;
  }): void {
    const { clock, set, report, hearKeysVersion } = this.#options;
    // First: who waits for the heartbeat is to find that the keys that are held are old ones.
    if (typeof keys === 'string') hearKeysVersion(keys);
    // A page that was long on its way says less than what was heard meanwhile; an instant that lies ahead says nothing.
    if (at > this.#freshAt || this.#freshAt > clock.elapsed()) this.#freshAt = at;
    set.sweep();
    this.#refusedStatus = undefined;
    for (const resolve of this.#onAnswer.splice(0)) resolve();
    if (this.#transport === transport) return;
    this.#transport = transport;
    report({ kind: 'feed_connected', transport });
  }

  #lose(error: unknown): void {
    const { report } = this.#options;
    this.#transport = 'none';
    this.#lastError = nameOf(error);
    report(
      error instanceof Refused
        ? { kind: 'feed_refused', status: error.status }
        : { kind: 'feed_lost', because: nameOf(error) },
    );
  }
}

/**
 * Follows the issuer's revocation feed and knows how stale it is (contract §9 Feed). It reads an event stream, and polls
 * pages while no stream can be had.
 */
import type { EventSourceMessage } from 'eventsource-parser';
import { isCursor, parseJson, parseRevocationEntry, type RevocationEntry } from '@hallpass/protocol';
import { Confirmations } from './confirmations.ts';
import { parsePage } from './feed_page.ts';
import { readStream } from './feed_stream.ts';
import { FullReread, REFUSED_PAUSE_MS } from './full_reread.ts';
import type { GuardEvent } from '../guard_event.ts';
import { nameOf, Outage, Refused } from '../outage.ts';
import type { RevocationSet } from './revocation_set.ts';
import { jittered, sleep, secondsBetween, secondsSince, type GuardClock } from '../runtime.ts';

/** The pause after a lost connection, in milliseconds. It doubles with each failure up to the maximum. */
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 2_000;
/** The shortest time between two reopenings after a clock jump, in seconds: a clock may keep jumping. */
const REOPEN_SECONDS = 2;
/** How long the stream may be silent before pages are polled, in milliseconds. A server sends a heartbeat every second. */
const POLL_AFTER_MS = 2_000;
/** The longest pause between two polls, in milliseconds; the shortest is half of it. */
const POLL_MS = 500;
/** How often the stream is tried again while polling works, in milliseconds. */
const STREAM_AGAIN_MS = 60_000;

/** How the guard currently receives revocations. */
export type FeedTransport = 'stream' | 'poll' | 'none';

/** What `RevocationFeed` needs. */
export interface RevocationFeedOptions {
  /** Opens the stream after a cursor, or from the beginning. */
  readonly open: (cursor: string | undefined, signal: AbortSignal) => Promise<Response>;
  /** Reads the page after a cursor, or the first one, as JSON. Throws `Refused` or `Outage`. */
  readonly readPage: (cursor: string | undefined) => Promise<unknown>;
  /** The same, without confirming anything. */
  readonly rereadPage: (cursor: string | undefined) => Promise<unknown>;
  readonly set: RevocationSet;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  /** Called when anything arrives, before it is read. It may call `clockJumped`. */
  readonly onArrival?: () => void;
  /** How long the stream may be silent before it is given up, in seconds. Any byte counts. */
  readonly silenceSecondsMax: number;
  /** How long checks may wait for the first heartbeat, in seconds from the start. */
  readonly startWaitSeconds: number;
  readonly report: (event: GuardEvent) => void;
  /** Called with the version of the published key set, whenever a heartbeat or page carries one. */
  readonly onKeysVersion: (version: string) => void;
  readonly closing: AbortSignal;
  /** For tests: how long the stream may be silent before pages are polled, in milliseconds. */
  readonly pollAfterMs?: number;
}

/** The guard's end of the feed: fills the revocation set, and answers how stale it is. */
export class RevocationFeed {
  readonly #options: RevocationFeedOptions;
  readonly #confirmations: Confirmations;
  readonly #fullReread: FullReread;
  /** Everything up to here is in the set. */
  #cursor: string | undefined;
  /** Everything revoked before this instant is in the set; milliseconds of `elapsed`. */
  #freshAt = -Infinity;
  #transport: FeedTransport = 'none';
  /** The status (401 or 403) of the current refusal of our credentials, if any. */
  #refusedStatus: number | undefined;
  /** Whether our credentials were refused for the stream. Polling stops until the stream is no longer refused. */
  #streamRefused = false;
  #lastError: string | undefined;
  #started: { readonly settled: Promise<void> } | undefined;
  #waitingForAnswer: (() => void)[] = [];
  /** How often the machine may have slept. A page requested before a sleep says nothing about how fresh we are. */
  #sleeps = 0;
  /** Closes the open stream so that another is opened at once. */
  #reopen: (() => void) | undefined;
  #isReopening = false;
  /** Whether the stream brought a heartbeat since the polling loop last looked. */
  #hasHeartbeat = false;

  constructor(options: RevocationFeedOptions) {
    this.#options = options;
    this.#confirmations = new Confirmations(options);
    this.#fullReread = new FullReread({ ...options, take: (entry) => this.#takeEntry(entry) });
  }

  get transport(): FeedTransport {
    return this.#transport;
  }

  /** Why the feed was last lost, as a sentence for a log. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The status (401 or 403) if the issuer currently refuses our credentials, else undefined. */
  get refusedStatus(): number | undefined {
    return this.#refusedStatus;
  }

  /** Everything revoked more than this many seconds ago is in the set. Infinity before the first heartbeat. */
  get stalenessSeconds(): number {
    return this.stalenessAt(this.#options.clock.elapsed());
  }

  /** The staleness at an instant of `elapsed` that you have already read. */
  stalenessAt(elapsed: number): number {
    return secondsBetween(this.#freshAt, elapsed);
  }

  /**
   * Starts to follow the feed, at the first call. `settled` resolves with the first heartbeat, with a refusal of our
   * credentials, after `startWaitSeconds` (counted from the start, not from each check), or when the guard is closed. If
   * the machine may have slept, a new `settled` starts then.
   */
  start(): { readonly settled: Promise<void> } {
    if (this.#started !== undefined) return this.#started;
    this.#started = { settled: this.#orInTime(this.#nextAnswer()) };
    void this.#followStream();
    void this.#followPages();
    return this.#started;
  }

  /**
   * Call this when the time of day has moved by `seconds` relative to `elapsed`. The whole feed is read again. A move
   * forward may mean that the machine slept while `elapsed` stood still: the set is older by that much, and what is in
   * the buffers is old.
   */
  clockJumped(seconds: number): void {
    if (this.#started === undefined) return;
    this.#fullReread.request();
    if (seconds < 0) return;
    this.#sleeps += 1;
    this.#freshAt -= seconds * 1000;
    this.#started = { settled: this.#orInTime(this.#nextAnswer()) };
    this.#reopen?.();
  }

  /** Resolves when the feed has been read once, or when the issuer refuses our credentials; at once if it already has. */
  async answered(): Promise<void> {
    this.start();
    if (this.#freshAt === -Infinity && this.#refusedStatus === undefined) await this.#nextAnswer();
  }

  /** Resolves with the next heartbeat, last page or refusal of our credentials. */
  #nextAnswer(): Promise<void> {
    return new Promise((resolve) => {
      this.#waitingForAnswer.push(resolve);
    });
  }

  #noteRefusal(error: unknown): void {
    this.#refusedStatus = error instanceof Refused ? error.status : undefined;
    if (this.#refusedStatus !== undefined) for (const resolve of this.#waitingForAnswer.splice(0)) resolve();
  }

  async #orInTime(answered: Promise<void>): Promise<void> {
    const { startWaitSeconds, closing } = this.#options;
    await Promise.race([answered, sleep(startWaitSeconds * 1000, closing)]);
  }

  // The stream: tried forever, less often while polling works.

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
      this.#noteRefusal(error);
      this.#lastError = nameOf(error);
      // While polling works, a failed stream changes nothing.
      if (this.#transport !== 'poll') this.#markLost(error);
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

  #takeEvent({ event: type, data, id }: EventSourceMessage): void {
    const cursor = isCursor(id) ? id : undefined;
    if (type === 'revocation') this.#takeEntry(parseRevocationEntry(parseJson(data)));
    // A caller waits for us to confirm: everything up to here is in the set.
    if (type === 'confirm' && cursor !== undefined) this.#confirmations.send(cursor);
    if (type !== 'revocation' && type !== 'heartbeat') return;
    // Not before it is in the set: an entry that could not be taken must be sent again.
    this.#cursor = cursor ?? this.#cursor;
    if (type !== 'heartbeat') return;
    const beat = parseJson(data);
    const keys = typeof beat === 'object' && beat !== null && 'keys' in beat ? beat.keys : undefined;
    this.#hasHeartbeat = true;
    // The server sends a heartbeat after everything that was committed before it.
    this.#markFresh({ transport: 'stream', at: this.#options.clock.elapsed(), keys });
  }

  // Pages: polled while the stream is silent, whatever the reason.

  async #followPages(): Promise<void> {
    const { closing, pollAfterMs = POLL_AFTER_MS } = this.#options;
    let failures = 0;
    for (let pauseMs = pollAfterMs; ; pauseMs = jittered(pauseMs)) {
      await sleep(pauseMs, closing);
      if (closing.aborted) return;
      if (this.#hasHeartbeat) {
        this.#hasHeartbeat = false;
        pauseMs = pollAfterMs * 2;
        continue;
      }
      // If our credentials were refused for the stream, pages would be refused as well.
      const error = this.#streamRefused ? undefined : await this.#readPages().catch((thrown: unknown) => thrown);
      if (closing.aborted) return;
      failures = error === undefined ? 0 : failures + 1;
      if (error instanceof Refused) this.#noteRefusal(error);
      if (error !== undefined && this.#transport === 'poll') this.#markLost(error);
      pauseMs = error instanceof Refused ? REFUSED_PAUSE_MS : Math.min(POLL_MS * 2 ** failures, BACKOFF_MS_MAX);
    }
  }

  /** Reads pages up to the end of the feed. Throws `Refused` or `Outage`. */
  async #readPages(): Promise<undefined> {
    const { clock, onArrival, readPage, closing } = this.#options;
    for (;;) {
      // The page was made after this instant, however long it took to arrive.
      const at = clock.elapsed();
      const sleeps = this.#sleeps;
      const page = parsePage(await readPage(this.#cursor));
      if (closing.aborted) return undefined;
      onArrival?.();
      for (const entry of page.entries) this.#takeEntry(entry);
      this.#cursor = page.cursor;
      if (page.more) continue;
      if (this.#sleeps > sleeps) return undefined;
      this.#markFresh({ transport: this.#hasHeartbeat ? 'stream' : 'poll', at, keys: page.keys });
      return undefined;
    }
  }

  // Both.

  #takeEntry(entry: RevocationEntry | undefined): void {
    // It may be the very revocation that matters. Without it the set must not count as fresh.
    if (entry === undefined) throw new Outage('The feed contains a revocation that cannot be read.');
    this.#options.set.add(entry);
  }

  #markFresh({
    transport,
    at,
    keys,
  }: {
    readonly transport: 'stream' | 'poll';
    readonly at: number;
    readonly keys: unknown;
  }): void {
    const { clock, set, report, onKeysVersion } = this.#options;
    // First, so that a check that waits for this heartbeat already knows that its keys are out of date.
    if (typeof keys === 'string') onKeysVersion(keys);
    // A slow page may be older than what the stream brought meanwhile. An instant in the future is from a broken clock.
    if (at > this.#freshAt || this.#freshAt > clock.elapsed()) this.#freshAt = at;
    set.sweep();
    this.#refusedStatus = undefined;
    for (const resolve of this.#waitingForAnswer.splice(0)) resolve();
    if (this.#transport === transport) return;
    this.#transport = transport;
    report({ kind: 'feed_connected', transport });
  }

  #markLost(error: unknown): void {
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

/** Follows the issuer's revocation feed, and knows how fresh what it heard is (contract §9 Feed). */
import { isCursor, parseRevocationEntry, type Clock } from '@hallpass/protocol';
import { EventStreamParser, type StreamEvent } from './event_stream.ts';
import type { GuardEvent } from './guard_event.ts';
import { nameOf, Outage } from './outage.ts';
import type { RevocationSet } from './revocation_set.ts';
import { alarm, jittered, pause, secondsSince } from './surroundings.ts';

/** The pause after a connection was lost, doubled with each that fails, and the longest one. In milliseconds. */
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 2_000;
/** The pause after the issuer refused our credentials: only an operator can help. In milliseconds. */
const REFUSED_PAUSE_MS = 10_000;

export interface RevocationFeedOptions {
  /** Opens the stream after a cursor, or from its beginning. */
  readonly open: (cursor: string | undefined, signal: AbortSignal) => Promise<Response>;
  readonly set: RevocationSet;
  readonly clock: Clock;
  /** A stream without a byte for so long is given up, in seconds. */
  readonly silenceSecondsMax: number;
  /** How long after the start a check may wait for the first heartbeat, in seconds. */
  readonly startWaitSeconds: number;
  readonly report: (event: GuardEvent) => void;
  /** Hears which key set is published, by its version, with each heartbeat that says so. */
  readonly hearKeysVersion: (version: string) => void;
  readonly closing: AbortSignal;
}

export class RevocationFeed {
  readonly #options: RevocationFeedOptions;
  #cursor: string | undefined;
  #heartbeatAt = -Infinity;
  #connected = false;
  #started: { readonly heard: Promise<void>; readonly settled: Promise<void> } | undefined;
  #onHeartbeat = (): void => {};

  constructor(options: RevocationFeedOptions) {
    this.#options = options;
  }

  /** Whether a heartbeat came over the connection that is open now. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Everything revoked before so many seconds ago is known here. Infinity before the first heartbeat. */
  get stalenessSeconds(): number {
    return secondsSince(this.#options.clock, this.#heartbeatAt);
  }

  /**
   * Begins to follow, at the first call. `heard` resolves with the first heartbeat, or never; `settled` also when the
   * time to wait for it is over, counted from the start and not from each check, or when the guard is closed.
   */
  start(): { readonly heard: Promise<void>; readonly settled: Promise<void> } {
    if (this.#started !== undefined) return this.#started;
    const { startWaitSeconds, closing } = this.#options;
    const heard = new Promise<void>((resolve) => {
      this.#onHeartbeat = resolve;
    });
    this.#started = { heard, settled: Promise.race([heard, pause(startWaitSeconds * 1000, closing)]) };
    void this.#follow();
    return this.#started;
  }

  async #follow(): Promise<void> {
    const { closing, report } = this.#options;
    let failures = 0;
    while (!closing.aborted) {
      const error = await this.#read().catch((thrown: unknown) => thrown);
      if (this.#connected) failures = 0;
      this.#connected = false;
      if (closing.aborted) return;
      report(
        error instanceof Refused
          ? { kind: 'feed_refused', status: error.status }
          : { kind: 'feed_lost', because: nameOf(error) },
      );
      const backoffMs = Math.min(BACKOFF_MS * 2 ** failures, BACKOFF_MS_MAX);
      await pause(jittered(error instanceof Refused ? REFUSED_PAUSE_MS : backoffMs), closing);
      failures += 1;
    }
  }

  /** One connection, from its opening until it ends; it always ends by throwing. */
  async #read(): Promise<never> {
    const { open, clock, silenceSecondsMax, closing } = this.#options;
    const ending = new AbortController();
    const end = (): void => {
      ending.abort();
    };
    closing.addEventListener('abort', end);
    let cancelAlarm = alarm(silenceSecondsMax * 1000, end);
    let bytesAt = clock.now();
    try {
      const response = await open(this.#cursor, ending.signal);
      const reader = readerOf(response);
      const parser = new EventStreamParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) throw new Outage('The issuer ended the feed.');
        // A process that was stopped wakes up with heartbeats of long ago in its buffers. They vouch for nothing.
        if (secondsSince(clock, bytesAt) > silenceSecondsMax) throw new Outage('The feed was not read for too long.');
        bytesAt = clock.now();
        cancelAlarm();
        cancelAlarm = alarm(silenceSecondsMax * 1000, end);
        for (const event of parser.push(value)) this.#take(event);
      }
    } catch (cause) {
      throw ending.signal.aborted ? new Outage('The feed fell silent.', { cause }) : cause;
    } finally {
      cancelAlarm();
      closing.removeEventListener('abort', end);
      ending.abort();
    }
  }

  #take({ type, data, lastEventId }: StreamEvent): void {
    if (type === 'revocation') {
      const entry = parseRevocationEntry(parseJson(data));
      // What cannot be read may be the very revocation that matters. Without it the feed must not count as fresh.
      if (entry === undefined) throw new Outage('The feed holds a revocation that cannot be read.');
      this.#options.set.add(entry);
    }
    if (type !== 'revocation' && type !== 'heartbeat') return;
    // Only now: an entry that was not taken is to be sent again.
    if (isCursor(lastEventId)) this.#cursor = lastEventId;
    if (type === 'heartbeat') this.#hearHeartbeat(parseJson(data));
  }

  /** Everything that was committed before it was sent has been sent. */
  #hearHeartbeat(data: unknown): void {
    const { clock, set, report, hearKeysVersion } = this.#options;
    const keys = typeof data === 'object' && data !== null && 'keys' in data ? data.keys : undefined;
    // First: who waits for the heartbeat is to find that the keys that are held are old ones.
    if (typeof keys === 'string') hearKeysVersion(keys);
    this.#heartbeatAt = clock.now();
    set.sweep();
    this.#onHeartbeat();
    if (this.#connected) return;
    this.#connected = true;
    report({ kind: 'feed_connected' });
  }
}

class Refused extends Error {
  readonly status: number;

  constructor(status: number) {
    super('The issuer refused the credentials.');
    this.status = status;
  }
}

function readerOf(response: Response): ReadableStreamDefaultReader<Uint8Array> {
  const { status, headers, body } = response;
  if (status === 401 || status === 403) throw new Refused(status);
  if (status !== 200) throw new Outage(`The issuer answered the feed with ${status}.`);
  const type = headers.get('content-type') ?? '';
  if (!/^text\/event-stream(?:;|$)/i.test(type) || body === null) {
    throw new Outage('The issuer answered with something that is no event stream.');
  }
  return body.getReader();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

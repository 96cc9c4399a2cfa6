/**
 * The guard's ear: follows the revocation feed of the issuer (contract §9), goes on where it was after every break, and
 * knows how long ago it last heard that it has heard everything.
 */
import { isCursor, numericDate, parseRevocationEntry, PATHS, printBasic } from '@hallpass/protocol';
import { EventStreamParser, type StreamEvent } from './event_stream.ts';
import type { Settings } from './options.ts';
import { messageOf } from './retrieval.ts';
import type { RevocationSet } from './revocation_set.ts';

/** A stream that says nothing for so long is given up; heartbeats come every second. Milliseconds. */
const SILENCE_MS = 6_000;
/** The pause before the first and before any later try, in milliseconds. */
const PAUSE_MIN_MS = 100;
const PAUSE_MAX_MS = 2_000;

export class RevocationFeed {
  readonly #settings: Settings;
  readonly #set: RevocationSet;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #cursor: string | undefined;
  #connected = false;
  #heardAt = -Infinity;
  #waiting: (() => void)[] = [];

  constructor(settings: Settings, set: RevocationSet) {
    this.#settings = settings;
    this.#set = set;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Seconds since the server last said that everything was told; Infinity before the first time. */
  get stalenessSeconds(): number {
    return (this.#settings.clock.now() - this.#heardAt) / 1000;
  }

  /** Begins to follow; again does nothing. */
  start(): void {
    this.#running ??= this.#follow();
  }

  /** Resolves at the next word from the server, or after that time. */
  async heard(milliseconds: number): Promise<void> {
    this.start();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    let pause = PAUSE_MIN_MS;
    while (!signal.aborted) {
      const before = this.#heardAt;
      const because = await this.#readStream().catch(messageOf);
      this.#connected = false;
      if (signal.aborted) return;
      this.#settings.onEvent({ event: 'feed_lost', because });
      // After a stream that worked the next try comes soon; many guards that lost one server must not come back as one.
      pause = this.#heardAt > before ? PAUSE_MIN_MS : Math.min(pause * 2, PAUSE_MAX_MS);
      await sleep(pause * (0.5 + Math.random() / 2), signal);
    }
  }

  /** Reads until the stream ends, and gives the reason. */
  async #readStream(): Promise<string> {
    const { fetch, at, credentials, onEvent } = this.#settings;
    const silence = new Silence(SILENCE_MS);
    const headers: Record<string, string> = { authorization: printBasic(credentials), accept: 'text/event-stream' };
    if (this.#cursor !== undefined) headers['last-event-id'] = this.#cursor;
    try {
      const signal = AbortSignal.any([this.#closing.signal, silence.signal]);
      const response = await fetch(at(PATHS.revocations), { headers, signal, redirect: 'error', cache: 'no-store' });
      if (response.status !== 200 || response.body === null) return `the feed answered ${response.status}`;
      this.#connected = true;
      onEvent({ event: 'feed_connected' });
      const parser = new EventStreamParser();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return 'the stream ended';
        silence.broken();
        for (const event of parser.push(value)) this.#take(event);
      }
    } catch (error) {
      return silence.signal.aborted ? 'the stream fell silent' : messageOf(error);
    } finally {
      silence.end();
    }
  }

  #take({ type, data }: StreamEvent): void {
    const value: unknown = JSON.parse(data);
    if (type === 'revocation') {
      const entry = parseRevocationEntry(value);
      // What cannot be read cannot be skipped either: the stream is left, and the guard goes stale rather than deaf.
      if (entry === undefined) throw new Error('a revocation that this guard does not understand');
      this.#set.add(entry, numericDate(this.#settings.clock.now()));
      this.#cursor = entry.cursor;
    } else if (type === 'heartbeat') {
      const cursor = typeof value === 'object' && value !== null && 'cursor' in value ? value.cursor : undefined;
      if (isCursor(cursor)) this.#cursor = cursor;
      this.#heardAt = this.#settings.clock.now();
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }
}

/** Aborts its signal when nothing has broken it for a while. */
class Silence {
  readonly #controller = new AbortController();
  readonly #milliseconds: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
    this.broken();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  broken(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(), this.#milliseconds);
  }

  end(): void {
    clearTimeout(this.#timer);
    // Also ends a stream that is being left for another reason.
    this.#controller.abort();
  }
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done, { once: true });
  });
}

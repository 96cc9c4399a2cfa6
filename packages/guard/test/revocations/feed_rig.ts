/** A feed whose issuer, timers, clock and randomness are all in the test's hands. */
import type { RevocationEntry } from '@hallpass/protocol';
import { mock } from 'node:test';
import type { GuardEvent } from '../../src/guard_event.ts';
import { RevocationFeed, type RevocationFeedOptions } from '../../src/revocations/revocation_feed.ts';
import { RevocationSet } from '../../src/revocations/revocation_set.ts';
import { settle } from './feed_world.ts';
import { makeId, NOW_SECONDS, TestClock } from '../issuer.ts';

export const STEP_MS = 50;
const NEVER_MS = 1e9;
/** The shortest and the longest random pause. */
export const SHORTEST = 0;
export const LONGEST = 1 - Number.EPSILON;

/** A request to the issuer: how many milliseconds after the start, and after which cursor. */
type Asked = readonly [at: number, cursor: string | undefined];

export class Rig {
  readonly clock = new TestClock();
  readonly closing = new AbortController();
  readonly set = new RevocationSet(this.clock, 0);
  readonly told: GuardEvent[] = [];
  readonly versions: string[] = [];
  readonly opened: Asked[] = [];
  readonly asked: Asked[] = [];
  readonly feed: RevocationFeed;
  /** What the issuer answers. A stream opens and stays silent until the test writes to it. */
  stream: (signal: AbortSignal) => Promise<Response> = async (signal) => this.#connect(signal);
  page: (cursor: string | undefined) => unknown = () => ({ entries: [], cursor: 'c0', more: false });
  readonly #startedAt = this.clock.now();
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  constructor(options: Partial<RevocationFeedOptions> = {}) {
    this.feed = new RevocationFeed({
      open: (cursor, signal) => {
        this.opened.push([this.passed, cursor]);
        return this.stream(signal);
      },
      readPage: async (cursor) => {
        this.asked.push([this.passed, cursor]);
        return await this.page(cursor);
      },
      rereadPage: async (cursor) => await this.page(cursor),
      set: this.set,
      clock: this.clock,
      silenceSecondsMax: 100_000,
      startWaitSeconds: 5,
      report: (event) => this.told.push(event),
      onKeysVersion: (version) => this.versions.push(version),
      closing: this.closing.signal,
      ...options,
    });
  }

  get passed(): number {
    return this.clock.now() - this.#startedAt;
  }

  /** A valid entry. */
  entry(cursor: string, expiresInSeconds = 1_000): RevocationEntry {
    return { cursor, kind: 'token', id: makeId(), expires_at: NOW_SECONDS + expiresInSeconds };
  }

  say(type: string, data: unknown, id?: string): Promise<void> {
    const text = typeof data === 'string' ? data : JSON.stringify(data);
    const line = id === undefined ? '' : `id: ${id}\n`;
    return this.write(`event: ${type}\n${line}data: ${text}\n\n`);
  }

  write(text: string): Promise<void> {
    this.#controller?.enqueue(new TextEncoder().encode(text));
    return settle();
  }

  beat(id = 'c0'): Promise<void> {
    return this.say('heartbeat', {}, id);
  }

  end(): Promise<void> {
    this.#controller?.close();
    return settle();
  }

  /** Lets time pass, stopping a millisecond before each step too, so that nothing happens before it is due. */
  async pass(milliseconds: number): Promise<void> {
    for (let left = milliseconds; left > 0;) {
      const into = this.passed % STEP_MS;
      const next = Math.min(left, into < STEP_MS - 1 ? STEP_MS - 1 - into : 1);
      left -= next;
      this.clock.advance(next / 1000);
      mock.timers.tick(next);
      await settle();
    }
  }

  async start(): Promise<void> {
    this.feed.start();
    await settle();
  }

  #connect(signal: AbortSignal): Response {
    const start = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
      this.#controller = controller;
      // As `fetch` does.
      signal.addEventListener('abort', () => {
        controller.error(signal.reason);
        if (this.#controller === controller) this.#controller = undefined;
      });
    };
    return new Response(new ReadableStream<Uint8Array>({ start }), {
      headers: { 'content-type': 'text/event-stream' },
    });
  }
}

export async function inRig(
  chance: number,
  options: Partial<RevocationFeedOptions>,
  body: (rig: Rig) => Promise<void>,
): Promise<void> {
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(Math, 'random', () => chance);
  const rig = new Rig(options);
  try {
    await body(rig);
  } finally {
    rig.closing.abort();
    await settle();
    mock.restoreAll();
    mock.timers.reset();
  }
}

export const STREAM_ALONE = { pollAfterMs: NEVER_MS };

export function times(asked: readonly Asked[]): readonly number[] {
  return asked.map(([at]) => at);
}

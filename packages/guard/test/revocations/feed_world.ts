/** A guard's feed on a network that misbehaves on request, with timers and a clock that the test moves. */
import type { RevocationEntry } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import type { GuardEvent } from '../../src/guard_event.ts';
import { Outage } from '../../src/outage.ts';
import { RevocationFeed } from '../../src/revocations/revocation_feed.ts';
import { RevocationSet } from '../../src/revocations/revocation_set.ts';
import { makeId, NOW_SECONDS, TestClock } from '../issuer.ts';

export const STREAMS = ['good', 'repeating', 'stalling', 'silent', 'ending', 'html', 'unreachable'] as const;
export const PAGES = ['good', 'short', 'slow', 'garbage', 'unreachable'] as const;
type StreamKind = (typeof STREAMS)[number];
type PageKind = (typeof PAGES)[number];

const BEAT_MS = 1_000;
export const TICK_MS = 100;
const SLOW_MS = 1_700;

/** A server with a log of revocations, and the guard that follows it. */
export class World {
  readonly clock = new TestClock();
  readonly set = new RevocationSet(this.clock, 0);
  readonly told: GuardEvent[] = [];
  readonly log: { readonly entry: RevocationEntry; readonly at: number }[] = [];
  readonly feed: RevocationFeed;
  readonly closing = new AbortController();
  stream: StreamKind = 'good';
  page: PageKind = 'good';
  pages = 0;
  wrong: string | undefined;
  readonly keys: string[] = [];
  #open: Connection | undefined;
  #beatAt = 0;

  constructor() {
    this.feed = new RevocationFeed({
      open: (cursor, signal) => this.#answerStream(cursor, signal),
      readPage: (cursor) => this.#answerPage(cursor),
      rereadPage: (cursor) => this.#answerPage(cursor),
      set: this.set,
      clock: this.clock,
      silenceSecondsMax: 6,
      startWaitSeconds: 5,
      report: (event) => this.told.push(event),
      onKeysVersion: (version) => this.keys.push(version),
      closing: this.closing.signal,
    });
  }

  revoke(count = 1): void {
    for (let at = 0; at < count; at++) {
      const cursor = `c${this.log.length + 1}`;
      const entry = { cursor, kind: 'token', id: makeId(), expires_at: NOW_SECONDS + 10_000 } as const;
      this.log.push({ entry, at: this.clock.now() });
    }
    this.#open?.write(this.log.length);
  }

  /** A caller waits for guards to confirm. */
  ask(): void {
    this.#open?.ask();
  }

  drop(): void {
    this.#open?.end();
  }

  /** Lets time pass for both the issuer and the guard. */
  async pass(milliseconds: number): Promise<void> {
    for (let passed = 0; passed < milliseconds; passed += TICK_MS) {
      this.clock.advance(TICK_MS / 1000);
      if (this.clock.now() - this.#beatAt >= BEAT_MS) {
        this.#beatAt = this.clock.now();
        this.#open?.beat();
      }
      mock.timers.tick(TICK_MS);
      await settle();
      this.judge();
    }
  }

  /** Stops the guard's process; what arrives meanwhile waits for it. */
  async sleep(seconds: number): Promise<void> {
    this.#open?.beat();
    this.clock.advance(seconds);
    await settle();
    this.judge();
  }

  has({ id }: RevocationEntry): boolean {
    return this.set.ends({ jti: id, grant_id: makeId(), client_id: '', iat: 0 });
  }

  /** Checks that the guard has every entry that its staleness says it has. */
  judge(): void {
    const knownUntil = this.clock.now() - this.feed.stalenessSeconds * 1000;
    const missed = this.log.find(({ entry, at }) => at < knownUntil && !this.has(entry));
    if (missed !== undefined) this.wrong ??= `fresh without ${missed.entry.cursor}`;
  }

  async #answerStream(cursor: string | undefined, signal: AbortSignal): Promise<Response> {
    if (this.stream === 'unreachable') throw new TypeError('fetch failed');
    if (this.stream === 'html') return new Response('<html>', { headers: { 'content-type': 'text/html' } });
    const connection = new Connection(this.log, this.stream, cursor, signal);
    this.#open = connection;
    return new Response(connection.body, { headers: { 'content-type': 'text/event-stream' } });
  }

  async #answerPage(cursor: string | undefined): Promise<unknown> {
    this.pages += 1;
    const from = positionOf(cursor);
    // Reading after a cursor confirms everything before it.
    const claimed = this.log.slice(0, from).find(({ entry }) => !this.has(entry));
    if (claimed !== undefined) this.wrong ??= `confirmed without ${claimed.entry.cursor}`;
    if (this.page === 'unreachable') throw new Outage('away');
    if (this.page === 'garbage') return { entries: [{}], cursor: 'c999', more: false };
    const to = this.page === 'short' ? Math.min(from + 2, this.log.length) : this.log.length;
    const entries = this.log.slice(from, to).map(({ entry }) => entry);
    const answer = { entries, cursor: `c${to}`, more: to < this.log.length, keys: 'k1' };
    if (this.page === 'slow') await new Promise((resolve) => setTimeout(resolve, SLOW_MS));
    return answer;
  }
}

function positionOf(cursor: string | undefined): number {
  return cursor === undefined ? 0 : Number(cursor.slice(1));
}

class Connection {
  readonly body: ReadableStream<Uint8Array>;
  readonly #log: World['log'];
  readonly #kind: StreamKind;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #sent: number;
  #said = 0;

  constructor(log: World['log'], kind: StreamKind, cursor: string | undefined, signal: AbortSignal) {
    this.#log = log;
    this.#kind = kind;
    this.#sent = Math.max(0, positionOf(cursor) - (kind === 'repeating' ? 3 : 0));
    this.body = new ReadableStream({ start: (controller) => void (this.#controller = controller) });
    signal.addEventListener('abort', () => this.end());
    this.write(log.length);
    if (kind === 'ending') this.end();
    else this.beat();
  }

  write(end: number): void {
    for (; this.#sent < end; this.#sent++) {
      const entry = this.#log[this.#sent]?.entry;
      this.#say(`event: revocation\nid: ${entry?.cursor}\ndata: ${JSON.stringify(entry)}\n\n`);
    }
  }

  beat(): void {
    this.#say(`event: heartbeat\nid: c${this.#sent}\ndata: {"cursor":"c${this.#sent}","keys":"k1"}\n\n`);
  }

  ask(): void {
    this.#say(`event: confirm\nid: c${this.#sent}\ndata: {"cursor":"c${this.#sent}"}\n\n`);
  }

  end(): void {
    try {
      this.#controller?.close();
    } catch {
      // It has ended already.
    }
    this.#controller = undefined;
  }

  #say(text: string): void {
    this.#said += 1;
    if (this.#kind === 'silent' || (this.#kind === 'stalling' && this.#said > 4)) return;
    this.#controller?.enqueue(new TextEncoder().encode(text));
  }
}

export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

export async function inWorld(body: (world: World) => Promise<void>): Promise<void> {
  mock.timers.enable({ apis: ['setTimeout'] });
  const world = new World();
  try {
    await body(world);
    assert.equal(world.wrong, undefined);
  } finally {
    world.closing.abort();
    await settle();
    mock.timers.reset();
  }
}

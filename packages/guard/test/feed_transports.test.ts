/**
 * The feed over any mix of streams and pages, on a network that misbehaves as it is told, and on timers and a clock that
 * the test moves.
 */
import type { RevocationEntry } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { mock, test, type TestContext } from 'node:test';
import type { GuardEvent } from '../src/guard_event.ts';
import { Outage, Refused } from '../src/outage.ts';
import { RevocationFeed } from '../src/revocation_feed.ts';
import { RevocationSet } from '../src/revocation_set.ts';
import { makeId, NOW_SECONDS, TestClock } from './issuer.ts';

const STREAMS = ['good', 'repeating', 'stalling', 'silent', 'ending', 'html', 'unreachable'] as const;
const PAGES = ['good', 'short', 'slow', 'garbage', 'unreachable'] as const;
type StreamKind = (typeof STREAMS)[number];
type PageKind = (typeof PAGES)[number];

const BEAT_MS = 1_000;
const TICK_MS = 100;
const SLOW_MS = 1_700;

/** A server with a log of revocations, and the guard that follows it. */
class World {
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
      set: this.set,
      clock: this.clock,
      silenceSecondsMax: 6,
      startWaitSeconds: 5,
      report: (event) => this.told.push(event),
      hearKeysVersion: (version) => this.keys.push(version),
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

  /** Somebody waits for guards to confirm. */
  ask(): void {
    this.#open?.ask();
  }

  drop(): void {
    this.#open?.end();
  }

  /** Lets so much time go by, in the guard as well. */
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

  /** It may know more than it says, and never less. */
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
    // Who asks for what comes after a cursor says by that that it has everything before.
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

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

async function inWorld(body: (world: World) => Promise<void>): Promise<void> {
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

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('revoke' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ticks: fc.integer({ min: 1, max: 30 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sleep' as const), seconds: fc.integer({ min: 7, max: 30 }) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'drop' } as const) },
  { weight: 1, arbitrary: fc.constant({ do: 'ask' } as const) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('streams' as const), kind: fc.constantFrom(...STREAMS) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pages' as const), kind: fc.constantFrom(...PAGES) }) },
);

test('whatever the mix of streams, pages, breaks and repeats, the guard is never fresh without an entry, never confirms one it has not, and ends with exactly the log', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      await inWorld(async (world) => {
        world.feed.start();
        await settle();
        for (const one of steps) {
          if (one.do === 'revoke') world.revoke(one.count);
          else if (one.do === 'pass') await world.pass(one.ticks * TICK_MS);
          else if (one.do === 'sleep') await world.sleep(one.seconds);
          else if (one.do === 'drop') world.drop();
          else if (one.do === 'ask') world.ask();
          else if (one.do === 'streams') {
            world.stream = one.kind;
            world.drop();
          } else world.page = one.kind;
        }
        world.stream = 'good';
        world.page = 'good';
        await world.pass(12_000);
        assert.ok(world.feed.stalenessSeconds <= 3, `${world.feed.stalenessSeconds} s stale`);
        assert.equal(world.set.size, world.log.length);
        for (const { entry } of world.log) assert.ok(world.has(entry), entry.cursor);
      });
    }),
    { numRuns: 300 },
  );
});

async function assertPolls(world: World, t: TestContext): Promise<void> {
  world.feed.start();
  await world.pass(2_500);
  assert.equal(world.feed.transport, 'poll');
  const before = world.pages;
  await world.pass(10_000);
  const pages = world.pages - before;
  assert.ok(pages >= 18 && pages <= 44, `${pages} pages in 10 s`);
  world.revoke();
  await world.pass(700);
  assert.equal(world.set.size, 1);
  assert.deepEqual(world.keys.at(-1), 'k1');
  t.diagnostic(`${pages} pages in 10 s`);
}

for (const kind of ['html', 'silent', 'ending', 'unreachable'] as const) {
  test(`a stream that cannot be had (${kind}) is followed by pages within 2.5 s, two to four a second`, async (t) => {
    await inWorld(async (world) => {
      world.stream = kind;
      await assertPolls(world, t);
      const connected = world.told.filter(({ kind: told }) => told === 'feed_connected');
      assert.deepEqual(connected, [{ kind: 'feed_connected', transport: 'poll' }]);
    });
  });
}

test('the stream is tried now and then, and when it comes the pages end', async () => {
  await inWorld(async (world) => {
    world.stream = 'html';
    world.feed.start();
    await world.pass(10_000);
    assert.equal(world.feed.transport, 'poll');
    world.stream = 'good';
    await world.pass(70_000);
    assert.equal(world.feed.transport, 'stream');
    const { pages } = world;
    await world.pass(10_000);
    assert.equal(world.pages, pages);
    assert.deepEqual(
      world.told.flatMap((event) => (event.kind === 'feed_connected' ? event.transport : [])),
      ['poll', 'stream'],
    );
  });
});

test('with a stream that speaks no page is ever read, but to confirm when somebody waits', async () => {
  await inWorld(async (world) => {
    world.feed.start();
    await world.pass(20_000);
    assert.equal(world.pages, 0);
    world.revoke();
    world.ask();
    await world.pass(200);
    assert.equal(world.pages, 1);
  });
});

test('a page vouches for the moment at which it was asked for, not for that at which it came', async () => {
  await inWorld(async (world) => {
    world.stream = 'html';
    world.page = 'slow';
    world.feed.start();
    await world.pass(2_100);
    assert.equal(world.pages, 1);
    assert.equal(world.feed.stalenessSeconds, Infinity);
    world.clock.advance(60);
    await world.pass(SLOW_MS);
    assert.ok(world.feed.stalenessSeconds >= 60, `${world.feed.stalenessSeconds} s`);
  });
});

test('when pages fail as well the feed is lost, and said to be so once', async () => {
  await inWorld(async (world) => {
    world.stream = 'unreachable';
    world.feed.start();
    await world.pass(5_000);
    world.page = 'unreachable';
    await world.pass(5_000);
    assert.equal(world.feed.transport, 'none');
    assert.equal(world.feed.lastError, 'away');
    assert.ok(world.feed.stalenessSeconds > 3);
  });
});

test('whom the issuer refuses the stream is not asked for pages', async () => {
  await inWorld(async (world) => {
    let asked = 0;
    const feed = new RevocationFeed({
      open: () => Promise.reject(new Refused(403)),
      readPage: async () => {
        asked += 1;
      },
      set: world.set,
      clock: world.clock,
      silenceSecondsMax: 6,
      startWaitSeconds: 5,
      report: (event) => world.told.push(event),
      hearKeysVersion: () => {},
      closing: world.closing.signal,
    });
    feed.start();
    await world.pass(4_000);
    assert.equal(asked, 0);
    assert.deepEqual(world.told, [{ kind: 'feed_refused', status: 403 }]);
    assert.equal(feed.lastError, 'The issuer refused the credentials.');
  });
});

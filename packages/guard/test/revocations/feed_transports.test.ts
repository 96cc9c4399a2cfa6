/** The feed over any mix of streams and pages. */
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { inWorld, PAGES, settle, SLOW_MS, STREAMS, TICK_MS, type World } from './feed_world.ts';
import { Refused } from '../../src/outage.ts';
import { RevocationFeed } from '../../src/revocations/revocation_feed.ts';

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('revoke' as const), count: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('pass' as const), ticks: fc.integer({ min: 1, max: 30 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sleep' as const), seconds: fc.integer({ min: 7, max: 30 }) }) },
  { weight: 1, arbitrary: fc.constant({ do: 'drop' } as const) },
  { weight: 1, arbitrary: fc.constant({ do: 'ask' } as const) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('streams' as const), kind: fc.constantFrom(...STREAMS) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pages' as const), kind: fc.constantFrom(...PAGES) }) },
);

test('over any mix of streams, pages, breaks and repeats, the guard is never fresh without an entry, never confirms one it does not have, and ends with exactly the log', async () => {
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
  test(`without a stream (${kind}) the guard polls pages within 2.5 s, two to four a second`, async (t) => {
    await inWorld(async (world) => {
      world.stream = kind;
      await assertPolls(world, t);
      const connected = world.told.filter(({ kind: told }) => told === 'feed_connected');
      assert.deepEqual(connected, [{ kind: 'feed_connected', transport: 'poll' }]);
    });
  });
}

test('the stream is tried now and then, and polling stops when it works', async () => {
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

test('with a working stream no page is read, except to confirm when a caller waits', async () => {
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

test('freshness counts from when a page was requested, not from when it arrived', async () => {
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

test('when pages fail too, the feed is lost', async () => {
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

test('if the issuer refuses the stream, pages are not requested', async () => {
  await inWorld(async (world) => {
    let asked = 0;
    const feed = new RevocationFeed({
      open: () => Promise.reject(new Refused(403)),
      readPage: async () => {
        asked += 1;
      },
      rereadPage: () => Promise.reject(new Error('nobody sets a clock here')),
      set: world.set,
      clock: world.clock,
      silenceSecondsMax: 6,
      startWaitSeconds: 5,
      report: (event) => world.told.push(event),
      onKeysVersion: () => {},
      closing: world.closing.signal,
    });
    feed.start();
    await world.pass(4_000);
    assert.equal(asked, 0);
    assert.deepEqual(world.told, [{ kind: 'feed_refused', status: 403 }]);
    assert.equal(feed.lastError, 'The issuer refused the credentials.');
  });
});

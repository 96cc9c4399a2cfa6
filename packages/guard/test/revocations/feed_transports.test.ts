/** The feed over any mix of streams and pages. */
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { inWorld, PAGES, settle, STREAMS, TICK_MS, type World } from './feed_world.ts';

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

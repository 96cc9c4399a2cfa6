/** What a guard says that it has, and how often it says so, on timers that the test moves. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { Confirmations } from '../../src/revocations/confirmations.ts';

const INTERVAL_MS = 100;
const RETRY_MS = 1_000;

interface World {
  readonly confirmations: Confirmations;
  /** What the issuer heard. */
  readonly told: string[];
  readonly closing: AbortController;
  /** How the issuer takes what it hears: at once, not at all, or when it is let. */
  takes: 'well' | 'badly' | 'slowly';
  readonly let: () => void;
  readonly fail: () => void;
  readonly pass: (milliseconds: number) => Promise<void>;
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** `chance`: 0 for the shortest pauses between tries, just under 1 for the longest. */
async function inWorld(chance: number, body: (world: World) => Promise<void>): Promise<void> {
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(Math, 'random', () => chance);
  const closing = new AbortController();
  let answer = (_error?: Error): void => {};
  const world: World = {
    confirmations: new Confirmations({
      readPage: async (cursor) => {
        world.told.push(cursor);
        if (world.takes === 'badly') throw new Error('away');
        if (world.takes === 'slowly') {
          await new Promise<void>((resolve, reject) => {
            answer = (error) => (error === undefined ? resolve() : reject(error));
          });
        }
      },
      closing: closing.signal,
    }),
    told: [],
    closing,
    takes: 'well',
    let: () => answer(),
    fail: () => answer(new Error('away')),
    pass: async (milliseconds) => {
      await settle();
      mock.timers.tick(milliseconds);
      await settle();
    },
  };
  try {
    await body(world);
  } finally {
    closing.abort();
    await settle();
    mock.restoreAll();
    mock.timers.reset();
  }
}

test('one is told at a time, with a pause between, and of several that wait the last one says it all', async () => {
  await inWorld(0, async (world) => {
    const { confirmations, told, pass } = world;
    world.takes = 'slowly';
    confirmations.send('c1');
    assert.deepEqual(told, ['c1']);
    confirmations.send('c2');
    confirmations.send('c3');
    await pass(10 * RETRY_MS);
    assert.deepEqual(told, ['c1']);
    world.let();
    await pass(INTERVAL_MS - 1);
    assert.deepEqual(told, ['c1']);
    await pass(1);
    assert.deepEqual(told, ['c1', 'c3']);
    world.let();
    await pass(INTERVAL_MS);
    confirmations.send('c4');
    assert.deepEqual(told, ['c1', 'c3', 'c4']);
  });
});

test('however often it is asked, by however many who wait, a guard answers ten times a second at the most', async () => {
  await inWorld(0, async ({ confirmations, told, pass }) => {
    for (let milliseconds = 0; milliseconds < 1_000; milliseconds += 10) {
      confirmations.send(`c${milliseconds}`);
      await pass(10);
    }
    // At the start, and after each tenth of a second.
    assert.ok(told.length <= 11, `${told.length}`);
    await pass(INTERVAL_MS);
    assert.equal(told.at(-1), 'c990', 'and the last one is heard');
  });
});

test('one that was taken is not told again', async () => {
  await inWorld(0, async ({ confirmations, told, pass }) => {
    confirmations.send('c1');
    for (let round = 0; round < 30; round++) await pass(RETRY_MS);
    assert.deepEqual(told, ['c1']);
  });
});

for (const [words, chance, pauseMs] of [
  ['half a second', 0, RETRY_MS / 2],
  ['a second', 1 - Number.EPSILON, RETRY_MS],
] as const) {
  test(`one that fails is told ten times in all, at the soonest or the latest ${words} after another`, async () => {
    await inWorld(chance, async (world) => {
      const { confirmations, told, pass } = world;
      world.takes = 'badly';
      confirmations.send('c1');
      for (let tries = 1; tries <= 10; tries++) {
        await pass(pauseMs - 1);
        assert.equal(told.length, tries);
        await pass(1);
      }
      for (let round = 0; round < 30; round++) await pass(RETRY_MS);
      assert.deepEqual(
        told,
        Array.from({ length: 10 }, () => 'c1'),
      );
      // Given up, and not for ever: the next one has its own ten.
      confirmations.send('c2');
      for (let round = 0; round < 30; round++) await pass(RETRY_MS);
      assert.deepEqual(
        told.slice(10),
        Array.from({ length: 10 }, () => 'c2'),
      );
    });
  });
}

test('one that comes while another fails takes its place, with all its tries before it', async () => {
  for (const meanwhile of ['try', 'pause'] as const) {
    await inWorld(0, async (world) => {
      const { confirmations, told, pass } = world;
      world.takes = 'badly';
      confirmations.send('c1');
      for (let tries = 1; tries < 9; tries++) await pass(RETRY_MS / 2);
      world.takes = 'slowly';
      await pass(RETRY_MS / 2);
      assert.equal(told.length, 10);
      if (meanwhile === 'try') confirmations.send('c2');
      world.fail();
      await settle();
      if (meanwhile === 'pause') confirmations.send('c2');
      world.takes = 'badly';
      for (let round = 0; round < 30; round++) await pass(RETRY_MS);
      assert.deepEqual(
        told.slice(10),
        Array.from({ length: 10 }, () => 'c2'),
        meanwhile,
      );
    });
  }
});

test('one that fails and then is taken is told no more', async () => {
  await inWorld(0, async (world) => {
    const { confirmations, told, pass } = world;
    world.takes = 'badly';
    confirmations.send('c1');
    await pass(RETRY_MS / 2);
    world.takes = 'well';
    for (let round = 0; round < 30; round++) await pass(RETRY_MS);
    assert.deepEqual(told, ['c1', 'c1', 'c1']);
  });
});

test('one that comes at the very moment at which another is done is told as well', async () => {
  // At each turn of the queue of microtasks there is.
  for (let turns = 0; turns < 20; turns++) {
    await inWorld(0, async ({ confirmations, told, pass }) => {
      confirmations.send('c1');
      await settle();
      mock.timers.tick(INTERVAL_MS);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      confirmations.send('c2');
      await pass(INTERVAL_MS);
      assert.deepEqual(told, ['c1', 'c2'], `after ${turns} turns`);
    });
  }
});

test('a guard that is closed tells nothing any more', async () => {
  await inWorld(0, async (world) => {
    const { confirmations, told, pass, closing } = world;
    world.takes = 'badly';
    confirmations.send('c1');
    await settle();
    closing.abort();
    await pass(RETRY_MS);
    assert.deepEqual(told, ['c1']);
    confirmations.send('c2');
    await pass(RETRY_MS);
    assert.deepEqual(told, ['c1']);
  });
});

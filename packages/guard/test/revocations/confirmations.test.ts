/** How a guard confirms what it has taken, and how often. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inRig, LONGEST, SHORTEST, STREAM_ALONE, times, type Rig } from './feed_rig.ts';
import { settle } from './feed_world.ts';
import { Outage } from '../../src/outage.ts';

const RETRY_MS = 1_000;

const away = (): never => {
  throw new Outage('away');
};

async function inStream(chance: number, body: (rig: Rig) => Promise<void>): Promise<void> {
  await inRig(chance, STREAM_ALONE, async (rig) => {
    await rig.start();
    await body(rig);
  });
}

const ask = (rig: Rig, cursor?: string): Promise<void> => rig.say('confirm', {}, cursor);
const confirmed = (rig: Rig): readonly (string | undefined)[] => rig.asked.map(([, cursor]) => cursor);

test('a guard confirms by reading the page after the cursor, once; a request without a valid cursor is ignored', async () => {
  await inStream(LONGEST, async (rig) => {
    await ask(rig);
    await ask(rig, 'c 1');
    assert.deepEqual(rig.asked, []);
    await ask(rig, 'c1');
    assert.deepEqual(rig.asked, [[0, 'c1']]);
    await ask(rig, 'c2');
    await ask(rig, 'c 3');
    await ask(rig);
    await rig.beat('c4');
    await rig.say('revocation', rig.entry('c5'), 'c5');
    await rig.pass(3_000);
    assert.deepEqual(rig.asked.slice(1), [[100, 'c2']]);
  });
});

test('confirmations are sent one at a time, and the last of those that wait covers the others', async () => {
  await inStream(SHORTEST, async (rig) => {
    let answer = (): void => {};
    rig.page = () => new Promise<void>((resolve) => void (answer = resolve));
    for (const cursor of ['c1', 'c2', 'c3']) await ask(rig, cursor);
    await rig.pass(10 * RETRY_MS);
    assert.deepEqual(confirmed(rig), ['c1']);
    answer();
    await settle();
    await rig.pass(99);
    assert.deepEqual(confirmed(rig), ['c1']);
    await rig.pass(1);
    assert.deepEqual(confirmed(rig), ['c1', 'c3']);
  });
});

test('a confirmation that fails is tried ten times, half a second to a second apart, and then given up', async () => {
  for (const [chance, pauseMs] of [
    [SHORTEST, RETRY_MS / 2],
    [LONGEST, RETRY_MS],
  ] as const) {
    await inStream(chance, async (rig) => {
      rig.page = away;
      await ask(rig, 'c1');
      await rig.pass(20 * RETRY_MS);
      assert.deepEqual(
        times(rig.asked),
        Array.from({ length: 10 }, (_, tries) => tries * pauseMs),
      );
      await ask(rig, 'c2');
      await rig.pass(20 * RETRY_MS);
      assert.deepEqual(
        confirmed(rig).slice(10),
        Array.from({ length: 10 }, () => 'c2'),
      );
    });
  }
  await inStream(LONGEST, async (rig) => {
    rig.page = away;
    await ask(rig, 'c1');
    rig.page = () => ({});
    await rig.pass(20 * RETRY_MS);
    assert.deepEqual(confirmed(rig), ['c1', 'c1']);
  });
});

test('a cursor that comes in while another fails replaces it, and has all its tries', async () => {
  for (const meanwhile of ['request', 'pause'] as const) {
    await inStream(SHORTEST, async (rig) => {
      rig.page = away;
      await ask(rig, 'c1');
      for (let tries = 1; tries < 9; tries++) await rig.pass(RETRY_MS / 2);
      let fail = (_error: Error): void => {};
      rig.page = () => new Promise((_resolve, reject) => void (fail = reject));
      await rig.pass(RETRY_MS / 2);
      assert.equal(rig.asked.length, 10);
      if (meanwhile === 'request') await ask(rig, 'c2');
      fail(new Outage('away'));
      await settle();
      if (meanwhile === 'pause') await ask(rig, 'c2');
      rig.page = away;
      await rig.pass(20 * RETRY_MS);
      assert.deepEqual(
        confirmed(rig).slice(10),
        Array.from({ length: 10 }, () => 'c2'),
        meanwhile,
      );
    });
  }
});

test('a closed guard confirms nothing', async () => {
  await inStream(SHORTEST, async (rig) => {
    rig.page = away;
    await ask(rig, 'c1');
    rig.closing.abort();
    await ask(rig, 'c2');
    await rig.pass(5 * RETRY_MS);
    assert.deepEqual(confirmed(rig), ['c1']);
  });
});

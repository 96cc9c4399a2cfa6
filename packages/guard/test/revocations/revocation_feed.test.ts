/** What the feed takes, how fresh it is by that, and what it tells. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inRig, LONGEST, STREAM_ALONE, times } from './feed_rig.ts';
import { settle } from './feed_world.ts';
import { makeId } from '../issuer.ts';

test('what was heard before the clock was set back counts from what is heard next', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    await rig.beat();
    rig.clock.advance(-60);
    assert.equal(rig.feed.stalenessSeconds, Infinity);
    // Read before it was sent, as it seems.
    await rig.beat();
    assert.deepEqual(rig.told.at(-1), { kind: 'feed_lost', because: 'The feed was not read for too long.' });
    await rig.pass(100);
    await rig.beat();
    assert.equal(rig.feed.stalenessSeconds, 0);
    await rig.pass(1_000);
    assert.equal(rig.feed.stalenessSeconds, 1);
  });
});

test('pages are read up to the end of the feed at once, each after the one before, and only the last is fresh', async () => {
  await inRig(LONGEST, {}, async (rig) => {
    const answers: ((page: unknown) => void)[] = [];
    rig.page = () => new Promise((resolve) => answers.push(resolve));
    await rig.start();
    await rig.pass(2_000);
    answers[0]?.({ entries: [rig.entry('c1')], cursor: 'c1', more: true, keys: 'k1' });
    await settle();
    assert.deepEqual(rig.asked, [
      [2_000, undefined],
      [2_000, 'c1'],
    ]);
    assert.equal(rig.set.size, 1);
    assert.equal(rig.feed.stalenessSeconds, Infinity);
    assert.equal(rig.feed.transport, 'none');
    assert.deepEqual(rig.versions, []);
    await rig.pass(1_000);
    answers[1]?.({ entries: [rig.entry('c2')], cursor: 'c2', more: false, keys: 'k2' });
    await settle();
    assert.equal(rig.feed.stalenessSeconds, 1, 'of the moment at which it was asked for');
    assert.deepEqual(rig.versions, ['k2']);
    await rig.pass(500);
    assert.deepEqual(rig.asked[2], [3_500, 'c2']);
  });
});

test('a page that is none, or that holds what cannot be read, vouches for nothing and is asked for again', async () => {
  for (const [because, bad] of [
    ['The issuer answered with something that is no page of the feed.', { entries: 7 }],
    ['The feed holds a revocation that cannot be read.', { entries: [{}], cursor: 'c9', more: false }],
  ] as const) {
    await inRig(LONGEST, {}, async (rig) => {
      await rig.start();
      await rig.pass(2_000);
      rig.page = () => bad;
      await rig.pass(1_500);
      assert.deepEqual(rig.asked.slice(1), [
        [2_500, 'c0'],
        [3_500, 'c0'],
      ]);
      assert.deepEqual(rig.told.slice(1), [{ kind: 'feed_lost', because }]);
      assert.equal(rig.feed.stalenessSeconds, 1.5);
    });
  }
});

test('a page that comes when the guard is closed is not taken', async () => {
  await inRig(LONGEST, {}, async (rig) => {
    let answer = (_page: unknown): void => {};
    rig.page = () => new Promise((resolve) => (answer = resolve));
    await rig.start();
    await rig.pass(2_000);
    rig.closing.abort();
    answer({ entries: [rig.entry('c1')], cursor: 'c1', more: true });
    await rig.pass(20_000);
    assert.equal(rig.set.size, 0);
    assert.equal(rig.asked.length, 1);
    assert.deepEqual(rig.told, []);
  });
});

test('a guard that is closed opens nothing, reads nothing and says nothing any more', async () => {
  await inRig(LONGEST, {}, async (rig) => {
    await rig.start();
    await rig.beat();
    rig.closing.abort();
    await rig.pass(20_000);
    assert.deepEqual(times(rig.opened), [0]);
    assert.deepEqual(rig.asked, []);
    assert.deepEqual(rig.told, [{ kind: 'feed_connected', transport: 'stream' }]);
    assert.equal(rig.feed.lastError, undefined);
  });
  await inRig(LONGEST, {}, async (rig) => {
    rig.closing.abort();
    await rig.start();
    await rig.pass(20_000);
    assert.deepEqual([...rig.opened, ...rig.asked], []);
  });
});

test('a stream goes on after the last entry or heartbeat that was taken, and after nothing else', async () => {
  for (const [expected, ...said] of [
    [undefined],
    ['c1', ['heartbeat', {}, 'c1']],
    ['c1', ['heartbeat', '{', 'c1']],
    ['c1', ['heartbeat', 'null', 'c1']],
    ['c1', ['heartbeat', {}, 'c1'], ['heartbeat', {}, 'c 2']],
    ['c1', ['heartbeat', {}, 'c1'], ['news', {}, 'c2']],
    ['c1', ['heartbeat', {}, 'c1'], ['confirm', {}, 'c2']],
    ['c1', ['heartbeat', {}, 'c1'], ['revocation', {}, 'c2']],
  ] as const) {
    await inRig(LONGEST, STREAM_ALONE, async (rig) => {
      await rig.start();
      for (const [type, data, id] of said) await rig.say(type, data, id);
      await rig.end();
      await rig.pass(100);
      assert.deepEqual(rig.opened[1], [100, expected], JSON.stringify(said));
    });
  }
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    const entry = rig.entry('c1');
    await rig.say('revocation', entry, 'c1');
    assert.ok(rig.set.ends({ jti: entry.id, grant_id: makeId(), client_id: '', iat: 0 }));
    assert.equal(rig.feed.stalenessSeconds, Infinity, 'only a heartbeat says that this is all');
    assert.deepEqual(rig.told, []);
    await rig.end();
    await rig.pass(100);
    assert.deepEqual(rig.opened[1], [100, 'c1']);
  });
});

test('an entry of the stream that cannot be read is an outage', async () => {
  for (const data of ['{', {}, 'null']) {
    await inRig(LONGEST, STREAM_ALONE, async (rig) => {
      await rig.start();
      await rig.say('revocation', data, 'c1');
      assert.deepEqual(rig.told, [{ kind: 'feed_lost', because: 'The feed holds a revocation that cannot be read.' }]);
    });
  }
});

test('who asks for a confirmation gets it, by a page from there on; one that names no place is passed over', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    await rig.say('confirm', {});
    await rig.say('confirm', {}, 'c 1');
    assert.deepEqual(rig.asked, []);
    await rig.say('confirm', {}, 'c1');
    assert.deepEqual(rig.asked, [[0, 'c1']]);
    await rig.say('heartbeat', {}, 'c2');
    await rig.say('revocation', rig.entry('c3'), 'c3');
    await rig.pass(1_000);
    assert.equal(rig.asked.length, 1);
  });
});

test('who asks for a confirmation and names no place takes nobody’s away who waits', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    for (const place of ['c1', 'c2', 'c 3']) await rig.say('confirm', {}, place);
    await rig.pass(1_000);
    assert.deepEqual(rig.asked, [
      [0, 'c1'],
      [100, 'c2'],
    ]);
  });
});

test('the version of the keys is heard with each heartbeat that tells one', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    for (const data of [{ keys: 'k1' }, {}, { keys: 7 }, { keys: null }, 'null', '"keys"', '7', '{', { keys: 'k2' }]) {
      await rig.say('heartbeat', data, 'c1');
    }
    await rig.say('news', { keys: 'k3' });
    assert.deepEqual(rig.versions, ['k1', 'k2']);
    assert.deepEqual(rig.told, [{ kind: 'feed_connected', transport: 'stream' }]);
  });
});

test('what is over is forgotten with a heartbeat', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    await rig.say('revocation', rig.entry('c1', 1), 'c1');
    await rig.say('revocation', rig.entry('c2', 1_000), 'c2');
    rig.clock.advance(600);
    assert.equal(rig.set.size, 2);
    await rig.beat('c2');
    assert.equal(rig.set.size, 1);
  });
});

/** Whether a promise has resolved by now. */
async function isDone(promise: Promise<void>): Promise<boolean> {
  const open = Symbol('open');
  return (await Promise.race([promise, settle().then(() => open)])) !== open;
}

test('who waits for the first heartbeat waits for as long as was said from the start, and for no longer', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    assert.equal(rig.feed.stalenessSeconds, Infinity);
    const heard = rig.feed.answered();
    const { settled } = rig.feed.start();
    await rig.pass(2_000);
    assert.equal(rig.feed.start().settled, settled);
    assert.deepEqual(times(rig.opened), [0]);
    await rig.pass(2_999);
    assert.deepEqual([await isDone(heard), await isDone(settled)], [false, false]);
    await rig.pass(1);
    assert.deepEqual([await isDone(heard), await isDone(settled)], [false, true]);
    await rig.beat();
    assert.ok(await isDone(heard));
  });
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    const heard = rig.feed.answered();
    const { settled } = rig.feed.start();
    await settle();
    await rig.beat();
    assert.deepEqual([await isDone(heard), await isDone(settled)], [true, true]);
  });
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    const heard = rig.feed.answered();
    const { settled } = rig.feed.start();
    await settle();
    rig.closing.abort();
    assert.deepEqual([await isDone(heard), await isDone(settled)], [false, true]);
  });
});

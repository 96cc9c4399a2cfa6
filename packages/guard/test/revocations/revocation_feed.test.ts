/** What the feed takes, how fresh it is after that, and which events it reports. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { inRig, LONGEST, STREAM_ALONE, times } from './feed_rig.ts';
import { settle } from './feed_world.ts';
import { makeId, NOW_SECONDS } from '../issuer.ts';

test('after the monotonic clock went back, the feed is fresh again with the next stream', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    await rig.beat();
    rig.clock.advance(-60);
    assert.equal(rig.feed.stalenessSeconds, Infinity);
    // By this clock it was read before it was sent.
    await rig.beat();
    assert.deepEqual(rig.told.at(-1), { kind: 'feed_lost', because: 'The feed was not read for too long.' });
    await rig.pass(100);
    await rig.beat();
    assert.equal(rig.feed.stalenessSeconds, 0);
    await rig.pass(1_000);
    assert.equal(rig.feed.stalenessSeconds, 1);
  });
});

test('pages are read one after another up to the end of the feed, and only the last makes it fresh', async () => {
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
    assert.equal(rig.feed.stalenessSeconds, 1, 'counted from the request');
    assert.deepEqual(rig.versions, ['k2']);
    await rig.pass(500);
    assert.deepEqual(rig.asked[2], [3_500, 'c2']);
  });
});

test('an answer that is not a page, or has an entry that cannot be read, loses the feed and is asked for again', async () => {
  const entry = { cursor: 'c1', kind: 'token', id: makeId(), expires_at: NOW_SECONDS + 60 };
  const page = { entries: [entry], cursor: 'c9', more: false };
  const notPage = 'The issuer answered with something that is not a page of the feed.';
  const unreadable = 'The feed contains a revocation that cannot be read.';
  for (const [bad, because = notPage] of [
    ...[undefined, null, '', 'page', 7, true, [], [page], {}].map((value) => [value] as const),
    [{ ...page, entries: undefined }],
    [{ ...page, entries: entry }],
    [{ ...page, entries: { length: 1, 0: entry } }],
    ...[undefined, '', 'c 1', 1, null].map((cursor) => [{ ...page, cursor }] as const),
    ...[undefined, 'true', 1, null].map((more) => [{ ...page, more }] as const),
    // It would be asked for forever.
    [{ ...page, entries: [], more: true }],
    [{ ...page, entries: [{}] }, unreadable],
    [{ ...page, entries: [entry, null] }, unreadable],
    [{ ...page, entries: [{ ...entry, kind: 'scope' }, entry] }, unreadable],
  ] as const) {
    await inRig(LONGEST, {}, async (rig) => {
      await rig.start();
      await rig.pass(2_000);
      rig.page = () => bad;
      await rig.pass(1_500);
      const hint = JSON.stringify(bad);
      assert.deepEqual(
        rig.asked.slice(1),
        [
          [2_500, 'c0'],
          [3_500, 'c0'],
        ],
        hint,
      );
      assert.deepEqual(rig.told.slice(1), [{ kind: 'feed_lost', because }], hint);
      assert.equal(rig.feed.stalenessSeconds, 1.5, hint);
    });
  }
});

test('a page that arrives after close() is not taken', async () => {
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

test('a closed guard opens nothing, reads nothing and reports nothing', async () => {
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

test('a stream resumes after the last entry or heartbeat that was taken, and after nothing else', async () => {
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
    assert.equal(rig.feed.stalenessSeconds, Infinity, 'only a heartbeat says that nothing is missing');
    assert.deepEqual(rig.told, []);
    await rig.end();
    await rig.pass(100);
    assert.deepEqual(rig.opened[1], [100, 'c1']);
  });
});

test('each heartbeat that carries a key set version reports it', async () => {
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

test('a heartbeat removes expired entries', async () => {
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

test('a check waits for the first heartbeat for startWaitSeconds from the start, and no longer', async () => {
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

test('a stream, or an issuer, that is silent for silenceSecondsMax is given up, and any byte starts the count again', async () => {
  const options = { ...STREAM_ALONE, silenceSecondsMax: 6 };
  const silent = [{ kind: 'feed_lost', because: 'The feed fell silent.' }];
  await inRig(LONGEST, options, async (rig) => {
    await rig.start();
    for (let round = 0; round < 3; round++) {
      await rig.pass(5_999);
      await rig.write(':\n');
    }
    await rig.pass(5_999);
    assert.deepEqual(rig.told, []);
    await rig.pass(1);
    assert.deepEqual(rig.told, silent);
  });
  await inRig(LONGEST, options, async (rig) => {
    rig.stream = (signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    await rig.start();
    await rig.pass(5_999);
    assert.deepEqual(rig.told, []);
    await rig.pass(1);
    assert.deepEqual(rig.told, silent);
  });
});

test('bytes that arrive just in time are read, and a moment later they are too old to count', async () => {
  await inRig(LONGEST, { ...STREAM_ALONE, silenceSecondsMax: 6 }, async (rig) => {
    await rig.start();
    for (let round = 0; round < 3; round++) {
      rig.clock.advance(6);
      await rig.beat();
      assert.equal(rig.feed.stalenessSeconds, 0);
    }
    rig.clock.advance(6.001);
    await rig.beat();
    assert.deepEqual(rig.told.slice(1), [{ kind: 'feed_lost', because: 'The feed was not read for too long.' }]);
  });
});

test('a connection that has ended leaves no listener and no timer', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    await rig.start();
    const listeners = (): number => getEventListeners(rig.closing.signal, 'abort').length;
    await rig.beat();
    const held = listeners();
    for (let round = 0; round < 5; round++) {
      await rig.end();
      await rig.pass(100);
      await rig.beat();
    }
    assert.equal(rig.opened.length, 6);
    assert.equal(listeners(), held);
  });
});

/** Reading the whole feed again after the clock was set: what is read, how often, and what happens on failure. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outage } from '../../src/outage.ts';
import { inRig, LONGEST, STREAM_ALONE, times, type Rig } from './feed_rig.ts';
import { settle } from './feed_world.ts';
import { makeId } from '../issuer.ts';

const INTERVAL_MS = 60_000;

/** A feed of five revocations, two on a page. */
function serve(rig: Rig): { readonly ids: readonly string[]; readonly asked: (string | undefined)[] } {
  const entries = ['c1', 'c2', 'c3', 'c4', 'c5'].map((cursor) => rig.entry(cursor, 1_000_000));
  const asked: (string | undefined)[] = [];
  rig.page = (after) => {
    asked.push(after);
    const from = entries.findIndex(({ cursor }) => cursor === after) + 1;
    const page = entries.slice(from, from + 2);
    return { entries: page, cursor: page.at(-1)?.cursor ?? 'c5', more: from + 2 < entries.length };
  };
  return { ids: entries.map(({ id }) => id), asked };
}

function has(rig: Rig, jti: string): boolean {
  return rig.set.ends({ jti, grant_id: makeId(), client_id: '', iat: 0 });
}

test('when the clock is set back, the feed is read from the start and the stream continues', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    const { ids, asked } = serve(rig);
    await rig.start();
    await rig.beat('c5');
    await rig.say('revocation', rig.entry('c6'), 'c6');
    rig.feed.clockJumped(-3_600);
    await rig.beat('c6');
    assert.deepEqual(asked, [undefined]);
    await rig.pass(100);
    await rig.beat('c6');
    assert.deepEqual(asked, [undefined, 'c2', 'c4']);
    assert.ok(ids.every((id) => has(rig, id)));
    assert.equal(rig.set.size, 6, 'what was there stays');
    assert.deepEqual(rig.told.slice(-1), [{ kind: 'feed_reread', revocations: 5 }]);
    assert.deepEqual([times(rig.opened), rig.asked, rig.feed.stalenessSeconds], [[0], [], 0]);
  });
});

test('when the clock is set forward, the stream is also reopened where it was, and its buffered events do not count', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    serve(rig);
    await rig.start();
    await rig.beat('c5');
    rig.feed.clockJumped(100);
    assert.equal(rig.feed.stalenessSeconds, 100);
    await settle();
    await rig.pass(200);
    assert.deepEqual(rig.opened, [
      [0, undefined],
      [0, 'c5'],
    ]);
    assert.ok(rig.feed.stalenessSeconds > 100);
    await rig.beat('c5');
    assert.equal(rig.feed.stalenessSeconds, 0);
    assert.deepEqual(
      rig.told.map(({ kind }) => kind),
      ['feed_connected', 'feed_reread'],
      'no connection was lost',
    );
  });
});

test('a page that was requested before the machine slept does not make the feed fresh', async () => {
  await inRig(LONGEST, { pollAfterMs: 1_000 }, async (rig) => {
    let answer = (): void => {};
    rig.page = () =>
      new Promise((resolve) => void (answer = () => resolve({ entries: [], cursor: 'c0', more: false })));
    await rig.start();
    await rig.pass(1_000);
    const answerEarly = answer;
    rig.feed.clockJumped(100);
    answerEarly();
    await rig.pass(10);
    assert.equal(rig.feed.stalenessSeconds, Infinity);
    await rig.pass(500);
    answer();
    await rig.pass(10);
    assert.ok(rig.feed.stalenessSeconds < 1);
  });
});

test('a page that fails is requested again, from the same cursor', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    const { ids, asked } = serve(rig);
    const { page } = rig;
    let failures = 2;
    rig.page = (after) => {
      if (after !== 'c2' || failures === 0) return page(after);
      failures -= 1;
      if (failures === 1) throw new Outage('away');
      return { entries: [{}], cursor: 'c4', more: true };
    };
    await rig.start();
    rig.feed.clockJumped(-60);
    await rig.pass(10_000);
    assert.deepEqual(asked, [undefined, 'c2', 'c4']);
    assert.ok(ids.every((id) => has(rig, id)));
    assert.equal(rig.told.filter(({ kind }) => kind === 'feed_reread').length, 1);
  });
});

test('a clock that keeps being set causes one full read a minute', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    serve(rig);
    await rig.start();
    const rereads = (): number => rig.told.filter(({ kind }) => kind === 'feed_reread').length;
    for (let second = 0; second < 59; second++) {
      rig.feed.clockJumped(-10);
      await rig.pass(1_000);
    }
    assert.equal(rereads(), 1);
    await rig.pass(1_200);
    assert.equal(rereads(), 2, 'for all that came meanwhile');
    await rig.pass(2 * INTERVAL_MS);
    assert.equal(rereads(), 2);
  });
});

test('a clock that keeps jumping reopens the stream at once, and then at most every two seconds', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    serve(rig);
    await rig.start();
    for (let turn = 0; turn < 40; turn++) {
      rig.feed.clockJumped(3);
      await rig.pass(100);
    }
    assert.ok(rig.opened.length <= 4, `${rig.opened.length}`);
    assert.ok(rig.opened.length >= 3);
  });
});

test('a guard that is not started, or is closed, reads nothing', async () => {
  await inRig(LONGEST, STREAM_ALONE, async (rig) => {
    const { asked } = serve(rig);
    rig.feed.clockJumped(-60);
    rig.closing.abort();
    await rig.start();
    rig.feed.clockJumped(60);
    await rig.pass(1_000);
    assert.deepEqual(asked, []);
  });
});

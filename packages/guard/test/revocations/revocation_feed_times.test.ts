/** When the feed opens streams and requests pages, to the millisecond. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Outage, Refused } from '../../src/outage.ts';
import { inRig, LONGEST, SHORTEST, STEP_MS, STREAM_ALONE, times } from './feed_rig.ts';
import { settle } from './feed_world.ts';

test('a failed stream is retried after 100 ms, then after twice as long each time up to 2 s, with jitter down to half', async () => {
  for (const [chance, expected] of [
    [LONGEST, [0, 100, 300, 700, 1_500, 3_100, 5_100, 7_100]],
    [SHORTEST, [0, 50, 150, 350, 750, 1_550, 2_550, 3_550, 4_550, 5_550, 6_550]],
  ] as const) {
    await inRig(chance, STREAM_ALONE, async (rig) => {
      rig.stream = () => Promise.reject(new TypeError('a secret', { cause: { code: 'ECONNREFUSED' } }));
      await rig.start();
      await rig.pass(7_500);
      assert.deepEqual(times(rig.opened).slice(0, expected.length), expected);
      assert.equal(rig.feed.lastError, 'ECONNREFUSED');
      assert.equal(rig.feed.transport, 'none');
      assert.deepEqual(rig.told[0], { kind: 'feed_lost', because: 'ECONNREFUSED' });
    });
  }
});

test('the backoff starts over only after a stream that brought a heartbeat', async () => {
  for (const speaks of [true, false]) {
    await inRig(LONGEST, STREAM_ALONE, async (rig) => {
      const good = rig.stream;
      rig.stream = () => Promise.reject(new Outage('away'));
      await rig.start();
      await rig.pass(700);
      rig.stream = good;
      await rig.pass(800);
      assert.deepEqual(times(rig.opened), [0, 100, 300, 700, 1_500]);
      if (speaks) await rig.beat();
      assert.equal(rig.feed.transport, speaks ? 'stream' : 'none');
      await rig.end();
      await rig.pass(1_600);
      assert.deepEqual(times(rig.opened).slice(5), [speaks ? 1_600 : 3_100]);
    });
  }
});

test('after a refusal the guard waits five to ten seconds, and normal backoff resumes once it is no longer refused', async () => {
  for (const [chance, pauseMs, nextMs] of [
    [LONGEST, 10_000, 200],
    [SHORTEST, 5_000, 100],
  ] as const) {
    await inRig(chance, {}, async (rig) => {
      rig.stream = () => Promise.reject(new Refused(401));
      await rig.start();
      await rig.pass(pauseMs - STEP_MS);
      assert.deepEqual(rig.told, [{ kind: 'feed_refused', status: 401 }]);
      assert.equal(rig.feed.lastError, 'The issuer refused the credentials.');
      assert.deepEqual(rig.asked, [], 'nor are pages read');
      rig.stream = () => Promise.reject(new Outage('away'));
      await rig.pass(STEP_MS + nextMs);
      assert.deepEqual(times(rig.opened), [0, pauseMs, pauseMs + nextMs]);
      assert.deepEqual(rig.told.slice(1, 2), [{ kind: 'feed_lost', because: 'away' }]);
    });
  }
});

test('while polling works, the stream is tried once or twice a minute, and its failures change nothing', async () => {
  for (const [chance, againMs] of [
    [LONGEST, 60_000],
    [SHORTEST, 30_000],
  ] as const) {
    await inRig(chance, { pollAfterMs: STEP_MS }, async (rig) => {
      const good = rig.stream;
      await rig.start();
      await rig.pass(STEP_MS);
      assert.equal(rig.feed.transport, 'poll');
      rig.stream = () => Promise.reject(new Outage('away'));
      await rig.end();
      const endedAt = rig.passed;
      await rig.pass(2 * againMs);
      assert.deepEqual(times(rig.opened), [0, endedAt + againMs, endedAt + 2 * againMs]);
      assert.equal(rig.feed.lastError, 'away');
      assert.deepEqual(rig.told, [{ kind: 'feed_connected', transport: 'poll' }]);
      rig.stream = good;
      await rig.pass(againMs);
      await rig.beat();
      assert.deepEqual(rig.told.slice(1), [{ kind: 'feed_connected', transport: 'stream' }]);
    });
  }
});

test('pages are polled after two seconds of silence, every quarter to half a second', async () => {
  for (const [chance, pauseMs] of [
    [LONGEST, 500],
    [SHORTEST, 250],
  ] as const) {
    await inRig(chance, {}, async (rig) => {
      await rig.start();
      await rig.pass(1_950);
      assert.deepEqual(rig.asked, []);
      await rig.pass(3 * pauseMs + STEP_MS);
      const expected = [2_000, 2_000 + pauseMs, 2_000 + 2 * pauseMs, 2_000 + 3 * pauseMs];
      assert.deepEqual(times(rig.asked), expected);
    });
  }
});

test('failing pages are requested less and less often, up to every two seconds, until one succeeds', async () => {
  await inRig(LONGEST, {}, async (rig) => {
    const good = rig.page;
    await rig.start();
    await rig.pass(2_000);
    rig.page = () => Promise.reject(new Outage('away'));
    await rig.pass(7_500);
    assert.deepEqual(times(rig.asked), [2_000, 2_500, 3_500, 5_500, 7_500, 9_500]);
    rig.page = good;
    await rig.pass(2_500);
    assert.deepEqual(times(rig.asked).slice(6), [11_500, 12_000]);
    const lost = { kind: 'feed_lost', because: 'away' };
    const connected = { kind: 'feed_connected', transport: 'poll' };
    assert.deepEqual(rig.told, [connected, lost, connected]);
  });
});

test('the backoff counts the first failing page', async () => {
  await inRig(LONGEST, {}, async (rig) => {
    rig.page = () => Promise.reject(new Outage('away'));
    await rig.start();
    await rig.pass(7_500);
    assert.deepEqual(times(rig.asked), [2_000, 3_000, 5_000, 7_000]);
    assert.deepEqual(rig.told, [], 'what was never had is not lost');
  });
});

test('after a refused page the guard waits ten seconds, and reports it if polling worked before', async () => {
  await inRig(LONGEST, {}, async (rig) => {
    await rig.start();
    await rig.pass(2_000);
    rig.page = () => Promise.reject(new Refused(403));
    await rig.pass(500);
    await rig.pass(9_950);
    assert.deepEqual(times(rig.asked), [2_000, 2_500]);
    assert.deepEqual(rig.told.slice(1), [{ kind: 'feed_refused', status: 403 }]);
    assert.equal(rig.feed.transport, 'none');
    assert.equal(rig.feed.lastError, 'The issuer refused the credentials.');
    await rig.pass(STEP_MS);
    assert.deepEqual(times(rig.asked), [2_000, 2_500, 12_500]);
  });
});

test('no page is polled while the stream brings heartbeats, and polling starts within four seconds of silence', async () => {
  for (const [chance, pauseMs] of [
    [LONGEST, 4_000],
    [SHORTEST, 2_000],
  ] as const) {
    await inRig(chance, {}, async (rig) => {
      await rig.start();
      await rig.beat();
      await rig.pass(2_000 + pauseMs - STEP_MS);
      assert.deepEqual(rig.asked, []);
      await rig.beat();
      await rig.pass(STEP_MS + pauseMs - STEP_MS);
      assert.deepEqual(rig.asked, []);
      await rig.pass(STEP_MS);
      assert.deepEqual(times(rig.asked), [2_000 + 2 * pauseMs]);
      assert.equal(rig.feed.transport, 'poll');
    });
  }
});

test('a page that arrives after a heartbeat does not switch the transport to polling', async () => {
  await inRig(LONGEST, {}, async (rig) => {
    let answer = (_page: unknown): void => {};
    rig.page = () => new Promise((resolve) => (answer = resolve));
    await rig.start();
    await rig.pass(2_500);
    await rig.beat();
    const fresh = rig.feed.stalenessSeconds;
    assert.equal(fresh, 0);
    answer({ entries: [rig.entry('c1')], cursor: 'c1', more: false });
    await settle();
    assert.equal(rig.set.size, 1);
    assert.deepEqual(rig.told, [{ kind: 'feed_connected', transport: 'stream' }]);
    assert.equal(rig.feed.stalenessSeconds, 0, 'what the page says is older');
  });
});

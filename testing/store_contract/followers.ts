import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FOLLOWERS_PER_CLIENT_MAX, type FollowerCount, type Store } from '../../packages/server/src/store/store.ts';
import { NOW, followerRecord, revocationRecord } from './records.ts';
import type { StoreTest } from './store_test.ts';

const NOW_MS = NOW * 1000;
/** Signs of life before this do not count. */
const ALIVE_AFTER = NOW_MS - 10_000;

function countAt(store: Store, cursor: string): Promise<FollowerCount> {
  return store.countFollowers({ cursor, aliveAfter: ALIVE_AFTER });
}

/** Followers: what counts as confirmed, and by whom. */
export function testFollowers(storeTest: StoreTest): void {
  storeTest('what a follower confirmed at one process counts at another, and never goes back', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const start = await a.askFollowers();
    await a.revoke([revocationRecord('token', 'one')]);
    const end = await b.askFollowers();
    assert.deepEqual(await countAt(a, end), { connected: 0, confirmed: 0 });
    await a.saveFollowers([followerRecord('f1', { cursor: start }), followerRecord('f2')], ALIVE_AFTER);
    assert.deepEqual(await countAt(b, end), { connected: 2, confirmed: 0 });
    await b.saveFollowers([followerRecord('f1', { cursor: end })], ALIVE_AFTER);
    assert.deepEqual(await countAt(a, end), { connected: 2, confirmed: 1 });
    // A late report with an old cursor.
    await a.saveFollowers([followerRecord('f1', { cursor: start, seenAt: NOW_MS - 9_000 })], ALIVE_AFTER);
    assert.deepEqual(await countAt(a, end), { connected: 2, confirmed: 1 });
    await a.saveFollowers([followerRecord('f2', { cursor: end }), followerRecord('f2', { cursor: end })], ALIVE_AFTER);
    assert.deepEqual(await countAt(a, end), { connected: 2, confirmed: 2 });
  });

  storeTest('a follower without a recent sign of life is not counted, and is forgotten', async ({ open }) => {
    const store = await open();
    const end = await store.askFollowers();
    const signs = [NOW_MS, ALIVE_AFTER + 1, ALIVE_AFTER];
    await store.saveFollowers(
      signs.map((seenAt, at) => followerRecord(`f${at}`, { seenAt, cursor: end })),
      ALIVE_AFTER,
    );
    assert.deepEqual(await countAt(store, end), { connected: 2, confirmed: 2 });
    assert.equal(await store.forgetExpired(NOW, 100), 0);
    assert.equal(await store.forgetExpired(NOW + 55, 100), 2);
    assert.equal(await store.forgetExpired(NOW + 61, 100), 1);
    assert.deepEqual(await countAt(store, end), { connected: 0, confirmed: 0 });
  });

  storeTest('a cursor that this store did not issue confirms nothing', async ({ open }) => {
    const store = await open();
    await store.revoke([revocationRecord('token', 'one')]);
    const end = await store.askFollowers();
    const ahead = end.replace('-1-', '-2-');
    const cursors = ['nonsense', 'ffffffffffff-9', ahead, end.slice(0, -1), '', undefined];
    await store.saveFollowers(
      cursors.map((cursor, at) => followerRecord(`f${at}`, { cursor })),
      ALIVE_AFTER,
    );
    assert.deepEqual(await countAt(store, end), { connected: cursors.length, confirmed: 0 });
  });

  storeTest('a cursor from another history of the store is confirmed by no follower', async ({ open }) => {
    const store = await open();
    await store.revoke([revocationRecord('token', 'one')]);
    const end = await store.askFollowers();
    await store.saveFollowers([followerRecord('f', { cursor: end })], ALIVE_AFTER);
    assert.deepEqual(await countAt(store, end), { connected: 1, confirmed: 1 });
    for (const other of [end.replace('-1-', '-2-'), end.slice(0, -1), end.replace(/^[0-9a-z]+/, 'ffffffffffff')]) {
      assert.deepEqual(await countAt(store, other), { connected: 1, confirmed: 0 }, other);
    }
    assert.deepEqual(await countAt(store, ''), { connected: 1, confirmed: 1 }, 'an empty cursor waits for nothing');
  });

  storeTest('no client can confirm for another, or crowd out its followers', async ({ open }) => {
    const store = await open();
    await store.revoke([revocationRecord('token', 'one')]);
    const end = await store.askFollowers();
    await store.saveFollowers([followerRecord('f')], ALIVE_AFTER);
    await store.saveFollowers([followerRecord('f', { clientId: 'other', cursor: end })], ALIVE_AFTER);
    assert.deepEqual(await countAt(store, end), { connected: 2, confirmed: 1 });
    const many = Array.from({ length: FOLLOWERS_PER_CLIENT_MAX + 100 }, (_, at) => followerRecord(`g${at}`));
    for (const follower of many.slice(0, 50)) await store.saveFollowers([follower], ALIVE_AFTER);
    await store.saveFollowers(many, ALIVE_AFTER);
    // Rows of one statement do not see each other, so a batch may exceed the limit.
    await store.saveFollowers([followerRecord('one more')], ALIVE_AFTER);
    const { connected } = await countAt(store, end);
    assert.ok(connected <= FOLLOWERS_PER_CLIENT_MAX + 256, String(connected));
    await store.saveFollowers([followerRecord('f', { cursor: end })], ALIVE_AFTER);
    await store.saveFollowers([followerRecord('third', { clientId: 'third', cursor: end })], ALIVE_AFTER);
    assert.deepEqual(await countAt(store, end), { connected: connected + 1, confirmed: 3 });
  });

  storeTest(
    'every watcher sees a request to confirm, at the end of the feed or behind the awaited cursor',
    async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const page = await b.readRevocations({ limit: 10, now: NOW });
      const heard = mock.fn();
      const stop = b.watchRevocations(heard);
      while (heard.mock.callCount() === 0) await sleep(10);
      await a.revoke([revocationRecord('token', 'one')]);
      const end = await a.askFollowers();
      for (;;) {
        const now = await b.readRevocations({ limit: 10, now: NOW });
        if (now.calls === page.calls) continue;
        assert.equal(now.cursor, end);
        break;
      }
      const before = heard.mock.callCount();
      await a.askFollowers();
      while (heard.mock.callCount() === before) await sleep(10);
      stop();
    },
  );
}

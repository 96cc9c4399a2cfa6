import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { CURSOR_LENGTH_MAX } from '@hallpass/protocol';
import type { Store } from '../../packages/server/src/store/store.ts';
import {
  NOW,
  clientRecord,
  eventRecord,
  setStoreTime,
  readFeed,
  revocationBefore,
  revocationRecord,
  rotationRecord,
} from './records.ts';
import type { StoreTest } from './store_test.ts';

const tokens = (...ids: readonly string[]) => ids.map((id) => revocationRecord('token', id));

/** The revocation feed: order, cursors and watchers. */
export function testFeed(storeTest: StoreTest): void {
  storeTest('entries come in commit order, each with all that a guard needs (contract §9)', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.revoke(tokens('z', 'a'));
    await b.revoke([revocationRecord('grant', 'm', { expires_at: NOW + 7 })]);
    await a.revoke([revocationBefore('client', NOW + 1), revocationBefore('*', NOW + 2)]);
    const { entries, more } = await b.readRevocations({ limit: 10, now: NOW });
    assert.equal(more, false);
    assert.deepEqual(
      entries.map(({ kind, id, before, expires_at }) => ({ kind, id, before, expires_at })),
      [
        { kind: 'token', id: 'z', before: undefined, expires_at: NOW + 100 },
        { kind: 'token', id: 'a', before: undefined, expires_at: NOW + 100 },
        { kind: 'grant', id: 'm', before: undefined, expires_at: NOW + 7 },
        { kind: 'client', id: 'client', before: NOW + 1, expires_at: NOW + 100 },
        { kind: 'before', id: '*', before: NOW + 2, expires_at: NOW + 100 },
      ],
    );
    assert.equal(new Set(entries.map(({ cursor }) => cursor)).size, entries.length);
  });

  storeTest('pages lead to the end, and only the last one says that there is no more', async ({ open }) => {
    const store = await open();
    const ids = Array.from({ length: 10 }, (_, at) => `jti-${at}`);
    await store.revoke(tokens(...ids));
    const first = await store.readRevocations({ limit: 4, now: NOW });
    assert.deepEqual(
      first.entries.map(({ id }) => id),
      ids.slice(0, 4),
    );
    assert.equal(first.more, true);
    for (const limit of [1, 3, 5, 10, 11]) assert.deepEqual((await readFeed(store, { limit })).ids, ids);
  });

  storeTest(
    'reading continues right after any entry, in another process and after a restart too',
    async ({ open, close }) => {
      const a = await open();
      await a.revoke(tokens('one', 'two', 'three'));
      const { entries, cursor } = await a.readRevocations({ limit: 10, now: NOW });
      assert.equal(entries.at(-1)?.cursor, cursor);
      await close(a);
      const b = await open();
      for (const [at, entry] of entries.entries()) {
        assert.deepEqual((await readFeed(b, { after: entry.cursor })).ids, ['one', 'two', 'three'].slice(at + 1));
      }
    },
  );

  storeTest('the cursor of an empty feed, or of the end, continues with the next entry', async ({ open }) => {
    const store = await open();
    const empty = await readFeed(store);
    await store.revoke(tokens('one'));
    const end = await readFeed(store, { after: empty.cursor });
    assert.deepEqual(end.ids, ['one']);
    const still = await readFeed(store, { after: end.cursor });
    assert.deepEqual(still, { ids: [], cursor: end.cursor });
    await store.revoke(tokens('two'));
    assert.deepEqual((await readFeed(store, { after: still.cursor })).ids, ['two']);
  });

  storeTest(
    'a cursor that this store did not issue reads from the start, so that nothing is skipped',
    async ({ open }) => {
      const store = await open();
      await store.revoke(tokens('one', 'two'));
      const { cursor } = await readFeed(store);
      const [feedId = ''] = cursor.split('-');
      const strange = [
        ['unknown', 'no-such-cursor'],
        ['another store’s', `${'0'.repeat(feedId.length)}-1`],
        ['from the future', `${feedId}-3`],
        ['from the far future', `${feedId}-999999999999999999999`],
        ['signed', `${feedId}--1`],
        ['a fraction', `${feedId}-1.5`],
        ['not a number', `${feedId}-x`],
        ['without a position', `${feedId}-`],
        ['with more behind', `${cursor}-1`],
        ['of another commit', cursor.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))],
        ['without its commit', cursor.split('-').slice(0, 2).join('-')],
        ['empty', ''],
        ['too long', `${feedId}-${'0'.repeat(CURSOR_LENGTH_MAX)}1`],
        ['statements', `${cursor}'; DROP TABLE revocations; --`],
      ] as const;
      for (const [what, after] of strange) {
        assert.deepEqual((await readFeed(store, { after })).ids, ['one', 'two'], what);
      }
      assert.deepEqual((await readFeed(store, { after: cursor })).ids, []);
    },
  );

  storeTest('an entry is left out from the second in which it expires, and the cursor passes it', async ({ open }) => {
    const store = await open();
    const expiring = revocationRecord('token', 'expiring', { expires_at: NOW + 10 });
    await store.revoke([...tokens('first'), expiring]);
    assert.deepEqual((await readFeed(store, { now: NOW + 9 })).ids, ['first', 'expiring']);
    await setStoreTime(store, NOW + 9);
    const ahead = await readFeed(store, { now: NOW + 7_200 });
    assert.deepEqual(ahead.ids, ['first', 'expiring'], 'a reader whose clock is hours ahead skips nothing');
    await setStoreTime(store, NOW + 10);
    const passed = await readFeed(store, { now: NOW + 10 });
    assert.deepEqual(passed.ids, ['first']);
    // With an earlier clock, the cursor is still behind the expired entry.
    assert.deepEqual((await readFeed(store, { after: passed.cursor })).ids, []);
    await store.revoke(tokens('next'));
    assert.deepEqual((await readFeed(store, { after: passed.cursor })).ids, ['next']);
  });

  storeTest('a reader at a forgotten entry misses no live one', async ({ open }) => {
    const store = await open();
    await store.revoke([revocationRecord('token', 'old', { expires_at: NOW + 1 })]);
    const { cursor } = await readFeed(store);
    await store.revoke([revocationRecord('token', 'older', { expires_at: NOW + 1 }), ...tokens('alive')]);
    await store.forgetExpired(NOW + 5, 100);
    await setStoreTime(store, NOW + 5);
    assert.deepEqual((await readFeed(store, { after: cursor, now: NOW + 5 })).ids, ['alive']);
    assert.deepEqual((await readFeed(store, { now: NOW + 5 })).ids, ['alive']);
  });

  storeTest('a bound that moves forward makes no reader start over', async ({ open }) => {
    const store = await open();
    const ends = { expires_at: NOW + 200 };
    await store.revoke([revocationRecord('token', 'one', ends), revocationRecord('token', 'two', ends)]);
    await store.revoke([revocationBefore('client', NOW + 1)]);
    const { cursor } = await readFeed(store);
    await store.revoke([revocationBefore('client', NOW + 2)]);
    assert.deepEqual((await readFeed(store, { after: cursor })).ids, ['client']);
    assert.deepEqual((await readFeed(store)).ids, ['one', 'two', 'client'], 'a new reader gets only the later one');
    await store.forgetExpired(NOW + 101, 100);
    await store.revoke(tokens('three'));
    assert.deepEqual(
      (await readFeed(store, { after: cursor })).ids,
      ['one', 'two', 'three'],
      'the placeholder is forgotten',
    );
  });

  storeTest('positions are not reused when the newest entries have been forgotten', async ({ open }) => {
    const store = await open();
    await store.revoke([revocationRecord('token', 'short', { expires_at: NOW + 1 })]);
    const { cursor } = await readFeed(store);
    await store.forgetExpired(NOW + 5, 100);
    await store.revoke(tokens('next'));
    assert.deepEqual((await readFeed(store, { after: cursor, now: NOW + 5 })).ids, ['next']);
  });

  storeTest(
    'a reader next to two writing processes sees each of 2,000 revocations once',
    async ({ open }, { signal }) => {
      const [a, b, reader] = [await open(), await open(), await open()];
      const written = Promise.all(
        Array.from({ length: 2_000 }, (_, at) => (at % 2 === 0 ? a : b).revoke(tokens(`jti-${at}`))),
      );
      const seen: string[] = [];
      let cursor: string | undefined;
      while (seen.length < 2_000 && !signal.aborted) {
        const page = await readFeed(reader, { limit: 37, ...(cursor === undefined ? {} : { after: cursor }) });
        seen.push(...page.ids);
        cursor = page.cursor;
        await turn();
      }
      await written;
      assert.equal(new Set(seen).size, 2_000);
      assert.deepEqual(seen, (await readFeed(reader, { limit: 1_000 })).ids);
    },
  );

  const watchedWrites: readonly (readonly [what: string, write: (store: Store) => Promise<unknown>])[] = [
    ['a revocation', (store) => store.revoke(tokens('one'))],
    [
      'a change of a client that revokes',
      (store) =>
        store.saveClient(clientRecord(), {
          event: eventRecord('made'),
          revocations: [revocationBefore('client', NOW + 1)],
        }),
    ],
  ];
  for (const [what, write] of watchedWrites) {
    for (const whose of ['its own', 'another'] as const) {
      storeTest(`a watcher is called after ${what} by ${whose} process, when it can be read`, async ({ open }) => {
        const [a, b] = [await open(), await open()];
        const { cursor } = await readFeed(a);
        const called = new Promise<readonly string[]>((resolve, reject) => {
          a.watchRevocations(() => {
            readFeed(a, { after: cursor }).then(({ ids }) => ids.length > 0 && resolve(ids), reject);
          });
        });
        await write(whose === 'its own' ? a : b);
        assert.equal((await called).length, 1);
      });
    }
  }

  storeTest('a watcher that stopped is not called any more, and others still are', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    let called = 0;
    const stop = a.watchRevocations(() => {
      called += 1;
    });
    await a.revoke(tokens('one'));
    stop();
    const before = called;
    const another = new Promise<void>((resolve) => {
      a.watchRevocations(() => {
        void a.isRevoked({ jti: 'two', grantId: '', clientId: '', issuedAt: NOW }).then((is) => is && resolve());
      });
    });
    await b.revoke(tokens('two'));
    await another;
    assert.equal(called, before);
  });

  storeTest('a new watcher is called after all others have stopped', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    a.watchRevocations(() => undefined)();
    const called = new Promise<void>((resolve) => {
      a.watchRevocations(resolve);
    });
    await b.revoke(tokens('one'));
    await called;
  });

  storeTest('a rotation leaves the feed unchanged', async ({ open }) => {
    const store = await open();
    const before = await store.readRevocations({ limit: 10, now: NOW });
    await store.rotate(rotationRecord());
    assert.deepEqual(await store.readRevocations({ limit: 10, now: NOW }), before);
  });
}

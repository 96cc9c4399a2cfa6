import assert from 'node:assert/strict';
import { StoreUnavailable, type Store } from '../../packages/server/src/store/store.ts';
import {
  NOW,
  clientRecord,
  eventRecord,
  followerRecord,
  keyRecord,
  setStoreTime,
  readFeed,
  revocationBefore,
  revocationRecord,
  rotationRecord,
} from './records.ts';
import type { StoreTest } from './store_test.ts';

const TOKEN = { jti: 'jti', grantId: 'grant', clientId: 'client', issuedAt: NOW };
/** How far apart the clocks of instances on one store may be, in seconds (contract, Many instances). */
const SKEW_SECONDS = 5;
const EVENTS_KEPT_DAYS = 90;

/** A harmless call of every operation. The type makes a new one appear here. */
const EVERY_OPERATION: {
  readonly [Name in Exclude<keyof Store, 'watchRevocations' | 'readClock' | 'close'>]: (
    store: Store,
  ) => Promise<unknown>;
} = {
  findClient: (store) => store.findClient('client'),
  findIssueNotBefore: (store) => store.findIssueNotBefore('client'),
  listClients: (store) => store.listClients({ limit: 1 }),
  saveClient: (store) => store.saveClient(clientRecord(), { event: eventRecord('made') }),
  deleteClient: (store) => store.deleteClient('client', { event: eventRecord('deleted') }),
  isOriginListed: (store) => store.isOriginListed('https://app.example.com'),
  markSecretsUsed: (store) => store.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]),
  findSecretUses: (store) => store.findSecretUses('client'),
  loadKeys: (store) => store.loadKeys(),
  addKey: (store) => store.addKey(keyRecord(), -1),
  removeKey: (store) => store.removeKey('key', { event: eventRecord('removed') }),
  countGrants: (store) => store.countGrants(NOW, 'client'),
  countGrantsSealedBy: (store) => store.countGrantsSealedBy('key', NOW),
  rewrapKey: (store) => store.rewrapKey('key', { from: 'wrapped', to: 'wrapped anew' }),
  count: (store) => store.count({ name: 'name', period: 1, by: 1, expiresAt: NOW }),
  useOnce: (store) => store.useOnce([{ space: 'space', id: 'id', expiresAt: NOW }]),
  findFamily: (store) => store.findFamily('grant'),
  rotate: (store) => store.rotate(rotationRecord()),
  recordPredecessor: (store) => store.recordPredecessor({ grantId: 'grant', generation: 1, inARow: 1 }),
  findRefreshSuspicions: (store) => store.findRefreshSuspicions('client'),
  revoke: (store) => store.revoke([revocationRecord('token', 'jti')]),
  isRevoked: (store) => store.isRevoked(TOKEN),
  readRevocations: (store) => store.readRevocations({ limit: 1, now: NOW }),
  askFollowers: (store) => store.askFollowers(),
  saveFollowers: (store) => store.saveFollowers([followerRecord('follower')], 0),
  countFollowers: (store) => store.countFollowers({ cursor: 'a-1', aliveAfter: 0 }),
  recordEvent: (store) => store.recordEvent(eventRecord('event')),
  listEvents: (store) => store.listEvents({ limit: 1 }),
  findTime: (store) => store.findTime(),
  saveTime: (store) => store.saveTime({ now: 1, trusted: 1, settled: false }),
  forgetExpired: (store) => store.forgetExpired(NOW, 1),
  check: (store) => store.check(),
};

/** Counters, events, issuer keys, single use, forgetting and closing. */
export function testMaintenance(storeTest: StoreTest): void {
  testEvents(storeTest);
  testKeys(storeTest);
  testOnce(storeTest);
  testForgetting(storeTest);
  testClosing(storeTest);
}

function testEvents(storeTest: StoreTest): void {
  storeTest('a key is rewrapped only if it has not changed, and all processes see it', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.addKey(keyRecord(), -1);
    assert.equal(await b.rewrapKey('key', { from: 'something else', to: 'lost' }), 'changed_meanwhile');
    assert.equal(await b.rewrapKey('nobody', { from: 'wrapped', to: 'lost' }), 'changed_meanwhile');
    const outcomes = await Promise.all([
      a.rewrapKey('key', { from: 'wrapped', to: 'by a' }),
      b.rewrapKey('key', { from: 'wrapped', to: 'by b' }),
    ]);
    assert.deepEqual(outcomes.toSorted(), ['changed_meanwhile', 'kept']);
    const [kept] = await a.loadKeys();
    assert.equal(kept?.wrapped, outcomes[0] === 'kept' ? 'by a' : 'by b');
    assert.deepEqual(await b.loadKeys(), await a.loadKeys());
  });

  storeTest('all processes share a counter, which counts per name and period', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const counter = { name: 'key', period: 7, by: 3, expiresAt: NOW };
    const totals = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? a : b).count(counter)));
    assert.deepEqual(
      totals.toSorted((x, y) => x - y),
      Array.from({ length: 20 }, (_, at) => 3 * (at + 1)),
    );
    assert.equal(await a.count({ ...counter, period: 8 }), 3);
    assert.equal(await b.count({ ...counter, name: 'other', by: 1 }), 1);
    assert.equal(await b.count({ ...counter, by: 0 }), 60);
    await a.forgetExpired(NOW + 3600, 100);
    assert.equal(await a.count(counter), 3, 'it is forgotten long after its period');
  });

  storeTest('events come newest first, also within one millisecond, and no more than asked for', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.recordEvent(eventRecord('first', { at: 2 }));
    await b.recordEvent(eventRecord('second', { at: 2, clientId: 'client', grantId: 'grant', detail: 'words' }));
    await a.recordEvent(eventRecord('late', { at: 1 }));
    assert.deepEqual(await b.listEvents({ limit: 10 }), [
      { at: 2, kind: 'second', clientId: 'client', grantId: 'grant', detail: 'words' },
      { at: 2, kind: 'first' },
      { at: 1, kind: 'late' },
    ]);
    assert.deepEqual(
      (await a.listEvents({ limit: 2 })).map(({ kind }) => kind),
      ['second', 'first'],
    );
  });

  storeTest('concurrent events of two processes are all stored', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const kinds = Array.from({ length: 200 }, (_, at) => `event-${at}`);
    await Promise.all(kinds.map((kind, at) => (at % 2 === 0 ? a : b).recordEvent(eventRecord(kind))));
    const kept = (await a.listEvents({ limit: 1_000 })).map(({ kind }) => kind);
    assert.deepEqual(kept.toSorted(), kinds.toSorted());
  });
}

function testKeys(storeTest: StoreTest): void {
  storeTest('of processes that start at once, one adds the first key, and all load it', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const starting = Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? a : b));
    const outcomes = await Promise.all(
      starting.map((store, at) => store.addKey(keyRecord({ keyId: `key-${at}` }), -1)),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'added').length, 1);
    assert.equal(outcomes.filter((outcome) => outcome === 'exists').length, 19);
    assert.deepEqual(await a.loadKeys(), [keyRecord({ keyId: `key-${outcomes.indexOf('added')}` })]);
    assert.deepEqual(await b.loadKeys(), await a.loadKeys());
  });

  storeTest(
    'each use and algorithm has its own first key, and keys are listed in the order in which they become active',
    async ({ open }) => {
      const store = await open();
      const keys = [
        keyRecord({ keyId: 'c', activeFrom: 1 }),
        keyRecord({ keyId: 'b', activeFrom: 2, algorithm: 'EdDSA' }),
        keyRecord({ keyId: 'a', activeFrom: 3, use: 'refresh_mac', algorithm: 'HS256' }),
        keyRecord({ keyId: 'd', activeFrom: 4, use: 'secret_mac', algorithm: 'HS256' }),
      ];
      for (const key of keys) assert.equal(await store.addKey(key, -1), 'added');
      assert.equal(await store.addKey(keyRecord({ keyId: 'e', algorithm: 'EdDSA' }), -1), 'exists');
      assert.deepEqual(await store.loadKeys(), keys);
    },
  );

  storeTest('a key that is due is added once with its event, and not before it is due', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.addKey(keyRecord({ keyId: 'old', createdAt: 10, activeFrom: 10 }), -1);
    const next = (keyId: string) => keyRecord({ keyId, createdAt: 20, activeFrom: 30 });
    assert.equal(await b.addKey(next('early'), 9, eventRecord('early')), 'exists');
    const outcomes = await Promise.all([a, b].map((store, at) => store.addKey(next(`${at}`), 10, eventRecord('due'))));
    assert.deepEqual(outcomes.toSorted(), ['added', 'exists']);
    assert.deepEqual(
      (await a.loadKeys()).map(({ keyId }) => keyId),
      ['old', `${outcomes.indexOf('added')}`],
    );
    assert.deepEqual(
      (await a.listEvents({ limit: 10 })).map(({ kind }) => kind),
      ['due'],
    );
  });

  storeTest(
    'removing a key stores its event and revocations; removing an unknown key does nothing',
    async ({ open }) => {
      const [a, b] = [await open(), await open()];
      await a.addKey(keyRecord(), -1);
      const revocations = [revocationBefore('*', NOW + 1)];
      assert.equal(await a.removeKey('other', { event: eventRecord('refused'), revocations }), 'unknown');
      assert.deepEqual((await readFeed(b)).ids, []);
      assert.equal(await a.removeKey('key', { event: eventRecord('removed'), revocations }), 'removed');
      assert.deepEqual(await b.loadKeys(), []);
      assert.deepEqual((await readFeed(b)).ids, ['*']);
      assert.deepEqual(
        (await b.listEvents({ limit: 10 })).map(({ kind }) => kind),
        ['removed'],
      );
    },
  );
}

function testOnce(storeTest: StoreTest): void {
  const mark = (id: string, space = 'space') => ({ space, id, expiresAt: NOW + 10 });

  storeTest('of 200 callers in two processes with one id, one is fresh (RFC 7523 §3)', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const callers = Array.from({ length: 200 }, (_, at) => (at % 2 === 0 ? a : b));
    const outcomes = await Promise.all(callers.map((store) => store.useOnce([mark('id')])));
    assert.equal(outcomes.filter((outcome) => outcome === 'fresh').length, 1);
    assert.deepEqual(
      outcomes.find((outcome) => outcome !== 'fresh'),
      mark('id'),
    );
  });

  storeTest('an id is used in its own space only', async ({ open }) => {
    const store = await open();
    assert.equal(await store.useOnce([mark('id')]), 'fresh');
    assert.equal(await store.useOnce([mark('id', 'another')]), 'fresh');
    assert.deepEqual(await store.useOnce([mark('id', 'another')]), mark('id', 'another'));
  });

  storeTest('of several ids all are used or none, and the first used one is returned', async ({ open }) => {
    const store = await open();
    await store.useOnce([mark('used')]);
    assert.deepEqual(await store.useOnce([mark('new'), mark('used')]), mark('used'));
    assert.equal(await store.useOnce([mark('new')]), 'fresh');
  });

  storeTest('of 100 callers in two processes with the same two ids in either order, one is fresh', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const marks = [mark('one'), mark('two')];
    const outcomes = await Promise.all(
      Array.from({ length: 100 }, (_, at) => (at % 2 === 0 ? a.useOnce(marks) : b.useOnce(marks.toReversed()))),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'fresh').length, 1);
  });

  storeTest('the same id twice in one call is a replay, not an outage', async ({ open }) => {
    const store = await open();
    assert.deepEqual(await store.useOnce([mark('id'), mark('id')]), mark('id'));
  });

  storeTest('an id is kept past its end for as long as clocks may differ, and then forgotten', async ({ open }) => {
    const store = await open();
    await store.useOnce([mark('id')]);
    assert.equal(await store.forgetExpired(NOW + 10 + SKEW_SECONDS, 100), 0);
    assert.deepEqual(await store.useOnce([mark('id')]), mark('id'));
    assert.equal(await store.forgetExpired(NOW + 1_000, 100), 1);
    assert.equal(await store.useOnce([mark('id')]), 'fresh');
  });
}

function testForgetting(storeTest: StoreTest): void {
  storeTest('a revocation is forgotten only when no refresh token can refer to it any more', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const kept = [
      revocationRecord('grant', 'grant', { expires_at: NOW + 1, keepUntil: NOW + 50 }),
      revocationBefore('client', NOW, { expires_at: NOW + 1, keepUntil: NOW + 50 }),
    ];
    await a.revoke(kept);
    assert.equal(await a.forgetExpired(NOW + 50, 100), 0);
    // No access token needs it in the feed any more, but it is still in force.
    await setStoreTime(b, NOW + 50);
    assert.deepEqual((await readFeed(b, { now: NOW + 50 })).ids, []);
    assert.equal(await b.rotate(rotationRecord()), 'revoked');
    assert.equal(await b.rotate(rotationRecord({ grantId: 'another', issuedAt: NOW - 1 })), 'revoked');
    assert.equal(await a.forgetExpired(NOW + 51, 100), 2);
    assert.equal(await b.rotate(rotationRecord()), 'rotated');
  });

  storeTest('a family is kept to its end, because it tells a retired token from a valid one', async ({ open }) => {
    const store = await open();
    await store.rotate(rotationRecord({ expiresAt: NOW + 10 }));
    await store.rotate(rotationRecord({ from: 1, expiresAt: NOW + 10 }));
    await store.forgetExpired(NOW + 10, 100);
    assert.equal((await store.findFamily('grant'))?.generation, 2);
    await store.forgetExpired(NOW + 1_000, 100);
    assert.equal(await store.findFamily('grant'), undefined);
  });

  for (const [what, presentedExpiresAt, expiresAt] of [
    ['the newest one expires sooner', NOW + 500, NOW + 10],
    ['the newest one expires later', NOW + 10, NOW + 500],
  ] as const) {
    storeTest(`a family is kept until its last generation expires: ${what}`, async ({ open }) => {
      const store = await open();
      await store.rotate(rotationRecord({ presentedExpiresAt, expiresAt }));
      await store.rotate(rotationRecord({ from: 1, presentedExpiresAt: expiresAt, expiresAt: NOW + 20 }));
      const { keptUntil, expiresAt: end } = (await store.findFamily('grant')) ?? {};
      assert.deepEqual([keptUntil, end], [NOW + 500, NOW + 20]);
      await store.forgetExpired(NOW + 500, 100);
      assert.equal((await store.findFamily('grant'))?.generation, 2);
      await store.forgetExpired(NOW + 1_000, 100);
      assert.equal(await store.findFamily('grant'), undefined);
    });
  }

  storeTest('the revocation of a grant is kept as long as its family, whatever its own end', async ({ open }) => {
    const store = await open();
    await store.rotate(rotationRecord({ grantId: 'early', expiresAt: NOW + 500 }));
    const brief = { expires_at: NOW + 1, keepUntil: NOW + 1 };
    await store.revoke([revocationRecord('grant', 'early', brief), revocationRecord('grant', 'late', brief)]);
    for (const now of [NOW + 2, NOW + 500]) {
      await store.forgetExpired(now, 100);
      assert.equal(await store.rotate(rotationRecord({ grantId: 'early', from: 1 })), 'revoked');
      assert.equal(
        await store.rotate(rotationRecord({ grantId: 'late', rotatedAt: now })),
        now === NOW + 2 ? 'rotated' : 'already_used',
      );
    }
    await store.forgetExpired(NOW + 10_000, 100);
    assert.equal(await store.isRevoked({ grantId: 'early', clientId: 'client', issuedAt: NOW }), false);
  });

  storeTest(
    'a family is kept past its end for as long as clocks may differ (contract, Many instances)',
    async ({ open }) => {
      const store = await open();
      await store.rotate(rotationRecord({ expiresAt: NOW + 10 }));
      await store.forgetExpired(NOW + 10 + SKEW_SECONDS, 100);
      assert.equal((await store.findFamily('grant'))?.generation, 1);
    },
  );

  storeTest('events are kept for 90 days', async ({ open }) => {
    const store = await open();
    await store.recordEvent(eventRecord('event'));
    const end = NOW + EVENTS_KEPT_DAYS * 86_400;
    assert.equal(await store.forgetExpired(end, 100), 0);
    assert.equal((await store.listEvents({ limit: 1 })).length, 1);
    assert.equal(await store.forgetExpired(end + 1, 100), 1);
    assert.deepEqual(await store.listEvents({ limit: 1 }), []);
  });

  storeTest('one call forgets no more than its limit, and repeated calls forget everything', async ({ open }) => {
    const store = await open();
    const revocations = Array.from({ length: 7 }, (_, at) => revocationRecord('token', `jti-${at}`));
    await store.revoke([...revocations, revocationRecord('token', 'alive', { expires_at: NOW + 900_000_000 })]);
    for (let at = 0; at < 5; at++) await store.rotate(rotationRecord({ grantId: `grant-${at}` }));
    for (let at = 0; at < 4; at++) await store.recordEvent(eventRecord(`event-${at}`));
    const later = NOW + 100 * 86_400;
    const steps: number[] = [];
    do steps.push(await store.forgetExpired(later, 3));
    while (steps.at(-1) === 3);
    assert.deepEqual(steps, [3, 3, 3, 3, 3, 1]);
    assert.equal(await store.forgetExpired(later, 3), 0);
    await setStoreTime(store, later);
    assert.deepEqual((await readFeed(store, { now: later })).ids, ['alive']);
  });

  storeTest('clients, their secret uses and keys are never forgotten', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    await store.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]);
    await store.addKey(keyRecord(), -1);
    assert.equal(await store.forgetExpired(NOW + 900_000_000, 100), 1);
    assert.notEqual(await store.findClient('client'), undefined);
    assert.equal((await store.findSecretUses('client')).length, 1);
    assert.equal((await store.loadKeys()).length, 1);
  });
}

function testClosing(storeTest: StoreTest): void {
  storeTest('every operation rejects with StoreUnavailable once the store is closed', async ({ open, close }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    await close(store);
    for (const [name, ask] of Object.entries(EVERY_OPERATION)) await assert.rejects(ask(store), StoreUnavailable, name);
  });

  storeTest(
    'a write in progress when the store is closed is stored or rejected, but never left hanging',
    async ({ open, close }) => {
      const store = await open();
      const ids = Array.from({ length: 300 }, (_, at) => `jti-${at}`);
      const asked = Promise.allSettled(ids.map((id) => store.revoke([revocationRecord('token', id)])));
      await close(store);
      const outcomes = await asked;
      const reopened = await open();
      const kept = new Set((await readFeed(reopened)).ids);
      for (const [at, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') assert.ok(kept.has(`jti-${at}`));
        else assert.ok(outcome.reason instanceof StoreUnavailable);
      }
    },
  );

  storeTest('a process carries on when another one closes the same store', async ({ open, close }) => {
    const [a, b] = [await open(), await open()];
    await a.revoke([revocationRecord('token', 'jti')]);
    await close(a);
    assert.equal(await b.isRevoked(TOKEN), true);
    await b.revoke([revocationRecord('token', 'more')]);
    assert.deepEqual((await readFeed(b)).ids, ['jti', 'more']);
  });
}

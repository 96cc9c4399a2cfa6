import assert from 'node:assert/strict';
import { StoreUnavailable, type Store } from '../../src/store/store.ts';
import {
  NOW,
  clientRecord,
  eventRecord,
  keyRecord,
  readFeed,
  revocationBefore,
  revocationRecord,
  rotationRecord,
} from './records.ts';
import type { StoreTest } from './contract.ts';

const TOKEN = { jti: 'jti', grantId: 'grant', clientId: 'client', issuedAt: NOW };
/** How far the clocks of instances on one store may be apart, in seconds (contract, Many instances). */
const SKEW_SECONDS = 5;
const EVENTS_KEPT_DAYS = 90;

/** Every verb, asked for something harmless. */
const EVERY_VERB: {
  readonly [Name in Exclude<keyof Store, 'watchRevocations' | 'close'>]: (store: Store) => Promise<unknown>;
} = {
  findClient: (store) => store.findClient('client'),
  listClients: (store) => store.listClients({ limit: 1 }),
  saveClient: (store) => store.saveClient(clientRecord(), { event: eventRecord('made') }),
  deleteClient: (store) => store.deleteClient('client', { event: eventRecord('deleted') }),
  isOriginListed: (store) => store.isOriginListed('https://app.example.com'),
  markSecretsUsed: (store) => store.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]),
  findSecretUses: (store) => store.findSecretUses('client'),
  loadKeys: (store) => store.loadKeys(),
  addFirstKey: (store) => store.addFirstKey(keyRecord()),
  findFamily: (store) => store.findFamily('grant'),
  rotate: (store) => store.rotate(rotationRecord()),
  revoke: (store) => store.revoke([revocationRecord('token', 'jti')]),
  isRevoked: (store) => store.isRevoked(TOKEN),
  readRevocations: (store) => store.readRevocations({ limit: 1, now: NOW }),
  recordEvent: (store) => store.recordEvent(eventRecord('event')),
  listEvents: (store) => store.listEvents({ limit: 1 }),
  forgetExpired: (store) => store.forgetExpired(NOW, 1),
  check: (store) => store.check(),
};

export function testCare(storeTest: StoreTest): void {
  testEvents(storeTest);
  testKeys(storeTest);
  testForgetting(storeTest);
  testClosing(storeTest);
}

function testEvents(storeTest: StoreTest): void {
  storeTest(
    'events come newest first, those of one moment in reverse order, at most as many as asked',
    async ({ open }) => {
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
    },
  );

  storeTest('events of two processes at once are all kept', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const kinds = Array.from({ length: 200 }, (_, at) => `event-${at}`);
    await Promise.all(kinds.map((kind, at) => (at % 2 === 0 ? a : b).recordEvent(eventRecord(kind))));
    const kept = (await a.listEvents({ limit: 1_000 })).map(({ kind }) => kind);
    assert.deepEqual(kept.toSorted(), kinds.toSorted());
  });
}

function testKeys(storeTest: StoreTest): void {
  storeTest('of processes that start at once one adds the first key, and both then hold it', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    const starting = Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? a : b));
    const outcomes = await Promise.all(
      starting.map((store, at) => store.addFirstKey(keyRecord({ keyId: `key-${at}` }))),
    );
    assert.equal(outcomes.filter((outcome) => outcome === 'added').length, 1);
    assert.equal(outcomes.filter((outcome) => outcome === 'exists').length, 19);
    assert.deepEqual(await a.loadKeys(), [keyRecord({ keyId: `key-${outcomes.indexOf('added')}` })]);
    assert.deepEqual(await b.loadKeys(), await a.loadKeys());
  });

  storeTest(
    'each use and each algorithm has a first key of its own, in the order in which they were made',
    async ({ open }) => {
      const store = await open();
      const keys = [
        keyRecord({ keyId: 'c', createdAt: 1 }),
        keyRecord({ keyId: 'b', createdAt: 2, algorithm: 'EdDSA' }),
        keyRecord({ keyId: 'a', createdAt: 3, use: 'refresh_mac', algorithm: 'HS256' }),
        keyRecord({ keyId: 'd', createdAt: 4, use: 'secret_mac', algorithm: 'HS256' }),
      ];
      for (const key of keys) assert.equal(await store.addFirstKey(key), 'added');
      assert.equal(await store.addFirstKey(keyRecord({ keyId: 'e', algorithm: 'EdDSA' })), 'exists');
      assert.deepEqual(await store.loadKeys(), keys);
    },
  );
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
    // Gone from the feed, where no access token needs it, and yet in force.
    assert.deepEqual((await readFeed(b, { now: NOW + 50 })).ids, []);
    assert.equal(await b.rotate(rotationRecord()), 'revoked');
    assert.equal(await b.rotate(rotationRecord({ grantId: 'another', issuedAt: NOW - 1 })), 'revoked');
    assert.equal(await a.forgetExpired(NOW + 51, 100), 2);
    assert.equal(await b.rotate(rotationRecord()), 'rotated');
  });

  storeTest('a family is kept to its end: it is what tells a retired token from a good one', async ({ open }) => {
    const store = await open();
    await store.rotate(rotationRecord({ expiresAt: NOW + 10 }));
    await store.rotate(rotationRecord({ from: 1, expiresAt: NOW + 10 }));
    await store.forgetExpired(NOW + 10, 100);
    assert.equal((await store.findFamily('grant'))?.generation, 2);
    await store.forgetExpired(NOW + 1_000, 100);
    assert.equal(await store.findFamily('grant'), undefined);
  });

  storeTest(
    'a family is kept past its end by as much as clocks may differ (contract, Many instances)',
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

  storeTest(
    'one step forgets no more than it may, and steps come to an end with everything forgotten',
    async ({ open }) => {
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
      assert.deepEqual((await readFeed(store, { now: later })).ids, ['alive']);
    },
  );

  storeTest('clients, their marks and keys are never forgotten', async ({ open }) => {
    const store = await open();
    await store.saveClient(clientRecord(), { event: eventRecord('made') });
    await store.markSecretsUsed([{ clientId: 'client', secretId: 'secret', usedAt: 1 }]);
    await store.addFirstKey(keyRecord());
    assert.equal(await store.forgetExpired(NOW + 900_000_000, 100), 1);
    assert.notEqual(await store.findClient('client'), undefined);
    assert.equal((await store.findSecretUses('client')).length, 1);
    assert.equal((await store.loadKeys()).length, 1);
  });
}

function testClosing(storeTest: StoreTest): void {
  for (const [verb, ask] of Object.entries(EVERY_VERB)) {
    storeTest(`${verb} rejects with StoreUnavailable once the store is closed`, async ({ open, close }) => {
      const store = await open();
      await store.saveClient(clientRecord(), { event: eventRecord('made') });
      await close(store);
      await assert.rejects(ask(store), StoreUnavailable);
    });
  }

  storeTest(
    'what was asked before the store is closed is written, or refused, but never left hanging',
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

  storeTest('a process goes on when another on the same store is closed', async ({ open, close }) => {
    const [a, b] = [await open(), await open()];
    await a.revoke([revocationRecord('token', 'jti')]);
    await close(a);
    assert.equal(await b.isRevoked(TOKEN), true);
    await b.revoke([revocationRecord('token', 'more')]);
    assert.deepEqual((await readFeed(b)).ids, ['jti', 'more']);
  });
}

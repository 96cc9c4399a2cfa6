import assert from 'node:assert/strict';
import { NOW, revocationBefore, revocationRecord, rotationRecord } from './records.ts';
import type { StoreTest } from './store_test.ts';

/** Rotations: one per generation, and none of a revoked grant. */
export function testGrants(storeTest: StoreTest): void {
  storeTest('a grant that was never refreshed has no family', async ({ open }) => {
    const store = await open();
    await store.rotate(rotationRecord({ grantId: 'other' }));
    assert.equal(await store.findFamily('grant'), undefined);
  });

  storeTest('living refreshed grants are counted, per client and in total', async ({ open }) => {
    const store = await open();
    for (const [grantId, clientId, expiresAt] of [
      ['one', 'client', NOW + 1],
      ['two', 'client', NOW + 1],
      ['over', 'client', NOW],
      ['another', 'other', NOW + 1],
    ] as const) {
      await store.rotate(rotationRecord({ grantId, clientId, expiresAt }));
    }
    const counted = [undefined, 'client', 'other', 'nobody'].map((clientId) => store.countGrants(NOW, clientId));
    assert.deepEqual(await Promise.all(counted), [3, 2, 1, 0]);
  });

  storeTest(
    'a rotation moves its family to the next generation, for every process and after a restart',
    async ({ open, close }) => {
      const [a, b] = [await open(), await open()];
      assert.equal(await a.rotate(rotationRecord({ rotatedAt: 1, keyId: 'old' })), 'rotated');
      const unseen = { shownGeneration: 0, shownInARow: 0, suspectedGeneration: 0 };
      const end = NOW + 1_000;
      const ends = { expiresAt: end, hasFixedEnd: false, keptUntil: end };
      const first = {
        grantId: 'grant',
        clientId: 'client',
        generation: 1,
        rotatedAt: 1,
        keyId: 'old',
        ...ends,
        ...unseen,
      };
      assert.deepEqual(await b.findFamily('grant'), first);
      assert.equal(await b.rotate(rotationRecord({ from: 1, rotatedAt: 2, keyId: 'new' })), 'rotated');
      const second = { ...first, generation: 2, rotatedAt: 2, keyId: 'new' };
      assert.deepEqual(await a.findFamily('grant'), second);
      await close(a);
      assert.deepEqual(await (await open()).findFamily('grant'), second);
    },
  );

  storeTest(
    'a generation rotates once, whichever process asks, and a second attempt changes nothing',
    async ({ open }) => {
      const [a, b] = [await open(), await open()];
      await a.rotate(rotationRecord({ rotatedAt: 1 }));
      assert.equal(await b.rotate(rotationRecord({ rotatedAt: 9 })), 'already_used');
      await a.rotate(rotationRecord({ from: 1, rotatedAt: 2 }));
      assert.equal(await b.rotate(rotationRecord({ from: 1, rotatedAt: 9 })), 'already_used');
      assert.equal((await b.findFamily('grant'))?.rotatedAt, 2);
    },
  );

  storeTest('a future generation does not rotate, and makes no family', async ({ open }) => {
    const store = await open();
    assert.equal(await store.rotate(rotationRecord({ from: 1 })), 'already_used');
    assert.equal(await store.findFamily('grant'), undefined);
    await store.rotate(rotationRecord());
    assert.equal(await store.rotate(rotationRecord({ from: 2 })), 'already_used');
    assert.equal((await store.findFamily('grant'))?.generation, 1);
  });

  for (const from of [0, 1]) {
    storeTest(
      `of 200 callers in two processes with generation ${from}, one rotates (contract §3)`,
      async ({ open }) => {
        const [a, b] = [await open(), await open()];
        for (let before = 0; before < from; before++) await a.rotate(rotationRecord({ from: before }));
        const callers = Array.from({ length: 200 }, (_, at) => (at % 2 === 0 ? a : b));
        const outcomes = await Promise.all(
          callers.map((store, at) => store.rotate(rotationRecord({ from, rotatedAt: at }))),
        );
        assert.equal(outcomes.filter((outcome) => outcome === 'rotated').length, 1);
        assert.equal(outcomes.filter((outcome) => outcome === 'already_used').length, 199);
        const family = await b.findFamily('grant');
        assert.equal(family?.generation, from + 1);
        assert.equal(family?.rotatedAt, outcomes.indexOf('rotated'));
      },
    );
  }

  storeTest('a revoked grant does not rotate, from its first generation or a later one', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.rotate(rotationRecord({ grantId: 'refreshed' }));
    await a.revoke([revocationRecord('grant', 'fresh'), revocationRecord('grant', 'refreshed')]);
    assert.equal(await b.rotate(rotationRecord({ grantId: 'fresh' })), 'revoked');
    assert.equal(await b.rotate(rotationRecord({ grantId: 'refreshed', from: 1 })), 'revoked');
    assert.equal(await b.findFamily('fresh'), undefined);
    assert.equal((await b.findFamily('refreshed'))?.generation, 1);
    assert.equal(await b.rotate(rotationRecord({ grantId: 'alive' })), 'rotated');
  });

  storeTest('revoking a token with the same id does not stop a grant', async ({ open }) => {
    const store = await open();
    await store.revoke([revocationRecord('token', 'grant')]);
    assert.equal(await store.rotate(rotationRecord()), 'rotated');
  });

  for (const [subject, what] of [
    ['client', 'all of its client'],
    ['*', 'everything'],
  ] as const) {
    storeTest(
      `a generation dated before a revocation of ${what} does not rotate; one from that second does`,
      async ({ open }) => {
        const store = await open();
        await store.revoke([revocationBefore(subject, NOW)]);
        assert.equal(await store.rotate(rotationRecord({ issuedAt: NOW - 1 })), 'revoked');
        assert.equal(await store.findFamily('grant'), undefined);
        assert.equal(await store.rotate(rotationRecord({ issuedAt: NOW })), 'rotated');
      },
    );
  }

  storeTest('a revocation of another client stops no rotation', async ({ open }) => {
    const store = await open();
    await store.revoke([revocationBefore('other', NOW + 100)]);
    assert.equal(await store.rotate(rotationRecord()), 'rotated');
  });

  storeTest('after a concurrent rotation and revocation in two processes, the grant is revoked', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    for (let round = 0; round < 50; round++) {
      const grantId = `grant-${round}`;
      const [outcome] = await Promise.all([
        a.rotate(rotationRecord({ grantId })),
        b.revoke([revocationRecord('grant', grantId)]),
      ]);
      assert.equal((await a.findFamily(grantId)) !== undefined, outcome === 'rotated');
      assert.equal(await a.rotate(rotationRecord({ grantId, from: outcome === 'rotated' ? 1 : 0 })), 'revoked');
    }
  });
}

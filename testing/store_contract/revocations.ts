import assert from 'node:assert/strict';
import type { RevocationSubject } from '../../packages/server/src/store/store.ts';
import { NOW, eventRecord, readFeed, revocationBefore, revocationRecord } from './records.ts';
import type { StoreTest } from './store_test.ts';

/** Which revocations apply to which tokens: the truth table of `isRevoked`. */
const SUBJECT: RevocationSubject = { jti: 'jti', grantId: 'grant', clientId: 'client', issuedAt: NOW };
const { jti: _, ...WITHOUT_JTI } = SUBJECT;
const TABLE = [
  ['its own jti', revocationRecord('token', 'jti'), SUBJECT, true],
  ['another jti', revocationRecord('token', 'other'), SUBJECT, false],
  ['its jti, looked up without a jti', revocationRecord('token', 'jti'), WITHOUT_JTI, false],
  [
    'the token it was exchanged from',
    revocationRecord('token', 'root~jti'),
    { ...SUBJECT, jti: 'root~jti~leaf' },
    true,
  ],
  ['the first of its three ancestors', revocationRecord('token', 'a'), { ...SUBJECT, jti: 'a~b~c~d' }, true],
  ['a token exchanged from it', revocationRecord('token', 'jti~leaf'), SUBJECT, false],
  ['its sibling', revocationRecord('token', 'root~other'), { ...SUBJECT, jti: 'root~jti' }, false],
  ['its grant', revocationRecord('grant', 'grant'), SUBJECT, true],
  ['its grant, looked up without a jti', revocationRecord('grant', 'grant'), WITHOUT_JTI, true],
  ['another grant', revocationRecord('grant', 'other'), SUBJECT, false],
  ['a grant named like its jti', revocationRecord('grant', 'jti'), SUBJECT, false],
  ['a token named like its grant', revocationRecord('token', 'grant'), SUBJECT, false],
  ['its client, up to a later second', revocationBefore('client', NOW + 1), SUBJECT, true],
  ['its client, up to its own second', revocationBefore('client', NOW), SUBJECT, false],
  ['another client', revocationBefore('other', NOW + 1), SUBJECT, false],
  ['a client named like its grant', revocationBefore('grant', NOW + 1), SUBJECT, false],
  ['everything, up to a later second', revocationBefore('*', NOW + 1), SUBJECT, true],
  ['everything, up to its own second', revocationBefore('*', NOW), SUBJECT, false],
] as const;

/** Revocations: what they apply to, and that they stay. */
export function testRevocations(storeTest: StoreTest): void {
  for (const [what, revocation, subject, revoked] of TABLE) {
    storeTest(`revoking ${what} ${revoked ? 'ends' : 'spares'} a token, in every process`, async ({ open }) => {
      const [a, b] = [await open(), await open()];
      assert.equal(await b.isRevoked(subject), false);
      await a.revoke([revocation]);
      assert.equal(await a.isRevoked(subject), revoked);
      assert.equal(await b.isRevoked(subject), revoked);
    });
  }

  storeTest('an acknowledged revocation survives a restart', async ({ open, close }) => {
    const store = await open();
    await store.revoke([revocationRecord('token', 'jti')], eventRecord('revoked'));
    await close(store);
    const reopened = await open();
    assert.equal(await reopened.isRevoked(SUBJECT), true);
    assert.deepEqual((await readFeed(reopened)).ids, ['jti']);
    assert.equal((await reopened.listEvents({ limit: 1 }))[0]?.kind, 'revoked');
  });

  storeTest('a revocation acknowledged by one process is seen by the next read in another', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    for (let round = 0; round < 100; round++) {
      const [writer, reader] = round % 2 === 0 ? [a, b] : [b, a];
      await writer.revoke([revocationRecord('token', `jti-${round}`)]);
      assert.equal(await reader.isRevoked({ ...SUBJECT, jti: `jti-${round}` }), true);
    }
  });

  for (const kind of ['token', 'grant'] as const) {
    storeTest(`a ${kind} revoked twice, in turn or at once, keeps its first entry`, async ({ open }) => {
      const [a, b] = [await open(), await open()];
      const first = revocationRecord(kind, 'id', { expires_at: NOW + 50 });
      await a.revoke([first, first]);
      const before = await a.readRevocations({ limit: 10, now: NOW });
      await Promise.all([a, b, a, b].map((store) => store.revoke([revocationRecord(kind, 'id')])));
      assert.deepEqual(await b.readRevocations({ limit: 10, now: NOW }), before);
      assert.equal(before.entries.length, 1);
      assert.equal(before.entries[0]?.expires_at, NOW + 50);
    });
  }

  for (const id of ['client', '*']) {
    storeTest(
      `the bound before which all of ${id} is revoked only moves forward, to a new place in the feed`,
      async ({ open }) => {
        const store = await open();
        await store.revoke([revocationBefore(id, NOW + 5), revocationRecord('token', 'between')]);
        const { cursor } = await readFeed(store);
        await store.revoke([revocationBefore(id, NOW + 5)]);
        await store.revoke([revocationBefore(id, NOW + 4)]);
        assert.deepEqual((await readFeed(store, { after: cursor })).ids, []);
        assert.equal(await store.isRevoked({ ...SUBJECT, issuedAt: NOW + 4 }), true);

        await store.revoke([revocationBefore(id, NOW + 6)]);
        const { entries } = await store.readRevocations({ after: cursor, limit: 10, now: NOW });
        assert.deepEqual(
          entries.map(({ id: subject, before }) => ({ subject, before })),
          [{ subject: id, before: NOW + 6 }],
        );
        assert.deepEqual((await readFeed(store)).ids, ['between', id]);
        assert.equal(await store.isRevoked({ ...SUBJECT, issuedAt: NOW + 5 }), true);
        assert.equal(await store.isRevoked({ ...SUBJECT, issuedAt: NOW + 6 }), false);
      },
    );
  }

  storeTest('an event is stored with its revocations, and also without any', async ({ open }) => {
    const store = await open();
    await store.revoke(
      [revocationRecord('grant', 'grant')],
      eventRecord('reused', { grantId: 'grant', detail: '1 of 3' }),
    );
    await store.revoke([], eventRecord('alone', { at: NOW * 1000 + 1 }));
    assert.deepEqual(await store.listEvents({ limit: 10 }), [
      eventRecord('alone', { at: NOW * 1000 + 1 }),
      eventRecord('reused', { grantId: 'grant', detail: '1 of 3' }),
    ]);
  });
}

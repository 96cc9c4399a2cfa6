import assert from 'node:assert/strict';
import {
  SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX,
  type PredecessorShown,
  type Store,
} from '../../packages/server/src/store/store.ts';
import { clientRecord, eventRecord, NOW, rotationRecord } from './records.ts';
import type { StoreTest } from './store_test.ts';

/** A predecessor that was presented, and is suspicious. */
function shown(generation: number, { at = NOW, ...more }: Partial<PredecessorShown> & { at?: number } = {}) {
  return { grantId: 'grant', generation, inARow: 1, ...more, ...suspicionAt(at) };
}

function suspicionAt(at: number): Pick<PredecessorShown, 'suspicion'> {
  const event = eventRecord('suspicious', { at: at * 1000, clientId: 'client', grantId: 'grant' });
  return { suspicion: { reason: 'late', event } };
}

async function eventsOf(store: Store): Promise<number> {
  return (await store.listEvents({ limit: 100 })).filter(({ kind }) => kind === 'suspicious').length;
}

/** Presented predecessors: suspicions count once, and their events are limited. */
export function testPredecessors(storeTest: StoreTest): void {
  storeTest('a presented predecessor is recorded with its family, across rotations and processes', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.rotate(rotationRecord());
    assert.equal(await a.recordPredecessor({ grantId: 'grant', generation: 1, inARow: 1 }), 'recorded');
    await b.rotate(rotationRecord({ from: 1 }));
    assert.equal(await b.recordPredecessor({ grantId: 'grant', generation: 2, inARow: 2 }), 'recorded');
    // A report that was decided before the rotation and arrives after it takes nothing back.
    assert.equal(await a.recordPredecessor({ grantId: 'grant', generation: 1, inARow: 1 }), 'recorded');
    const { shownGeneration, shownInARow, suspectedGeneration } = (await a.findFamily('grant')) ?? {};
    assert.deepEqual([shownGeneration, shownInARow, suspectedGeneration], [2, 2, 0]);
    assert.equal(await a.findRefreshSuspicions('client'), undefined);
  });

  storeTest(
    'of 100 callers in two processes with one suspicion, one reports it, and it counts once',
    async ({ open }) => {
      const [a, b] = [await open(), await open()];
      await a.saveClient(clientRecord(), { event: eventRecord('made') });
      await a.rotate(rotationRecord());
      const callers = Array.from({ length: 100 }, (_, at) => (at % 2 === 0 ? a : b));
      const outcomes = await Promise.all(callers.map((store) => store.recordPredecessor(shown(1))));
      assert.equal(outcomes.filter((outcome) => outcome === 'reported').length, 1);
      const mark = { count: 1, lastAt: NOW * 1000, lastReason: 'late', lastGrantId: 'grant' };
      assert.deepEqual(await b.findRefreshSuspicions('client'), mark);
      assert.equal(await eventsOf(a), 1);
      assert.equal(await b.recordPredecessor(shown(2, { at: NOW + 1 })), 'reported');
      assert.deepEqual(await a.findRefreshSuspicions('client'), { ...mark, count: 2, lastAt: (NOW + 1) * 1000 });
      assert.equal(await a.recordPredecessor(shown(1)), 'recorded', 'an earlier generation comes too late');
    },
  );

  storeTest(
    'a generation whose predecessor was presented without suspicion can still become suspicious',
    async ({ open }) => {
      const store = await open();
      await store.rotate(rotationRecord());
      await store.recordPredecessor({ grantId: 'grant', generation: 1, inARow: 1 });
      assert.equal(await store.recordPredecessor(shown(1)), 'reported');
      assert.equal((await store.findFamily('grant'))?.shownInARow, 1);
    },
  );

  storeTest('events are limited per client and hour, in whatever order the hours come', async ({ open }) => {
    const [a, b] = [await open(), await open()];
    await a.saveClient(clientRecord(), { event: eventRecord('made') });
    await a.rotate(rotationRecord());
    const beyond = SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX + 3;
    // Two clocks that are an hour apart report in turn; each hour has its own limit.
    for (let at = 1; at <= 2 * beyond; at++) {
      const when = at % 2 === 0 ? NOW : NOW + 3600;
      const kept = Math.ceil(at / 2) <= SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX ? 'reported' : 'counted';
      assert.equal(await (at % 2 === 0 ? a : b).recordPredecessor(shown(at, { at: when })), kept);
    }
    assert.equal(await eventsOf(a), 2 * SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX);
    assert.equal((await b.findRefreshSuspicions('client'))?.count, 2 * beyond);
  });

  storeTest('an unknown family records nothing, and a deleted client gets no suspicions', async ({ open }) => {
    const store = await open();
    assert.equal(await store.recordPredecessor(shown(1)), 'recorded');
    assert.equal(await eventsOf(store), 0);
    await store.rotate(rotationRecord());
    assert.equal(await store.recordPredecessor(shown(1)), 'reported');
    assert.equal(await store.findRefreshSuspicions('client'), undefined);
    assert.equal(await eventsOf(store), 1, 'the event is stored all the same');
  });
}

import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProofMemory, PROOFS_PER_CLIENT_MAX, type UsedProof } from '../../src/possession/proof_memory.ts';
import { NOW_SECONDS, TestClock } from '../issuer.ts';

const LIFE_SECONDS = 71;

const use = fc.record({
  clientId: fc.constantFrom('a', 'b', 'c'),
  id: fc.integer({ min: 0, max: 30 }).map(String),
  lifeSeconds: fc.integer({ min: 1, max: LIFE_SECONDS }),
});
const step = fc.oneof(
  { weight: 5, arbitrary: use.map((one) => ({ use: one })) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }).map((wait) => ({ wait })) },
);

test('whatever is used in whatever order, the memory stays within both bounds and a live proof is fresh but once', () => {
  const bounds = { perClientMax: 5, totalMax: 22 };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const clock = new TestClock();
      const memory = new ProofMemory(clock, bounds);
      let live: UsedProof[] = [];
      let now = NOW_SECONDS;
      for (const one of steps) {
        if ('wait' in one) {
          clock.advance(one.wait);
          now += one.wait;
          live = live.filter(({ expiresAt }) => expiresAt > now);
          continue;
        }
        const { clientId, lifeSeconds } = one.use;
        const proof = { clientId, id: `${clientId} ${one.use.id}`, expiresAt: now + lifeSeconds };
        const held = live.filter((other) => other.clientId === clientId).length;
        const free = bounds.totalMax - live.length;
        if (live.some(({ id }) => id === proof.id)) assert.equal(memory.use(proof), 'replayed');
        else if (free === 0) assert.throws(() => memory.use(proof), /^Outage/);
        else if (held >= Math.min(bounds.perClientMax, free / 4)) assert.equal(memory.use(proof), 'too_many');
        else {
          assert.equal(memory.use(proof), 'fresh');
          live.push(proof);
        }
        assert.equal(memory.size, live.length);
        assert.ok(memory.size <= bounds.totalMax);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a client that has used up its share is refused, others are not, and it may go on when its proofs have ended', () => {
  const clock = new TestClock();
  const memory = new ProofMemory(clock, { perClientMax: PROOFS_PER_CLIENT_MAX });
  const expiresAt = NOW_SECONDS + LIFE_SECONDS;
  for (let at = 0; at < PROOFS_PER_CLIENT_MAX; at++)
    assert.equal(memory.use({ clientId: 'busy', id: `${at}`, expiresAt }), 'fresh');
  assert.equal(memory.use({ clientId: 'busy', id: 'more', expiresAt }), 'too_many');
  assert.equal(memory.use({ clientId: 'busy', id: '0', expiresAt }), 'replayed');
  assert.equal(memory.use({ clientId: 'other', id: 'theirs', expiresAt }), 'fresh');
  clock.advance(LIFE_SECONDS - 1);
  assert.equal(memory.use({ clientId: 'busy', id: 'more', expiresAt: expiresAt + LIFE_SECONDS }), 'too_many');
  clock.advance(1);
  assert.equal(memory.use({ clientId: 'busy', id: 'more', expiresAt: expiresAt + LIFE_SECONDS }), 'fresh');
  assert.equal(memory.size, 1);
});

test('dozens of clients that send as much as they can, at once or in turn, leave room for one that sends little', () => {
  const bounds = { perClientMax: 500, totalMax: 5_000 };
  const expiresAt = NOW_SECONDS + LIFE_SECONDS;
  const busy = Array.from({ length: 24 }, (_, at) => `busy-${at}`);
  const orders: Readonly<Record<string, (send: (clientId: string, at: number) => void) => void>> = {
    'at once': (send) => {
      for (let at = 0; at < bounds.perClientMax; at++) for (const clientId of busy) send(clientId, at);
    },
    'in turn': (send) => {
      for (const clientId of busy) for (let at = 0; at < bounds.perClientMax; at++) send(clientId, at);
    },
  };
  for (const [order, run] of Object.entries(orders)) {
    const memory = new ProofMemory(new TestClock(), bounds);
    run((clientId, at) => void memory.use({ clientId, id: `${clientId} ${at}`, expiresAt }));
    assert.equal(memory.use({ clientId: 'busy-0', id: 'more', expiresAt }), 'too_many', order);
    for (let at = 0; at < 5; at++)
      assert.equal(memory.use({ clientId: 'quiet', id: `quiet ${at}`, expiresAt }), 'fresh', order);
    assert.ok(memory.size < bounds.totalMax, order);
  }
});

test('when all is full nobody is let in, since no proof may be forgotten: an outage', () => {
  const memory = new ProofMemory(new TestClock(), { perClientMax: 50, totalMax: 20 });
  const expiresAt = NOW_SECONDS + LIFE_SECONDS;
  for (let at = 0; at < 20; at++) assert.equal(memory.use({ clientId: `c${at}`, id: `${at}`, expiresAt }), 'fresh');
  assert.throws(() => memory.use({ clientId: 'c20', id: '20', expiresAt }), /^Outage/);
  assert.equal(memory.use({ clientId: 'c0', id: '0', expiresAt }), 'replayed');
});

test('a proof that ended while its request was being checked comes too late, whether or not it was used before', () => {
  const clock = new TestClock();
  const memory = new ProofMemory(clock, { perClientMax: 50 });
  const proof = { clientId: 'a', id: '1', expiresAt: NOW_SECONDS + 1 };
  assert.equal(memory.use(proof), 'fresh');
  clock.advance(1);
  assert.equal(memory.use(proof), 'ended');
  assert.equal(memory.use({ ...proof, id: '2' }), 'ended');
  assert.equal(memory.size, 0);
});

test('as the proofs of a client end, one by one, just so many more of its own are taken', () => {
  const add = (memory: ProofMemory, id: string, expiresAt: number): string =>
    memory.use({ clientId: 'a', id, expiresAt });
  // How many have ended, of four that end one second after the other.
  for (let ended = 1; ended <= 4; ended++) {
    const clock = new TestClock();
    const memory = new ProofMemory(clock, { perClientMax: 4, totalMax: 1_000 });
    for (let at = 1; at <= 4; at++) assert.equal(add(memory, `${at}`, NOW_SECONDS + at), 'fresh');
    assert.equal(add(memory, 'more', NOW_SECONDS + LIFE_SECONDS), 'too_many');
    clock.advance(ended);
    for (let at = 0; at < ended; at++) assert.equal(add(memory, `new ${at}`, NOW_SECONDS + LIFE_SECONDS), 'fresh');
    assert.equal(add(memory, 'more', NOW_SECONDS + LIFE_SECONDS), 'too_many');
    assert.equal(memory.size, 4);
  }
});

test('unless told otherwise a client has 50,000 proofs, and all of them ten times the share of one', () => {
  assert.equal(PROOFS_PER_CLIENT_MAX, 50_000);
  const memory = new ProofMemory(new TestClock(), { perClientMax: 4 });
  const add = (at: number): string =>
    memory.use({ clientId: `c${at}`, id: `${at}`, expiresAt: NOW_SECONDS + LIFE_SECONDS });
  for (let at = 0; at < 40; at++) assert.equal(add(at), 'fresh');
  assert.throws(() => add(40), { message: 'More DPoP proofs than can be remembered.' });
});

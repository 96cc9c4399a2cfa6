import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProofMemory, PROOFS_PER_KEY_MAX, type UsedProof } from '../src/proof_memory.ts';
import { NOW_SECONDS, TestClock } from './issuer.ts';

const LIFE_SECONDS = 71;

const use = fc.record({
  jkt: fc.constantFrom('a', 'b', 'c'),
  id: fc.integer({ min: 0, max: 30 }).map(String),
  lifeSeconds: fc.integer({ min: 1, max: LIFE_SECONDS }),
});
const step = fc.oneof(
  { weight: 5, arbitrary: use.map((one) => ({ use: one })) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }).map((wait) => ({ wait })) },
);

test('whatever is used in whatever order, the memory stays within both bounds and a live proof is fresh but once', () => {
  const bounds = { perKeyMax: 5, totalMax: 12 };
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
        const { jkt, id, lifeSeconds } = one.use;
        const proof = { jkt, id, expiresAt: now + lifeSeconds };
        const ofKey = live.filter((other) => other.jkt === jkt);
        if (ofKey.some((other) => other.id === id)) assert.equal(memory.use(proof), 'replayed');
        else if (ofKey.length >= bounds.perKeyMax) assert.equal(memory.use(proof), 'too_many');
        else if (live.length >= bounds.totalMax) assert.throws(() => memory.use(proof), /^Outage/);
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

test('a key that has used up its share is refused, others are not, and it may go on when its proofs have ended', () => {
  const clock = new TestClock();
  const memory = new ProofMemory(clock);
  const expiresAt = NOW_SECONDS + LIFE_SECONDS;
  for (let at = 0; at < PROOFS_PER_KEY_MAX; at++)
    assert.equal(memory.use({ jkt: 'busy', id: `${at}`, expiresAt }), 'fresh');
  assert.equal(memory.use({ jkt: 'busy', id: 'more', expiresAt }), 'too_many');
  assert.equal(memory.use({ jkt: 'busy', id: '0', expiresAt }), 'replayed');
  assert.equal(memory.use({ jkt: 'other', id: '0', expiresAt }), 'fresh');
  clock.advance(LIFE_SECONDS - 1);
  assert.equal(memory.use({ jkt: 'busy', id: 'more', expiresAt: expiresAt + LIFE_SECONDS }), 'too_many');
  clock.advance(1);
  assert.equal(memory.use({ jkt: 'busy', id: 'more', expiresAt: expiresAt + LIFE_SECONDS }), 'fresh');
  assert.equal(memory.size, 1);
});

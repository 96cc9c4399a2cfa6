/** What the revocation set holds, for how long, and which tokens it revokes (contract §5). */
import { LINEAGE_MAX, revokes, type Revocation } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { neverSeen, RevocationSet, type Seen } from '../../src/revocations/revocation_set.ts';
import { makeId, NOW_SECONDS, TestClock } from '../issuer.ts';
import { caseCount } from '../../../../testing/case_count.ts';

const LEEWAY_SECONDS = 5;

setFlagsFromString('--expose-gc');

/** Memory used, on and off the heap. */
function bytesUsed(): number {
  // `gc` exists in contexts created after the flag was set.
  for (let round = 0; round < 3; round++) runInNewContext('gc()');
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Short ids and UUIDs, which are held in different ways. */
const UUIDS = ['01973a00-0000-7000-8000-00000000000a', '01973a00-0000-7000-8000-00000000000b'] as const;
const id = fc.constantFrom('a', '__proto__', ...UUIDS);
const seconds = fc.integer({ min: -20, max: 20 }).map((offset) => NOW_SECONDS + offset);
const revocation: fc.Arbitrary<Revocation> = fc.oneof(
  fc.record({ kind: fc.constantFrom('token', 'grant'), id, expires_at: seconds }),
  fc.record({ kind: fc.constant('client'), id, before: seconds, expires_at: seconds }),
  fc.record({ kind: fc.constant('before'), id: fc.constantFrom('*', 'a'), before: seconds, expires_at: seconds }),
);
// With tokens that were exchanged from others (RFC 8693).
const lineage = fc.array(id, { minLength: 1, maxLength: 3 }).map((ids) => ids.join('~'));
const token = fc.record({ jti: lineage, grant_id: id, client_id: id, iat: seconds });
const step = fc.oneof(
  revocation.map((entry) => ({ add: entry })),
  token.map((ask) => ({ ask })),
  fc.integer({ min: 1, max: 15 }).map((wait) => ({ wait })),
  fc.constant({ sweep: true }),
);

test('in any order, a live revocation is never dropped and nothing else is revoked', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = new TestClock();
      const set = new RevocationSet(clock, LEEWAY_SECONDS);
      const all: Revocation[] = [];
      const seen = new Map<string, Seen>();
      for (const one of steps) {
        if ('add' in one) {
          all.push(one.add);
          set.add(one.add);
        } else if ('wait' in one) clock.advance(one.wait);
        else if ('sweep' in one) set.sweep();
        else {
          const hits = all.filter((entry) => revokes(entry, one.ask));
          const now = Math.floor(clock.now() / 1000);
          // An expired entry may be gone or not: its tokens are refused for their age.
          if (hits.some((entry) => entry.expires_at + LEEWAY_SECONDS > now)) assert.ok(set.ends(one.ask));
          if (hits.length === 0) assert.ok(!set.ends(one.ask));
          // A repeated check gets the same answer as a first one.
          const name = JSON.stringify(one.ask);
          seen.set(name, seen.get(name) ?? neverSeen());
          assert.equal(set.ends(one.ask, seen.get(name)), set.ends(one.ask));
        }
      }
    }),
    { numRuns: caseCount(500) },
  );
});

test('revoking an exchanged token revokes what was exchanged from it, and nothing else (RFC 8693)', () => {
  const [a, b, c] = [makeId(), makeId(), makeId()];
  const set = new RevocationSet(new TestClock(), 0);
  set.add({ kind: 'token', id: `${a}~${b}`, expires_at: NOW_SECONDS + 100 });
  const ends = (jti: string): boolean => set.ends({ jti, grant_id: makeId(), client_id: 'c', iat: NOW_SECONDS });
  // No grant has such an id. If one did, it would not be a token.
  set.add({ kind: 'grant', id: `${a}~${c}`, expires_at: NOW_SECONDS + 100 });
  for (const ended of [`${a}~${b}`, `${a}~${b}~${c}`]) assert.ok(ends(ended), ended);
  for (const living of [a, b, `${b}~${c}`, `${a}~${c}`, `${a}~${c}~${makeId()}`]) assert.ok(!ends(living), living);
});

test('exchanged tokens take no more memory than others', () => {
  const count = 20_000;
  const set = new RevocationSet(new TestClock(), 0);
  const before = bytesUsed();
  for (let at = 0; at < count; at++) {
    const jti = Array.from({ length: LINEAGE_MAX }, makeId).join('~');
    set.add({ kind: 'token', id: jti, expires_at: NOW_SECONDS + 100 });
  }
  const bytesEach = (bytesUsed() - before) / count;
  assert.equal(set.size, count);
  assert.ok(bytesEach < 100, `${bytesEach} bytes each`);
});

test('an entry is held for the leeway after it expires, and not forever', () => {
  const clock = new TestClock();
  const set = new RevocationSet(clock, LEEWAY_SECONDS);
  set.add({ kind: 'token', id: 'a', expires_at: NOW_SECONDS + 10 });
  clock.advance(14);
  for (let round = 0; round < 3; round++) set.sweep();
  assert.equal(set.size, 1);
  clock.advance(1);
  for (let round = 0; round < 3; round++) set.sweep();
  assert.equal(set.size, 0);
});

test('over a long time there are never more expired entries than live ones', () => {
  const clock = new TestClock();
  const set = new RevocationSet(clock, 0);
  const LIVING = 1_000;
  for (let at = 0; at < 50 * LIVING; at++) {
    clock.advance(1);
    set.add({ kind: 'token', id: String(at), expires_at: NOW_SECONDS + at + LIVING });
    assert.ok(set.size <= 2 * LIVING + 2, String(set.size));
  }
  clock.advance(2 * LIVING);
  for (let round = 0; round < 5; round++) set.sweep();
  assert.equal(set.size, 0);
});

test('one entry too many is an outage: nothing is dropped for it, and room comes back by itself', () => {
  const clock = new TestClock();
  const set = new RevocationSet(clock, 0, 3);
  const entry = (name: string): Revocation => ({ kind: 'token', id: name, expires_at: NOW_SECONDS + 10 });
  for (const name of ['a', 'b', 'c']) set.add(entry(name));
  assert.throws(() => set.add(entry('d')), /More revocations than can be held/);
  // A second entry about something that is held takes no room.
  set.add(entry('a'));
  for (const jti of ['a', 'b', 'c']) assert.ok(set.ends({ jti, grant_id: '', client_id: '', iat: 0 }));
  // The feed resumes with the entry that had no room, so no heartbeat sweeps before it.
  clock.advance(11);
  for (let tries = 0; tries < 2 && set.size > 2; tries++) {
    try {
      set.add({ ...entry('d'), expires_at: NOW_SECONDS + 100 });
    } catch {
      continue;
    }
  }
  assert.ok(set.ends({ jti: 'd', grant_id: '', client_id: '', iat: 0 }));
});

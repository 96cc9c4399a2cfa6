/** The hash table of revoked UUIDs, compared with a plain map. */
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdentifierTable } from '../../src/revocations/identifier_table.ts';

/** Few identifiers, so that they collide, and some that differ in a single digit. */
const IDS = Array.from({ length: 48 }, (_, at) => {
  const digits = at.toString(16).padStart(2, '0');
  const low = digits.slice(1);
  const places = [`01973a00-0000-7000-8000-0000000000${digits}`, `${digits}000000-0000-7000-8000-000000000000`];
  places.push(`01973a00-00${digits}-7000-8000-000000000000`, `01973a00-0000-7000-80${digits}-0000${low}0000000`);
  return places[at % 4] ?? '';
});
const id = fc.constantFrom(...IDS);
const step = fc.oneof(
  fc.record({ hold: id, seconds: fc.integer({ min: 0, max: 30 }) }),
  fc.record({ sweep: fc.integer({ min: 0, max: 60 }) }),
  fc.record({ wait: fc.integer({ min: 1, max: 8 }) }),
);
const seed = fc.array(fc.nat(0xffff_ffff), { minLength: 4, maxLength: 4 }).map((words) => Uint32Array.from(words));

test('a table of one part, where everything collides, holds what a plain map holds and frees only what has expired', () => {
  fc.assert(
    fc.property(seed, fc.array(step, { maxLength: 300 }), (words, steps) => {
      const table = new IdentifierTable(words, 1);
      const model = new Map<string, number>();
      let now = 1_000;
      for (const one of steps) {
        if ('hold' in one) {
          table.hold(one.hold, now + one.seconds);
          model.set(one.hold, Math.max(model.get(one.hold) ?? 0, now + one.seconds));
        } else if ('wait' in one) now += one.wait;
        else table.sweep(now, one.sweep);
        // An expired identifier may be gone, or not yet.
        for (const [name, until] of model) if (until <= now && !table.has(name)) model.delete(name);
        for (const name of IDS) assert.equal(table.has(name), model.has(name), name);
        assert.equal(table.size, model.size);
      }
      // However often places were freed behind it, the sweeper gets everywhere.
      for (let round = 0; round < 3; round++) table.sweep(now + 1_000, 1_000);
      assert.equal(table.size, 0);
    }),
    { numRuns: 500 },
  );
});

test('only the very same UUID is found, and only a UUID can be held', () => {
  const table = new IdentifierTable(new Uint32Array(4));
  const text = '01973a00-0bcd-7000-8000-00000000abcd';
  table.hold(text, 10);
  assert.ok(table.has(text));
  for (let at = 0; at < text.length; at++) {
    for (const other of ['0', '1', 'f', 'F', '-', 'g', ' ', 'é', '\u0130']) {
      const changed = text.slice(0, at) + other + text.slice(at + 1);
      assert.equal(table.has(changed), changed === text, changed);
    }
  }
  for (const other of [text.toUpperCase(), `${text}0`, text.slice(1), '', `{${text}}`]) {
    assert.ok(!table.has(other), other);
    assert.throws(() => table.hold(other, 10), { name: 'TypeError', message: /UUIDs only/ });
  }
});

/** The bytes of one place: four words and a second. */
const PLACE_BYTES = 20;

test('a part takes at most twice the room that its identifiers need, and gives it back when they have expired', () => {
  const table = new IdentifierTable(new Uint32Array(4), 1);
  const name = (at: number): string => `01973a00-0000-7000-8000-${at.toString(16).padStart(12, '0')}`;
  assert.equal(table.bytes, 0);
  for (let at = 0; at < 100; at++) {
    table.hold(name(at), at < 68 ? 10 : at < 99 ? 20 : 30);
    // 8 places for 6, 16 for 12, and so on.
    const places = [8, 16, 32, 64, 128, 256].find((some) => at + 1 <= (some * 3) / 4) ?? 0;
    assert.equal(table.bytes, places * PLACE_BYTES, String(at));
  }
  for (const [now, left, places] of [
    [9, 100, 256],
    [10, 32, 256],
    [20, 1, 8],
  ] as const) {
    // Often enough to free, and to pass the end of the part each time that it shrinks.
    for (let round = 0; round < 8; round++) table.sweep(now, 1_000);
    assert.deepEqual([table.size, table.bytes / PLACE_BYTES], [left, places]);
    for (let at = 0; at < 100; at++) assert.equal(table.has(name(at)), at >= 100 - left, name(at));
  }
});

test('without the seed, nobody can choose identifiers that crowd into one part', () => {
  const inOne = (secret: Uint32Array, names: readonly string[]): boolean => {
    const table = new IdentifierTable(secret);
    for (const name of names) table.hold(name, 1);
    return table.bytes === 8 * PLACE_BYTES;
  };
  for (let word = 0; word < 4; word++) {
    const words = new Uint32Array(4);
    const [first = '', ...others] = Array.from(
      { length: 3_000 },
      (_, at) => `01973a00-0000-7000-8000-${at.toString(16).padStart(12, '0')}`,
    );
    const crowd = [first, ...others.filter((other) => inOne(words, [first, other])).slice(0, 5)];
    assert.equal(crowd.length, 6);
    assert.ok(inOne(words, crowd));
    words[word] = 0x1234_5678;
    assert.ok(!inOne(words, crowd), `a seed that differs in its word ${word}`);
  }
});

test('expiry is exact to the second, and what expires after 2106 is held forever', () => {
  const table = new IdentifierTable(new Uint32Array(4));
  const [first = '', second = '', third = ''] = IDS;
  table.hold(first, 10.5);
  table.hold(second, 2 ** 40);
  table.hold(third, 0);
  table.sweep(10, 10);
  assert.deepEqual(
    [first, second, third].map((name) => table.has(name)),
    [true, true, false],
  );
  const [, , , fourth = ''] = IDS;
  table.hold(fourth, 0xffff_fffe);
  for (const now of [11, 2 ** 41]) for (let round = 0; round < 3; round++) table.sweep(now, 10);
  assert.deepEqual(
    [first, second, fourth].map((name) => table.has(name)),
    [false, true, false],
  );
});

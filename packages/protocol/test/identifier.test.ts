import { isIdentifier, makeIdentifier } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const MILLISECONDS_MAX = 2 ** 48 - 1;
const instant = fc.integer({ min: 0, max: MILLISECONDS_MAX });
const chance = fc.uint8Array({ minLength: 16, maxLength: 16 });

test('an identifier is a UUID version 7 that holds its millisecond (RFC 9562 §5.7)', () => {
  fc.assert(
    fc.property(instant, chance, (milliseconds, bytes) => {
      const id = makeIdentifier(milliseconds, () => bytes.slice());
      assert.ok(isIdentifier(id));
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      assert.equal(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16), milliseconds);
    }),
  );
});

test('identifiers sort by the time they were made, whatever their random bits', () => {
  fc.assert(
    fc.property(instant, instant, chance, chance, (one, two, bytesOfOne, bytesOfTwo) => {
      fc.pre(one < two);
      assert.ok(makeIdentifier(one, () => bytesOfOne.slice()) < makeIdentifier(two, () => bytesOfTwo.slice()));
    }),
  );
});

test('74 random bits show in an identifier', () => {
  const shown = new Set<number>();
  const blank = makeIdentifier(0, () => new Uint8Array(16));
  for (let bit = 0; bit < 128; bit++) {
    const bytes = new Uint8Array(16);
    bytes[bit >> 3] = 1 << (bit & 7);
    if (makeIdentifier(0, () => bytes) !== blank) shown.add(bit);
  }
  assert.equal(shown.size, 74);
});

test('any other text is not an identifier', () => {
  const id = makeIdentifier(1, () => new Uint8Array(16));
  assert.ok(isIdentifier(id));
  for (const wrong of [
    id.toUpperCase().replace('8', 'A'),
    `${id}\n`,
    ` ${id}`,
    `{${id}}`,
    id.slice(1),
    `${id}0`,
    '',
    7,
    null,
    [id],
  ]) {
    assert.equal(isIdentifier(wrong), false, String(wrong));
  }
});

import { parseBase64url, parseUtf8, printBase64url, utf8 } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const someBytes = fc.uint8Array({ maxLength: 64 });
const someBase64url = fc.string({ unit: fc.constantFrom(...Array.from('ABCDwxyz0189-_')), maxLength: 12 });

test('base64url: printed bytes parse to the same bytes, and Buffer agrees (RFC 7515 §2)', () => {
  fc.assert(
    fc.property(someBytes, (bytes) => {
      const text = printBase64url(bytes);
      assert.equal(text, Buffer.from(bytes).toString('base64url'));
      assert.deepEqual(parseBase64url(text), bytes);
    }),
  );
});

test('base64url: every accepted text is the only text for its bytes (RFC 4648 §3.5)', () => {
  fc.assert(
    fc.property(fc.oneof(someBase64url, fc.string()), (text) => {
      const bytes = parseBase64url(text);
      const buffer = Buffer.from(text, 'base64url');
      // Buffer forgives everything; a text is canonical when Buffer prints it again.
      assert.equal(bytes !== undefined, buffer.toString('base64url') === text);
      if (bytes !== undefined) assert.equal(printBase64url(bytes), text);
    }),
  );
});

for (const [good, bad, why] of [
  ['AA', 'AA==', 'padding'],
  ['-_-_', '+/+/', 'the other alphabet'],
  ['AAAA', 'AAA A', 'white space'],
  ['AAAA', 'AAAA\n', 'a newline at the end'],
  ['AAAA', 'AAAAA', 'an impossible length'],
  ['AA', 'AB', 'unused bits of one byte'],
  ['AAA', 'AAB', 'unused bits of two bytes'],
  ['AAAA', 'AAA\u0141', 'a character beyond ASCII that ends like an A'],
] as const) {
  test(`base64url: ${JSON.stringify(good)} is read, ${JSON.stringify(bad)} is not: ${why}`, () => {
    assert.ok(parseBase64url(good) !== undefined);
    assert.equal(parseBase64url(bad), undefined);
  });
}

test('UTF-8: text comes back unchanged, byte order mark included', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      assert.equal(parseUtf8(utf8(`\ufeff${text}`)), `\ufeff${text}`);
    }),
  );
});

test('UTF-8: broken, overlong and surrogate bytes are refused, and no bytes throw (RFC 3629 §3)', () => {
  for (const bytes of [
    [0xff],
    [0xc0, 0xaf],
    [0xe0, 0x80, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xc3],
    [0xf4, 0x90, 0x80, 0x80],
  ]) {
    assert.equal(parseUtf8(Uint8Array.from(bytes)), undefined);
  }
  assert.equal(parseUtf8(Uint8Array.of(0xc3, 0xa9)), '\u00e9');
  fc.assert(
    fc.property(someBytes, (bytes) => {
      const text = parseUtf8(bytes);
      if (text !== undefined) assert.deepEqual(utf8(text), new Uint8Array(bytes));
    }),
  );
});

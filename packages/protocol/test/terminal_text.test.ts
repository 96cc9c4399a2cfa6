import { escapeControls, escapeControlsInLines, flattenControls } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

/** First and last of each range that a terminal, or a reader of lines, obeys. */
const RANGES = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0x61c, 0x61c],
  [0x200e, 0x200f],
  [0x2028, 0x202e],
  [0x2066, 0x2069],
] as const;

test('each control character (C0, DEL, C1, direction, lines) is printed as its number; its neighbours stay', () => {
  for (const [first, last] of RANGES) {
    for (let code = first; code <= last; code++) {
      const control = String.fromCharCode(code);
      const shown = `a\\u${code.toString(16).padStart(4, '0')}b`;
      assert.equal(escapeControls(`a${control}b`), shown);
      assert.equal(escapeControlsInLines(`a${control}b`), control === '\n' ? 'a\nb' : shown);
      assert.equal(flattenControls(`a${control}${control}b`), 'a b');
    }
    for (const code of [first - 1, last + 1].filter((one) => one >= 0)) {
      const plain = `a${String.fromCharCode(code)}b`;
      assert.deepEqual(
        [escapeControls(plain), escapeControlsInLines(plain), flattenControls(plain)],
        [plain, plain, plain],
      );
    }
  }
  assert.equal(escapeControls('é 😀 “text” \\u001b'), 'é 😀 “text” \\u001b');
});

test('escaped JSON has the same value and as many lines', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom(...Array.from('a\n\r\u0000\u001b\u007f\u009b\u202e\u2028"\\')) }),
  );
  fc.assert(
    fc.property(fc.dictionary(text, fc.array(text)), (value) => {
      const json = JSON.stringify(value, undefined, 2);
      const escaped = escapeControlsInLines(json);
      assert.deepEqual(JSON.parse(escaped), JSON.parse(json));
      assert.equal(escaped.split('\n').length, json.split('\n').length);
      assert.equal(escapeControls(escaped.replaceAll('\n', '')), escaped.replaceAll('\n', ''));
    }),
  );
});

/** What is said of a fault, to whom, and where it is; and how a place of a document is found. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  at,
  faultAt,
  own,
  PolicyError,
  printFault,
  quote,
  type Place,
  type Source,
} from '../../../src/policy/openapi/faults.ts';

const FAULT = { kind: 'malformed', pointer: '/paths/~1a', sentence: 'It is none.' } as const;

test('a fault on one line: where it is, as well as that is known, the operation, and what to do', () => {
  assert.equal(printFault(FAULT), '#/paths/~1a: It is none.');
  assert.equal(printFault({ ...FAULT, file: 'api.yaml' }), 'api.yaml#/paths/~1a: It is none.');
  assert.equal(printFault({ ...FAULT, file: 'api.yaml', line: 7 }), 'api.yaml:7: It is none.');
  assert.equal(printFault({ ...FAULT, line: 7 }), 'line:7: It is none.');
  assert.equal(printFault({ ...FAULT, operation: 'GET /a' }), '#/paths/~1a: GET /a: It is none.');
  assert.equal(
    printFault({ ...FAULT, file: 'api.yaml', line: 7, operation: 'GET /a' }),
    'api.yaml:7: GET /a: It is none.',
  );
});

test('an error has all faults, and a line of its message for each', () => {
  const error = new PolicyError([FAULT, { ...FAULT, sentence: 'Nor is this.' }]);
  assert.equal(error.name, 'PolicyError');
  assert.equal(error.message, '#/paths/~1a: It is none.\n#/paths/~1a: Nor is this.');
  assert.equal(error.faults.length, 2);
});

const FROM_MEMORY: Source = { document: {}, lineOf: () => undefined };
const put = (place: Place, source: Source = FROM_MEMORY): { readonly source: Source; readonly place: Place } => ({
  source,
  place,
});

test('a fault has the file, the line and the operation, each where there is one, and no member where not', () => {
  assert.deepEqual(faultAt('malformed', put(['paths', '/a']), 'It is none.'), FAULT);
  const known = { file: 'api.yaml', document: {}, lineOf: (place: Place) => place.length };
  assert.deepEqual(faultAt('malformed', put(['paths', '/a'], known), 'It is none.', 'GET /a'), {
    ...FAULT,
    file: 'api.yaml',
    line: 2,
    operation: 'GET /a',
  });
  const unplaced = { ...FROM_MEMORY, file: 'api.yaml' };
  assert.deepEqual(faultAt('malformed', put(['paths', '/a'], unplaced), 'It is none.'), { ...FAULT, file: 'api.yaml' });
});

test('a place is a JSON Pointer, of which a slash and a tilde are escaped (RFC 6901 §3)', () => {
  assert.deepEqual(
    [[], [''], ['a/b', 'c~d'], ['~1']].map((place) => faultAt('malformed', put(place), 'It is none.').pointer),
    ['', '/', '/a~1b/c~0d', '/~01'],
  );
});

test('what moves a terminal’s cursor becomes one space, in a sentence, a place and the name of an operation', () => {
  for (const control of [
    '\u0000',
    '\n',
    '\u001b',
    '\u001f',
    '\u007f',
    '\u0085',
    '\u009f',
    '\u2028',
    '\u2029',
    '\u061c',
    '\u200e',
    '\u200f',
    '\u202a',
    '\u202e',
    '\u2066',
    '\u2069',
    '\r\n',
    '\u202e\u001b\u2028',
  ]) {
    assert.deepEqual(faultAt('malformed', put([`a${control}b`]), `c${control}d`, `e${control}f`), {
      kind: 'malformed',
      pointer: '/a b',
      sentence: 'c d',
      operation: 'e f',
    });
    assert.equal(quote(`a${control}b`), "'a b'");
    assert.equal(printFault({ ...FAULT, file: `a${control}b` }), printFault({ ...FAULT, file: 'a b' }));
  }
  // Their neighbours stay as they are.
  for (const plain of [' ', '~', '\u00a0', '\u200d', '\u2027', '\u202f', '\u2065', '\u206a', 'é', '  '])
    assert.equal(quote(plain), `'${plain}'`);
});

test('a text of 120 characters is repeated whole, and the first 120 of a longer one', () => {
  const whole = `<${'x'.repeat(118)}>`;
  assert.equal(quote(whole), `'${whole}'`);
  assert.equal(quote(`${whole}y`), `'${whole}...'`);
  assert.equal(quote(''), "''");
});

test('a place leads through members and through numbers of a list; what is inherited is not there', () => {
  const document = { a: [{ b: 1 }, 'text', [7]], text: 'long', list: Array.from({ length: 12 }, (_, index) => index) };
  const found: readonly (readonly [readonly string[], unknown])[] = [
    [[], document],
    [['a', '0', 'b'], 1],
    [['a', '1'], 'text'],
    [['a', '2', '0'], 7],
    [['list', '9'], 9],
    [['list', '10'], 10],
    [['list', '11'], 11],
  ];
  for (const [place, value] of found) assert.equal(at(document, place), value, place.join(' '));
  for (const place of [
    ['b'],
    ['a', '3'],
    ['a', 'length'],
    ['a', '-1'],
    ['a', ''],
    ['a', ' 1'],
    ['a', '1 '],
    ['a', '1e0'],
    ['a', '0x1'],
    ['list', '01'],
    ['list', '00'],
    ['text', 'length'],
    ['text', '0'],
    ['a', '1', 'length'],
    ['constructor'],
    ['a', '0', 'constructor', 'name'],
    ['none', 'more'],
  ]) {
    assert.equal(at(document, place), undefined, place.join(' '));
  }
  assert.equal(own({ a: 1 }, 'a'), 1);
  assert.equal(own({ a: 1 }, 'toString'), undefined);
});

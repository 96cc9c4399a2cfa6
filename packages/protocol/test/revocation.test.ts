import { CURSOR_LENGTH_MAX, parseRevocationEntry, revokes, type Revocation } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const ENTRY = { cursor: 'c-1', kind: 'token', id: 'jti-1', expires_at: 100 };
const BEFORE = { cursor: 'c-2', kind: 'before', id: '*', before: 50, expires_at: 100 };

test('entries of the four kinds are read, and unknown members are ignored (contract §9 Feed)', () => {
  assert.deepEqual(parseRevocationEntry({ ...ENTRY, colour: 'red' }), ENTRY);
  assert.deepEqual(parseRevocationEntry({ ...ENTRY, kind: 'grant' }), { ...ENTRY, kind: 'grant' });
  assert.deepEqual(parseRevocationEntry(BEFORE), BEFORE);
  assert.deepEqual(parseRevocationEntry({ ...BEFORE, kind: 'client', id: 'key' }), {
    ...BEFORE,
    kind: 'client',
    id: 'key',
  });
  // Where it means nothing it is dropped rather than believed.
  assert.deepEqual(parseRevocationEntry({ ...ENTRY, before: 50 }), ENTRY);
});

for (const [what, value] of [
  ['no object', 'x'],
  ['null', null],
  ['an array', [ENTRY]],
  ['a kind of its own', { ...ENTRY, kind: 'planet' }],
  ['a kind from the prototype', { ...ENTRY, kind: 'constructor' }],
  ['an empty id', { ...ENTRY, id: '' }],
  ['an id that is no text', { ...ENTRY, id: 7 }],
  ['no cursor', { ...ENTRY, cursor: undefined }],
  ['an empty cursor', { ...ENTRY, cursor: '' }],
  ['a cursor with a newline, which would be a field of the event stream', { ...ENTRY, cursor: 'c\nid: 9' }],
  ['a cursor that ends in a newline', { ...ENTRY, cursor: 'c\n' }],
  ['a cursor that is too long', { ...ENTRY, cursor: 'c'.repeat(CURSOR_LENGTH_MAX + 1) }],
  ['no end', { ...ENTRY, expires_at: undefined }],
  ['an end that is no whole second', { ...ENTRY, expires_at: 1.5 }],
  ['an end as a text', { ...ENTRY, expires_at: '100' }],
  ['a "before" without its moment', { ...BEFORE, before: undefined }],
  ['a "client" without its moment', { ...BEFORE, kind: 'client', before: undefined }],
  ['a moment as a text', { ...BEFORE, before: '50' }],
  ['a negative moment', { ...BEFORE, before: -1 }],
] as const) {
  test(`an entry with ${what} is refused`, () => {
    assert.equal(parseRevocationEntry(value), undefined);
  });
}

test('a cursor may have 64 characters', () => {
  assert.ok(parseRevocationEntry({ ...ENTRY, cursor: 'c'.repeat(CURSOR_LENGTH_MAX) }));
});

test('no value throws, and an accepted entry parses to itself', () => {
  const member = fc.oneof(fc.anything(), fc.constantFrom('token', 'grant', 'client', 'before', 'c', 1));
  const entry = fc.record({ cursor: member, kind: member, id: member, before: member, expires_at: member });
  fc.assert(
    fc.property(fc.oneof(fc.anything(), entry), (value) => {
      const parsed = parseRevocationEntry(value);
      if (parsed !== undefined) assert.deepEqual(parseRevocationEntry(JSON.parse(JSON.stringify(parsed))), parsed);
    }),
  );
});

const TOKEN = { jti: 'j', grant_id: 'g', client_id: 'c', iat: 50 };
const revocation = (kind: Revocation['kind'], id: string, before?: number): Revocation =>
  before === undefined ? { kind, id, expires_at: 100 } : { kind, id, before, expires_at: 100 };

for (const [kind, id, before, ends] of [
  ['token', 'j', undefined, true],
  ['token', 'g', undefined, false],
  ['token', '*', undefined, false],
  ['grant', 'g', undefined, true],
  ['grant', 'j', undefined, false],
  ['client', 'c', 51, true],
  ['client', 'c', 50, false],
  ['client', 'c', 49, false],
  ['client', 'j', 51, false],
  ['before', '*', 51, true],
  ['before', '*', 50, false],
  // Without its moment, which no parser lets through, the safe reading is "all".
  ['client', 'c', undefined, true],
  ['before', '*', undefined, true],
] as const) {
  test(`a ${kind} revocation of ${id} before ${before} ${ends ? 'ends' : 'spares'} a token issued at 50`, () => {
    assert.equal(revokes(revocation(kind, id, before), TOKEN), ends);
  });
}

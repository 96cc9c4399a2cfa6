/** What we add to the parser of event streams: decoding across chunks, and the bound. */
import { utf8 } from '@hallpass/protocol';
import type { EventSourceMessage } from 'eventsource-parser';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT_LENGTH_MAX, eventReader } from '../../src/revocations/event_stream.ts';

function parse(...chunks: readonly (string | Uint8Array)[]): readonly EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  const read = eventReader((event) => events.push(event));
  for (const chunk of chunks) read(typeof chunk === 'string' ? utf8(chunk) : chunk);
  return events;
}

const parts = [
  'data',
  'event',
  'id',
  ':',
  ' ',
  '\n',
  '\n\n',
  '\r',
  '\r\n',
  'x',
  'é',
  '🎫',
  '\ufeff',
  '\u0000',
  'data: y\n\n',
];
const text = fc.array(fc.constantFrom(...parts), { maxLength: 60 }).map((some) => some.join(''));

test('however the bytes are cut, even within a character or a CRLF, the events are the same', () => {
  fc.assert(
    fc.property(text, fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }), (whole, sizes) => {
      const bytes = utf8(whole);
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += sizes[(chunks.length - 1) % sizes.length] ?? 1) {
        chunks.push(bytes.subarray(at, at + (sizes[chunks.length % sizes.length] ?? 1)));
      }
      assert.deepEqual(parse(...chunks), parse(bytes));
    }),
    { numRuns: 1000 },
  );
});

test('an event has its type, its own id and its data; one byte order mark at the start is dropped', () => {
  const event = { event: 'revocation', id: 'c1', data: '{}\n\ufffd' };
  const bytes = Uint8Array.from([...utf8('\ufeff: a comment\nevent: revocation\nid: c1\ndata: {}\ndata:'), 0xff]);
  assert.deepEqual(parse(bytes, '\r\n\r\n', 'data: next\n\n'), [
    event,
    { event: undefined, id: undefined, data: 'next' },
  ]);
  assert.deepEqual(parse('\ufeff\ufeffdata: a\n\n'), []);
});

test('an event that is too long throws, whatever it is made of and however it is cut; the longest one does not', () => {
  const longest = 'x'.repeat(EVENT_LENGTH_MAX);
  assert.equal(parse(`data:${longest}\n\n`)[0]?.data, longest);
  const tooLong = { name: 'RangeError', message: 'An event of the stream is too long.' };
  const line = `data: ${'x'.repeat(1023)}\n`;
  for (const chunks of [
    [`data:${longest}x\n\n`],
    [`data:${longest}x`],
    [`event:${longest}x`],
    ['data:', longest, 'x'],
    ['data\n'.repeat(EVENT_LENGTH_MAX + 2)],
    Array.from({ length: 65 }, () => line),
  ]) {
    assert.throws(() => parse(...chunks), tooLong, chunks[0]?.slice(0, 20));
  }
  assert.equal(parse(...Array.from({ length: 63 }, () => line), '\n').length, 1);
  // A comment is not buffered, so it may go on forever.
  assert.deepEqual(parse(':', longest, longest, '\ndata: a\n\n').length, 1);
});

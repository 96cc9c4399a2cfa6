import { utf8 } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  EVENT_DATA_LENGTH_MAX,
  EventStreamParser,
  LINE_LENGTH_MAX,
  type StreamEvent,
} from '../../src/revocations/event_stream.ts';

function parse(text: string): StreamEvent[] {
  return new EventStreamParser().push(utf8(text));
}

function message(data: string, lastEventId = '', type = 'message'): StreamEvent {
  return { type, data, lastEventId };
}

test('lines end in LF, CRLF or CR, mixed as they come (HTML §9.2.5)', () => {
  for (const end of ['\n', '\r\n', '\r']) {
    assert.deepEqual(parse(`event: a${end}data: x${end}${end}`), [message('x', '', 'a')]);
    assert.deepEqual(parse(`event: a${end}data: x${end}`), []);
  }
  assert.deepEqual(parse('data: 1\rdata: 2\ndata: 3\r\n\ndata: 4\r\r'), [message('1\n2\n3'), message('4')]);
});

test('a blank line ends an event; what the stream breaks off in the middle of is none (HTML §9.2.6)', () => {
  assert.deepEqual(parse('data: x\n\n'), [message('x')]);
  for (const unfinished of ['data: x', 'data: x\n', 'data: x\n:\n', '\n\n\n', 'event: a\n\n', 'id: 1\n\n']) {
    assert.deepEqual(parse(unfinished), [], unfinished);
  }
});

test('a comment is nothing, also in the middle of an event', () => {
  assert.deepEqual(parse(': hello\n\n:\ndata: a\n: in between\ndata: b\n\n:data: c\n\n'), [message('a\nb')]);
});

test('one space after the colon goes, the others stay; without a colon the value is empty', () => {
  assert.deepEqual(parse('data:a\n\ndata: a\n\ndata:  a \n\ndata\n\ndata\ndata\n\ndata:\n\ndata: a:b\n\n'), [
    message('a'),
    message('a'),
    message(' a '),
    message(''),
    message('\n'),
    message(''),
    message('a:b'),
  ]);
});

test('fields are named to the letter, and unknown ones mean nothing', () => {
  assert.deepEqual(parse('Data: a\n data: b\ndata : c\nretry: 5\nfoo: d\ndata: e\n\n'), [message('e')]);
});

test('an id stays until another comes; an empty one takes it away, and one with NUL is ignored', () => {
  assert.deepEqual(parse('id: 1\ndata: a\n\ndata: b\n\nid: 2\n\ndata: c\n\nid: 3\u0000\ndata: d\n\nid\ndata: e\n\n'), [
    message('a', '1'),
    message('b', '1'),
    message('c', '2'),
    message('d', '2'),
    message('e', ''),
  ]);
});

test('the type is for one event, also when that event has no data', () => {
  assert.deepEqual(parse('event: a\ndata: 1\n\ndata: 2\n\nevent: b\n\ndata: 3\n\n'), [
    message('1', '', 'a'),
    message('2'),
    message('3'),
  ]);
});

test('a byte order mark at the beginning is dropped, and one later is a character', () => {
  assert.deepEqual(parse('\ufeffdata: a\n\n'), [message('a')]);
  assert.deepEqual(parse('\ufeff\ufeffdata: a\n\n'), []);
  assert.deepEqual(parse('data: \ufeff\n\n'), [message('\ufeff')]);
});

test('bytes that are no UTF-8 are replaced and end nothing', () => {
  const bytes = Uint8Array.from([...utf8('data: a'), 0xff, 0xc3, ...utf8('b\n\n')]);
  assert.deepEqual(new EventStreamParser().push(bytes), [message('a\ufffd\ufffdb')]);
});

const text = fc
  .array(
    fc.constantFrom(
      'data',
      'event',
      'id',
      ':',
      ' ',
      '\n',
      '\n',
      '\r',
      '\r\n',
      '\n\n',
      'x',
      'é',
      '🎫',
      '\ufeff',
      '\u0000',
      'data: y\n\n',
      'id: 7\n',
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''));

test('however the bytes are cut, also in the middle of a character or a CRLF, the events are the same', () => {
  fc.assert(
    fc.property(text, fc.array(fc.nat({ max: 7 }), { minLength: 1 }), (whole, sizes) => {
      const bytes = utf8(whole);
      const parser = new EventStreamParser();
      const events: StreamEvent[] = [];
      for (let at = 0, turn = 0; at < bytes.length; turn++) {
        // An empty piece now and then; never two, so that this ends.
        const size = Math.max(sizes[turn % sizes.length] ?? 1, turn % 2);
        events.push(...parser.push(bytes.subarray(at, at + size)));
        at += size;
      }
      assert.deepEqual(events, parse(whole));
    }),
    { numRuns: 3000 },
  );
});

test('a line or an event that is too long throws, in one piece or in many; the longest does not', () => {
  const line = 'x'.repeat(LINE_LENGTH_MAX - 'data: '.length);
  assert.equal(parse(`data: ${line}\n\n`)[0]?.data, line);
  assert.throws(() => parse(`data: ${line}x\n\n`), RangeError);
  assert.throws(() => parse(`:${'x'.repeat(LINE_LENGTH_MAX)}`), RangeError);
  const parser = new EventStreamParser();
  assert.throws(() => {
    for (let at = 0; at <= LINE_LENGTH_MAX; at++) parser.push(utf8('x'));
  }, RangeError);
  const lines = (count: number): string => `data: ${'x'.repeat(1023)}\n`.repeat(count);
  assert.equal(parse(`${lines(EVENT_DATA_LENGTH_MAX / 1024)}\n`).length, 1);
  assert.throws(() => parse(lines(EVENT_DATA_LENGTH_MAX / 1024 + 1)), RangeError);
  assert.throws(() => parse('data\n'.repeat(EVENT_DATA_LENGTH_MAX + 1)), RangeError);
});

test('the bounds of a line and of an event are what is published, and who goes past them is told which', () => {
  assert.equal(LINE_LENGTH_MAX, 16_384);
  assert.equal(EVENT_DATA_LENGTH_MAX, 65_536);
  const line = `data:${'x'.repeat(LINE_LENGTH_MAX - 5)}`;
  assert.throws(() => parse(`${line}x`), { name: 'RangeError', message: 'A line of the event stream is too long.' });
  assert.deepEqual(parse(`${line}\n\n`), [message(line.slice(5))]);
  assert.throws(() => parse(`${line}\n`.repeat(5)), {
    name: 'RangeError',
    message: 'An event of the stream is too long.',
  });
});

test('a space within a value stays where it is', () => {
  assert.deepEqual(parse('data:a b\ndata: c  d\n\n'), [message('a b\nc  d')]);
});

/** Reads the events of a stream that arrives in chunks of any size (HTML Living Standard §9.2.6), within a bound. */
import { createParser, type EventSourceMessage } from 'eventsource-parser';

/**
 * The most characters that an event may have, and the most that are buffered of one that is not complete. The feed's
 * own events have a few hundred.
 */
export const EVENT_LENGTH_MAX = 65_536;

/**
 * Gives a function that takes the bytes of one stream, chunk by chunk, and calls `take` with each event as it is
 * complete. Comments, `retry` and unknown fields are ignored. The function throws a RangeError when an event is too
 * long, and whatever `take` throws. After a throw, open another stream: this one is out of step.
 */
export function eventReader(take: (event: EventSourceMessage) => void): (bytes: Uint8Array) => void {
  // The parser strips the byte order mark. Stripping it here as well would lose a second one, which is data.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const parser = createParser({
    maxBufferSize: EVENT_LENGTH_MAX,
    onEvent: (event) => {
      // The parser bounds what it buffers. An event that arrives in one chunk never gets there.
      if (event.data.length > EVENT_LENGTH_MAX) throw new RangeError(TOO_LONG);
      take(event);
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded') throw new RangeError(TOO_LONG);
    },
  });
  return (bytes) => {
    parser.feed(decoder.decode(bytes, { stream: true }));
  };
}

const TOO_LONG = 'An event of the stream is too long.';

/** The event stream format (HTML Living Standard §9.2.6), for a stream that comes in pieces of any size. */

/** The longest line, in characters. */
export const LINE_LENGTH_MAX = 16_384;
/** The longest data of one event, in characters. */
export const EVENT_DATA_LENGTH_MAX = 65_536;

export interface StreamEvent {
  /** `message` when the stream names none. */
  readonly type: string;
  readonly data: string;
  /** The last `id` so far, of this event or an earlier one; empty when there was none. */
  readonly lastEventId: string;
}

const LINE_END = /\r\n|\n|\r/;

/**
 * Bytes in, events out. `retry` is ignored: how soon to come back is the reader's own concern. Throws a RangeError when
 * a line or an event is longer than its bound; the parser is of no use after that.
 */
export class EventStreamParser {
  // Keeps the first half of a character for the next chunk, and replaces what is not UTF-8. The byte order mark is ours
  // to drop: cut in two, it makes some runtimes drop a second one.
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #begun = false;
  #line = '';
  #endedInCR = false;
  #type = '';
  #data = '';
  #id = '';

  push(bytes: Uint8Array): StreamEvent[] {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === '') return [];
    if (!this.#begun && text.startsWith('\ufeff')) text = text.slice(1);
    this.#begun = true;
    // The LF of a CRLF that a chunk's border split: its CR has ended the line already.
    if (this.#endedInCR && text.startsWith('\n')) text = text.slice(1);
    this.#endedInCR = text.endsWith('\r');
    const events: StreamEvent[] = [];
    const lines = text.split(LINE_END);
    for (const [at, piece] of lines.entries()) {
      this.#line += piece;
      if (this.#line.length > LINE_LENGTH_MAX) throw new RangeError('A line of the event stream is too long.');
      if (at === lines.length - 1) break;
      const event = this.#endLine(this.#line);
      if (event !== undefined) events.push(event);
      this.#line = '';
    }
    return events;
  }

  #endLine(line: string): StreamEvent | undefined {
    if (line === '') return this.#endEvent();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#type = value;
    if (field === 'id' && !value.includes('\0')) this.#id = value;
    if (field === 'data') this.#data += `${value}\n`;
    if (this.#data.length > EVENT_DATA_LENGTH_MAX) throw new RangeError('An event of the stream is too long.');
    // A line that begins with a colon is a comment, and other fields mean nothing.
    return undefined;
  }

  #endEvent(): StreamEvent | undefined {
    const type = this.#type === '' ? 'message' : this.#type;
    const data = this.#data;
    this.#type = '';
    this.#data = '';
    // Without a data line there is no event; an empty data line makes one.
    return data === '' ? undefined : { type, data: data.slice(0, -1), lastEventId: this.#id };
  }
}

/** The `text/event-stream` format (HTML Living Standard §9.2.6), bytes to events, however they are cut into chunks. */

/** One event; `data` is its lines joined by line feeds. */
export interface StreamEvent {
  readonly type: string;
  readonly data: string;
  /** The last `id` that was seen, on this event or before it. */
  readonly lastEventId: string;
}

/** The longest event, in characters: a server that never ends one must not fill our memory. */
export const EVENT_LENGTH_MAX = 64 * 1024;

/** Reads one stream. `push` throws a `RangeError` for an event that is too long; then the stream is of no more use. */
export class EventStreamParser {
  readonly #decoder = new TextDecoder('utf-8');
  /** What has come since the last line end. */
  #rest = '';
  #type = '';
  #data: string[] = [];
  #length = 0;
  #lastEventId = '';

  /** The events that are complete with these bytes, in order. */
  push(bytes: Uint8Array): readonly StreamEvent[] {
    const text = this.#rest + this.#decoder.decode(bytes, { stream: true });
    // A carriage return at the very end may be the first half of a line end.
    const whole = text.endsWith('\r') ? text.slice(0, -1) : text;
    const lines = whole.split(/\r\n|\n|\r/);
    this.#rest = (lines.pop() ?? '') + text.slice(whole.length);
    const events: StreamEvent[] = [];
    for (const line of lines) {
      this.#count(line.length);
      const event = this.#takeLine(line);
      if (event !== undefined) events.push(event);
    }
    if (this.#length + this.#rest.length > EVENT_LENGTH_MAX)
      throw new RangeError('An event of the stream is too long.');
    return events;
  }

  #count(length: number): void {
    this.#length += length;
    if (this.#length > EVENT_LENGTH_MAX) throw new RangeError('An event of the stream is too long.');
  }

  #takeLine(line: string): StreamEvent | undefined {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#type = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#lastEventId = value;
    return undefined;
  }

  #dispatch(): StreamEvent | undefined {
    const event = {
      type: this.#type === '' ? 'message' : this.#type,
      data: this.#data.join('\n'),
      lastEventId: this.#lastEventId,
    };
    const empty = this.#data.length === 0;
    this.#type = '';
    this.#data = [];
    this.#length = 0;
    return empty ? undefined : event;
  }
}

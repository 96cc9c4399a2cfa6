/** The body of an answer, within a size, whatever the `fetch` that it came by makes of bodies. */

/** The largest answer, in bytes, after decompression. */
const ANSWER_BYTES_MAX = 64 * 1024;

/**
 * The bytes; undefined when there are too many. By then a token may have been issued, so a body must not be missed
 * because it is no web stream: `node-fetch` has Node's streams, React Native has none and gives the text alone.
 */
export async function readCapped(response: Response): Promise<Uint8Array<ArrayBuffer> | undefined> {
  // Not as the types have it: that is what this is about.
  const body: unknown = response.body;
  if (body === null) return new Uint8Array();
  if (isWebStream(body)) return await gather(chunksOf(body.getReader()));
  if (isIterable(body)) return await gather(body);
  const bytes = new TextEncoder().encode(await response.text());
  return bytes.length > ANSWER_BYTES_MAX ? undefined : bytes;
}

function isWebStream(body: unknown): body is ReadableStream<unknown> {
  return typeof body === 'object' && body !== null && 'getReader' in body && typeof body.getReader === 'function';
}

function isIterable(body: unknown): body is AsyncIterable<unknown> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
}

async function* chunksOf(reader: ReadableStreamDefaultReader<unknown>): AsyncGenerator {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** What is beyond the limit is not even received: who asked hangs up. */
async function gather(chunks: AsyncIterable<unknown>): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const bytes = new Uint8Array(ANSWER_BYTES_MAX);
  let length = 0;
  for await (const chunk of chunks) {
    const part = typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
    if (!(part instanceof Uint8Array)) throw new TypeError('A body is made of bytes.');
    if (length + part.length > ANSWER_BYTES_MAX) return undefined;
    bytes.set(part, length);
    length += part.length;
  }
  return bytes.slice(0, length);
}

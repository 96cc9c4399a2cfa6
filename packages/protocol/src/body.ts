/** Reads the body of an HTTP response within a size limit. */
import { concatBytes, utf8 } from './bytes.ts';

/** The part of a `Response` that `readBody` needs. A custom `fetch` may not put a web stream into `body`. */
interface BodySource {
  readonly body: unknown;
  readonly text: () => Promise<string>;
}

interface StreamReader {
  readonly read: () => Promise<{ readonly done: boolean; readonly value?: unknown }>;
  readonly cancel: () => Promise<unknown>;
}

/**
 * The bytes of a body, or undefined when there are more than `bytesMax`; the rest is then not received. Takes web
 * streams, Node streams (`node-fetch`), and responses that offer their text alone (React Native). Rejects when the
 * stream fails, or yields something other than bytes or text.
 */
export async function readBody(response: BodySource, bytesMax: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const { body } = response;
  if (body === null) return new Uint8Array();
  if (isWebStream(body)) return await gather(chunksOf(body.getReader()), bytesMax);
  if (isIterable(body)) return await gather(body, bytesMax);
  const bytes = utf8(await response.text());
  return bytes.length > bytesMax ? undefined : concatBytes(bytes);
}

function isWebStream(body: unknown): body is { readonly getReader: () => StreamReader } {
  return typeof body === 'object' && body !== null && 'getReader' in body && typeof body.getReader === 'function';
}

function isIterable(body: unknown): body is AsyncIterable<unknown> {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body;
}

async function* chunksOf(reader: StreamReader): AsyncGenerator {
  let isDone = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      isDone = done;
      if (done) return;
      yield value;
    }
  } finally {
    // Not awaited: a stream that never finishes cancelling must not hold up the caller.
    if (!isDone) void reader.cancel().catch(() => {});
  }
}

async function gather(chunks: AsyncIterable<unknown>, bytesMax: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    const part = typeof chunk === 'string' ? utf8(chunk) : chunk;
    if (!(part instanceof Uint8Array)) throw new TypeError('A body is made of bytes.');
    length += part.length;
    if (length > bytesMax) return undefined;
    parts.push(part);
  }
  return concatBytes(...parts);
}

/** One JSON document from the issuer: within a time, within a size, from that very address. */
import { parseUtf8 } from '@hallpass/protocol';
import type { Settings } from './options.ts';

/** The largest document, in bytes. */
const DOCUMENT_BYTES_MAX = 64 * 1024;
/** The longest wait for it, in milliseconds. */
const TIMEOUT_MS = 5_000;

/** Rejects with an `Error` when the answer is not a 200 with JSON of that size, in time. */
export async function retrieveJson({ fetch, at }: Settings, path: string, init: RequestInit = {}): Promise<unknown> {
  const response = await fetch(at(path), {
    ...init,
    // A redirect would take the trust in the issuer's address somewhere else.
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const bytes = await readCapped(response);
  if (response.status !== 200) throw new Error(`${path} answered ${response.status}`);
  const text = parseUtf8(bytes);
  if (text === undefined) throw new Error(`${path} is not UTF-8`);
  return JSON.parse(text);
}

async function readCapped(response: Response): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  const bytes = new Uint8Array(DOCUMENT_BYTES_MAX);
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return bytes.subarray(0, length);
    if (length + value.length > DOCUMENT_BYTES_MAX) {
      await reader.cancel();
      throw new Error(`an answer of more than ${DOCUMENT_BYTES_MAX} bytes`);
    }
    bytes.set(value, length);
    length += value.length;
  }
}

/** What an error says, for a diagnostic event. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}

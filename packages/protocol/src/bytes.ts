/** Bytes and their text forms. Each decoder accepts one spelling for each value, so that no token can be written in two ways. */

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const CODE_OF = new Uint8Array(128);
for (let value = 0; value < ALPHABET.length; value++) CODE_OF[ALPHABET.charCodeAt(value)] = value;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Encodes a text as UTF-8. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Decodes UTF-8; undefined when the bytes are not UTF-8. A byte order mark stays in the text. */
export function parseUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Encodes bytes as base64url without padding (RFC 7515 §2). */
export function printBase64url(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at;
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text += ALPHABET.charAt(group >> 18) + ALPHABET.charAt((group >> 12) & 63);
    if (left > 1) text += ALPHABET.charAt((group >> 6) & 63);
    if (left > 2) text += ALPHABET.charAt(group & 63);
  }
  return text;
}

const BASE64URL = /^[A-Za-z0-9_-]*$/;
/** The unused bits of the last character, by the length of the text modulo 4. No text has a remainder of 1. */
const UNUSED_BITS = [0, undefined, 0b1111, 0b11] as const;

/**
 * Whether a text is what `printBase64url` prints: no padding, no other alphabet, no white space, no impossible length,
 * and unused bits of zero, because otherwise one value would have two texts (RFC 4648 §3.5).
 */
export function isBase64url(text: string): boolean {
  const unused = UNUSED_BITS[text.length % 4];
  return unused !== undefined && BASE64URL.test(text) && (codeAt(text, text.length - 1) & unused) === 0;
}

/** Decodes base64url; undefined where `isBase64url` is false. */
export function parseBase64url(text: string): Uint8Array | undefined {
  if (!isBase64url(text)) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  for (let at = 0, index = 0; at < bytes.length; at += 3, index += 4) {
    const [first, second] = [codeAt(text, index), codeAt(text, index + 1)];
    const [third, fourth] = [codeAt(text, index + 2), codeAt(text, index + 3)];
    // Writes past the end are ignored.
    bytes[at] = (first << 2) | (second >> 4);
    bytes[at + 1] = (second << 4) | (third >> 2);
    bytes[at + 2] = (third << 6) | fourth;
  }
  return bytes;
}

/** The value of a character; 0 past the end. */
function codeAt(text: string, index: number): number {
  return CODE_OF[text.charCodeAt(index)] ?? 0;
}

/** Joins arrays of bytes in order. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

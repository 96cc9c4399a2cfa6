/** Bytes and their text forms. Every decoder is strict: one text for one value, so that no token has a second spelling. */

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const CODE_OF = new Int16Array(128).fill(-1);
for (let value = 0; value < ALPHABET.length; value++) CODE_OF[ALPHABET.charCodeAt(value)] = value;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text to its UTF-8 bytes. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** UTF-8 bytes to text; undefined when they are not UTF-8. A byte order mark is kept as the character it is. */
export function parseUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Bytes to base64url without padding (RFC 7515 §2). */
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

/**
 * base64url to bytes; undefined for anything that `printBase64url` would not have printed: padding, another alphabet,
 * white space, an impossible length, and unused bits that are not zero (two texts for one value, RFC 4648 §3.5).
 */
export function parseBase64url(text: string): Uint8Array | undefined {
  const tail = text.length % 4;
  if (tail === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  const whole = text.length - tail;
  let at = 0;
  for (let index = 0; index < whole; index += 4) {
    const group =
      (codeAt(text, index) << 18) |
      (codeAt(text, index + 1) << 12) |
      (codeAt(text, index + 2) << 6) |
      codeAt(text, index + 3);
    // One that is no character of the alphabet makes the whole group negative.
    if (group < 0) return undefined;
    bytes[at] = group >> 16;
    bytes[at + 1] = (group >> 8) & 0xff;
    bytes[at + 2] = group & 0xff;
    at += 3;
  }
  if (tail === 0) return bytes;
  const third = tail === 3 ? codeAt(text, whole + 2) : 0;
  const group = (codeAt(text, whole) << 18) | (codeAt(text, whole + 1) << 12) | (third << 6);
  if (group < 0) return undefined;
  bytes[at] = group >> 16;
  if (tail === 3) bytes[at + 1] = (group >> 8) & 0xff;
  const unused = group & (tail === 3 ? 0xff : 0xffff);
  return unused === 0 ? bytes : undefined;
}

function codeAt(text: string, index: number): number {
  return CODE_OF[text.charCodeAt(index)] ?? -1;
}

/** Several runs of bytes as one. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

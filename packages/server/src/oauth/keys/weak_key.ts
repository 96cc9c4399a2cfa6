/** Recognises master keys that were not made at random. */
import { printBase64url } from '@hallpass/protocol';

/** The most different values among the 32 bytes, the 31 steps between them, or the 43 characters of a weak key. */
const BYTES_MAX = 16;
const STEPS_MAX = 16;
const CHARACTERS_MAX = 15;

/**
 * Whether 32 bytes are certainly not random: zeros, a repeated pattern, bytes that count up, words or digits, in the bytes or
 * in their base64url. It cannot tell a good key from the hash of a bad one. It mistakes fewer than one random key in 2^43
 * for a weak one (2^-48 by its bytes, 2^-45 by the steps, 2^-44 by its characters, 2^-45 as text, 2^-50 as one case).
 */
export function isWeakKey(bytes: Uint8Array): boolean {
  const text = printBase64url(bytes);
  const steps = bytes.slice(1).map((byte, at) => byte - (bytes[at] ?? 0));
  return (
    new Set(bytes).size <= BYTES_MAX ||
    new Set(steps).size <= STEPS_MAX ||
    new Set(text).size <= CHARACTERS_MAX ||
    bytes.every((byte) => byte >= 0x20 && byte < 0x7f) ||
    /^(?:[a-z_-]+|[A-Z_-]+)$/.test(text)
  );
}

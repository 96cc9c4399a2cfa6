/** Keys that nobody drew at random. */
import { printBase64url } from '@hallpass/protocol';

/** At most so many different values among 32 bytes, or 31 steps from one to the next, or 43 characters. */
const BYTES_MAX = 16;
const STEPS_MAX = 16;
const CHARACTERS_MAX = 15;

/**
 * Whether 32 bytes were surely not drawn at random: zeros, a repeated pattern, bytes that count, words or digits, in the
 * bytes or as their base64url. It cannot tell a good key from the hash of a bad one; and it takes fewer than one random
 * key in 2^43 for a bad one (2^-48 by its bytes, 2^-45 by the steps, 2^-44 by its characters, 2^-45 as text, 2^-50 as
 * one case).
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

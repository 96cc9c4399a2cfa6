/**
 * AES-256-GCM (NIST SP 800-38D), the one cipher of this server: for its own keys at rest, for the hashes of imported
 * secrets, and for opaque access tokens. The additional data says what the sealed bytes are, so that nothing sealed for one
 * purpose opens for another.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';

/** A nonce has 96 bits (NIST SP 800-38D §8.2). No nonce may be used twice with one key. */
export const NONCE_BYTES = 12;
/** The length of the tag at the end of sealed bytes. */
export const TAG_BYTES = 16;

/** What bytes are sealed with. To open them, all three have to be the same. */
export interface Sealing {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** `NONCE_BYTES` bytes. */
  readonly nonce: Uint8Array;
  readonly additionalData: Uint8Array;
}

/** The ciphertext with its tag behind it. */
export function sealBytes(plaintext: Uint8Array, { key, nonce, additionalData }: Sealing): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(additionalData);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/** The plaintext; undefined when anything was changed: the bytes, the key, the nonce or the additional data. Never throws. */
export function openBytes(sealed: Uint8Array, { key, nonce, additionalData }: Sealing): Buffer | undefined {
  if (nonce.length !== NONCE_BYTES || sealed.length < TAG_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(additionalData);
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
}

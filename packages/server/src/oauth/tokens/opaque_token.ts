/**
 * Opaque access tokens (contract §5): the same claims, sealed so that only this issuer can read them, and so checked by
 * introspection alone. No row either: `hpat_` base64url( version | key id 8 | salt 24 | ciphertext | tag 16 ), AES-256-GCM
 * under a key of the token's own, HMAC-SHA-256( seal key, salt ). One key for all of them would be worn out after 2^32
 * random nonces (NIST SP 800-38D §8.3), which a busy server reaches; 192-bit salts do not meet.
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import {
  ACCESS_TOKEN_LENGTH_MAX,
  OPAQUE_TOKEN_PREFIX,
  parseAccessTokenClaims,
  parseBase64url,
  parseJson,
  printBase64url,
  REFRESH_KEY_ID_BYTES,
  type AccessTokenClaims,
  type Random,
} from '@hallpass/protocol';
import type { KeyRing } from '../keys/key_ring.ts';

const VERSION = 1;
const SALT_BYTES = 24;
/** Each key seals one token, so its one nonce is used once. */
const NONCE = new Uint8Array(12);
const TAG_BYTES = 16;
const HEAD_BYTES = 1 + REFRESH_KEY_ID_BYTES + SALT_BYTES;

export function sealAccessToken({ seal }: KeyRing, random: Random, claims: AccessTokenClaims): string {
  const keyId = parseBase64url(seal.keyId) ?? new Uint8Array();
  const salt = random(SALT_BYTES);
  const head = Buffer.concat([Uint8Array.of(VERSION), keyId, salt]);
  const cipher = createCipheriv('aes-256-gcm', keyFor(seal.bytes, salt), NONCE).setAAD(aad(head));
  const sealed = Buffer.concat([head, cipher.update(JSON.stringify(claims)), cipher.final(), cipher.getAuthTag()]);
  return OPAQUE_TOKEN_PREFIX + printBase64url(sealed);
}

/** The claims of a token that was sealed here; undefined for every other text. */
export function openSealedToken({ findSeal }: KeyRing, token: string): AccessTokenClaims | undefined {
  if (!token.startsWith(OPAQUE_TOKEN_PREFIX) || token.length > ACCESS_TOKEN_LENGTH_MAX) return undefined;
  const bytes = parseBase64url(token.slice(OPAQUE_TOKEN_PREFIX.length));
  if (bytes === undefined || bytes.length <= HEAD_BYTES + TAG_BYTES || bytes[0] !== VERSION) return undefined;
  const head = bytes.subarray(0, HEAD_BYTES);
  const key = findSeal(printBase64url(head.subarray(1, 1 + REFRESH_KEY_ID_BYTES)));
  if (key === undefined) return undefined;
  try {
    const ownKey = keyFor(key.bytes, head.subarray(-SALT_BYTES));
    const decipher = createDecipheriv('aes-256-gcm', ownKey, NONCE).setAAD(aad(head));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const text = Buffer.concat([decipher.update(bytes.subarray(HEAD_BYTES, -TAG_BYTES)), decipher.final()]);
    return parseAccessTokenClaims(parseJson(text));
  } catch {
    return undefined;
  }
}

function keyFor(sealKey: Uint8Array, salt: Uint8Array): Uint8Array {
  return createHmac('sha256', sealKey).update(salt).digest();
}

/** The prefix and the head are under the tag as well: a sealed thing of another kind can never pass for a token. */
function aad(head: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(OPAQUE_TOKEN_PREFIX), head]);
}

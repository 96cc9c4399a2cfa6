/**
 * Opaque access tokens (contract §5): the same claims, sealed so that only this issuer can read them; everyone else asks the
 * introspection endpoint. There is no row either: `hpat_` base64url( version | key id 8 | salt 24 | ciphertext | tag 16 ),
 * AES-256-GCM under a key for each token, HMAC-SHA-256( seal key, salt ). One key for all tokens would wear out after 2^32
 * random nonces (NIST SP 800-38D §8.3), which a busy server reaches; 192-bit salts do not collide.
 */
import { createHmac } from 'node:crypto';
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
import { NONCE_BYTES, openBytes, sealBytes, TAG_BYTES } from '../keys/aes_gcm.ts';
import type { KeyRing } from '../keys/key_ring.ts';

const VERSION = 1;
const SALT_BYTES = 24;
/** Each derived key seals one token, so its one nonce is used once. */
const NONCE = new Uint8Array(NONCE_BYTES);
const HEAD_BYTES = 1 + REFRESH_KEY_ID_BYTES + SALT_BYTES;

/** Prints claims as an opaque token, sealed with the key in use. */
export function sealAccessToken({ seal }: KeyRing, random: Random, claims: AccessTokenClaims): string {
  const keyId = parseBase64url(seal.keyId) ?? new Uint8Array();
  const salt = random(SALT_BYTES);
  const head = Buffer.concat([Uint8Array.of(VERSION), keyId, salt]);
  const sealing = { key: keyFor(seal.bytes, salt), nonce: NONCE, additionalData: dataOf(head) };
  return (
    OPAQUE_TOKEN_PREFIX + printBase64url(Buffer.concat([head, sealBytes(Buffer.from(JSON.stringify(claims)), sealing)]))
  );
}

/** The claims of an opaque token that one of these keys sealed; undefined for any other text. */
export function openSealedToken({ findSeal }: KeyRing, token: string): AccessTokenClaims | undefined {
  if (!token.startsWith(OPAQUE_TOKEN_PREFIX) || token.length > ACCESS_TOKEN_LENGTH_MAX) return undefined;
  const bytes = parseBase64url(token.slice(OPAQUE_TOKEN_PREFIX.length));
  if (bytes === undefined || bytes.length <= HEAD_BYTES + TAG_BYTES || bytes[0] !== VERSION) return undefined;
  const head = bytes.subarray(0, HEAD_BYTES);
  const key = findSeal(printBase64url(head.subarray(1, 1 + REFRESH_KEY_ID_BYTES)));
  if (key === undefined) return undefined;
  const ownKey = keyFor(key.bytes, head.subarray(-SALT_BYTES));
  const claims = openBytes(bytes.subarray(HEAD_BYTES), { key: ownKey, nonce: NONCE, additionalData: dataOf(head) });
  return claims === undefined ? undefined : parseAccessTokenClaims(parseJson(claims));
}

function keyFor(sealKey: Uint8Array, salt: Uint8Array): Uint8Array {
  return createHmac('sha256', sealKey).update(salt).digest();
}

/** The additional data of a token: its prefix and head, so that nothing sealed for another purpose passes for a token. */
function dataOf(head: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(OPAQUE_TOKEN_PREFIX), head]);
}

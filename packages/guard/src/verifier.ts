/** Whether a text is an access token of the issuer for this API (RFC 9068 §4, RFC 8725). Says nothing about revocation. */
import { decodeProtectedHeader, errors, jwtVerify } from 'jose';
import {
  ACCESS_TOKEN_LENGTH_MAX,
  numericDate,
  parseAccessTokenClaims,
  refuse,
  type AccessTokenClaims,
  type Refusal,
} from '@hallpass/protocol';
import type { KeySet, VerificationKey } from './key_set.ts';
import type { Settings } from './options.ts';

const TYPES: readonly unknown[] = ['at+jwt', 'application/at+jwt'];

/** The claims of a good token, or a refusal. Rejects with `KeysUnavailable` alone. */
export async function verifyAccessToken(
  settings: Settings,
  keys: KeySet,
  token: string,
): Promise<AccessTokenClaims | Refusal> {
  if (token.length > ACCESS_TOKEN_LENGTH_MAX) return bad('too long');
  const keyId = findKeyId(token);
  if (keyId === undefined) return bad('not a JWT with a key id');
  const key = await keys.find(keyId);
  if (key === undefined) return bad('an unknown key id');
  return await verifyWith(settings, key, token);
}

/** The `kid` is only ever a look-up in a map (RFC 8725 §3.10). */
function findKeyId(token: string): string | undefined {
  try {
    const { kid } = decodeProtectedHeader(token);
    return typeof kid === 'string' ? kid : undefined;
  } catch {
    return undefined;
  }
}

async function verifyWith(
  settings: Settings,
  { algorithm, key }: VerificationKey,
  token: string,
): Promise<AccessTokenClaims | Refusal> {
  const { issuer, audience, algorithms, leewaySeconds, clock } = settings;
  const now = clock.now();
  try {
    const { payload, protectedHeader } = await jwtVerify(token, key, {
      // What the key is for, and not what the header says (RFC 8725 §3.1).
      algorithms: algorithms.filter((allowed) => allowed === algorithm),
      issuer,
      audience,
      requiredClaims: ['iat', 'exp'],
      clockTolerance: leewaySeconds,
      currentDate: new Date(now),
    });
    if (!TYPES.includes(protectedHeader.typ?.toLowerCase())) return bad('another kind of token (typ)');
    const claims = parseAccessTokenClaims(payload);
    if (claims === undefined) return bad('not the claims of the profile');
    // jose takes an array with the issuer in it; RFC 9068 §4 wants that very text.
    if (claims.iss !== issuer) return bad('another issuer');
    if (claims.iat > numericDate(now) + leewaySeconds) return bad('issued in the future');
    // A bound token is worth nothing without its key, and no proof of that comes with `Bearer` (RFC 9449 §7.2).
    return claims.cnf === undefined ? claims : bad('a bound token sent as Bearer');
  } catch (error) {
    if (error instanceof errors.JOSEError) return bad(error.code);
    // Web Crypto throws errors of its own for signatures that make no sense.
    return bad(error instanceof Error ? error.name : 'unknown');
  }
}

function bad(because: string): Refusal {
  return refuse('token_not_good', { because });
}

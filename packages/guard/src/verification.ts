/** Whether a text is an access token that our issuer made for us, and is within its time (RFC 9068 §4). */
import {
  ACCESS_TOKEN_TYPE,
  numericDate,
  parseAccessToken,
  parseAccessTokenClaims,
  refuse,
  type AccessTokenClaims,
  type Clock,
  type Refusal,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { decodeProtectedHeader, jwtVerify, type JWTPayload } from 'jose';
import type { KeySet, VerificationKeys } from './key_set.ts';
import { nameOf } from './outage.ts';

export interface Expected {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly SigningAlgorithm[];
  readonly leewaySeconds: number;
  readonly keySet: KeySet;
  readonly clock: Clock;
}

/** A token to its claims, each of them good at this moment; `cnf` is still to be proved. Throws `Outage` when the keys are out of reach. */
export async function verifyAccessToken(token: string, expected: Expected): Promise<AccessTokenClaims | Refusal> {
  // Length and form before any other work.
  const kid = parseAccessToken(token)?.kid;
  if (kid === undefined) return notGood('not in the form of an access token');
  const fault = headerFault(token, expected.algorithms);
  if (fault !== undefined) return notGood(fault);
  const keys = await expected.keySet.find(kid);
  if (keys === undefined) return notGood('the issuer has no such key');

  const now = numericDate(expected.clock.now());
  const payload = await verifySignatureAndTimes(token, keys, expected, now);
  if (typeof payload === 'string') return notGood(payload);
  const claims = parseAccessTokenClaims(payload);
  if (claims === undefined) return notGood('claims outside the profile');
  if (claims.iat > now + expected.leewaySeconds) return notGood('issued in the future');
  return claims;
}

function notGood(because: string): Refusal {
  return refuse('token_not_good', { because });
}

/**
 * Our issuer writes `alg`, `kid` and `typ` and nothing else (contract §5). Anything more (`crit`, `b64`, `zip`, `jwk`,
 * `jku`, `x5c`) asks for a treatment that we do not give, so it is refused before a library could give it.
 */
function headerFault(token: string, algorithms: readonly string[]): string | undefined {
  const { alg, kid: _kid, typ, ...more } = decodeProtectedHeader(token);
  if (Object.keys(more).length > 0) return 'unexpected header members';
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return 'algorithm not allowed';
  if (typeof typ !== 'string' || !TYPES.includes(typ.toLowerCase())) return 'typ is not at+jwt';
  return undefined;
}

const TYPES: readonly string[] = [ACCESS_TOKEN_TYPE, `application/${ACCESS_TOKEN_TYPE}`];

async function verifySignatureAndTimes(
  token: string,
  keys: VerificationKeys,
  { issuer, audience, algorithms, leewaySeconds }: Expected,
  now: number,
): Promise<JWTPayload | string> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: [...algorithms],
      issuer,
      audience,
      typ: ACCESS_TOKEN_TYPE,
      requiredClaims: ['exp', 'iat'],
      clockTolerance: leewaySeconds,
      currentDate: new Date(now * 1000),
    });
    return payload;
  } catch (error) {
    // Whatever it was, jose's or the runtime's: the signature was not found good.
    return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : nameOf(error);
  }
}

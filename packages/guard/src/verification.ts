/** Whether a text is an access token that our issuer made for us, and is within its time (RFC 9068 §4). */
import {
  ACCESS_TOKEN_TYPE,
  numericDate,
  parseAccessToken,
  refuse,
  type AccessTokenClaims,
  type Clock,
  type NumericDate,
  type Refusal,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { jwtVerify, type CryptoKey } from 'jose';
import type { KeySet } from './key_set.ts';
import { nameOf } from './outage.ts';

export interface Expected {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly SigningAlgorithm[];
  readonly leewaySeconds: number;
  readonly keySet: KeySet;
  readonly clock: Clock;
}

/** Good claims, and the key that vouches for them. */
export interface Verified {
  readonly claims: AccessTokenClaims;
  readonly key: CryptoKey;
  readonly kid: string;
  readonly alg: unknown;
}

/** A token to its claims, each of them good at this moment; `cnf` is still to be proved. Throws `Outage` when the keys are out of reach. */
export async function verifyAccessToken(token: string, expected: Expected): Promise<Verified | Refusal> {
  // Length and form before any other work.
  const parsed = parseAccessToken(token);
  if (parsed === undefined) return notGood('not in the form of an access token');
  const fault = headerFault(parsed.members, expected.algorithms);
  if (fault !== undefined) return notGood(fault);
  const { kid } = parsed;
  const alg = parsed.members.get('alg');
  const key = await expected.keySet.find(kid, alg);
  if (key === undefined) return notGood('the issuer has no such key');

  const now = numericDate(expected.clock.now());
  const refused = await verifySignatureAndTimes(token, key, expected, now);
  if (refused !== undefined) return refused;
  // Not as the library read them: it takes the last of two claims with one name, and base64url in any spelling.
  const claims = parsed.claims();
  if (claims === undefined) return notGood('claims outside the profile');
  const late = judgeTimes(claims, now, expected.leewaySeconds);
  return late ?? { claims, key, kid, alg };
}

/** Whether claims are within their time at this moment, which may be later than the one at which they were verified. */
export function judgeTimes({ iat, exp }: AccessTokenClaims, now: NumericDate, leeway: number): Refusal | undefined {
  if (exp <= now - leeway) return refuse('token_expired', { because: 'expired' });
  return iat > now + leeway ? notGood('issued in the future') : undefined;
}

function notGood(because: string): Refusal {
  return refuse('token_not_good', { because });
}

/**
 * Our issuer writes `alg`, `kid` and `typ` and nothing else (contract §5). Anything more (`crit`, `b64`, `zip`, `jwk`,
 * `jku`, `x5c`) asks for a treatment that we do not give, so it is refused before a library could give it.
 */
function headerFault(members: ReadonlyMap<string, unknown>, algorithms: readonly string[]): string | undefined {
  for (const name of members.keys()) if (!HEADER_MEMBERS.has(name)) return 'unexpected header members';
  const [alg, typ] = [members.get('alg'), members.get('typ')];
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return 'algorithm not allowed';
  if (typeof typ !== 'string' || !TYPES.includes(typ.toLowerCase())) return 'typ is not at+jwt';
  return undefined;
}

const HEADER_MEMBERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
const TYPES: readonly string[] = [ACCESS_TOKEN_TYPE, `application/${ACCESS_TOKEN_TYPE}`];
const EXPIRED = 'ERR_JWT_EXPIRED';

async function verifySignatureAndTimes(
  token: string,
  key: CryptoKey,
  { issuer, audience, algorithms, leewaySeconds }: Expected,
  now: NumericDate,
): Promise<Refusal | undefined> {
  try {
    await jwtVerify(token, key, {
      algorithms: [...algorithms],
      issuer,
      audience,
      typ: ACCESS_TOKEN_TYPE,
      requiredClaims: ['exp', 'iat'],
      clockTolerance: leewaySeconds,
      currentDate: new Date(now * 1000),
    });
    return undefined;
  } catch (error) {
    // Whatever it was, jose's or the runtime's: the signature was not found good.
    const because = error instanceof Error && 'code' in error ? String(error.code) : nameOf(error);
    // That it expired is told, but only of a token whose signature was good.
    return because === EXPIRED ? refuse('token_expired', { because }) : notGood(because);
  }
}

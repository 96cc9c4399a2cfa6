/** Verifies that a token was signed by our issuer, is meant for this API, and is valid at this time (RFC 9068 §4). */
import {
  ACCESS_TOKEN_TYPE,
  isMeantFor,
  numericDate,
  parseAccessToken,
  refuse,
  type AccessTokenClaims,
  type Clock,
  type KnownHeader,
  type NumericDate,
  type Refusal,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { compactVerify, type CryptoKey, type VerifyOptions } from 'jose';
import type { KeySet } from '../issuer/key_set.ts';
import { nameOf } from '../outage.ts';

/** What a token must match. */
export interface TokenExpectations {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly SigningAlgorithm[];
  readonly leewaySeconds: number;
  readonly keySet: KeySet;
  readonly clock: Clock;
  /** How far this machine's clock is known to be ahead of the issuer's, in seconds; 0 if unknown. */
  readonly aheadSeconds?: () => number;
  /** Called with the audiences of a valid token that is for another API. */
  readonly onOtherAudience?: (audiences: readonly string[]) => void;
}

/** The claims, and the key that signed them. */
export interface Verified {
  readonly claims: AccessTokenClaims;
  readonly key: CryptoKey;
  readonly kid: string;
  readonly alg: unknown;
}

/** Verifies tokens. It keeps the last good header, because all tokens signed with one key share it. */
export class Verifier {
  readonly #expected: TokenExpectations;
  readonly #options: VerifyOptions;
  #known: KnownHeader | undefined;

  constructor(expected: TokenExpectations) {
    this.#expected = expected;
    this.#options = { algorithms: [...expected.algorithms] };
  }

  /**
   * Returns the claims if all of them are valid now. `cnf` is still to be proved. Throws `Outage` if the keys are
   * unreachable.
   */
  async verify(token: string): Promise<Verified | Refusal> {
    const { issuer, audience, algorithms, keySet, clock } = this.#expected;
    // Length and form come before any other work.
    const parsed = parseAccessToken(token, this.#known);
    if (parsed === undefined) return refuseToken('not in the form of an access token');
    const { kid, members, header } = parsed;
    const fault = headerFault(members, algorithms);
    if (fault !== undefined) return refuseToken(fault);
    const alg = members.get('alg');
    const key = keySet.findFresh(kid, alg) ?? (await keySet.find(kid, alg));
    if (key === undefined) return refuseToken('the issuer has no such key');
    let payload: Uint8Array;
    try {
      ({ payload } = await compactVerify(token, key, this.#options));
    } catch (error) {
      // The error may come from jose or from the runtime.
      return refuseToken(nameOf(error));
    }
    if (members !== this.#known?.members) this.#known = { text: header, members };

    // The signature is good, so our issuer wrote this JSON and no claim is named twice.
    const claims = parsed.claims(payload);
    if (claims === undefined) return refuseToken('claims outside the profile');
    if (claims.iss !== issuer) return refuseOtherIssuer();
    if (!isMeantFor(claims.aud, audience)) return refuseOtherAudience(claims, this.#expected);
    return checkTimes(claims, numericDate(clock.now()), this.#expected) ?? { claims, key, kid, alg };
  }
}

/** Refuses a token whose `iss` isn't the guard's issuer. */
export function refuseOtherIssuer(): Refusal {
  return refuse('token_of_another_issuer', { because: 'of another issuer' });
}

/** Only for tokens that the issuer signed: nobody else learns which audience this API has. */
export function refuseOtherAudience(
  { aud }: Pick<AccessTokenClaims, 'aud'>,
  { audience, onOtherAudience }: Pick<TokenExpectations, 'audience' | 'onOtherAudience'>,
): Refusal {
  onOtherAudience?.(typeof aud === 'string' ? [aud] : aud);
  return refuse('token_for_another_audience', { subject: audience, because: 'for another audience' });
}

/** Checks a token's times against `now`, which may be later than its verification. */
export function checkTimes(
  { iat, nbf = iat, exp }: AccessTokenClaims,
  now: NumericDate,
  { leewaySeconds: leeway, aheadSeconds = () => 0 }: Pick<TokenExpectations, 'leewaySeconds' | 'aheadSeconds'>,
): Refusal | undefined {
  // Only callers with a good signature learn this.
  if (exp <= now - leeway) {
    const isAlive = exp > now - aheadSeconds();
    return refuse(isAlive ? 'clock_differs' : 'token_expired', { because: isAlive ? 'expired here alone' : 'expired' });
  }
  // Our issuer never dates tokens ahead, so either this machine's clock is behind or the issuer's is ahead.
  if (iat > now + leeway) return refuse('clock_differs', { because: `not yet good: issued ${iat - now} s from now` });
  return nbf > now + leeway ? refuseToken('not yet good') : undefined;
}

function refuseToken(because: string): Refusal {
  return refuse('token_not_good', { because });
}

/**
 * Our issuer writes `alg`, `kid` and `typ` and nothing else (contract §5). Any other member (`crit`, `b64`, `zip`,
 * `jwk`, `jku`, `x5c`) asks for processing that we don't offer, so it's refused before a library could act on it.
 */
function headerFault(members: ReadonlyMap<string, unknown>, algorithms: readonly string[]): string | undefined {
  for (const name of members.keys()) if (!HEADER_MEMBERS.has(name)) return 'unexpected header members';
  const [alg, typ] = [members.get('alg'), members.get('typ')];
  if (!algorithms.some((known) => known === alg)) return 'algorithm not allowed';
  if (typeof typ !== 'string' || !TYPES.includes(typ.toLowerCase())) return 'typ is not at+jwt';
  return undefined;
}

const HEADER_MEMBERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
const TYPES: readonly string[] = [ACCESS_TOKEN_TYPE, `application/${ACCESS_TOKEN_TYPE}`];

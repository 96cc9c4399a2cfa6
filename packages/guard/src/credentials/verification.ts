/** Whether a text is an access token that our issuer made for us, and is within its time (RFC 9068 §4). */
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

export interface Expected {
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly SigningAlgorithm[];
  readonly leewaySeconds: number;
  readonly keySet: KeySet;
  readonly clock: Clock;
  /** How far this machine's clock is known to be ahead of the issuer's, in seconds; 0 when it is not known to be. */
  readonly aheadSeconds?: () => number;
  /** Hears whom a good token is for that is not for us. */
  readonly onOtherAudience?: (audiences: readonly string[]) => void;
}

/** Good claims, and the key that vouches for them. */
export interface Verified {
  readonly claims: AccessTokenClaims;
  readonly key: CryptoKey;
  readonly kid: string;
  readonly alg: unknown;
}

/** Reads tokens, and remembers the header of the last good one: all tokens of one key have the same. */
export class Verifier {
  readonly #expected: Expected;
  readonly #options: VerifyOptions;
  #known: KnownHeader | undefined;

  constructor(expected: Expected) {
    this.#expected = expected;
    this.#options = { algorithms: [...expected.algorithms] };
  }

  /** A token to its claims, each of them good at this moment; `cnf` is still to be proved. Throws `Outage` when the keys are out of reach. */
  async verify(token: string): Promise<Verified | Refusal> {
    const { issuer, audience, algorithms, keySet, clock } = this.#expected;
    // Length and form before any other work.
    const parsed = parseAccessToken(token, this.#known);
    if (parsed === undefined) return notGood('not in the form of an access token');
    const { kid, members, header } = parsed;
    const fault = headerFault(members, algorithms);
    if (fault !== undefined) return notGood(fault);
    const alg = members.get('alg');
    const key = keySet.findFresh(kid, alg) ?? (await keySet.find(kid, alg));
    if (key === undefined) return notGood('the issuer has no such key');
    let payload: Uint8Array;
    try {
      ({ payload } = await compactVerify(token, key, this.#options));
    } catch (error) {
      // Whatever it was, jose's or the runtime's.
      return notGood(nameOf(error));
    }
    if (members !== this.#known?.members) this.#known = { text: header, members };

    // Not as the library would read them: of two claims with one name it takes the last.
    const claims = parsed.claims(payload);
    if (claims === undefined) return notGood('claims outside the profile');
    if (claims.iss !== issuer) return ofAnotherIssuer();
    if (!isMeantFor(claims.aud, audience)) return forAnotherAudience(claims, this.#expected);
    return checkTimes(claims, numericDate(clock.now()), this.#expected) ?? { claims, key, kid, alg };
  }
}

export function ofAnotherIssuer(): Refusal {
  return refuse('token_of_another_issuer', { because: 'of another issuer' });
}

/** Told, but only of a token that the issuer vouches for: which API it is asked for at. */
export function forAnotherAudience(
  { aud }: Pick<AccessTokenClaims, 'aud'>,
  { audience, onOtherAudience }: Pick<Expected, 'audience' | 'onOtherAudience'>,
): Refusal {
  onOtherAudience?.(typeof aud === 'string' ? [aud] : aud);
  return refuse('token_for_another_audience', { subject: audience, because: 'for another audience' });
}

/** Whether claims are within their time at this moment, which may be later than the one at which they were verified. */
export function checkTimes(
  { iat, nbf = iat, exp }: AccessTokenClaims,
  now: NumericDate,
  { leewaySeconds: leeway, aheadSeconds = () => 0 }: Pick<Expected, 'leewaySeconds' | 'aheadSeconds'>,
): Refusal | undefined {
  // Told, but only of a token whose signature was good.
  if (exp <= now - leeway) {
    const isAlive = exp > now - aheadSeconds();
    return refuse(isAlive ? 'clock_differs' : 'token_expired', { because: isAlive ? 'expired here alone' : 'expired' });
  }
  // Signed by the issuer, which never dates ahead: it is this machine's clock that is behind, or the issuer's that is ahead.
  if (iat > now + leeway) return refuse('clock_differs', { because: `not yet good: issued ${iat - now} s from now` });
  return nbf > now + leeway ? notGood('not yet good') : undefined;
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
  if (!algorithms.some((known) => known === alg)) return 'algorithm not allowed';
  if (typeof typ !== 'string' || !TYPES.includes(typ.toLowerCase())) return 'typ is not at+jwt';
  return undefined;
}

const HEADER_MEMBERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
const TYPES: readonly string[] = [ACCESS_TOKEN_TYPE, `application/${ACCESS_TOKEN_TYPE}`];

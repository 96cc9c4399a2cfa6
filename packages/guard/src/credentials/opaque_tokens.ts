/**
 * Opaque access tokens to their holders: the issuer says what they are (RFC 7662). What it said is believed for a time
 * that was chosen, counted from before it was asked, and a revocation that the feed tells of ends it sooner.
 */
import {
  ACCESS_TOKEN_LENGTH_MAX,
  isMeantFor,
  networkOf,
  numericDate,
  OPAQUE_TOKEN_PREFIX,
  parseIntrospectedToken,
  refuse,
  type Refusal,
} from '@hallpass/protocol';
import { holderOf, type Holder, type Identified } from './holder.ts';
import type { IssuerClient } from '../issuer/issuer_client.ts';
import { IssuerQueue } from './issuer_queue.ts';
import { DigestCache, weightOf } from './digest_cache.ts';
import { sha256Base64url, secondsSince, type GuardClock } from '../runtime.ts';
import { forAnotherAudience, checkTimes, ofAnotherIssuer } from './verification.ts';

export interface OpaqueTokensOptions {
  readonly issuerClient: IssuerClient;
  readonly issuer: string;
  readonly audience: string;
  readonly leewaySeconds: number;
  readonly aheadSeconds?: () => number;
  readonly onOtherAudience?: (audiences: readonly string[]) => void;
  readonly clock: GuardClock;
  /** How long an answer is believed, in seconds; 0: for the one request alone. */
  readonly believedSeconds: number;
  /** How many answers are held. */
  readonly max: number;
}

interface Believed {
  readonly holder: Holder | undefined;
  /** What to say where there is no holder. */
  readonly refusal: Refusal;
  /** By `elapsed`, in milliseconds; and after how many calls of `invalidate`. */
  readonly askedAt: number;
  readonly invalidations: number;
}

const INACTIVE = refuse('token_not_good', { because: 'inactive by introspection' });

export function isOpaqueToken(token: string): boolean {
  return token.startsWith(OPAQUE_TOKEN_PREFIX);
}

export class OpaqueTokens {
  readonly #options: OpaqueTokensOptions;
  readonly #believed: DigestCache<Believed>;
  /** Tokens that were found active before are asked about apart from all others: guesses must not be in their way. */
  readonly #renewed = new IssuerQueue<Believed>();
  readonly #unknown = new IssuerQueue<Believed>();
  #invalidations = 0;

  constructor(options: OpaqueTokensOptions) {
    this.#options = options;
    this.#believed = new DigestCache(options.max);
  }

  /** The machine may have slept: what was believed may be hours old, and is asked for again. */
  invalidate(): void {
    this.#invalidations += 1;
  }

  #isBelieved({ askedAt, invalidations }: Believed): boolean {
    const { clock, believedSeconds } = this.#options;
    return invalidations === this.#invalidations && secondsSince(clock, askedAt) < believedSeconds;
  }

  /** `address`: where the request comes from. Throws `Outage` when the issuer does not answer. */
  async identify(token: string, address?: string): Promise<Identified | Refusal> {
    if (token.length > ACCESS_TOKEN_LENGTH_MAX) return refuse('token_not_good', { because: 'too long' });
    const { clock } = this.#options;
    const digest = await sha256Base64url(token);
    const known = this.#believed.get(digest);
    const believed =
      known !== undefined && this.#isBelieved(known)
        ? known
        : await (known?.holder === undefined ? this.#unknown : this.#renewed).join(
            digest,
            () => this.#ask(token, digest),
            networkOf(address ?? ''),
          );
    if (believed === 'too_many') return refuse('rate_limited', { because: 'too many tokens are being asked about' });
    const { holder } = believed;
    if (holder === undefined) return believed.refusal;
    return checkTimes(holder.claims, numericDate(clock.now()), this.#options) ?? { holder, token };
  }

  async #ask(token: string, digest: string): Promise<Believed> {
    const { issuerClient, issuer, audience, clock } = this.#options;
    const askedAt = clock.elapsed();
    const invalidations = this.#invalidations;
    const claims = parseIntrospectedToken(await issuerClient.introspect(token));
    // Another issuer's word, or a token for another API, is none for us, whatever it says (RFC 7662 §4, RFC 9068 §4).
    const isFor = claims !== undefined && isMeantFor(claims.aud, audience);
    const isOurs = isFor && claims.iss === issuer;
    let refusal = INACTIVE;
    if (claims !== undefined && claims.iss !== issuer) refusal = ofAnotherIssuer();
    else if (claims !== undefined && !isFor) refusal = forAnotherAudience(claims, this.#options);
    const believed = { holder: isOurs ? holderOf(claims) : undefined, refusal, askedAt, invalidations };
    this.#believed.set(digest, believed, isOurs ? weightOf(JSON.stringify(claims).length) : 0);
    return believed;
  }
}

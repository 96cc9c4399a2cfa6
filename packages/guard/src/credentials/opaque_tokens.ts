/**
 * Opaque access tokens: the issuer says who holds them (RFC 7662). Its answers are cached for a configured time,
 * counted from before the request; a revocation on the feed ends that sooner.
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
import { refuseOtherAudience, checkTimes, refuseOtherIssuer } from './verification.ts';

/** What opaque tokens are checked with. */
export interface OpaqueTokensOptions {
  readonly issuerClient: IssuerClient;
  readonly issuer: string;
  readonly audience: string;
  readonly leewaySeconds: number;
  readonly aheadSeconds?: () => number;
  readonly onOtherAudience?: (audiences: readonly string[]) => void;
  readonly clock: GuardClock;
  /** How long an answer is cached, in seconds. 0: it's used for one request only. */
  readonly cacheSeconds: number;
  /** The number of cached answers. */
  readonly max: number;
}

interface CachedAnswer {
  readonly holder: Holder | undefined;
  /** The response if there is no holder. */
  readonly refusal: Refusal;
  /** `elapsed` before the request, in milliseconds, and the number of `invalidate` calls before it. */
  readonly askedAt: number;
  readonly invalidations: number;
}

const INACTIVE = refuse('token_not_good', { because: 'inactive by introspection' });

/** Whether a token has the prefix of opaque tokens (contract §5). */
export function isOpaqueToken(token: string): boolean {
  return token.startsWith(OPAQUE_TOKEN_PREFIX);
}

/** Identifies callers by opaque token. */
export class OpaqueTokens {
  readonly #options: OpaqueTokensOptions;
  readonly #answers: DigestCache<CachedAnswer>;
  /** Tokens known to be active have a queue to themselves, so that someone guessing tokens can't hold them up. */
  readonly #renewed = new IssuerQueue<CachedAnswer>();
  readonly #unknown = new IssuerQueue<CachedAnswer>();
  #invalidations = 0;

  constructor(options: OpaqueTokensOptions) {
    this.#options = options;
    this.#answers = new DigestCache(options.max);
  }

  /** The machine may have slept, so cached answers may be hours old. Forces a new request for each. */
  invalidate(): void {
    this.#invalidations += 1;
  }

  #isCurrent({ askedAt, invalidations }: CachedAnswer): boolean {
    const { clock, cacheSeconds } = this.#options;
    return invalidations === this.#invalidations && secondsSince(clock, askedAt) < cacheSeconds;
  }

  /** `address`: the caller's IP address. Throws `Outage` if the issuer doesn't answer. */
  async identify(token: string, address?: string): Promise<Identified | Refusal> {
    if (token.length > ACCESS_TOKEN_LENGTH_MAX) return refuse('token_not_good', { because: 'too long' });
    const { clock } = this.#options;
    const digest = await sha256Base64url(token);
    const known = this.#answers.get(digest);
    const answer =
      known !== undefined && this.#isCurrent(known)
        ? known
        : await (known?.holder === undefined ? this.#unknown : this.#renewed).join(
            digest,
            () => this.#ask(token, digest),
            networkOf(address ?? ''),
          );
    if (answer === 'too_many') return refuse('rate_limited', { because: 'too many unknown tokens at once' });
    const { holder } = answer;
    if (holder === undefined) return answer.refusal;
    return checkTimes(holder.claims, numericDate(clock.now()), this.#options) ?? { holder, token };
  }

  async #ask(token: string, digest: string): Promise<CachedAnswer> {
    const { issuerClient, issuer, audience, clock } = this.#options;
    const askedAt = clock.elapsed();
    const invalidations = this.#invalidations;
    const claims = parseIntrospectedToken(await issuerClient.introspect(token));
    // A token of another issuer or for another API is not for us, whatever else it says (RFC 7662 §4, RFC 9068 §4).
    const isFor = claims !== undefined && isMeantFor(claims.aud, audience);
    const isOurs = isFor && claims.iss === issuer;
    let refusal = INACTIVE;
    if (claims !== undefined && claims.iss !== issuer) refusal = refuseOtherIssuer();
    else if (claims !== undefined && !isFor) refusal = refuseOtherAudience(claims, this.#options);
    const answer = { holder: isOurs ? holderOf(claims) : undefined, refusal, askedAt, invalidations };
    this.#answers.set(digest, answer, isOurs ? weightOf(JSON.stringify(claims).length) : 0);
    return answer;
  }
}

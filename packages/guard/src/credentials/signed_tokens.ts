/**
 * Signed access tokens. A valid signature is cached by the hash of the whole token. Everything that can change is
 * checked each time: the key, the audience, the times. (The guard also checks each time whether the token was revoked
 * and what it allows.)
 */
import { isMeantFor, isRefusal, numericDate, type Refusal } from '@hallpass/protocol';
import { holderOf, type Holder, type Identified } from './holder.ts';
import { DigestCache, weightOf } from './digest_cache.ts';
import { sha256Base64url } from '../runtime.ts';
import { refuseOtherAudience, checkTimes, Verifier, type TokenExpectations, type Verified } from './verification.ts';

interface Remembered {
  readonly holder: Holder;
  /** The key that verified the signature. When the issuer stops publishing it, the cached result is void. */
  readonly signedBy: Pick<Verified, 'key' | 'kid' | 'alg'>;
}

/** Identifies callers by signed token. */
export class SignedTokens {
  readonly #expected: TokenExpectations;
  readonly #verifier: Verifier;
  readonly #remembered: DigestCache<Remembered>;

  /** `max`: the number of cached tokens. */
  constructor(expected: TokenExpectations, max: number) {
    this.#expected = expected;
    this.#verifier = new Verifier(expected);
    this.#remembered = new DigestCache(max);
  }

  /** Returns immediately for a cached token. Rejects with `Outage` if the keys are unreachable. */
  identify(token: string): Identified | Refusal | Promise<Identified | Refusal> {
    const digest = sha256Base64url(token);
    return typeof digest === 'string'
      ? this.#identify(digest, token)
      : digest.then((digested) => this.#identify(digested, token));
  }

  #identify(digest: string, token: string): Identified | Refusal | Promise<Identified | Refusal> {
    const remembered = this.#remembered.get(digest);
    if (remembered === undefined) return this.#verify(digest, token);
    if (this.#isVouchedFor(remembered)) return this.#judgeAnew(remembered.holder, token);
    return this.#askAgain(remembered, digest, token);
  }

  async #verify(digest: string, token: string): Promise<Identified | Refusal> {
    const verified = await this.#verifier.verify(token);
    if (isRefusal(verified)) return verified;
    const holder = holderOf(verified.claims);
    this.#remembered.set(digest, { holder, signedBy: verified }, weightOf(token.length));
    return { holder, token };
  }

  /** The keys in memory may be outdated: checks that this token's key is still one of them. */
  async #askAgain({ holder, signedBy }: Remembered, digest: string, token: string): Promise<Identified | Refusal> {
    const { kid, alg, key } = signedBy;
    const isStillVouchedFor = (await this.#expected.keySet.find(kid, alg)) === key;
    return isStillVouchedFor ? this.#judgeAnew(holder, token) : await this.#verify(digest, token);
  }

  #isVouchedFor({ signedBy: { kid, alg, key } }: Remembered): boolean {
    return this.#expected.keySet.findFresh(kid, alg) === key;
  }

  #judgeAnew(holder: Holder, token: string): Identified | Refusal {
    const { audience, clock } = this.#expected;
    if (!isMeantFor(holder.claims.aud, audience)) return refuseOtherAudience(holder.claims, this.#expected);
    return checkTimes(holder.claims, numericDate(clock.now()), this.#expected) ?? { holder, token };
  }
}

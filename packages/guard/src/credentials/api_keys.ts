/**
 * API keys over Basic, for server-to-server calls. The guard exchanges the key for a token with exactly the scope that
 * the request needs (RFC 6749 §4.4), so all of the issuer's rules apply: the key's scopes, audiences and budget, and
 * whether it's disabled. The token is cached for a configured time and can be revoked through the feed.
 */
import {
  isRefusal,
  networkOf,
  parseErrorResponse,
  parseTokenResponse,
  printBasic,
  printPlainBasic,
  refuse,
  type ClientCredentials,
  type Refusal,
  type RefusalReason,
  type Scope,
} from '@hallpass/protocol';
import type { Holder, Identified } from './holder.ts';
import type { IssuerAnswer, IssuerClient } from '../issuer/issuer_client.ts';
import { Outage } from '../outage.ts';
import { IssuerQueue } from './issuer_queue.ts';
import { DigestCache } from './digest_cache.ts';
import { sha256Base64url, secondsSince, type GuardClock } from '../runtime.ts';

/** What API keys are checked with. */
export interface ApiKeysOptions {
  readonly issuerClient: IssuerClient;
  readonly audience: string;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  /** How long a valid key is trusted without asking again, in seconds. */
  readonly cacheSeconds: number;
  readonly max: number;
  /** Verifies the exchanged token in the same way as a token from a request. */
  readonly identifyToken: (token: string) => Promise<Identified | Refusal>;
  /** Whether this holder's tokens were revoked. */
  readonly isRevoked: (holder: Holder) => boolean;
}

/** The result of exchanging a key. */
interface Exchanged {
  /** Empty if only the key itself was checked. */
  readonly token: string;
  /** `elapsed` at the time, in milliseconds, and the number of `invalidate` calls before it. */
  readonly at: number;
  readonly invalidations: number;
}

/** The issuer's error codes, and what each means for the API's caller. */
const REASONS: Readonly<Record<string, RefusalReason>> = {
  invalid_client: 'authentication_failed',
  invalid_target: 'target_not_allowed',
  invalid_dpop_proof: 'dpop_required',
  unauthorized_client: 'grant_not_allowed',
  access_denied: 'origin_not_allowed',
  rate_limited: 'rate_limited',
};

/** Identifies callers by API key. */
export class ApiKeys {
  readonly #options: ApiKeysOptions;
  readonly #known: DigestCache<Exchanged>;
  /** Known keys have a queue to themselves, so that someone guessing keys can't hold them up. */
  readonly #renewed = new IssuerQueue<Exchanged | Refusal>();
  readonly #unknown = new IssuerQueue<Exchanged | Refusal>();
  #invalidations = 0;

  constructor(options: ApiKeysOptions) {
    this.#options = options;
    this.#known = new DigestCache(options.max);
  }

  /** The machine may have slept, so cached results may be hours old. Forces a new request for each. */
  invalidate(): void {
    this.#invalidations += 1;
  }

  /**
   * Identifies the owner of a key, if the key may have the scope. `address`: the caller's IP address, so that the
   * issuer can count failures by it. Throws `Outage` if the issuer doesn't answer.
   */
  async identify(key: ClientCredentials, scope: Scope, address: string | undefined): Promise<Identified | Refusal> {
    const { issuerClient, audience } = this.#options;
    const basic = printBasic(key);
    const digest = await sha256Base64url(`${basic} ${scope.text}`);
    const known = this.#known.get(digest);
    const exchange = (): Promise<Exchanged | Refusal> =>
      this.#find(digest, { key, address }, async () => {
        const wanted = { scope: scope.text, resource: audience, address };
        const { status, body } = await issuerClient.exchangeKey(basic, wanted);
        const token = status === 200 ? parseTokenResponse(body)?.access_token : undefined;
        return token ?? refusalOf(status, body, scope);
      });
    const exchanged = await exchange();
    if (isRefusal(exchanged)) return exchanged;
    const identified = await this.#identifyToken(digest, exchanged);
    if (!('ended' in identified)) return identified;
    // The cached token has ended, but that doesn't mean the key has: all tokens of a key can be revoked while the key
    // stays valid, and its owner must not be locked out. A token that was issued just now is final.
    if (exchanged !== known) return identified.ended;
    const anew = await exchange();
    if (isRefusal(anew)) return anew;
    const again = await this.#identifyToken(digest, anew);
    return 'ended' in again ? again.ended : again;
  }

  /** `ended`: the response if the token is invalid or revoked. The cached result isn't used again. */
  async #identifyToken(
    digest: string,
    exchanged: Exchanged,
  ): Promise<Identified | { readonly ended: Identified | Refusal }> {
    const { identifyToken, isRevoked } = this.#options;
    const identified = await identifyToken(exchanged.token);
    if (!isRefusal(identified) && !isRevoked(identified.holder)) return identified;
    // The entry stays, so that a known key doesn't have to queue behind guesses.
    if (this.#known.get(digest) === exchanged) {
      this.#known.set(digest, { ...exchanged, at: -Infinity }, exchanged.token.length);
    }
    return { ended: identified };
  }

  /** Checks only that the key is valid, for a request that no scope would allow. Throws `Outage`. */
  async authenticate(key: ClientCredentials, address: string | undefined): Promise<Refusal | undefined> {
    const basic = printPlainBasic(key);
    // Scopes begin with a slash, so this can't collide with another digest.
    const digest = await sha256Base64url(`${basic} `);
    const found = await this.#find(digest, { key, address }, async () => {
      const { status, body } = await this.#options.issuerClient.ping(basic, address);
      return status === 200 || status === 403 ? '' : refusalOf(status, body);
    });
    return isRefusal(found) ? found : undefined;
  }

  /**
   * Returns the cached result, or asks the issuer. All requests about keys go through here, and their number is
   * limited.
   */
  async #find(
    digest: string,
    { key, address }: { readonly key: ClientCredentials; readonly address: string | undefined },
    ask: () => Promise<string | Refusal>,
  ): Promise<Exchanged | Refusal> {
    const { clock, cacheSeconds } = this.#options;
    const known = this.#known.get(digest);
    const invalidations = this.#invalidations;
    if (known?.invalidations === invalidations && secondsSince(clock, known.at) < cacheSeconds) return known;
    const work = async (): Promise<Exchanged | Refusal> => {
      const at = clock.elapsed();
      const token = await ask();
      if (typeof token === 'string') {
        const exchanged = { token, at, invalidations };
        this.#known.set(digest, exchanged, token.length);
        return exchanged;
      }
      if (token.refused === 'authentication_failed') this.#known.delete(digest);
      return token;
    };
    const found =
      known === undefined
        ? await this.#unknown.join(digest, work, networkOf(address ?? ''))
        : await this.#renewed.join(digest, work, key.clientId);
    return found === 'too_many' ? refuse('rate_limited', { because: 'too many unknown keys at once' }) : found;
  }
}

/** Throws `Outage` if the response says nothing about the key. */
function refusalOf(status: number, body: IssuerAnswer['body'], scope?: Scope): Refusal {
  const error = parseErrorResponse(body)?.error ?? '';
  const because = `the issuer answered the key with ${status}`;
  if (error === 'invalid_scope' && scope !== undefined) {
    return refuse('insufficient_scope', { subject: scope.text, because });
  }
  const reason = Object.hasOwn(REASONS, error) ? REASONS[error] : undefined;
  if (reason === undefined) throw new Outage(`The issuer could not check a key: it answered ${status}.`);
  return refuse(reason, { because });
}

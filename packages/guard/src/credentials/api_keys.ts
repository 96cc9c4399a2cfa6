/**
 * API keys over Basic, for calls between servers: the key is exchanged, here, for a token of exactly the scope that the
 * request needs (RFC 6749 §4.4). So the issuer's rules hold to the letter: what the key may have, its audiences, its
 * budget, whether it is disabled. The token opens the one scope for a time that was chosen, and dies by the feed.
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

export interface ApiKeysOptions {
  readonly issuerClient: IssuerClient;
  readonly audience: string;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  /** How long a key that was found good is believed, in seconds. */
  readonly believedSeconds: number;
  readonly max: number;
  /** Whose token that is; the same that is asked of a token that a request brings. */
  readonly identifyToken: (token: string) => Promise<Identified | Refusal>;
  /** Whether the tokens of this holder were taken back. */
  readonly isRevoked: (holder: Holder) => boolean;
}

/** What a key was exchanged for. */
interface Exchanged {
  /** Empty where only the key itself was asked about. */
  readonly token: string;
  /** By `elapsed`, in milliseconds; and after how many calls of `invalidate`. */
  readonly at: number;
  readonly invalidations: number;
}

/** By the issuer's error: what that means at an API. */
const REASONS: Readonly<Record<string, RefusalReason>> = {
  invalid_client: 'authentication_failed',
  invalid_target: 'target_not_allowed',
  invalid_dpop_proof: 'dpop_required',
  unauthorized_client: 'grant_not_allowed',
  access_denied: 'origin_not_allowed',
  rate_limited: 'rate_limited',
};

export class ApiKeys {
  readonly #options: ApiKeysOptions;
  readonly #known: DigestCache<Exchanged>;
  /** Keys that were found good before are asked about apart from all others: guesses must not be in their way. */
  readonly #renewed = new IssuerQueue<Exchanged | Refusal>();
  readonly #unknown = new IssuerQueue<Exchanged | Refusal>();
  #invalidations = 0;

  constructor(options: ApiKeysOptions) {
    this.#options = options;
    this.#known = new DigestCache(options.max);
  }

  /** The machine may have slept: what was believed may be hours old, and is asked for again. */
  invalidate(): void {
    this.#invalidations += 1;
  }

  /**
   * Who has this key, if it may have the scope. `address`: where the request comes from, for the issuer to count failures
   * by. Throws `Outage` when the issuer does not answer.
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
    // The token of another day has ended, and that says nothing of the key: every token of a key can be ended while it
    // stays good, and it is not locked out. What has just been issued is as the issuer means it.
    if (exchanged !== known) return identified.ended;
    const anew = await exchange();
    if (isRefusal(anew)) return anew;
    const again = await this.#identifyToken(digest, anew);
    return 'ended' in again ? again.ended : again;
  }

  /** `ended`: what to say where the token is no good, or was revoked. It is believed no longer. */
  async #identifyToken(
    digest: string,
    exchanged: Exchanged,
  ): Promise<Identified | { readonly ended: Identified | Refusal }> {
    const { identifyToken, isRevoked } = this.#options;
    const identified = await identifyToken(exchanged.token);
    if (!isRefusal(identified) && !isRevoked(identified.holder)) return identified;
    // Held all the same: a key that was good before does not wait behind guesses.
    if (this.#known.get(digest) === exchanged) {
      this.#known.set(digest, { ...exchanged, at: -Infinity }, exchanged.token.length);
    }
    return { ended: identified };
  }

  /** Whether there is such a key, whatever it may have: for a request that no scope would open. Throws `Outage`. */
  async authenticate(key: ClientCredentials, address: string | undefined): Promise<Refusal | undefined> {
    const basic = printPlainBasic(key);
    // Every scope begins with a slash: this digest is none of theirs.
    const digest = await sha256Base64url(`${basic} `);
    const found = await this.#find(digest, { key, address }, async () => {
      const { status, body } = await this.#options.issuerClient.ping(basic, address);
      return status === 200 || status === 403 ? '' : refusalOf(status, body);
    });
    return isRefusal(found) ? found : undefined;
  }

  /** What is remembered of a key, or what the issuer says: the one way in which it is asked, and bounded. */
  async #find(
    digest: string,
    { key, address }: { readonly key: ClientCredentials; readonly address: string | undefined },
    ask: () => Promise<string | Refusal>,
  ): Promise<Exchanged | Refusal> {
    const { clock, believedSeconds } = this.#options;
    const known = this.#known.get(digest);
    const invalidations = this.#invalidations;
    if (known?.invalidations === invalidations && secondsSince(clock, known.at) < believedSeconds) return known;
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
    return found === 'too_many' ? refuse('rate_limited', { because: 'too many keys are being asked about' }) : found;
  }
}

/** Throws `Outage` for an answer that tells nothing of the key. */
function refusalOf(status: number, body: IssuerAnswer['body'], scope?: Scope): Refusal {
  const error = parseErrorResponse(body)?.error ?? '';
  const because = `the issuer answered the key with ${status}`;
  if (error === 'invalid_scope' && scope !== undefined) {
    return refuse('insufficient_scope', { subject: scope.text, because });
  }
  const reason = Object.hasOwn(REASONS, error) ? REASONS[error] : undefined;
  if (reason === undefined) throw new Outage(`The issuer could not be asked about a key: it answered ${status}.`);
  return refuse(reason, { because });
}

/**
 * API keys over Basic, for calls between servers: the key is exchanged, here, for a token of exactly the scope that the
 * request needs (RFC 6749 §4.4). So the issuer's rules hold to the letter: what the key may have, its audiences, its
 * budget, whether it is disabled. The token opens the one scope for a time that was chosen, and dies by the feed.
 */
import {
  isRefusal,
  parseErrorResponse,
  parseTokenResponse,
  printBasic,
  refuse,
  type ClientCredentials,
  type Clock,
  type Refusal,
  type RefusalReason,
  type Scope,
} from '@hallpass/protocol';
import type { Identified } from './holder.ts';
import type { IssuerAnswer, IssuerClient } from './issuer_client.ts';
import { Outage } from './outage.ts';
import { Pending } from './pending.ts';
import { Recent } from './recent.ts';
import { digestOf, secondsSince } from './surroundings.ts';

export interface ApiKeysOptions {
  readonly issuerClient: IssuerClient;
  readonly audience: string;
  readonly clock: Clock;
  /** How long a key that was found good is believed, in seconds. */
  readonly believedSeconds: number;
  readonly max: number;
  /** Whose token that is; the same that is asked of a token that a request brings. */
  readonly identifyToken: (token: string) => Promise<Identified | Refusal>;
}

/** What a key was exchanged for. */
interface Exchanged {
  readonly token: string;
  readonly at: number;
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
  readonly #known: Recent<Exchanged>;
  readonly #pending = new Pending<Exchanged | Refusal>();

  constructor(options: ApiKeysOptions) {
    this.#options = options;
    this.#known = new Recent(options.max);
  }

  /**
   * Who has this key, if it may have the scope. `address`: who asks, for the issuer to count failures by, when it trusts
   * this guard to say so. Throws `Outage` when the issuer does not answer.
   */
  async identify(key: ClientCredentials, scope: Scope, address: string | undefined): Promise<Identified | Refusal> {
    const { clock, believedSeconds, identifyToken } = this.#options;
    const basic = printBasic(key);
    const digest = await digestOf(`${basic} ${scope.text}`);
    const known = this.#known.get(digest);
    const exchanged =
      known !== undefined && secondsSince(clock, known.at) < believedSeconds
        ? known
        : await this.#pending.join(digest, () => this.#exchange(basic, { scope, address, digest }));
    if (exchanged === 'too_many') return refuse('rate_limited', { because: 'too many keys are being asked about' });
    if (isRefusal(exchanged)) return exchanged;
    const identified = await identifyToken(exchanged.token);
    // An expired one, for instance: the next request exchanges the key anew.
    if (isRefusal(identified)) this.#known.delete(digest);
    return identified;
  }

  /** Whether there is such a key, whatever it may have: for a request that no scope would open. */
  async authenticate(key: ClientCredentials, address: string | undefined): Promise<Refusal | undefined> {
    const { status, body } = await this.#options.issuerClient.ping(printBasic(key), address);
    return status === 200 || status === 403 ? undefined : refusalOf(status, body);
  }

  async #exchange(
    basic: string,
    {
      scope,
      address,
      digest,
    }: { readonly scope: Scope; readonly address: string | undefined; readonly digest: string },
  ): Promise<Exchanged | Refusal> {
    const { issuerClient, audience, clock } = this.#options;
    const at = clock.now();
    const answer = await issuerClient.exchangeKey(basic, { scope: scope.text, resource: audience, address });
    const { status, body } = answer;
    const token = status === 200 ? parseTokenResponse(body)?.access_token : undefined;
    if (token === undefined) return refusalOf(status, body, scope);
    const exchanged = { token, at };
    this.#known.set(digest, exchanged);
    return exchanged;
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

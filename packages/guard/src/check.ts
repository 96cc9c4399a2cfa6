/** The order of a check, the same for `check` and `checkRoute` (contract §8). */
import { isRefusal, opens, refuse, type Refusal } from '@hallpass/protocol';
import { findAmbiguity } from './ambiguous_request.ts';
import type { Holder, Identified } from './credentials/holder.ts';
import type { Identity } from './credentials/identity.ts';
import { grantAccess, type Access, type Decision } from './decision.ts';
import type { Denials } from './denials.ts';
import type { Freshness } from './freshness.ts';
import type { GuardCounts } from './guard_metrics.ts';
import type { ClockWatch } from './issuer/clock_watch.ts';
import type { IssuerCheck } from './issuer/issuer_check.ts';
import { adviceFor } from './misconfiguration.ts';
import type { GuardSettings } from './settings.ts';
import { Outage } from './outage.ts';
import type { Match } from './policy/policy.ts';
import type { Binding } from './possession/binding.ts';
import type { ProofRegister } from './possession/proof_register.ts';
import { readCredentials, type GuardedRequest, type PresentedCredentials } from './request.ts';
import type { StartUp } from './start_up.ts';

/** What a request needs, known once its path or its values have been read. */
export type Demand = Pick<Match, 'scope' | 'values'> & Partial<Pick<Match, 'route'>>;

/** What a check is made of. `create_guard.ts` wires them together. */
export interface CheckParts {
  readonly settings: Pick<GuardSettings, 'passOverrides'>;
  readonly startUp: StartUp;
  readonly watch: ClockWatch;
  readonly identity: Identity;
  readonly issuerCheck: IssuerCheck;
  readonly binding: Binding;
  readonly freshness: Freshness;
  readonly proofs: ProofRegister;
  readonly isRevoked: (holder: Holder) => boolean;
  readonly denials: Denials;
  readonly counts: GuardCounts;
  readonly closing: AbortSignal;
}

/** The result of the checks that only some requests need. */
interface Examined {
  /** The nonce for the client's next proof, when it should switch to a new one. */
  readonly newNonce: string | undefined;
}

const REVOKED = refuse('token_not_good', { because: 'revoked' });

/** Runs the steps of a check in order, and turns refusals and outages into denials. */
export class RequestCheck {
  readonly #parts: CheckParts;

  constructor(parts: CheckParts) {
    this.#parts = parts;
  }

  /** Never rejects for a bad request or an outage. An error thrown by `demand` is passed on. */
  async decide(request: GuardedRequest, demand: () => Demand | Refusal): Promise<Decision> {
    const { settings, identity, denials, counts } = this.#parts;
    // 1. Will the API read the same request that we do?
    const ambiguity = findAmbiguity(request, settings.passOverrides);
    if (ambiguity !== undefined) return await denials.deny(ambiguity);
    // 2. Which credentials does it carry?
    const presented = readCredentials(request, identity);
    if (isRefusal(presented)) return await denials.deny(presented);
    try {
      const judged = await this.#judge(request, presented, demand);
      if (isRefusal(judged)) return await denials.deny(judged, presented);
      counts.allow();
      return judged;
    } catch (error) {
      if (!(error instanceof Outage)) throw error;
      return await denials.deny(refuse('temporarily_unavailable', { because: error.message }), presented);
    }
  }

  async #judge(
    request: GuardedRequest,
    presented: PresentedCredentials,
    demand: () => Demand | Refusal,
  ): Promise<Access | Refusal> {
    const { closing, watch, startUp, freshness, isRevoked } = this.#parts;
    if (closing.aborted) throw new Outage('The guard was closed.');
    // First, because after a clock jump everything in memory may be older than it looks.
    const elapsed = watch.look();
    startUp.begin();
    // 3. Who is calling?
    const found = this.#identify(request, presented, demand);
    const wasAwaited = found instanceof Promise;
    // A remembered token isn't awaited: awaiting would cost a good part of the whole check.
    const identified = wasAwaited ? await found : found;
    if (isRefusal(identified)) return await this.#blameIssuerFirst(identified);
    const { holder } = identified;
    // 4. Do they hold the key that the token is bound to, and do we know the latest revocations?
    const isBound = holder.claims.cnf !== undefined || presented.scheme === 'DPoP';
    const isStale = freshness.isStale(wasAwaited ? watch.look() : elapsed);
    const examined = isBound || isStale ? await this.#examine(request, presented, identified) : undefined;
    if (isRefusal(examined)) return examined;
    // 5. Was the token revoked? Nothing is awaited after this, so a revocation that arrived during the steps above counts.
    if (isRevoked(holder)) return REVOKED;
    // 6. What does the request need, and does the token allow it?
    const asked = demand();
    if (isRefusal(asked)) return asked;
    if (!opens(holder.scopes, asked.scope)) return refuse('insufficient_scope', { subject: asked.scope.text });
    return grantAccess(holder, asked, examined?.newNonce);
  }

  #identify(
    { address }: GuardedRequest,
    presented: PresentedCredentials,
    demand: () => Demand | Refusal,
  ): Identified | Refusal | Promise<Identified | Refusal> {
    const { identity } = this.#parts;
    if (presented.scheme !== 'Basic') return identity.identifyToken(presented.token, address);
    const asked = demand();
    return identity.identifyKey(presented, isRefusal(asked) ? asked : asked.scope);
  }

  /**
   * A token signed by our issuer can still name another one in `iss`. If the issuer itself uses that other name, the guard
   * is set up wrongly and the token isn't to blame: throws `Outage` then.
   */
  async #blameIssuerFirst(refusal: Refusal): Promise<Refusal> {
    if (refusal.refused !== 'token_of_another_issuer') return refusal;
    const { issuerCheck } = this.#parts;
    await issuerCheck.compare();
    if (issuerCheck.difference !== undefined) throw new Outage(adviceFor(issuerCheck.difference));
    return refusal;
  }

  /** The checks that need more than the token: its binding to a key, and its state while the feed is stale. */
  async #examine(
    request: GuardedRequest,
    { scheme }: PresentedCredentials,
    identified: Identified,
  ): Promise<Examined | Refusal> {
    const { binding, freshness, proofs, isRevoked } = this.#parts;
    const possession = await binding.verify(request, scheme, identified);
    if (isRefusal(possession)) return possession;
    await freshness.awaitStart();
    const wasStale = freshness.isStale();
    if (wasStale && !(await freshness.isActive(identified.token))) {
      return refuse('token_not_good', { because: 'inactive by introspection' });
    }
    if (possession !== undefined) {
      if (isRevoked(identified.holder)) return REVOKED;
      // The proof is used up last, so that a refused token doesn't cost its client a proof.
      const replayed = await proofs.use(possession.proof);
      if (replayed !== undefined) return replayed;
    }
    // The shared proof store may have been slow. If the issuer was asked above, staleness doesn't matter.
    if (!wasStale) freshness.assertStillFresh();
    return { newNonce: possession?.newNonce };
  }
}

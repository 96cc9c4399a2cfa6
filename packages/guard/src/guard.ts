/** The guard: decides, for one API, whether a request may have what it asks for (contract §8). */
import {
  fillScope,
  isRefusal,
  numericDate,
  isScope,
  opens,
  parseScope,
  refuse,
  type AccessTokenClaims,
  type ChallengeOrigin,
  type PresentedToken,
  type Refusal,
  type Scope,
  type ScopeParameter,
  type ScopeValues,
} from '@hallpass/protocol';
import {
  deny,
  grantAccess,
  type Access,
  type Decision,
  type Denial,
  type PathValues,
  type RouteDecision,
} from './decision.ts';
import type { GuardEvent } from './guard_event.ts';
import { IssuerClient } from './issuer_client.ts';
import { KeySet, RETRY_SECONDS } from './key_set.ts';
import { parseOptions, type GuardOptions, type GuardSettings } from './options.ts';
import { nameOf, Outage } from './outage.ts';
import { publicAddress } from './path.ts';
import type { Match, Policy } from './policy.ts';
import { verifyPossession } from './possession.ts';
import { ProofMemory, type UsedProof } from './proof_memory.ts';
import { readAccessToken, readProofs, type GuardedRequest } from './request.ts';
import { describeResource, metadataPath, metadataURL, type ResourceMetadata } from './resource_metadata.ts';
import { RevocationFeed } from './revocation_feed.ts';
import { RevocationSet } from './revocation_set.ts';
import { alarm, pause, stayAlive } from './surroundings.ts';
import { verifyAccessToken } from './verification.ts';

/** The values of a scope template as the last argument of `check`: required when it has parameters, absent when not. */
export type ValuesFor<Template extends string> = string extends Template
  ? [values?: PathValues]
  : [ScopeParameter<Template>] extends [never]
    ? []
    : [values: ScopeValues<Template>];

export interface Guard {
  /**
   * Whether a request may have what a scope opens:
   * `guard.check(request, '/accounts/{accountID}/transfers.read', { accountID })`.
   *
   * A request that may not, and an outage (503), are decisions and never throw. Rejects with a TypeError only for a
   * mistake in the call: a malformed template or a missing value. A value that could not stand in a scope is refused
   * with 400.
   */
  readonly check: <Template extends string>(
    request: GuardedRequest,
    scope: Template,
    ...values: ValuesFor<Template>
  ) => Promise<Decision>;
  /** Whether a request may have the route that it asks for. Who has no good token gets 401, whatever the route. */
  readonly checkRoute: <Route extends string>(
    policy: Policy<Route>,
    request: GuardedRequest,
  ) => Promise<RouteDecision<Route>>;
  /** Resolves when the keys and the revocations are in; tries for as long as it takes. Rejects when the guard is closed. */
  readonly ready: () => Promise<void>;
  /** Ends all connections and timers. A closed guard answers 503. */
  readonly close: () => void;
  readonly health: () => GuardHealth;
  /**
   * What this API says of itself (RFC 9728 §2), with the scopes of a policy that are the same for all requests. Throws
   * a TypeError when the audience is no address.
   */
  readonly metadata: (policy?: Policy) => ResourceMetadata;
  /** The path under which the adapters serve that; undefined without the option `resourceMetadata`. */
  readonly metadataPath: string | undefined;
}

export interface GuardHealth {
  /** Everything revoked before so many seconds ago is known here; Infinity before the feed was first read. */
  readonly stalenessSeconds: number;
  /** How many revocations are held. */
  readonly revocations: number;
  readonly connected: boolean;
}

/**
 * A guard for one API. It starts to follow the feed at the first check or `ready()`. Throws a TypeError that says what
 * to change when an option is wrong.
 */
export function createGuard(options: GuardOptions): Guard {
  const guard = new ApiGuard(parseOptions(options));
  return {
    check: (request, scope, ...[values]) => guard.check(request, scope, values),
    checkRoute: (policy, request) => guard.checkRoute(policy, request),
    ready: () => guard.ready(),
    close: () => guard.close(),
    health: () => guard.health(),
    metadata: (policy) => guard.metadata(policy),
    metadataPath: guard.metadataPath,
  };
}

/** What a request asks for, once its path or its values have been read. */
type Demand = Pick<Match, 'scope' | 'values'>;

/** A stream that says nothing for so long is dead: the server speaks at least every 5 s. In seconds. */
const SILENCE_SECONDS_MAX = 6;

class ApiGuard {
  readonly #settings: GuardSettings;
  readonly #closing = new AbortController();
  readonly #issuer: IssuerClient;
  readonly #keySet: KeySet;
  readonly #revocations: RevocationSet;
  readonly #feed: RevocationFeed;
  readonly #templates = new Templates();
  readonly #proofs: ProofMemory;
  readonly #origin: ChallengeOrigin;

  constructor(settings: GuardSettings) {
    const { clock, algorithms, leewaySeconds, maxStalenessSeconds, startWaitSeconds } = settings;
    const closing = this.#closing.signal;
    const report = (event: GuardEvent): void => this.#report(event);
    const issuer = new IssuerClient({ ...settings, closing });
    const set = new RevocationSet(clock, leewaySeconds);
    this.#settings = settings;
    this.#proofs = new ProofMemory(clock);
    const { realm, audience, resourceMetadata } = settings;
    this.#origin = resourceMetadata ? { realm, resourceMetadata: metadataURL(audience) } : { realm };
    this.#issuer = issuer;
    this.#revocations = set;
    this.#keySet = new KeySet({ fetchKeySet: () => issuer.fetchKeySet(), algorithms, clock, report });
    this.#feed = new RevocationFeed({
      open: (cursor, signal) => issuer.openFeed(cursor, signal),
      silenceSecondsMax: Math.min(maxStalenessSeconds, SILENCE_SECONDS_MAX),
      set,
      clock,
      startWaitSeconds,
      report,
      hearKeysVersion: (version) => this.#keySet.hearVersion(version),
      closing,
    });
  }

  async check(request: GuardedRequest, template: string, values: PathValues = {}): Promise<Decision> {
    const scope = this.#templates.parse(template);
    const missing = scope.parameters.find((name) => !Object.hasOwn(values, name));
    if (missing !== undefined) throw new TypeError(`The scope '${template}' needs a value for {${missing}}.`);
    const demand = (): Demand | Refusal => {
      const filled = fillScope(scope, values);
      return isScope(filled) ? { scope: filled, values } : refuse('malformed_path', { because: filled });
    };
    return await this.#decide(request, demand, (claims) => grantAccess(claims, values));
  }

  async checkRoute<Route extends string>(
    policy: Policy<Route>,
    request: GuardedRequest,
  ): Promise<RouteDecision<Route>> {
    const demand = (): Match<Route> | Refusal => policy.match(request.method, request.url);
    const decision = await this.#decide(request, demand, (claims, { route, values }) => ({
      ...grantAccess(claims, values),
      route,
    }));
    // oxlint-disable-next-line no-unsafe-type-assertion -- a match's values are those that its route names
    return decision as RouteDecision<Route>;
  }

  /** The order of a check, for both kinds: who asks, whether that still holds, what is asked for, whether it is theirs. */
  async #decide<Asked extends Demand, Granted extends Access>(
    request: GuardedRequest,
    demand: () => Asked | Refusal,
    grant: (claims: AccessTokenClaims, asked: Asked) => Granted,
  ): Promise<Granted | Denial> {
    const claims = await this.#authenticate(request);
    if (isRefusal(claims)) return this.#deny(claims);
    const asked = demand();
    if (isRefusal(asked)) return this.#deny(asked);
    if (opens(claims.scope, asked.scope)) return grant(claims, asked);
    return this.#deny(refuse('insufficient_scope', { subject: asked.scope.text }));
  }

  async #authenticate(request: GuardedRequest): Promise<AccessTokenClaims | Refusal> {
    const presented = readAccessToken(request.headers);
    if (isRefusal(presented)) return presented;
    const { token } = presented;
    try {
      if (this.#closing.signal.aborted) throw new Outage('The guard was closed.');
      // Started before the keys are asked for, so that a cold guard waits for both at once.
      const { settled } = this.#feed.start();
      const claims = await verifyAccessToken(token, { ...this.#settings, keySet: this.#keySet });
      if (isRefusal(claims)) return claims;
      const proof = await this.#judgeBinding(request, presented, claims);
      if (isRefusal(proof)) return proof;
      if (this.#isStale()) await settled;
      const active = !this.#isStale() || (await this.#isActive(token));
      if (!active) return refuse('token_not_good', { because: 'inactive by introspection' });
      if (this.#revocations.ends(claims)) return refuse('token_not_good', { because: 'revoked' });
      const replayed = proof === undefined ? undefined : await this.#use(proof);
      if (replayed !== undefined) return replayed;
      // Last, with nothing awaited after it: a revocation that arrived during the work above counts.
      return this.#revocations.ends(claims) ? refuse('token_not_good', { because: 'revoked' }) : claims;
    } catch (error) {
      if (error instanceof Outage) return refuse('temporarily_unavailable', { because: error.message });
      throw error;
    }
  }

  /** A bound token comes with a proof of its key, every time a new one; a bearer token without (RFC 9449 §7). */
  async #judgeBinding(
    request: GuardedRequest,
    { scheme, token }: PresentedToken,
    { cnf }: AccessTokenClaims,
  ): Promise<UsedProof | Refusal | undefined> {
    if (cnf === undefined) {
      return scheme === 'Bearer' ? undefined : refuse('token_not_good', { because: 'DPoP with a token not bound' });
    }
    // Stolen and shown without the proof of its key: the downgrade that RFC 9449 §7.2 warns of.
    if (scheme === 'Bearer') return refuse('token_is_bound');
    const { publicURL, clock } = this.#settings;
    return await verifyPossession({
      method: request.method,
      url: publicAddress(request.url, publicURL),
      proofs: readProofs(request.headers),
      token,
      boundTo: cnf.jkt,
      now: numericDate(clock.now()),
    });
  }

  /** Uses a proof up, when all else about the token holds: a refusal if it was used before (RFC 9449 §11.1). */
  async #use(proof: UsedProof): Promise<Refusal | undefined> {
    const used = this.#proofs.use(proof);
    if (used !== 'fresh') return refuse('resource_proof_not_good', { because: `the proof: ${used}` });
    const { rememberProof } = this.#settings;
    if (rememberProof === undefined) return undefined;
    const isFresh = await askInTime(() => rememberProof(proof.id, proof.expiresAt));
    return isFresh === true
      ? undefined
      : refuse('resource_proof_not_good', { because: 'the proof: replayed elsewhere' });
  }

  #isStale(): boolean {
    return this.#feed.stalenessSeconds > this.#settings.maxStalenessSeconds;
  }

  /** What the issuer says of a token while the feed is stale (RFC 7662 §2.2). Anything but `true` is no. */
  async #isActive(token: string): Promise<boolean> {
    if (this.#settings.whenStale === 'refuse') throw new Outage('The revocation feed is stale.');
    try {
      const answer = await this.#issuer.introspect(token);
      return typeof answer === 'object' && answer !== null && 'active' in answer && answer.active === true;
    } catch (error) {
      this.#report({ kind: 'introspection_failed', because: nameOf(error) });
      throw error;
    }
  }

  #deny(refusal: Refusal): Denial {
    return deny(refusal, this.#origin);
  }

  /** Whoever listens to events must not be able to change a decision, by throwing for instance. */
  #report(event: GuardEvent): void {
    try {
      this.#settings.onEvent(event);
    } catch {
      // Theirs to notice.
    }
  }

  async ready(): Promise<void> {
    const closing = this.#closing.signal;
    let end = (): void => {};
    const closed = new Promise<void>((resolve) => {
      end = resolve;
    });
    closing.addEventListener('abort', end);
    // Somebody waits for this: until it is done the process has a reason to live, even between two attempts.
    const release = stayAlive();
    try {
      if (!closing.aborted) await Promise.race([this.#feed.start().heard, closed]);
      while (!closing.aborted && !(await this.#hasKeys())) await pause(RETRY_SECONDS * 1000, closing);
    } finally {
      release();
      // A health check may ask every second for years: nothing of it may stay behind.
      closing.removeEventListener('abort', end);
    }
    if (closing.aborted) throw new Error('The guard was closed.');
  }

  async #hasKeys(): Promise<boolean> {
    try {
      await this.#keySet.load();
      return true;
    } catch (error) {
      if (error instanceof Outage) return false;
      throw error;
    }
  }

  close(): void {
    this.#closing.abort();
  }

  health(): GuardHealth {
    const { stalenessSeconds, connected } = this.#feed;
    return { stalenessSeconds, revocations: this.#revocations.size, connected };
  }

  metadata(policy?: Policy): ResourceMetadata {
    const { audience, issuer, publicURL } = this.#settings;
    // A scope with a parameter is a pattern of scopes: nobody can ask for it, or is given it.
    const plain = policy?.scopes.filter(({ parameters }) => parameters.length === 0) ?? [];
    return describeResource({
      audience,
      issuer,
      provable: publicURL !== undefined,
      scopes: plain.map(({ text }) => text),
    });
  }

  get metadataPath(): string | undefined {
    const { audience, resourceMetadata } = this.#settings;
    return resourceMetadata ? metadataPath(audience) : undefined;
  }
}

/** How long the shared store of proofs may take, in seconds. */
const STORE_SECONDS_MAX = 5;

/** What a shared store says; anything but an answer in time is an outage, since the proof may be a replay. */
async function askInTime(ask: () => Promise<unknown>): Promise<unknown> {
  let cancel = (): void => {};
  const late = new Promise<never>((_resolve, reject) => {
    cancel = alarm(STORE_SECONDS_MAX * 1000, () => reject(new Outage('no answer in time')));
  });
  try {
    return await Promise.race([ask(), late]);
  } catch (cause) {
    throw new Outage(`The shared store of proofs could not be asked: ${nameOf(cause)}.`, { cause });
  } finally {
    cancel();
  }
}

/** The most templates that are remembered; an API has fewer, and one that makes them up must not fill the memory. */
const TEMPLATES_MAX = 1_000;

/** Scope templates, parsed once. */
class Templates {
  readonly #parsed = new Map<string, Scope>();

  parse(text: string): Scope {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const scope = parseScope(text);
    if (!isScope(scope)) throw new TypeError(`'${text}' is not a scope (${scope}).`);
    if (this.#parsed.size < TEMPLATES_MAX) this.#parsed.set(text, scope);
    return scope;
  }
}

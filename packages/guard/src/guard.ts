/** The guard: decides, for one API, whether a request may have what it asks for (contract §8). */
import {
  fillScope,
  isRefusal,
  isScope,
  numericDate,
  opens,
  refuse,
  type Refusal,
  type RefusalReason,
  type ScopeParameter,
  type ScopeValues,
} from '@hallpass/protocol';
import { ClockWatch } from './issuer/clock_watch.ts';
import {
  deny,
  grantAccess,
  type Decision,
  type Denial,
  type DenialOrigin,
  type PathValues,
  type RouteDecision,
} from './decision.ts';
import type { GuardEvent } from './guard_event.ts';
import { GuardCounts, type GuardMetrics } from './guard_metrics.ts';
import type { Holder, Identified } from './credentials/holder.ts';
import { Identity } from './credentials/identity.ts';
import { IssuerCheck } from './issuer/issuer_check.ts';
import { IssuerClient } from './issuer/issuer_client.ts';
import { IssuerTime } from './issuer/issuer_time.ts';
import { KeySet } from './issuer/key_set.ts';
import { adviceFor } from './misconfiguration.ts';
import { findAmbiguity } from './ambiguous_request.ts';
import { Nonces } from './possession/nonces.ts';
import { parseOptions, type GuardOptions, type GuardSettings } from './options.ts';
import { nameOf, Outage } from './outage.ts';
import { TrailingClock } from './issuer/trailing_clock.ts';
import { publicAddress } from './policy/path.ts';
import { refuseValue, type Match, type Policy } from './policy/policy.ts';
import { verifyPossession, type Possession } from './possession/possession.ts';
import { ProofRegister } from './possession/proof_register.ts';
import { readCredentials, readProofs, type GuardedRequest, type PresentedCredentials } from './request.ts';
import { describeResource, metadataPath, metadataURL, type ResourceMetadata } from './resource_metadata.ts';
import { RevocationFeed, type FeedTransport } from './revocations/revocation_feed.ts';
import { RevocationSet } from './revocations/revocation_set.ts';
import { StartUp } from './start_up.ts';
import { Templates } from './policy/templates.ts';

/** The values of a scope template as the last argument of `check`: required when it has parameters, absent when not. */
export type ValuesFor<Template extends string> = string extends Template
  ? [values?: PathValues]
  : [ScopeParameter<Template>] extends [never]
    ? []
    : [values: ScopeValues<Template>];

export interface Guard<Scopes extends string = string> {
  /**
   * Whether a request may have what a scope opens:
   * `guard.check(request, '/accounts/{accountID}/transfers.read', { accountID })`.
   *
   * A request that may not, and an outage (503), are decisions and never throw. Rejects with a TypeError only for a
   * mistake in the call: a malformed template, one that is not among the guard's `scopes`, or a missing value. A value
   * that cannot stand in a scope is refused with 403: no token could open it.
   */
  // A method, so that a guard of some scopes passes for a guard where only policies are asked for.
  check<Template extends Scopes>(
    request: GuardedRequest,
    scope: Template,
    ...values: ValuesFor<Template>
  ): Promise<Decision>;
  /** Whether a request may have the route that it asks for. Who has no good token gets 401, whatever the route. */
  readonly checkRoute: <Route extends string>(
    policy: Policy<Route>,
    request: GuardedRequest,
  ) => Promise<RouteDecision<Route>>;
  /**
   * Resolves when the keys and the revocations are in; waits out an outage, for as long as it takes. Rejects with
   * `Misconfigured`, and says what to change, when the issuer refuses this guard's credentials or goes by another name than
   * `issuer`: then no waiting helps. The guard goes on trying all the same, so a later call may resolve. Rejects when the
   * guard is closed.
   */
  readonly ready: () => Promise<void>;
  /** Ends all connections and timers. A closed guard answers 503. */
  readonly close: () => void;
  readonly health: () => GuardHealth;
  /** What was decided and what has happened since the guard was made, in numbers. */
  readonly metrics: () => GuardMetrics;
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
  /** How revocations come: as they happen, by asking for them twice a second or more, or not at all. */
  readonly transport: FeedTransport;
  /** Why the feed was lost last, in words for a log; undefined: it never was. */
  readonly lastError: string | undefined;
  /**
   * How far this machine's clock is off, in seconds: positive when it is ahead of the issuer's, negative when it is behind,
   * 0 when they agree as far as can be told. Beyond `leewaySeconds`, good tokens are refused. Undefined while the issuer's
   * answers have not told the time.
   */
  readonly clockOffsetSeconds: number | undefined;
}

/**
 * A guard for one API. It starts to follow the feed at the first check or `ready()`. Throws a TypeError that says what
 * to change when an option is wrong.
 */
export function createGuard<const Scopes extends string = string>(
  options: GuardOptions & { readonly scopes?: readonly Scopes[] },
): Guard<Scopes> {
  const guard = new ApiGuard(parseOptions(options));
  return {
    check: (request, scope, ...[values]) => guard.check(request, scope, values),
    checkRoute: (policy, request) => guard.checkRoute(policy, request),
    ready: () => guard.ready(),
    close: () => guard.close(),
    health: () => guard.health(),
    metrics: () => guard.metrics(),
    metadata: (policy) => guard.metadata(policy),
    metadataPath: guard.metadataPath,
  };
}

/** What a request asks for, once its path or its values have been read. */
type Demand = Pick<Match, 'scope' | 'values'> & Partial<Pick<Match, 'route'>>;

/** What came of looking into more than the token. */
interface Examined {
  /** What they are to put into their next proof, when they are to hear of it. */
  readonly newNonce: string | undefined;
}

/** Those that a wrong clock can be the reason of. */
const TIMED: ReadonlySet<string> = new Set<RefusalReason>([
  'clock_differs',
  'token_expired',
  'resource_proof_not_good',
]);

const REVOKED = refuse('token_not_good', { because: 'revoked' });

/** A stream that says nothing for so long is dead: the server speaks at least every 5 s. In seconds. */
const SILENCE_SECONDS_MAX = 6;

/** How many audiences of tokens that were meant for others are reported: a guard in front of a busy API fills no log. */
const OTHER_AUDIENCES_MAX = 10;

class ApiGuard {
  readonly #settings: GuardSettings;
  readonly #closing = new AbortController();
  readonly #issuer: IssuerClient;
  readonly #keySet: KeySet;
  readonly #revocations: RevocationSet;
  readonly #feed: RevocationFeed;
  readonly #issuerCheck: IssuerCheck;
  readonly #startUp: StartUp;
  readonly #watch: ClockWatch;
  readonly #issuerTime: IssuerTime;
  readonly #past: TrailingClock;
  readonly #identity: Identity;
  readonly #templates: Templates;
  readonly #proofs: ProofRegister;
  readonly #nonces: Nonces | undefined;
  readonly #origin: DenialOrigin;
  /** The audiences that were reported. */
  readonly #otherAudiences = new Set<string>();
  readonly #counts = new GuardCounts();

  constructor(settings: GuardSettings) {
    const { clock, algorithms, leewaySeconds, maxStalenessSeconds, startWaitSeconds } = settings;
    const closing = this.#closing.signal;
    const report = (event: GuardEvent): void => this.#report(event);
    const issuer = new IssuerClient({
      ...settings,
      closing,
      timeAnswer: () => this.#issuerTime.begin(),
    });
    this.#issuerTime = new IssuerTime({ clock, leewaySeconds, report, ask: () => issuer.fetchKeySet() });
    this.#watch = new ClockWatch(clock, report);
    this.#past = new TrailingClock(clock, this.#issuerTime);
    const set = new RevocationSet(this.#past, leewaySeconds);
    this.#settings = settings;
    this.#proofs = new ProofRegister(settings);
    const { realm, audience, resourceMetadata, nonceKey, nonceClock } = settings;
    this.#nonces = nonceKey === undefined ? undefined : new Nonces(nonceClock, nonceKey);
    this.#origin = resourceMetadata ? { realm, resourceMetadata: metadataURL(audience) } : { realm };
    this.#issuer = issuer;
    this.#revocations = set;
    this.#templates = new Templates(settings.scopes);
    this.#keySet = new KeySet({ fetchKeySet: () => issuer.fetchKeySet(), algorithms, clock, report });
    const aheadSeconds = (): number => Math.max(0, this.#issuerTime.offsetSeconds() ?? 0);
    this.#identity = new Identity(
      { ...settings, aheadSeconds, hearAudience: (found) => this.#hearAudience(found) },
      { issuerClient: issuer, keySet: this.#keySet, isRevoked: (holder) => this.#isRevoked(holder) },
    );
    this.#feed = new RevocationFeed({
      open: (cursor, signal) => issuer.openFeed(cursor, signal),
      readPage: (cursor) => issuer.readFeed(cursor),
      rereadPage: (cursor) => issuer.rereadFeed(cursor),
      onArrival: () => this.#watch.look(),
      silenceSecondsMax: Math.min(maxStalenessSeconds, SILENCE_SECONDS_MAX),
      set,
      clock,
      startWaitSeconds,
      report,
      onKeysVersion: (version) => this.#keySet.hearVersion(version),
      closing,
    });
    const fetchMetadata = (): Promise<unknown> => issuer.fetchMetadata();
    this.#issuerCheck = new IssuerCheck({ issuer: settings.issuer, fetchMetadata, clock, report });
    this.#startUp = new StartUp({ feed: this.#feed, keySet: this.#keySet, issuerCheck: this.#issuerCheck, closing });
    this.#watch.onJump((seconds) => {
      if (seconds > 0) this.#mayHaveSlept(seconds);
      this.#issuerTime.judge();
      this.#feed.clockJumped(seconds);
    });
  }

  /** What was measured by `elapsed` is older than it looks: that clock stands still while a machine sleeps. */
  #mayHaveSlept(seconds: number): void {
    this.#issuerTime.forget();
    this.#keySet.addAge(seconds);
    this.#identity.doubt();
  }

  async check(request: GuardedRequest, template: string, values: PathValues = {}): Promise<Decision> {
    const scope = this.#templates.parse(template);
    const missing = scope.parameters.find((name) => !Object.hasOwn(values, name));
    if (missing !== undefined) throw new TypeError(`The scope '${template}' needs a value for {${missing}}.`);
    return await this.#decide(request, () => {
      const filled = fillScope(scope, values);
      return isScope(filled) ? { scope: filled, values } : refuseValue(scope, values, filled);
    });
  }

  checkRoute<Route extends string>(policy: Policy<Route>, request: GuardedRequest): Promise<RouteDecision<Route>> {
    const decision = this.#decide(request, () => policy.match(request.method, request.url));
    // oxlint-disable-next-line no-unsafe-type-assertion -- a match's values are those that its route names
    return decision as Promise<RouteDecision<Route>>;
  }

  /**
   * The order of a check, for both kinds: whether the API will read the same request, who asks, whether that still holds,
   * what is asked for, whether it is theirs.
   */
  async #decide(request: GuardedRequest, demand: () => Demand | Refusal): Promise<Decision> {
    const misleading = findAmbiguity(request, this.#settings.passOverrides);
    if (misleading !== undefined) return await this.#deny(misleading);
    const presented = readCredentials(request, this.#identity);
    if (isRefusal(presented)) return await this.#deny(presented);
    try {
      if (this.#closing.signal.aborted) throw new Outage('The guard was closed.');
      // First: after a jump of the clock, what is held may be older than it looks.
      const elapsed = this.#watch.look();
      this.#startUp.begin();
      const found = this.#identify(request, presented, demand);
      const wasAwaited = found instanceof Promise;
      // What is known is not waited for: that would cost as much as a good part of the check.
      const identified = wasAwaited ? await found : found;
      if (isRefusal(identified)) {
        await this.#assertSameIssuer(identified);
        return await this.#deny(identified, presented);
      }
      const { holder } = identified;
      const isBound = holder.claims.cnf !== undefined || presented.scheme === 'DPoP';
      const isStale = this.#isStale(wasAwaited ? this.#watch.look() : elapsed);
      const examined = isBound || isStale ? await this.#examine(request, presented, identified) : undefined;
      if (isRefusal(examined)) return await this.#deny(examined, presented);
      // Last, with nothing awaited after it: a revocation that arrived during the work above counts.
      if (this.#isRevoked(holder)) return await this.#deny(REVOKED, presented);
      const asked = demand();
      if (isRefusal(asked)) return await this.#deny(asked, presented);
      if (opens(holder.scopes, asked.scope)) {
        this.#counts.allow();
        return grantAccess(holder, asked, examined?.newNonce);
      }
      return await this.#deny(refuse('insufficient_scope', { subject: asked.scope.text }), presented);
    } catch (error) {
      if (!(error instanceof Outage)) throw error;
      return await this.#deny(refuse('temporarily_unavailable', { because: error.message }), presented);
    }
  }

  /** What is looked into where more than the token counts: its binding, and the feed while it is stale. */
  async #examine(
    request: GuardedRequest,
    presented: PresentedCredentials,
    { holder, token }: Identified,
  ): Promise<Examined | Refusal> {
    const possession = await this.#judgeBinding(request, presented, { holder, token });
    if (isRefusal(possession)) return possession;
    if (this.#isStale()) await this.#feed.start().settled;
    const wasStale = this.#isStale();
    const active = !wasStale || (await this.#isActive(token));
    if (!active) return refuse('token_not_good', { because: 'inactive by introspection' });
    if (possession !== undefined) {
      if (this.#isRevoked(holder)) return REVOKED;
      // Last of what can be refused about the token: a proof is not used up by one that is no good anyway.
      const replayed = await this.#proofs.use(possession.proof);
      if (replayed !== undefined) return replayed;
    }
    // The store of proofs may have taken its time. Where the issuer was asked, staleness does not matter.
    if (!wasStale && this.#isStale() && this.#settings.whenStale !== 'allow') {
      throw new Outage('The revocation feed went stale during the check.');
    }
    return { newNonce: possession?.newNonce };
  }

  #identify(
    { address }: GuardedRequest,
    presented: PresentedCredentials,
    demand: () => Demand | Refusal,
  ): Identified | Refusal | Promise<Identified | Refusal> {
    if (presented.scheme !== 'Basic') return this.#identity.identifyToken(presented.token, address);
    const asked = demand();
    return this.#identity.identifyKey(presented, isRefusal(asked) ? asked : asked.scope);
  }

  /**
   * A token that our issuer signed, and that names another one in `iss`: when the issuer itself goes by that other name, it is
   * the guard that is set up wrongly, and no token is to blame. Throws `Outage` then.
   */
  async #assertSameIssuer({ refused }: Refusal): Promise<void> {
    if (refused !== 'token_of_another_issuer') return;
    await this.#issuerCheck.look();
    const { differing } = this.#issuerCheck;
    if (differing !== undefined) throw new Outage(adviceFor(differing));
  }

  #hearAudience(found: readonly string[]): void {
    const key = found.join(' ');
    if (this.#otherAudiences.size >= OTHER_AUDIENCES_MAX || this.#otherAudiences.has(key)) return;
    this.#otherAudiences.add(key);
    this.#report({ kind: 'audience_differs', expected: this.#settings.audience, found });
  }

  /** A bound token comes with a proof of its key, every time a new one; a bearer token without (RFC 9449 §7). */
  async #judgeBinding(
    request: GuardedRequest,
    { scheme }: PresentedCredentials,
    { token, holder }: Identified,
  ): Promise<Possession | Refusal | undefined> {
    const { cnf, client_id } = holder.claims;
    if (cnf === undefined) {
      return scheme === 'DPoP' ? refuse('token_not_good', { because: 'DPoP with a token not bound' }) : undefined;
    }
    // Stolen and shown without the proof of its key: the downgrade that RFC 9449 §7.2 warns of.
    if (scheme !== 'DPoP') return refuse('token_is_bound');
    const { publicURL, clock } = this.#settings;
    return await verifyPossession({
      method: request.method,
      url: publicAddress(request.url, publicURL),
      proofs: readProofs(request.headers),
      token,
      boundTo: cnf.jkt,
      clientId: client_id,
      now: numericDate(clock.now()),
      nonces: await this.#nonces?.now(),
    });
  }

  /** Or so old that its revocation may have been forgotten: a clock that was set back must not bring it to life. */
  #isRevoked({ claims, seen }: Holder): boolean {
    return claims.exp + this.#settings.leewaySeconds <= this.#past.over || this.#revocations.ends(claims, seen);
  }

  #isStale(elapsed: number = this.#watch.look()): boolean {
    return this.#feed.stalenessAt(elapsed) > this.#settings.maxStalenessSeconds;
  }

  /** What holds of a token while the feed is stale; by introspection (RFC 7662 §2.2) anything but `true` is no. */
  async #isActive(token: string): Promise<boolean> {
    if (this.#settings.whenStale === 'allow') return true;
    const { refusedStatus: status } = this.#feed;
    if (status !== undefined) throw new Outage(adviceFor({ kind: 'feed_refused', status }));
    if (this.#settings.whenStale === 'refuse') throw new Outage('The revocation feed is stale.');
    try {
      const answer = await this.#issuer.introspect(token);
      return typeof answer === 'object' && answer !== null && 'active' in answer && answer.active === true;
    } catch (error) {
      this.#report({ kind: 'introspection_failed', because: nameOf(error) });
      throw error;
    }
  }

  /** In the scheme that was tried, if one was (RFC 9449 §7.1). */
  async #deny(refusal: Refusal, tried?: PresentedCredentials): Promise<Denial> {
    this.#counts.refuse(refusal.refused);
    const nonces = await this.#nonces?.now();
    if (refusal.refused === 'clock_differs') this.#issuerTime.doubt();
    return deny(this.#withClock(refusal), {
      ...this.#origin,
      scheme: tried?.scheme === 'DPoP' ? 'DPoP' : undefined,
      nonce: nonces?.current,
    });
  }

  /** A refusal that is about time, for a log: with how far the clock here is off, if it is. */
  #withClock(refusal: Refusal): Refusal {
    const offsetSeconds = TIMED.has(refusal.refused) ? (this.#issuerTime.offsetSeconds() ?? 0) : 0;
    if (Math.abs(offsetSeconds) <= this.#settings.leewaySeconds) return refusal;
    const words = `${Math.abs(offsetSeconds)} s ${offsetSeconds < 0 ? 'behind' : 'ahead of'}`;
    return { ...refusal, because: `${refusal.because}; the clock of this machine is ${words} the issuer's` };
  }

  /** Whoever listens to events must not be able to change a decision, by throwing for instance. */
  #report(event: GuardEvent): void {
    if (this.#closing.signal.aborted) return;
    this.#counts.hear(event.kind);
    if (event.kind === 'feed_connected') void this.#issuerCheck.look();
    try {
      this.#settings.onEvent(event);
    } catch {
      // Theirs to notice.
    }
  }

  ready(): Promise<void> {
    return this.#startUp.ready();
  }

  close(): void {
    this.#closing.abort();
  }

  health(): GuardHealth {
    this.#watch.look();
    const { stalenessSeconds, transport, lastError } = this.#feed;
    const connected = transport !== 'none';
    const clockOffsetSeconds = this.#issuerTime.offsetSeconds();
    const revocations = this.#revocations.size;
    return { stalenessSeconds, revocations, connected, transport, lastError, clockOffsetSeconds };
  }

  metrics(): GuardMetrics {
    return this.#counts.read();
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

/** Makes a guard: the one place that knows all its parts. */
import { fillScope, isScope } from '@hallpass/protocol';
import { RequestCheck } from './check.ts';
import type { Holder } from './credentials/holder.ts';
import { Identity } from './credentials/identity.ts';
import type { Decision, PathValues, RouteDecision } from './decision.ts';
import { Denials } from './denials.ts';
import { Freshness } from './freshness.ts';
import type { Guard, GuardHealth } from './guard.ts';
import type { GuardEvent } from './guard_event.ts';
import { GuardCounts } from './guard_metrics.ts';
import { ClockWatch } from './issuer/clock_watch.ts';
import { IssuerCheck } from './issuer/issuer_check.ts';
import { IssuerClient } from './issuer/issuer_client.ts';
import { IssuerTime } from './issuer/issuer_time.ts';
import { KeySet } from './issuer/key_set.ts';
import { TrailingClock } from './issuer/trailing_clock.ts';
import type { GuardOptions } from './options.ts';
import { parseOptions, type GuardSettings } from './settings.ts';
import { refuseValue, type Policy } from './policy/policy.ts';
import { Templates } from './policy/templates.ts';
import { Binding } from './possession/binding.ts';
import { Nonces } from './possession/nonces.ts';
import { ProofRegister } from './possession/proof_register.ts';
import type { GuardedRequest } from './request.ts';
import { describeResource, metadataPath, type ResourceMetadata } from './resource_metadata.ts';
import { RevocationFeed } from './revocations/revocation_feed.ts';
import { RevocationSet } from './revocations/revocation_set.ts';
import { StartUp } from './start_up.ts';

/**
 * A guard for one API. It begins to follow the revocation feed at the first check or `ready()`. Throws a TypeError that
 * says what to change when an option is wrong.
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
    metrics: () => guard.counts.read(),
    metadata: (policy) => guard.metadata(policy),
    metadataPath: guard.metadataPath,
  };
}

/** A silent stream counts as dead after this long: the server sends something at least every 5 s. In seconds. */
const SILENCE_SECONDS_MAX = 6;

/** How many other audiences a guard reports at most, so that a busy API's log doesn't fill up. */
const OTHER_AUDIENCES_MAX = 10;

class ApiGuard {
  readonly counts = new GuardCounts();
  readonly #settings: GuardSettings;
  readonly #closing = new AbortController();
  readonly #watch: ClockWatch;
  readonly #issuerTime: IssuerTime;
  readonly #issuerCheck: IssuerCheck;
  readonly #trailingClock: TrailingClock;
  readonly #revocations: RevocationSet;
  readonly #feed: RevocationFeed;
  readonly #startUp: StartUp;
  readonly #templates: Templates;
  readonly #check: RequestCheck;
  /** Those already reported. */
  readonly #otherAudiences = new Set<string>();

  constructor(settings: GuardSettings) {
    const { clock, algorithms, leewaySeconds, maxStalenessSeconds, startWaitSeconds } = settings;
    const closing = this.#closing.signal;
    const report = (event: GuardEvent): void => this.#report(event);
    const isRevoked = (holder: Holder): boolean => this.#isRevoked(holder);
    this.#settings = settings;
    this.#templates = new Templates(settings.scopes);

    // The issuer: its endpoints, its time, its name and its keys.
    const issuer = new IssuerClient({ ...settings, closing, timeAnswer: () => this.#issuerTime.timeRequest() });
    this.#watch = new ClockWatch(clock, report);
    this.#issuerTime = new IssuerTime({ clock, leewaySeconds, report, ask: () => issuer.fetchKeySet() });
    this.#trailingClock = new TrailingClock(clock, this.#issuerTime);
    this.#issuerCheck = new IssuerCheck({
      issuer: settings.issuer,
      fetchMetadata: () => issuer.fetchMetadata(),
      clock,
      report,
    });
    const keySet = new KeySet({ fetchKeySet: () => issuer.fetchKeySet(), algorithms, clock, report });

    // Revocations.
    this.#revocations = new RevocationSet(this.#trailingClock, leewaySeconds);
    this.#feed = new RevocationFeed({
      open: (cursor, signal) => issuer.openFeed(cursor, signal),
      readPage: (cursor) => issuer.readFeed(cursor),
      rereadPage: (cursor) => issuer.rereadFeed(cursor),
      onArrival: () => this.#watch.look(),
      silenceSecondsMax: Math.min(maxStalenessSeconds, SILENCE_SECONDS_MAX),
      set: this.#revocations,
      clock,
      startWaitSeconds,
      report,
      onKeysVersion: (version) => keySet.setPublishedVersion(version),
      closing,
    });

    // Credentials and proofs.
    const identity = new Identity(
      {
        ...settings,
        aheadSeconds: () => Math.max(0, this.#issuerTime.offsetSeconds() ?? 0),
        onOtherAudience: (found) => this.#reportAudience(found),
      },
      { issuerClient: issuer, keySet, isRevoked },
    );
    const { nonceKey, nonceClock } = settings;
    const nonces = nonceKey === undefined ? undefined : new Nonces(nonceClock, nonceKey);

    this.#startUp = new StartUp({ feed: this.#feed, keySet, issuerCheck: this.#issuerCheck, closing });
    this.#check = new RequestCheck({
      settings,
      startUp: this.#startUp,
      watch: this.#watch,
      identity,
      issuerCheck: this.#issuerCheck,
      binding: new Binding(settings, nonces),
      freshness: new Freshness({ settings, feed: this.#feed, watch: this.#watch, issuer, report }),
      proofs: new ProofRegister(settings),
      isRevoked,
      denials: new Denials({ settings, nonces, issuerTime: this.#issuerTime, counts: this.counts }),
      counts: this.counts,
      closing,
    });

    this.#watch.onJump((seconds) => {
      if (seconds > 0) {
        // The machine may have slept, and `elapsed` stands still during sleep: durations measured by it are too short.
        this.#issuerTime.forget();
        keySet.addAge(seconds);
        identity.invalidate();
      }
      this.#issuerTime.judge();
      this.#feed.clockJumped(seconds);
    });
  }

  async check(request: GuardedRequest, template: string, values: PathValues = {}): Promise<Decision> {
    const scope = this.#templates.parse(template);
    const missing = scope.parameters.find((name) => !Object.hasOwn(values, name));
    if (missing !== undefined) throw new TypeError(`The scope '${template}' needs a value for {${missing}}.`);
    return await this.#check.decide(request, () => {
      const filled = fillScope(scope, values);
      return isScope(filled) ? { scope: filled, values } : refuseValue(scope, values, filled);
    });
  }

  checkRoute<Route extends string>(policy: Policy<Route>, request: GuardedRequest): Promise<RouteDecision<Route>> {
    const decision = this.#check.decide(request, () => policy.match(request.method, request.url));
    // oxlint-disable-next-line no-unsafe-type-assertion -- a match has the values that its route names
    return decision as Promise<RouteDecision<Route>>;
  }

  /**
   * True also for a token so old that its revocation may have been forgotten: setting the clock back must not bring it back
   * to life.
   */
  #isRevoked({ claims, seen }: Holder): boolean {
    const isPast = claims.exp + this.#settings.leewaySeconds <= this.#trailingClock.latest;
    return isPast || this.#revocations.ends(claims, seen);
  }

  #reportAudience(found: readonly string[]): void {
    const key = found.join(' ');
    if (this.#otherAudiences.size >= OTHER_AUDIENCES_MAX || this.#otherAudiences.has(key)) return;
    this.#otherAudiences.add(key);
    this.#report({ kind: 'audience_differs', expected: this.#settings.audience, found });
  }

  /** A listener must not be able to change a decision, by throwing for example. */
  #report(event: GuardEvent): void {
    if (this.#closing.signal.aborted) return;
    this.counts.addEvent(event.kind);
    if (event.kind === 'feed_connected') void this.#issuerCheck.compare();
    try {
      this.#settings.onEvent(event);
    } catch {
      // The listener's own problem.
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
    return {
      stalenessSeconds,
      revocations: this.#revocations.size,
      connected: transport !== 'none',
      transport,
      lastError,
      clockOffsetSeconds: this.#issuerTime.offsetSeconds(),
    };
  }

  metadata(policy?: Policy): ResourceMetadata {
    const { audience, issuer, publicURL } = this.#settings;
    // A scope with parameters is a template: no token ever has it, so nobody can ask for it.
    const plain = policy?.scopes.filter(({ parameters }) => parameters.length === 0) ?? [];
    return describeResource({
      audience,
      issuer,
      takesProofs: publicURL !== undefined,
      scopes: plain.map(({ text }) => text),
    });
  }

  get metadataPath(): string | undefined {
    const { audience, resourceMetadata } = this.#settings;
    return resourceMetadata ? metadataPath(audience) : undefined;
  }
}

/** A guard, as its callers see it (contract §8). `create_guard.ts` makes one; `check.ts` has the order of a check. */
import type { ScopeParameter, ScopeValues } from '@hallpass/protocol';
import type { Decision, PathValues, RouteDecision } from './decision.ts';
import type { GuardMetrics } from './guard_metrics.ts';
import type { Policy } from './policy/policy.ts';
import type { GuardedRequest } from './request.ts';
import type { ResourceMetadata } from './resource_metadata.ts';
import type { FeedTransport } from './revocations/revocation_feed.ts';

/** The last argument of `check`: the values of the scope template. Required if it has parameters, absent if not. */
export type ValuesFor<Template extends string> = string extends Template
  ? [values?: PathValues]
  : [ScopeParameter<Template>] extends [never]
    ? []
    : [values: ScopeValues<Template>];

/** A guard for one API; see `createGuard`. */
export interface Guard<Scopes extends string = string> {
  /**
   * Decides whether a request may do what a scope allows:
   * `guard.check(request, '/accounts/{accountID}/transfers.read', { accountID })`.
   *
   * A refusal is a decision, and so is an outage (503): neither throws. Rejects with a TypeError only if the call itself is
   * wrong: a malformed template, one that isn't among the guard's `scopes`, or a missing value. A value with characters that
   * a scope can't contain is refused with 403, because no token could allow it.
   */
  // A method, so that a guard with its own scopes can be passed where only policies are checked.
  check<Template extends Scopes>(
    request: GuardedRequest,
    scope: Template,
    ...values: ValuesFor<Template>
  ): Promise<Decision>;
  /** Decides whether a request may use the route it asks for. Without a valid token it's always 401, whatever the route. */
  readonly checkRoute: <Route extends string>(
    policy: Policy<Route>,
    request: GuardedRequest,
  ) => Promise<RouteDecision<Route>>;
  /**
   * Resolves when the guard has its keys and revocations. It waits out an outage for as long as that takes. Rejects with
   * `Misconfigured`, which says what to change, if the issuer refuses this guard's credentials or has another name than
   * `issuer`: waiting wouldn't help. The guard keeps trying all the same, so a later call may resolve. Also rejects when the
   * guard is closed.
   */
  readonly ready: () => Promise<void>;
  /** Ends all connections and timers. A closed guard answers 503. */
  readonly close: () => void;
  readonly health: () => GuardHealth;
  /** Counts of decisions and events since the guard was created. */
  readonly metrics: () => GuardMetrics;
  /**
   * This API's metadata (RFC 9728 §2). `scopes_supported` lists the policy's scopes that have no parameters. Throws a
   * TypeError if the audience isn't a URL.
   */
  readonly metadata: (policy?: Policy) => ResourceMetadata;
  /** The path where the adapters serve the metadata; undefined without the option `resourceMetadata`. */
  readonly metadataPath: string | undefined;
}

/** The state of a guard, for health checks and logs. */
export interface GuardHealth {
  /** The guard knows every revocation older than this many seconds; Infinity until the feed has been read once. */
  readonly stalenessSeconds: number;
  /** The number of revocations in memory. */
  readonly revocations: number;
  readonly connected: boolean;
  /** How revocations arrive: pushed on a stream, polled at least twice a second, or not at all. */
  readonly transport: FeedTransport;
  /** Why the feed was last lost, in words for a log; undefined if it never was. */
  readonly lastError: string | undefined;
  /**
   * This machine's clock minus the issuer's, in seconds: positive if it's ahead, negative if it's behind, 0 if they agree as
   * far as the guard can tell. Beyond `leewaySeconds`, valid tokens are refused. Undefined until the issuer's responses have
   * shown its time.
   */
  readonly clockOffsetSeconds: number | undefined;
}

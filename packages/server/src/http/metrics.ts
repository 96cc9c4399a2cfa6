/** Metrics of this process, for Prometheus. No label holds anything that a caller has sent. */
import {
  AggregatorRegistry,
  collectDefaultMetrics,
  Counter,
  Gauge,
  Histogram,
  type Registry,
} from '@prometheus-io/client';
import { GRANT_TYPES, listRefusals } from '@hallpass/protocol';
import { REVOCATION_CAUSES, type RevocationCause } from '../oauth/tokens/revocations.ts';
import { BOUNDS, type BoundReached } from '../oauth/limits/bounds.ts';
import type { FeedMeters } from '../oauth/followers/followers.ts';
import type { Endpoint, LogFields } from '../wire.ts';
import type { SuspicionReason } from '../store/store.ts';

/** What the server counts, and the endpoint that shows it. */
export interface Metrics {
  readonly answered: (answer: Answered) => void;
  readonly revoked: (kind: RevocationCause) => void;
  /** `ageSeconds` is the age of the key that signs now. */
  readonly watchSigningKey: (ageSeconds: () => number) => void;
  readonly feed: FeedMeters;
  /** By how many seconds this machine's clock is ahead of the store's time. */
  readonly clockAhead: (seconds: number) => void;
  readonly boundReached: BoundReached;
  /** An untrusted proxy sent X-Forwarded-For or Forwarded. */
  readonly untrustedProxySeen: () => void;
  readonly refreshSuspected: (reason: SuspicionReason) => void;
  /** A line of the log could not be written. */
  readonly logLineDropped: () => void;
  readonly endpoint: Endpoint;
}

/** A request that was answered. `seconds` is how long that took. */
export interface Answered {
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  readonly logFields: LogFields | undefined;
}

/** Opens the metrics of this process. A worker also sends them to its parent process, when that asks. */
export function openMetrics(version: string): Metrics {
  const registry = new AggregatorRegistry();
  collectDefaultMetrics({ register: registry });
  AggregatorRegistry.setRegistries(registry);
  const requests = new Histogram({
    name: 'hallpass_request_seconds',
    help: 'Time from a request to its answer, by route and status.',
    labelNames: ['route', 'status'] as const,
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 10],
    registers: [registry],
  });
  const clockAhead = new Gauge({
    name: 'hallpass_clock_ahead_seconds',
    help: "How far this machine's clock is ahead of the database's, or of its own time before it was set; negative: behind.",
    registers: [registry],
  });
  const suspicions = new Counter({
    name: 'hallpass_refresh_suspicions_total',
    help: 'Generations of a grant whose retired refresh token was shown late, or in three generations in a row.',
    labelNames: ['reason'] as const,
    registers: [registry],
  });
  const countWork = countAnswers(registry);
  meterBuild(registry, version);
  // Start at zero, so that an alert on the rate sees the first one.
  for (const reason of ['late', 'successive'] as const) suspicions.inc({ reason }, 0);
  return {
    answered: ({ route, status, seconds, logFields }) => {
      requests.observe({ route, status: String(status) }, seconds);
      countWork(logFields, status);
    },
    revoked: countRevocations(registry),
    watchSigningKey: (ageSeconds) => meterSigningKey(registry, ageSeconds),
    feed: meterFeed(registry),
    clockAhead: (seconds) => clockAhead.set(seconds),
    boundReached: countBounds(registry),
    untrustedProxySeen: meterForwarding(registry),
    refreshSuspected: (reason) => suspicions.inc({ reason }),
    logLineDropped: countDroppedLines(registry),
    endpoint: async () => ({
      status: 200,
      headers: { 'content-type': registry.contentType, 'cache-control': 'no-store' },
      body: await registry.metrics(),
    }),
  };
}

/** Returns a function to call for each dropped log line. */
function countDroppedLines(registry: Registry): () => void {
  const dropped = new Counter({
    name: 'hallpass_log_lines_dropped_total',
    help: 'Lines of the log that could not be written to standard error: its reader left, or is too slow.',
    registers: [registry],
  });
  return () => dropped.inc();
}

/** Counts tokens by grant type, and refusals by their reason in docs/errors.md. */
function countAnswers(registry: Registry): (logFields: LogFields | undefined, status: number) => void {
  const tokens = new Counter({
    name: 'hallpass_tokens_total',
    help: 'Access tokens that were issued, by grant type.',
    labelNames: ['grant'] as const,
    registers: [registry],
  });
  const refusals = new Counter({
    name: 'hallpass_refusals_total',
    help: 'Requests that were refused, by the reason in docs/errors.md.',
    labelNames: ['reason'] as const,
    registers: [registry],
  });
  for (const grant of GRANT_TYPES) tokens.inc({ grant }, 0);
  for (const { reason } of listRefusals()) refusals.inc({ reason }, 0);
  return (logFields, status) => {
    if (logFields?.refused !== undefined) refusals.inc({ reason: logFields.refused });
    else if (logFields?.grantType !== undefined && status === 200) tokens.inc({ grant: logFields.grantType });
  };
}

function countRevocations(registry: Registry): (kind: RevocationCause) => void {
  const revocations = new Counter({
    name: 'hallpass_revocations_total',
    help: 'Revocations that requests have led to, by what was ended. What operators revoke by a command is in the events.',
    labelNames: ['kind'] as const,
    registers: [registry],
  });
  for (const kind of REVOCATION_CAUSES) revocations.inc({ kind }, 0);
  return (kind) => revocations.inc({ kind });
}

/** The same value in all workers, so the maximum stands for all. */
function meterBuild(registry: Registry, version: string): void {
  const build = new Gauge({
    name: 'hallpass_build_info',
    help: 'Always 1; the labels say which Hallpass runs, and on which Node.',
    labelNames: ['version', 'node'] as const,
    registers: [registry],
    aggregator: 'max',
  });
  build.set({ version, node: process.versions.node }, 1);
}

function meterSigningKey(registry: Registry, ageSeconds: () => number): void {
  const age: Gauge = new Gauge({
    name: 'hallpass_signing_key_age_seconds',
    help: 'How long ago the key was made that signs access tokens now.',
    registers: [registry],
    aggregator: 'max',
    collect: () => age.set(ageSeconds()),
  });
}

/** Returns a function to call when an untrusted proxy has sent X-Forwarded-For or Forwarded. */
function meterForwarding(registry: Registry): () => void {
  const untrusted = new Gauge({
    name: 'hallpass_untrusted_forwarding',
    help: 'Whether X-Forwarded-For or Forwarded came from an address that HALLPASS_TRUSTED_PROXIES does not name: 1 or 0.',
    registers: [registry],
    // 1 if any of the workers has noticed.
    aggregator: 'max',
  });
  untrusted.set(0);
  return () => untrusted.set(1);
}

function meterFeed(registry: Registry): FeedMeters {
  const registers = [registry];
  const streams = new Gauge({
    name: 'hallpass_feed_streams',
    help: 'Readers that are connected to the revocation feed as an event stream.',
    registers,
  });
  const pages = new Counter({
    name: 'hallpass_feed_pages_total',
    help: 'Pages of the revocation feed that were read: by guards that have no stream, and to confirm.',
    registers,
  });
  const waits = new Histogram({
    name: 'hallpass_revoke_wait_seconds',
    help: 'Time that revocations waited for guards, by whether all of them confirmed.',
    labelNames: ['confirmed'] as const,
    buckets: [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  return {
    streamOpened: () => streams.inc(),
    streamClosed: () => streams.dec(),
    pageRead: () => pages.inc(),
    waited: (seconds, { confirmed, connected }) =>
      waits.observe({ confirmed: confirmed < connected ? 'some' : 'all' }, seconds),
  };
}

function countBounds(registry: Registry): BoundReached {
  const reached = new Counter({
    name: 'hallpass_bounds_reached_total',
    help: 'How often a bound refused something or made it wait, by its name in docs/limits.md.',
    labelNames: ['bound'] as const,
    registers: [registry],
  });
  // An alert on a rate needs the zero that comes before the first time.
  for (const bound of BOUNDS) reached.inc({ bound }, 0);
  return (bound) => reached.inc({ bound });
}

/** The endpoint that shows the metrics of all workers together. */
export function workersMetricsEndpoint(): Endpoint {
  const registry = new AggregatorRegistry();
  return async () => ({
    status: 200,
    headers: { 'content-type': registry.contentType, 'cache-control': 'no-store' },
    body: await registry.clusterMetrics(),
  });
}

/** The public listener: the endpoints of the authorization server, and what a process that serves them does regularly. */
import { metadataURL, openidConfigurationURLs, PATHS, splitURL } from '@hallpass/protocol';
import type { Routes } from '../http/listener.ts';
import type { Metrics } from '../http/metrics.ts';
import type { OutageLog } from '../http/outage_log.ts';
import { UNTRUSTED_PROXY_WARNING, UntrustedProxyDetector } from '../http/untrusted_proxy.ts';
import type { Authority } from '../oauth/authority.ts';
import { countAlone, type Count } from '../oauth/limits/counts.ts';
import { ClientCopies } from '../oauth/clients/client_copies.ts';
import { SecurityEventLimit } from '../oauth/limits/security_event_limit.ts';
import { feedEndpoint } from '../oauth/endpoints/feed.ts';
import { FeedStreams } from '../oauth/followers/streams.ts';
import { Followers } from '../oauth/followers/followers.ts';
import { frontPageEndpoint } from '../oauth/endpoints/front_page.ts';
import { liveEndpoint, readyEndpoint } from '../oauth/endpoints/health.ts';
import { introspectionEndpoint } from '../oauth/endpoints/introspection.ts';
import type { KeyRing } from '../oauth/keys/key_ring.ts';
import { openLimits } from '../oauth/limits/limits.ts';
import { jwksEndpoint, metadataEndpoint, openidConfigurationEndpoint } from '../oauth/endpoints/metadata.ts';
import { openapiEndpoint } from '../oauth/endpoints/openapi/document.ts';
import { corsForAny, respondPreflight } from '../oauth/clients/origins.ts';
import { pingEndpoint } from '../oauth/endpoints/ping.ts';
import type { Readiness } from '../oauth/endpoints/readiness.ts';
import { revocationEndpoint } from '../oauth/endpoints/revocation.ts';
import { revocationOfClient } from '../oauth/tokens/revocations.ts';
import { RevocationLimit } from '../oauth/limits/revocation_limit.ts';
import { tokenEndpoint } from '../oauth/endpoints/token.ts';
import type { Endpoint } from '../wire.ts';
import type { Store } from '../store/store.ts';
import { revokeUntilAcknowledged } from '../operator/revocation_moment.ts';
import { ClockWatch } from './clock_watch.ts';
import type { Instance } from './instance.ts';
import { drainSecondsOf } from './settings/settings.ts';
import { attempt, listenOrExplain, RECOVERY_INTERVAL_MS } from './listening.ts';

/** How often the uses of secrets are written, in milliseconds. */
const SECRET_USES_INTERVAL_MS = 10_000;
/** How often the time is kept in the store, in milliseconds. */
const TIME_INTERVAL_MS = 10_000;
/** How often this process checks whether another instance or an operator has changed the keys, in milliseconds. */
const KEYS_INTERVAL_MS = 500;

/** The public listener and its endpoints. */
export interface PublicSide {
  readonly issuer: string;
  readonly url: string;
  /** See `Server`. */
  readonly drain: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Starts the public listener. Several of them, in workers and instances, may serve the same store. */
export async function startPublicSide(
  instance: Instance,
  {
    log,
    metrics,
    readiness,
    shared,
  }: {
    readonly log: OutageLog;
    readonly metrics: Metrics;
    readonly readiness: Readiness;
    /** Whether other processes serve the same store, so that limits must be counted together. */
    readonly shared: boolean;
  },
): Promise<PublicSide> {
  const { settings, store } = instance;
  const { boundReached } = metrics;
  const count: Count = shared ? (counter) => store.count(counter) : countAlone();
  const secretUses = new SecretUses(store);
  const clockWatch = new ClockWatch(instance, { log, report: metrics.clockAhead });
  let draining = false;
  instance.time.begin();
  await clockWatch.keep().catch((outage: Error) => log.outage(outage));

  // The issuer of a development server follows its port, which is known only once it listens. So the endpoints are made on
  // the first request: nobody can send one before the address is known.
  let authority: Authority | undefined;
  const lazily = (make: (from: Authority) => Endpoint): Endpoint => {
    let endpoint: Endpoint | undefined;
    return async (request) => {
      if (authority === undefined) throw new Error('a request came before the server had its issuer');
      endpoint ??= make(authority);
      return await endpoint(request);
    };
  };
  const ready = readyEndpoint(readiness, () => draining);
  const base = splitURL(settings.issuer ?? '').pathname;
  const forPages = new Set([base + PATHS.token, base + PATHS.revoke]);
  const listener = await listenOrExplain(
    publicRoutes(settings.issuer ?? '', { lazily, ready }),
    {
      host: settings.host,
      port: settings.port,
      log,
      answered: metrics.answered,
      boundReached,
      trustedProxies: settings.trustedProxies,
      untrustedProxy: new UntrustedProxyDetector(settings.trustedProxies, () => {
        metrics.untrustedProxySeen();
        log.warn(UNTRUSTED_PROXY_WARNING);
      }),
      headersOfFailure: async (route, request) =>
        authority === undefined || !forPages.has(route) ? {} : await corsForAny(authority, request).catch(() => ({})),
    },
    { port: 'HALLPASS_PORT', host: 'HALLPASS_HOST' },
  );
  const issuer = settings.issuer ?? listener.url;
  metrics.watchSigningKey(() => (instance.clock.now() - instance.keys.signing.createdAt) / 1000);
  authority = {
    issuer,
    defaultAudience: settings.audience ?? issuer,
    lifetimes: {
      accessTokenSeconds: settings.accessTtlSeconds,
      refreshSeconds: settings.refreshTtlSeconds,
      refreshMaxSeconds: settings.refreshMaxTtlSeconds,
      refreshGraceSeconds: settings.refreshGraceSeconds,
    },
    store,
    copies: new ClientCopies(settings.awaySeconds),
    keys: instance.keys,
    clock: instance.clock,
    time: instance.time,
    random: instance.random,
    clockSkewSeconds: instance.clockSkewSeconds,
    limits: openLimits(settings, {
      salt: () => saltOf(instance.keys.secret),
      clock: instance.clock,
      count,
    }),
    revocationLimit: new RevocationLimit({
      perHour: settings.keyRevocationsPerHour,
      store,
      clock: instance.clock,
      count,
      boundReached,
    }),
    securityEventLimit: new SecurityEventLimit({ clock: instance.clock, count, boundReached }),
    onRevocation: metrics.revoked,
    revokeEverythingOf: async (clientId, event) => {
      await revokeUntilAcknowledged(instance, 'issuing', {
        revocationAt: (moment) => revocationOfClient(clientId, moment),
        write: (revocation) => store.revoke([revocation], event),
      });
    },
    followers: new Followers({ store, clock: instance.clock, boundReached }),
    feedStreams: new FeedStreams(boundReached),
    feedMeters: metrics.feed,
    boundReached,
    dpopNonces: settings.dpopNonces,
    onSuspiciousRefresh: ({ suspicion }, as) => {
      if (suspicion === undefined) return;
      metrics.refreshSuspected(suspicion.reason);
      // Bounded like the events, so that a client in a loop cannot fill the log.
      if (as === 'reported') log.suspicion(suspicion.event);
      else boundReached('SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX');
    },
    onSecretUsed: (clientId, secretId) => secretUses.note(clientId, secretId, instance.clock.now()),
  };
  const timers = [
    setInterval(() => attempt(log, () => clockWatch.keep()), TIME_INTERVAL_MS),
    setInterval(() => attempt(log, () => secretUses.write()), SECRET_USES_INTERVAL_MS),
    setInterval(() => attempt(log, () => instance.keys.reload()), KEYS_INTERVAL_MS),
    setInterval(() => attempt(log, () => log.checkForRecovery()), RECOVERY_INTERVAL_MS),
  ];
  return {
    issuer,
    url: listener.url,
    drain: async () => {
      draining = true;
      listener.startDraining();
      await instance.clock.sleep(drainSecondsOf(settings) * 1_000);
    },
    close: async () => {
      draining = true;
      for (const timer of timers) clearInterval(timer);
      await listener.close();
      await secretUses.write().catch((error: Error) => log.outage(error));
    },
  };
}

function publicRoutes(
  issuer: string,
  { lazily, ready }: { readonly lazily: (make: (from: Authority) => Endpoint) => Endpoint; readonly ready: Endpoint },
): Routes {
  const base = splitURL(issuer).pathname;
  const preflight = lazily((authority) => (request) => respondPreflight(authority, request));
  const absolute = issuer === '' ? 'http://localhost' : issuer;
  const metadataPath = splitURL(metadataURL(absolute)).pathname;
  const openid = openidConfigurationURLs(absolute);
  const openidConfiguration = { GET: lazily(openidConfigurationEndpoint) };
  const frontPage = { GET: lazily(frontPageEndpoint) };
  return {
    // The issuer itself, as people paste it.
    ...(base === '' ? {} : { [base]: frontPage }),
    [`${base}/`]: frontPage,
    [base + PATHS.token]: { POST: lazily(tokenEndpoint), OPTIONS: preflight },
    [base + PATHS.revoke]: { POST: lazily(revocationEndpoint), OPTIONS: preflight },
    [base + PATHS.introspect]: { POST: lazily(introspectionEndpoint) },
    [base + PATHS.revocations]: { GET: lazily(feedEndpoint) },
    [base + PATHS.jwks]: { GET: lazily(jwksEndpoint) },
    [metadataPath]: { GET: lazily(metadataEndpoint) },
    [splitURL(openid.below).pathname]: openidConfiguration,
    [splitURL(openid.between).pathname]: openidConfiguration,
    [base + PATHS.openapi]: { GET: lazily(openapiEndpoint) },
    [base + PATHS.ping]: { GET: lazily(pingEndpoint) },
    [base + PATHS.live]: { GET: liveEndpoint },
    [base + PATHS.ready]: { GET: ready },
  };
}

/**
 * The salt that assigns addresses to buckets. It is derived from a shared key, because processes that count together must
 * agree on the bucket. It changes with that key, in all processes at once, and counting starts afresh in that minute.
 */
function saltOf({ mac }: KeyRing['secret']): Uint8Array {
  return mac('buckets of addresses');
}

/** Collects when each secret was last used and writes that now and then, so that issuing a token writes nothing. */
class SecretUses {
  readonly #store: Store;
  #uses = new Map<string, { readonly clientId: string; readonly secretId: string; readonly usedAt: number }>();

  constructor(store: Store) {
    this.#store = store;
  }

  note(clientId: string, secretId: string, usedAt: number): void {
    this.#uses.set(`${clientId} ${secretId}`, { clientId, secretId, usedAt });
  }

  async write(): Promise<void> {
    const uses = [...this.#uses.values()];
    this.#uses = new Map();
    if (uses.length > 0) await this.#store.markSecretsUsed(uses);
  }
}

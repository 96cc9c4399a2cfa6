/** The running server: its public side and its operators' side, and what has to be done from time to time. */
import { metadataURL, openidConfigurationURLs, PATHS, splitURL } from '@hallpass/protocol';
import { watchDescriptors } from '../http/descriptors.ts';
import { listen, type Listener, type Routes } from '../http/listener.ts';
import { openLog, type Log } from '../http/log.ts';
import { openMetrics, type Metrics } from '../http/metrics.ts';
import { withOutageLog, type OutageLog } from '../http/outage_log.ts';
import { UNTRUSTED_PROXY_WARNING, UntrustedProxyDetector } from '../http/untrusted_proxy.ts';
import type { Authority } from '../oauth/authority.ts';
import type { BoundReached } from '../oauth/limits/bounds.ts';
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
import { Readiness } from '../oauth/endpoints/readiness.ts';
import { revocationEndpoint } from '../oauth/endpoints/revocation.ts';
import { revocationOfClient } from '../oauth/tokens/revocations.ts';
import { RevocationLimit } from '../oauth/limits/revocation_limit.ts';
import { tokenEndpoint } from '../oauth/endpoints/token.ts';
import type { Endpoint } from '../wire.ts';
import type { Store } from '../store/store.ts';
import { forgetSecretKeys, tendIssuerKeys } from '../operator/issuer_keys.ts';
import { revokeUntilAcknowledged } from '../operator/revocation_moment.ts';
import { ClockWatch } from './clock_watch.ts';
import { forgetExpired } from './forget_expired.ts';
import type { Instance } from './instance.ts';
import { BadSetting, drainSecondsOf } from './settings/settings.ts';
import { readVersion } from './version.ts';

export interface Server {
  readonly issuer: string;
  /** Where the public listener really is. */
  readonly url: string;
  readonly operatorUrl: string;
  /** Says that it is not ready, and serves on, for as long as those who send it requests need to notice. */
  readonly drain: () => Promise<void>;
  /** Answers what has begun, writes what is pending, and closes everything, the store included. */
  readonly close: () => Promise<void>;
}

/** How often the marks of used secrets are written, and expired rows forgotten, in milliseconds. */
const MARK_INTERVAL_MS = 10_000;
const FORGET_INTERVAL_MS = 60_000;
/** How often the time is kept in the store, in milliseconds. */
const TIME_INTERVAL_MS = 10_000;
/** How often it is found out which keys no secret is hashed with any more, in milliseconds: every API key is read for that. */
const SECRET_KEYS_INTERVAL_MS = 3_600_000;
/** How often this process looks whether the keys have changed, by another instance or an operator; in milliseconds. */
const KEYS_INTERVAL_MS = 500;
/** How often it is looked, while the store is away, whether it is back; in milliseconds. */
const OUTAGE_END_INTERVAL_MS = 1_000;

/** Starts serving, both sides in this process. Rejects with `BadSetting` when a port is taken. */
export async function startServer(instance: Instance): Promise<Server> {
  const readiness = new Readiness(instance.store, instance.clock);
  const metrics = openMetrics(readVersion());
  const log = openServerLog(instance, { readiness, lineDropped: metrics.logLineDropped });
  const outside = await startPublicSide(instance, {
    log,
    metrics,
    readiness,
    shared: instance.settings.databaseUrl !== undefined,
  });
  const { endpoint, boundReached } = metrics;
  const inside = await startOperatorSide(instance, { log, readiness, metrics: endpoint, boundReached }).catch(
    async (error: unknown) => {
      await outside.close();
      throw error;
    },
  );
  const stopWatching = watchDescriptorsOf(instance, log);
  return {
    issuer: outside.issuer,
    url: outside.url,
    operatorUrl: inside.url,
    drain: async () => {
      inside.startDraining();
      await outside.drain();
    },
    close: async () => {
      stopWatching();
      await Promise.all([outside.close(), inside.close()]);
      await instance.store.close();
    },
  };
}

/** The log of a process that serves, in which an outage of the store is a line and not one for each request. */
export function openServerLog(
  { settings, clock }: Instance,
  { readiness, lineDropped = () => undefined }: { readonly readiness: Readiness; readonly lineDropped?: () => void },
): OutageLog {
  const log = openLog(settings.logLevel, { format: settings.logFormat, lineDropped });
  return withOutageLog(log, { elapsed: clock.elapsed, check: () => readiness.check() });
}

/** Says in the log when there is no descriptor left for another connection. */
export function watchDescriptorsOf({ clock }: Instance, log: Log): () => void {
  return watchDescriptors({ report: (message) => log.outage(new Error(message)), elapsed: () => clock.elapsed() });
}

export interface PublicSide {
  readonly issuer: string;
  readonly url: string;
  /** See `Server`. */
  readonly drain: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** The public listener with its endpoints: what there may be several of on one store. */
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
    /** Whether other processes serve on the same store, so that limits have to be counted together. */
    readonly shared: boolean;
  },
): Promise<PublicSide> {
  const { settings, store } = instance;
  const { boundReached } = metrics;
  const count: Count = shared ? (counter) => store.count(counter) : countAlone();
  const marks = new UseMarks(store);
  const clockWatch = new ClockWatch(instance, { log, report: metrics.clockAhead });
  let draining = false;
  instance.time.begin();
  await clockWatch.keep().catch((outage: Error) => log.outage(outage));

  // The issuer of a development server follows its port, which is known only once it listens: the routes are laid
  // behind one more call, and nobody can call before the address is out.
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
      // As bounded as the events: a client in a loop fills no log either.
      if (as === 'reported') log.suspicion(suspicion.event);
      else boundReached('SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX');
    },
    onSecretUsed: (clientId, secretId) => marks.note(clientId, secretId, instance.clock.now()),
  };
  const care = [
    setInterval(() => attempt(log, () => clockWatch.keep()), TIME_INTERVAL_MS),
    setInterval(() => attempt(log, () => marks.write()), MARK_INTERVAL_MS),
    setInterval(() => attempt(log, () => instance.keys.reload()), KEYS_INTERVAL_MS),
    setInterval(() => attempt(log, () => log.checkForRecovery()), OUTAGE_END_INTERVAL_MS),
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
      for (const timer of care) clearInterval(timer);
      await listener.close();
      await marks.write().catch((error: Error) => log.outage(error));
    },
  };
}

/** The operator listener, and what has to be done from time to time: once for all the public sides of a machine. */
export async function startOperatorSide(
  instance: Instance,
  {
    log,
    metrics,
    readiness,
    boundReached = () => undefined,
  }: {
    readonly log: OutageLog;
    readonly metrics: Endpoint;
    readonly readiness: Readiness;
    readonly boundReached?: BoundReached;
  },
): Promise<{ readonly url: string; readonly startDraining: () => void; readonly close: () => Promise<void> }> {
  const { settings } = instance;
  let draining = false;
  const listener = await listenOrExplain(
    {
      '/metrics': { GET: metrics },
      [PATHS.live]: { GET: liveEndpoint },
      [PATHS.ready]: { GET: readyEndpoint(readiness, () => draining) },
    },
    {
      host: settings.operatorAddress,
      port: settings.operatorPort,
      log,
      boundReached,
      operatorHosts: settings.operatorHosts,
    },
    { port: 'HALLPASS_OPERATOR_PORT', host: 'HALLPASS_OPERATOR_ADDRESS', beside: settings.port },
  );
  log.info(`Hallpass ${readVersion()} on Node ${process.versions.node}`);
  const care = [
    setInterval(() => attempt(log, () => forgetExpired(instance)), FORGET_INTERVAL_MS),
    setInterval(() => attempt(log, () => tendIssuerKeys(instance)), FORGET_INTERVAL_MS),
    setInterval(() => attempt(log, () => forgetSecretKeys(instance)), SECRET_KEYS_INTERVAL_MS),
    setInterval(() => attempt(log, () => log.checkForRecovery()), OUTAGE_END_INTERVAL_MS),
  ];
  return {
    url: listener.url,
    startDraining: () => {
      draining = true;
    },
    close: async () => {
      draining = true;
      for (const timer of care) clearInterval(timer);
      await listener.close();
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

async function listenOrExplain(
  routes: Routes,
  at: Parameters<typeof listen>[1],
  settings: {
    readonly port: string;
    readonly host: string;
    /** The port of the listener that this process has already. */
    readonly beside?: number;
  },
): Promise<Listener> {
  try {
    return await listen(routes, at);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'EADDRINUSE')
      throw new BadSetting(
        settings.beside === at.port
          ? `HALLPASS_PORT and HALLPASS_OPERATOR_PORT are both ${at.port}. Set one of them to another port.`
          : `Port ${at.port} is taken. Stop what uses it, or set ${settings.port} to another port.`,
      );
    if (code === 'EACCES')
      throw new BadSetting(`Port ${at.port} may not be used by this user. Set ${settings.port} to one above 1023.`);
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
      throw new BadSetting(`This machine has no address ${at.host}. Set ${settings.host} to one that it has.`);
    throw error;
  }
}

/**
 * Not a random salt: processes that count together have to put an address into the same bucket. And not one for good:
 * all of them change over with the key, whenever they were started, and count anew in that minute.
 */
function saltOf({ mac }: KeyRing['secret']): Uint8Array {
  return mac('buckets of addresses');
}

/** Care that fails is tried again next time; until then it is one line in the log. */
function attempt(log: Log, care: () => Promise<void>): void {
  care().catch((error: unknown) => (error instanceof Error ? log.outage(error) : log.bug(error)));
}

/** When each secret was last used, gathered here and written now and then: no write on the way of a token. */
class UseMarks {
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

/** The side listener of `hallpass guard`: health, metrics and metadata. The other listener answers the proxy for the API. */
import type { RequestListener, ServerResponse } from 'node:http';
import { Counter, Gauge, Registry } from '@prometheus-io/client';
import { listRefusals, refuse, printRefusal } from '@hallpass/protocol';
import type { Guard, Policy } from '@hallpass/guard';
import { isOperatorHost } from '../http/operator_hosts.ts';
import { readVersion } from './version.ts';

/**
 * Serves `/health/live`, `/health/ready`, `/metrics`, and the API's metadata (RFC 9728) for the proxy to pass on. Except for
 * the metadata, it answers only to this machine's names and to `hosts`: DNS rebinding would let a web page read it.
 */
export function sideListener(
  guard: Guard,
  policy: Policy,
  { hosts, isDraining }: { readonly hosts: readonly string[]; readonly isDraining: () => boolean },
): RequestListener {
  const registry = new Registry();
  const gauge = (name: string, help: string, read: () => number): void => {
    const made: Gauge = new Gauge({ name, help, registers: [registry], collect: () => made.set(read()) });
  };
  gauge('hallpass_guard_staleness_seconds', 'The guard knows every revocation older than this many seconds.', () =>
    Math.min(guard.health().stalenessSeconds, Number.MAX_SAFE_INTEGER),
  );
  gauge('hallpass_guard_revocations', 'Revocations held in memory.', () => guard.health().revocations);
  gauge('hallpass_guard_connected', '1 while the feed of revocations is being read, otherwise 0.', () =>
    Number(guard.health().connected),
  );
  gauge('hallpass_guard_polling', '1 while the feed is polled, because no stream gets through; otherwise 0.', () =>
    Number(guard.health().transport === 'poll'),
  );

  gauge(
    'hallpass_guard_clock_offset_seconds',
    'How far this clock is ahead of the issuer’s: negative if it is behind, NaN while unknown.',
    () => guard.health().clockOffsetSeconds ?? Number.NaN,
  );

  registerCounters(registry, guard);

  const metrics = async (response: ServerResponse): Promise<void> => {
    const text = await registry.metrics();
    response.writeHead(200, { ...HEADERS, 'Content-Type': registry.contentType }).end(text);
  };
  const metadata = describe(guard, policy);
  return (request, response) => {
    const send = (status: number, body: string): void => {
      response.writeHead(status, HEADERS).end(body);
    };
    const answer = (status: number, body: unknown): void => send(status, JSON.stringify(body));
    const path = (request.url ?? '').replace(/\?.*$/s, '');
    // The proxy requests the metadata under the API's name, for everybody.
    const isPublic = path.startsWith(METADATA);
    const { localAddress } = request.socket;
    if (!isPublic && !isOperatorHost(request.headers.host, { names: hosts, localAddress })) {
      const { status, body } = printRefusal(refuse('host_not_known'));
      return answer(status, body);
    }
    if (request.method !== 'GET') return answer(405, { error: 'method_not_allowed' });
    if (path === '/health/live') return answer(200, { status: 'live' });
    if (path === '/health/ready') {
      const { connected, stalenessSeconds, ...health } = guard.health();
      const isReady = connected && !isDraining();
      const status = isReady ? 'ready' : 'not_ready';
      return answer(isReady ? 200 : 503, { status, stalenessSeconds: orNull(stalenessSeconds), ...health });
    }
    if (path === '/metrics') return void metrics(response);
    if (isPublic && metadata !== undefined) return send(200, metadata);
    answer(404, { error: 'not_found' });
  };
}

/** Publishes the guard's own counts, read at each scrape. */
function registerCounters(registry: Registry, guard: Guard): void {
  const registers = [registry];
  const allowed: Counter = new Counter({
    name: 'hallpass_guard_allowed_total',
    help: 'Requests that were let through.',
    registers,
    collect: () => {
      allowed.reset();
      allowed.inc(guard.metrics().allowed);
    },
  });
  const refusals = new Counter({
    name: 'hallpass_guard_refusals_total',
    help: 'Requests that were refused, by the reason in docs/errors.md.',
    labelNames: ['reason'] as const,
    registers,
    collect: () => {
      refusals.reset();
      const { refused } = guard.metrics();
      // An alert on a rate needs the zero that comes before the first time.
      for (const { reason } of listRefusals()) refusals.inc({ reason }, refused[reason] ?? 0);
    },
  });
  const events = new Counter({
    name: 'hallpass_guard_events_total',
    help: 'Events of the guard, by kind: see docs/guard.md.',
    labelNames: ['kind'] as const,
    registers,
    collect: () => {
      events.reset();
      for (const [kind, count] of Object.entries(guard.metrics().events)) events.inc({ kind }, count);
    },
  });
  const build = new Gauge({
    name: 'hallpass_build_info',
    help: 'Always 1; the labels say which Hallpass runs, and on which Node.',
    labelNames: ['version', 'node'] as const,
    registers,
  });
  build.set({ version: readVersion(), node: process.versions.node }, 1);
}

const HEADERS = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
const METADATA = '/.well-known/oauth-protected-resource';

/** The metadata as JSON. Undefined if the audience is not a URL: such an API has no metadata (RFC 9728 §1.2). */
function describe(guard: Guard, policy: Policy): string | undefined {
  try {
    return JSON.stringify(guard.metadata(policy));
  } catch {
    return undefined;
  }
}

/** JSON has no infinity. */
function orNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** What a guard that runs by itself says of itself: on a listener of its own, since the other one answers for an API. */
import type { RequestListener, ServerResponse } from 'node:http';
import { Gauge, Registry } from '@prometheus-io/client';
import { refuse, wordsOf } from '@hallpass/protocol';
import type { Guard, Policy } from '@hallpass/guard';
import { isForOperators } from '../http/operator_hosts.ts';

/**
 * `/health/live`, `/health/ready`, `/metrics`, and the API's metadata (RFC 9728) for the proxy to pass on. `hosts`: the names
 * that all but the metadata answer to, beside those of this machine.
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
  gauge('hallpass_guard_staleness_seconds', 'Everything revoked before so many seconds ago is known here.', () =>
    Math.min(guard.health().stalenessSeconds, Number.MAX_SAFE_INTEGER),
  );
  gauge('hallpass_guard_revocations', 'How many revocations are held.', () => guard.health().revocations);
  gauge('hallpass_guard_connected', 'Whether the feed of revocations is being read: 1 or 0.', () =>
    Number(guard.health().connected),
  );
  gauge('hallpass_guard_polling', 'Whether it is read by pages, since no stream comes through: 1 or 0.', () =>
    Number(guard.health().transport === 'poll'),
  );

  gauge(
    'hallpass_guard_clock_offset_seconds',
    'How far the clock here is ahead of the issuer’s, below 0 behind it; NaN while that is not known.',
    () => guard.health().clockOffsetSeconds ?? Number.NaN,
  );

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
    // The proxy asks for the metadata under the name of the API, for everybody.
    const isPublic = path.startsWith(METADATA);
    const { localAddress } = request.socket;
    if (!isPublic && !isForOperators(request.headers.host, { names: hosts, localAddress })) {
      const { status, body } = wordsOf(refuse('host_not_known'));
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

const HEADERS = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
const METADATA = '/.well-known/oauth-protected-resource';

/** The metadata as JSON. Undefined where the audience is no address: such an API has no metadata (RFC 9728 §1.2). */
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

/**
 * The guard in front of upgrades (RFC 9110 §7.8), WebSockets above all. Node gives a request with `Upgrade`, and one with
 * the method CONNECT, to listeners of their own, past every request listener: past `protect`, and past Express and Fastify.
 */
import { STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { refuse } from '@hallpass/protocol';
import { deny, type Denial, type RouteAccess } from '../decision.ts';
import { readNodeRequest } from './node_request.ts';
import { assertServed, type Served } from './route_guard.ts';
import { reportFailure } from './failure.ts';
import type { Guard } from '../guard.ts';
import { pathOf } from '../policy/path.ts';
import type { Policy } from '../policy/policy.ts';

/** What listens to `upgrade` and `connect` of a server of `node:http` or `node:https`. */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/**
 * An upgrade listener behind a guard: `server.on('upgrade', protectUpgrade(guard, policy, 'GET /events', handler))`. The
 * handler sees only requests that the policy opens for their token, and only for the routes that it serves; all others
 * are answered on the socket, which is then closed. Register it once for each server: another listener for the same event
 * would see every request too, unguarded.
 *
 * The token is checked when the connection begins. `access.expiresAt` says when to end it, and `access.headers` what the
 * answer 101 has to carry. When the handler fails, the connection is closed and the error is printed.
 */
export function protectUpgrade<Route extends string, Own extends Route>(
  guard: Guard,
  policy: Policy<Route>,
  served: Served<Own>,
  handler: (request: IncomingMessage, socket: Duplex, head: Buffer, access: RouteAccess<Own>) => void | Promise<void>,
): UpgradeListener {
  assertServed(policy, served);
  const routes: readonly string[] = typeof served === 'string' ? [served] : served;
  const serves = (access: RouteAccess): access is RouteAccess<Own> => routes.includes(access.route);
  const admit = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    const { method = '', url = '' } = request;
    const decision = await guard.checkRoute(policy, { method, url: pathOf(url), ...readNodeRequest(request) });
    // The client may have gone meanwhile.
    if (socket.destroyed) return;
    if (!decision.allowed) return answer(socket, decision);
    if (!serves(decision)) return answer(socket, NOT_OFFERED);
    await handler(request, socket, head, decision);
  };
  return (request, socket, head) => {
    // Node has taken its own listener away: without one, a client that resets its connection would end the process.
    socket.on('error', () => {});
    admit(request, socket, head).catch((error: unknown) => {
      reportFailure(error);
      socket.destroy();
    });
  };
}

const NOT_OFFERED = deny(refuse('upgrade_not_offered'), { realm: '' });

/** A refusal on a bare socket, and its end: Node has no time limit for this socket any more, so nothing waits for the client. */
function answer(socket: Duplex, { status, headers, body }: Denial): void {
  const text = JSON.stringify(body);
  const fields = { ...headers, 'Content-Length': String(Buffer.byteLength(text)), Connection: 'close' };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  // What the client has sent already has to be read, or the system answers it with a reset that may overtake the refusal.
  socket.resume();
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines].join('\r\n');
  socket.end(`${head}\r\n\r\n${text}`, () => socket.destroy());
}

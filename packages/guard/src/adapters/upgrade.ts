/**
 * The guard for upgrades (RFC 9110 §7.8), mainly WebSockets. Node passes requests with `Upgrade`, and CONNECT requests,
 * to separate listeners, bypassing every request listener: `protect`, Express and Fastify.
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

/** A listener for `upgrade` and `connect` events of a `node:http` or `node:https` server. */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/**
 * Wraps an upgrade listener: `server.on('upgrade', protectUpgrade(guard, policy, 'GET /events', handler))`. The handler
 * gets only requests that the policy allows for their token, and only for the routes it serves. All others get a
 * response on the socket, which is then closed. Register it once per server: any other listener for the same event
 * would see every request too, unguarded.
 *
 * The token is checked when the connection begins. `access.expiresAt` says when to end it, and the 101 response must
 * carry `access.headers`. If the handler fails, the connection is closed and the error is printed.
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
    // The client may be gone by now.
    if (socket.destroyed) return;
    if (!decision.allowed) return answer(socket, decision);
    if (!serves(decision)) return answer(socket, NOT_OFFERED);
    await handler(request, socket, head, decision);
  };
  return (request, socket, head) => {
    // Node has removed its own listener. Without one, a client that resets its connection would end the process.
    socket.on('error', () => {});
    admit(request, socket, head).catch((error: unknown) => {
      reportFailure(error);
      socket.destroy();
    });
  };
}

const NOT_OFFERED = deny(refuse('upgrade_not_offered'), { realm: '' });

/**
 * Writes a refusal to a bare socket and closes it. Node no longer enforces a time limit on this socket, so nothing
 * waits for the client.
 */
function answer(socket: Duplex, { status, headers, body }: Denial): void {
  const text = JSON.stringify(body);
  const fields = { ...headers, 'Content-Length': String(Buffer.byteLength(text)), Connection: 'close' };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  // Data the client has already sent must be read, or the operating system answers it with a reset that may overtake
  // the refusal.
  socket.resume();
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines].join('\r\n');
  socket.end(`${head}\r\n\r\n${text}`, () => socket.destroy());
}

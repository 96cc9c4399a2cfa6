/** An API behind the guard, on a port of its own, for tests against a real server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createGuard, type Guard, type GuardOptions, type Policy } from '@hallpass/guard';
import { protect } from '@hallpass/guard/node';

export interface GuardedApi {
  /** Where clients call it, without a path. */
  readonly origin: string;
  /** Puts a guard in front of it: from then on it answers, with the id of the client that was let in. */
  readonly guardBy: (policy: Policy, options: Omit<GuardOptions, 'publicURL'>) => Guard;
  readonly close: () => void;
}

/** Listens, so that its address is known before there is a key to be made for it or an issuer to be trusted. */
export async function openApi(): Promise<GuardedApi> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = originOf(server);
  const guards: Guard[] = [];
  return {
    origin,
    guardBy: (policy, options) => {
      const guard = createGuard({ ...options, publicURL: origin });
      guards.push(guard);
      const listener: RequestListener = protect(guard, policy, (_request, response, { client }) => {
        response.end(client.clientId);
      });
      server.removeAllListeners('request').on('request', listener);
      return guard;
    },
    close: () => {
      for (const guard of guards) guard.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

function originOf(server: Server): string {
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null, 'the API listens');
  return `http://127.0.0.1:${address.port}`;
}

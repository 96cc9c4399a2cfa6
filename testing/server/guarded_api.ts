/** An API behind the guard, on its own port, for tests against a real server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createGuard, type Guard, type GuardOptions, type Policy } from '@hallpass/guard';
import { protect } from '@hallpass/guard/node';

/** An API that listens. */
export interface GuardedApi {
  /** The URL that clients call, without a path. */
  readonly origin: string;
  /** Puts a guard in front of it. From then on, it answers with the id of the client that the guard let in. */
  readonly guardBy: (policy: Policy, options: Omit<GuardOptions, 'publicURL'>) => Guard;
  readonly close: () => void;
}

/** Starts listening first, because the key and the issuer need its address. */
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

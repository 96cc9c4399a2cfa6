/** A bare HTTP server for the listeners of a guard, with the same limits and closing of connections as the server's own. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, STATUS_CODES, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import assert from 'node:assert/strict';
import { refuse, printRefusal, type Refusal } from '@hallpass/protocol';
import { ConnectionCloser, KEEP_ALIVE_MS_MAX, REQUEST_TIMEOUT_MS, UNREAD_ANSWER_MS_MAX } from './connection_closing.ts';
import { serializeRequests } from './pipelining.ts';

/** A server that listens. */
export interface PlainServer {
  /** The address and port that it really listens on. */
  readonly address: AddressInfo;
  /** Keeps serving, and asks each client to use a new connection for its next request. */
  readonly startDraining: () => void;
  /** Accepts no more requests, and resolves when the last response is sent. */
  readonly close: () => Promise<void>;
}

/** A connection that was refused before it sent a valid request. */
export interface RefusedConnection {
  readonly requestId: string;
  readonly status: number;
  readonly because: string | undefined;
}

/** Starts a server. Rejects if the port is taken or not allowed. */
export async function startPlainServer(
  listener: RequestListener,
  {
    host,
    port,
    onRefusal,
  }: { readonly host: string; readonly port: number; readonly onRefusal: (refused: RefusedConnection) => void },
): Promise<PlainServer> {
  let draining = false;
  const server = createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: KEEP_ALIVE_MS_MAX,
    },
    (request, response) => {
      if (draining) response.setHeader('Connection', 'close');
      listener(request, response);
    },
  );
  server.setTimeout(UNREAD_ANSWER_MS_MAX);
  const refuseSocket = (socket: Socket, refusal: Refusal): void => {
    if (socket.destroyed || !socket.writable) return;
    const { status, body } = printRefusal(refusal);
    const requestId = randomUUID();
    onRefusal({ requestId, status, because: refusal.because });
    ends.linger(socket, printAnswer({ status, body: JSON.stringify(body), requestId }));
  };
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) =>
    refuseSocket(socket, refuse('malformed_request', { because: error.code ?? error.message })),
  );
  server.on('connect', (_request, socket: Socket) =>
    refuseSocket(socket, refuse('method_not_allowed', { because: 'CONNECT' })),
  );
  const ends = new ConnectionCloser(server, { isAnswering: serializeRequests(server) });
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null, 'a TCP listener has a port');
  return {
    address,
    startDraining: () => {
      draining = true;
    },
    close: async () => {
      draining = true;
      const closed = once(server, 'close');
      server.close();
      await ends.endAll(closed);
    },
  };
}

function printAnswer({
  status,
  body,
  requestId,
}: {
  readonly status: number;
  readonly body: string;
  readonly requestId: string;
}): string {
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json',
    'cache-control: no-store',
    `x-request-id: ${requestId}`,
    'connection: close',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return [...head, '', body].join('\r\n');
}

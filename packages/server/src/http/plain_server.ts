/** A bare server for the listeners of a guard, with the limits and the ends of connections that the server's own have. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, STATUS_CODES, type RequestListener } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import assert from 'node:assert/strict';
import { refuse, printRefusal, type Refusal } from '@hallpass/protocol';
import { ConnectionCloser, KEEP_ALIVE_MS_MAX, REQUEST_TIMEOUT_MS, UNREAD_ANSWER_MS_MAX } from './connection_closing.ts';
import { serializeRequests } from './pipelining.ts';

export interface PlainServer {
  /** Where it really listens. */
  readonly address: AddressInfo;
  /** Goes on as before, and asks each client to come again on another connection. */
  readonly startDraining: () => void;
  /** Takes no more requests, and resolves when the last answer is out. */
  readonly close: () => Promise<void>;
}

/** What was refused before it was a request. */
export interface RefusedConnection {
  readonly requestId: string;
  readonly status: number;
  readonly because: string | undefined;
}

/** Rejects when the port cannot be had. */
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

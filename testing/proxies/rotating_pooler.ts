/**
 * A small pooler in transaction mode for every run of the tests. Each transaction of a client uses another connection to the
 * server than the one before, and whatever a transaction leaves in its session is detected.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** Lists whatever must not outlive a transaction. */
const LEFT_BEHIND = `
  SELECT 'prepared ' || name FROM pg_prepared_statements
  UNION ALL SELECT 'set ' || name FROM pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction%'
  UNION ALL SELECT 'listens ' || channel FROM pg_listening_channels() AS channel
  UNION ALL SELECT 'locks ' || locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
  UNION ALL SELECT 'holds ' || name FROM pg_cursors WHERE is_holdable
  UNION ALL SELECT 'table ' || relname FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema()`;
const CONNECTIONS = 2;
const INT32_BYTES = 4;
/** A type byte, and a length that includes itself. */
const HEAD_BYTES = 1 + INT32_BYTES;

/** A running pooler. */
export interface RotatingPooler {
  /** The address of a database through this pooler. */
  readonly through: (url: string) => string;
  readonly transactions: () => number;
  /** What transactions have left in their sessions so far. */
  readonly left: ReadonlySet<string>;
  readonly close: () => void;
}

/** Starts a pooler in front of the server on this port. */
export async function startRotatingPooler(serverPort: number): Promise<RotatingPooler> {
  const sockets = new Set<Socket>();
  const left = new Set<string>();
  let transactions = 0;
  const found = (what: readonly string[]): void => {
    transactions += 1;
    for (const each of what) left.add(each);
  };
  const server = createServer({ noDelay: true }, (client) => {
    const servers = Array.from({ length: CONNECTIONS }, () =>
      connect({ port: serverPort, host: '127.0.0.1', noDelay: true }),
    );
    for (const socket of [client, ...servers]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => [client, ...servers].map((each) => each.destroy()));
    }
    rotate(client, servers, found);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  return {
    through: (url) => url.replace(/:\d+\//, `:${address.port}/`),
    transactions: () => transactions,
    left,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Serves one client on several server connections, which all start with the client's own startup message. */
function rotate(client: Socket, servers: readonly Socket[], found: (left: readonly string[]) => void): void {
  let current = 0;
  /** How many answers the client is waiting for. Each ends with "ready for query". */
  let due = 1;
  let asked: string[] | undefined;
  let waiting: Buffer[] = [];
  const send = (message: Buffer): void => {
    // The server answers simple queries and syncs with "ready for query".
    if (message[0] === code('Q') || message[0] === code('S')) due += 1;
    servers[current]?.write(message);
  };
  onMessages(client, { startupFirst: true }, (message, isStartup) => {
    if (isStartup) for (const server of servers) server.write(message);
    else if (asked === undefined) send(message);
    else waiting.push(message);
  });
  for (const [at, server] of servers.entries()) {
    let isReady = false;
    onMessages(server, { startupFirst: false }, (message) => {
      const readyAs = message[0] === code('Z') ? String.fromCharCode(message[HEAD_BYTES] ?? 0) : undefined;
      const begins = !isReady;
      if (readyAs !== undefined) isReady = true;
      // Only the first connection's startup is shown to the client.
      if (begins && at !== 0) return;
      if (asked !== undefined) {
        if (message[0] === code('D')) asked.push(message.subarray(HEAD_BYTES + 2 + INT32_BYTES).toString());
        if (readyAs === undefined) return;
        found(asked);
        asked = undefined;
        current = (current + 1) % servers.length;
        const later = waiting;
        waiting = [];
        for (const each of later) send(each);
        return;
      }
      client.write(message);
      if (readyAs === undefined) return;
      due -= 1;
      if (begins || due > 0 || readyAs !== 'I') return;
      asked = [];
      server.write(simpleQuery(LEFT_BEHIND));
    });
  }
}

function onMessages(
  socket: Socket,
  { startupFirst }: { readonly startupFirst: boolean },
  receive: (message: Buffer, isStartup: boolean) => void,
): void {
  let bytes = Buffer.alloc(0);
  let isStartup = startupFirst;
  socket.on('data', (more: Buffer) => {
    bytes = Buffer.concat([bytes, more]);
    for (;;) {
      const before = isStartup ? 0 : 1;
      if (bytes.length < before + INT32_BYTES) return;
      const length = before + bytes.readInt32BE(before);
      if (bytes.length < length) return;
      receive(bytes.subarray(0, length), isStartup);
      isStartup = false;
      bytes = bytes.subarray(length);
    }
  });
}

function simpleQuery(text: string): Buffer {
  const body = Buffer.from(`${text}\0`);
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = code('Q');
  head.writeInt32BE(INT32_BYTES + body.length, 1);
  return Buffer.concat([head, body]);
}

function code(type: string): number {
  return type.charCodeAt(0);
}

/** A proxy between the store and its database that a test can cut, even in the middle of a commit. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** The message that commits: a simple query (`Q`), its length, the text and a zero. */
const COMMIT = Buffer.from('Q\0\0\0\x0bCOMMIT\0', 'latin1');

/** What the wire does: deliver everything, drop everything silently, or lose all answers, or only the answers to commits. */
type Wire = 'whole' | 'silent' | 'loses_answers' | 'loses_answer_to_commit';

/** A running proxy. */
export interface Proxy {
  /** The address of a database through this proxy. */
  readonly through: (url: string) => string;
  wire: Wire;
  readonly close: () => void;
}

/** Starts a proxy in front of the server on this port. */
export async function startProxy(port: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const database = connect(port, '127.0.0.1');
    let losing = false;
    for (const socket of [client, database]) {
      sockets.add(socket);
      // When one side is cut, the other is closed too.
      socket.on('error', () => undefined);
      socket.on('close', () => [client, database].map((each) => each.destroy()));
    }
    client.on('data', (bytes: Buffer) => {
      if (proxy.wire === 'silent') return;
      losing = proxy.wire === 'loses_answers' || (proxy.wire === 'loses_answer_to_commit' && bytes.includes(COMMIT));
      database.write(bytes);
    });
    database.on('data', (bytes: Buffer) => {
      if (proxy.wire === 'silent') return;
      // The database has answered, so the query has taken effect.
      if (losing) client.destroy();
      else client.write(bytes);
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  const proxy: Proxy = {
    through: (url) => url.replace(/:\d+\//, `:${address.port}/`),
    wire: 'whole',
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return proxy;
}

/** A wire between the store and its database that a test can cut, also in the middle of a commit. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** How PostgreSQL is told to commit: a simple query (`Q`), its length, the text and a zero. */
const COMMIT = Buffer.from('Q\0\0\0\x0bCOMMIT\0', 'latin1');

/** What becomes of what is sent: all of it arrives; nothing does, without a word; an answer, or that to a commit, does not. */
type Wire = 'whole' | 'silent' | 'loses_answers' | 'loses_answer_to_commit';

export interface Proxy {
  /** The address of a database, by way of this proxy. */
  readonly through: (url: string) => string;
  wire: Wire;
  readonly close: () => void;
}

export async function startProxy(port: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const database = connect(port, '127.0.0.1');
    let losing = false;
    for (const socket of [client, database]) {
      sockets.add(socket);
      // Whoever is cut off closes the other side as well.
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
      // The database has answered, so it has done what it was asked.
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

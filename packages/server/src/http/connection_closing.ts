/**
 * How connections end, on every listener (ADR 37). Node ends its half of a connection and waits for the client's, for as
 * long as the client likes; a client that never ends its half would keep the descriptor for good. Here each connection
 * whose answers are out is gone within a bound, and one that is refused can still read why.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** The time for a request to arrive whole, in milliseconds. */
export const REQUEST_TIMEOUT_MS = 10_000;
/** How long a caller may leave an answer unread before its connection ends, in milliseconds. */
export const UNREAD_ANSWER_MS_MAX = 30_000;
/** How long a connection without a request is kept, in milliseconds: longer than a proxy keeps one, which asks on it again. */
export const KEEP_ALIVE_MS_MAX = 72_000;
/** How long a client may keep a connection that this side has ended, in milliseconds. */
export const LINGER_MS_MAX = 2_000;
/** How long a request that has begun may take to be whole once the server is told to stop, in milliseconds. */
export const STOP_ARRIVAL_MS_MAX = 1_000;
/** How long answers may take to get out once the server is told to stop, in milliseconds. */
export const STOP_ANSWERS_MS_MAX = 10_000;
/** How often it is looked whether answers are being read, in milliseconds. */
const UNREAD_CHECK_MS = 1_000;
/** How often connections that have fallen idle are looked for while the server stops, in milliseconds. */
const SWEEP_MS = 50;

export interface EndingOptions {
  /** Whether an answer on a connection is due or has begun. */
  readonly isAnswering: (socket: Socket) => boolean;
  /** Milliseconds. */
  readonly lingerMs?: number;
  /** Milliseconds. */
  readonly unreadAnswerMs?: number;
  /** Called before a connection is cut whose client does not read. */
  readonly onUnread?: () => void;
}

/** The connections of a server. To be made before the server listens. */
export class ConnectionCloser {
  readonly #server: Server;
  readonly #options: Required<EndingOptions>;
  readonly #open = new Set<Socket>();
  readonly #lingering = new WeakSet<Socket>();
  /** How much of what was written had been taken when it was last looked, and for how long no more was, in milliseconds. */
  readonly #stuck = new WeakMap<Socket, { readonly taken: number; forMs: number }>();

  constructor(server: Server, options: EndingOptions) {
    this.#server = server;
    this.#options = {
      lingerMs: LINGER_MS_MAX,
      unreadAnswerMs: UNREAD_ANSWER_MS_MAX,
      onUnread: () => undefined,
      ...options,
    };
    const checkMs = Math.min(UNREAD_CHECK_MS, this.#options.unreadAnswerMs / 2);
    const checking = setInterval(() => this.#cutUnread(checkMs), checkMs).unref();
    server.once('close', () => clearInterval(checking));
    server.on('connection', (socket) => {
      this.#open.add(socket);
      // At a CONNECT Node takes its own listener away, and a connection that is reset then would end the process.
      socket.on('error', () => undefined);
      socket.once('close', () => this.#open.delete(socket));
      // Node calls this after the last answer of a connection. To destroy a socket on which there are bytes to read resets
      // the connection, and a client that is still sending would lose the answer that says why it should not.
      socket.destroySoon = () => this.linger(socket);
      // Whoever has ended our half: Node does so by itself when the client has ended its own in the middle of a request.
      socket.once('finish', () => this.#destroyLater(socket));
    });
  }

  /** Ends our half, with `last` before it, and reads and drops what still comes, until the client ends its half or is late. */
  linger(socket: Socket, last?: string): void {
    if (socket.destroyed || this.#lingering.has(socket)) return;
    this.#lingering.add(socket);
    if (last !== undefined && socket.writable) socket.write(last);
    socket.end();
    for (const event of ['data', 'resume']) socket.removeAllListeners(event);
    socket.resume();
  }

  /**
   * Node's own timeout is of a connection on which nothing happens, and a client that sends a byte now and then is never that.
   * Here it counts what the operating system has taken of an answer.
   */
  #cutUnread(checkMs: number): void {
    for (const socket of this.#open) {
      const taken = socket.bytesWritten - socket.writableLength;
      const stuck = this.#stuck.get(socket);
      if (socket.writableLength === 0 || stuck?.taken !== taken) {
        this.#stuck.set(socket, { taken, forMs: 0 });
        continue;
      }
      stuck.forMs += checkMs;
      if (stuck.forMs < this.#options.unreadAnswerMs) continue;
      if (this.#options.isAnswering(socket)) this.#options.onUnread();
      socket.destroy();
    }
  }

  #destroyLater(socket: Socket): void {
    this.linger(socket);
    const timer = setTimeout(() => socket.destroy(), this.#options.lingerMs);
    socket.once('close', () => clearTimeout(timer));
  }

  /**
   * Resolves with `closed`, which says that the server takes no more connections and has none. What has begun to arrive, and
   * what is being answered, has its time until then; `onArrivalOver` is called when the former is over.
   */
  async endAll(closed: Promise<unknown>, onArrivalOver: () => void = () => undefined): Promise<void> {
    // A connection that is kept alive falls idle only when its last answer is out, and nobody looks again by itself.
    const sweeping = setInterval(() => this.#server.closeIdleConnections(), SWEEP_MS);
    const arrival = setTimeout(() => {
      onArrivalOver();
      this.#destroyWhere((socket) => !this.#options.isAnswering(socket) && !this.#isFlushing(socket));
    }, STOP_ARRIVAL_MS_MAX);
    const answers = setTimeout(() => this.#destroyWhere(() => true), STOP_ANSWERS_MS_MAX);
    await closed;
    clearInterval(sweeping);
    clearTimeout(arrival);
    clearTimeout(answers);
  }

  /** Whether an answer is on its way out: ours is ended, and not all of it is with the operating system. */
  #isFlushing(socket: Socket): boolean {
    return socket.writableLength > 0;
  }

  #destroyWhere(isOver: (socket: Socket) => boolean): void {
    for (const socket of this.#open) if (isOver(socket)) socket.destroy();
  }
}

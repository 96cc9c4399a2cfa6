/**
 * How connections are closed, on every listener (ADR 37). Node ends its half of a connection and then waits for the client
 * without limit, so a client that never ends its half would hold the descriptor for good. Here every connection is gone
 * within a bound once its responses are sent, and a client that is refused can still read why.
 */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** How long a request may take to arrive, in milliseconds. */
export const REQUEST_TIMEOUT_MS = 10_000;
/** How long a client may leave a response unread before its connection is closed, in milliseconds. */
export const UNREAD_ANSWER_MS_MAX = 30_000;
/** How long an idle connection is kept, in milliseconds: longer than proxies keep theirs, so that they close first. */
export const KEEP_ALIVE_MS_MAX = 72_000;
/** How long a client may keep a connection whose other half we have ended, in milliseconds. */
export const LINGER_MS_MAX = 2_000;
/** How long a request that has begun to arrive may take once the server is stopping, in milliseconds. */
export const STOP_ARRIVAL_MS_MAX = 1_000;
/** How long responses may take to be sent once the server is stopping, in milliseconds. */
export const STOP_ANSWERS_MS_MAX = 10_000;
/** How often we check that responses are being read, in milliseconds. */
const UNREAD_CHECK_MS = 1_000;
/** How often we close idle connections while the server is stopping, in milliseconds. */
const SWEEP_MS = 50;

/** How a `ConnectionCloser` tells which connections it may close. */
export interface ClosingOptions {
  /** Whether a response on a connection is due or has begun. */
  readonly isAnswering: (socket: Socket) => boolean;
  readonly lingerMs?: number;
  readonly unreadAnswerMs?: number;
  /** Called before a connection is cut because its client does not read. */
  readonly onUnread?: () => void;
}

/** Closes the connections of a server. Create it before the server listens. */
export class ConnectionCloser {
  readonly #server: Server;
  readonly #options: Required<ClosingOptions>;
  readonly #open = new Set<Socket>();
  readonly #lingering = new WeakSet<Socket>();
  /** The bytes that the operating system had taken at the last check, and for how many milliseconds it took no more. */
  readonly #stuck = new WeakMap<Socket, { readonly taken: number; forMs: number }>();

  constructor(server: Server, options: ClosingOptions) {
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
      // On CONNECT, Node removes its own error listener; a reset connection would then crash the process.
      socket.on('error', () => undefined);
      socket.once('close', () => this.#open.delete(socket));
      // Node calls this after the last response of a connection. Destroying a socket with unread bytes resets the connection,
      // and a client that is still sending would lose the response that tells it to stop.
      socket.destroySoon = () => this.linger(socket);
      // Node ends our half by itself when the client ends its own in the middle of a request.
      socket.once('finish', () => this.#destroyLater(socket));
    });
  }

  /** Sends `last`, ends our half, and discards what still arrives until the client ends its half or runs out of time. */
  linger(socket: Socket, last?: string): void {
    if (socket.destroyed || this.#lingering.has(socket)) return;
    this.#lingering.add(socket);
    if (last !== undefined && socket.writable) socket.write(last);
    socket.end();
    for (const event of ['data', 'resume']) socket.removeAllListeners(event);
    socket.resume();
  }

  /**
   * Node's own timeout only fires on a silent connection, so a client that sends a byte now and then never triggers it. This
   * one watches whether the operating system takes more of the response.
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
   * Closes every connection of a server that accepts no new ones, and resolves with `closed`. Requests that have begun to
   * arrive and responses in progress get their time first; `onArrivalOver` is called when the time for arriving is up.
   */
  async endAll(closed: Promise<unknown>, onArrivalOver: () => void = () => undefined): Promise<void> {
    // A kept-alive connection becomes idle after its last response, and Node does not check again by itself.
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

  /** Whether part of a response has not reached the operating system yet. */
  #isFlushing(socket: Socket): boolean {
    return socket.writableLength > 0;
  }

  #destroyWhere(isOver: (socket: Socket) => boolean): void {
    for (const socket of this.#open) if (isOver(socket)) socket.destroy();
  }
}

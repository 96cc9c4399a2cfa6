/**
 * Serves pipelined requests one at a time per connection (contract §10). Node parses everything that a client sends ahead and
 * serves it all at once, so a few hundred kilobytes of requests can cost a gigabyte of responses. Here the bytes behind a
 * request stay unparsed, and the socket unread, until that request is answered. A client that pipelines (RFC 9112 §9.3.2)
 * gets its responses in order and bears the cost itself.
 */
import assert from 'node:assert/strict';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The most requests of one connection that are served at the same time. */
export const REQUESTS_PER_CONNECTION_MAX = 1;
/** The most bytes of heads, or of a body of unknown length, that are parsed at a time. */
const PIECE_BYTES_MAX = 1_024;
/** The end of a request head. */
const BLANK_LINE = '\r\n\r\n';
const SHORTEST_REQUEST = `GET / HTTP/1.1${BLANK_LINE}`;

type Bytes = Buffer<ArrayBuffer>;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

type Serve = (exchange: Exchange) => void;

/**
 * Makes a server serve one request at a time on each connection. Call it after adding the server's listeners and before it
 * listens; the listener for `connect` may follow later. `held` is called each time a connection has to wait. Returns a
 * function that tells whether a response on a connection is due or has begun.
 */
export function serializeRequests(server: Server, held: () => void = () => undefined): (socket: Socket) => boolean {
  const connections = new WeakMap<Socket, Connection>();
  const listeners = server.listeners('request');
  const serve: Serve = ({ request, response }) => {
    for (const listener of listeners) listener.call(server, request, response);
  };
  server.removeAllListeners('request');
  server.on('connection', (socket) => connections.set(socket, new Connection(socket, { serve, held })));
  const receive = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = connections.get(request.socket);
    if (connection === undefined) serve({ request, response });
    else connection.receive({ request, response });
  };
  server.on('request', receive);
  // Node would answer all of these at once, bypassing the queue; and when it paused the socket for that, the next bytes would
  // crash the process. We may ignore an unknown expectation (RFC 9110 §10.1.1).
  server.on('checkExpectation', receive);
  const isAnswering = (socket: Socket): boolean => connections.get(socket)?.isAnswering === true;
  // A client must not take the refusal of one request for the response to the one before it.
  const endWhereAnswering = (socket: Socket): void => {
    if (isAnswering(socket)) socket.destroy();
  };
  // Without a listener, Node itself refuses what is not HTTP, and only if no response has begun.
  if (server.listenerCount('clientError') > 0) {
    server.prependListener('clientError', (_error, socket: Socket) => endWhereAnswering(socket));
  }
  // CONNECT takes the connection away from Node's server at once, whatever is still being answered on it.
  server.prependListener('connect', (_request, socket: Socket) => endWhereAnswering(socket));
  return isAnswering;
}

class Connection {
  readonly #socket: Socket;
  readonly #serve: Serve;
  readonly #held: () => void;
  /** Node's own listener, which feeds the parser. */
  readonly #parse: (bytes: Bytes) => void;
  /** Received but not parsed: at most what the socket had read when it was paused. */
  #ahead: Bytes = Buffer.alloc(0);
  /** Requests that arrived in the same piece as the one being served. */
  readonly #waiting: Exchange[] = [];
  #serving: Exchange | undefined;
  /** How many bytes of the current body are still to come, if it has a Content-Length. Never too few. */
  #bodyLeft = 0;
  /** Whether the socket is paused. */
  #holding = false;

  constructor(socket: Socket, { serve, held }: { readonly serve: Serve; readonly held: () => void }) {
    this.#socket = socket;
    this.#serve = serve;
    this.#held = held;
    const [parse, ...others] = socket.listeners('data');
    assert(parse !== undefined && others.length === 0, "Node's HTTP server reads a socket by one listener");
    this.#parse = (bytes) => parse.call(socket, bytes);
    socket.removeAllListeners('data');
    socket.on('data', (bytes: Bytes) => {
      this.#ahead = this.#ahead.length === 0 ? bytes : Buffer.concat([this.#ahead, bytes]);
      this.#proceed();
    });
    // Reading a body resumes the socket, even if the whole body has arrived.
    socket.on('resume', () => {
      if (this.#holding) socket.pause();
    });
    socket.once('close', () => this.#forget());
  }

  /** Whether a response is due to a complete request, or has begun. */
  get isAnswering(): boolean {
    const { request, response } = this.#serving ?? {};
    return request?.complete === true || response?.headersSent === true;
  }

  receive(exchange: Exchange): void {
    if (this.#serving === undefined) this.#begin(exchange);
    else this.#waiting.push(exchange);
  }

  #begin(exchange: Exchange): void {
    const { request, response } = exchange;
    this.#serving = exchange;
    const length = Number(request.headers['content-length'] ?? 0);
    this.#bodyLeft = Number.isSafeInteger(length) ? length : 0;
    response.once('close', () => {
      // Let other connections go first: immediate responses would otherwise starve the event loop.
      if (this.#ahead.length > 0 || this.#waiting.length > 0) setImmediate(() => this.#next());
      else this.#next();
    });
    this.#serve(exchange);
  }

  /** After a response that ends the connection, nothing more is served, whatever the client sent behind it. */
  #next(): void {
    this.#serving = undefined;
    if (!this.#socket.writable) return this.#forget();
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#proceed();
    else this.#begin(waiting);
  }

  /** Parses what has arrived, up to the end of the next request. */
  #proceed(): void {
    while (this.#ahead.length > 0 && this.#serving?.request.complete !== true) {
      // Bytes after the last response are read and dropped, so that the client receives that response.
      if (!this.#socket.writable) return this.#forget();
      const piece = this.#ahead.subarray(0, this.#pieceBytes());
      this.#ahead = this.#ahead.subarray(piece.length);
      this.#parse(piece);
    }
    if (this.#ahead.length > 0) this.#hold();
    else this.#release();
  }

  /** How many bytes to parse next. As far as we can tell, none of them belong to a later request. */
  #pieceBytes(): number {
    const { length } = this.#ahead;
    if (this.#bodyLeft > 0) {
      const bytes = Math.min(this.#bodyLeft, length);
      this.#bodyLeft -= bytes;
      return bytes;
    }
    if (this.#serving !== undefined) return Math.min(PIECE_BYTES_MAX, length);
    // Nothing shorter than this is a request, and parsing pieces of a few bytes is expensive.
    const end = this.#ahead
      .subarray(0, PIECE_BYTES_MAX)
      .indexOf(BLANK_LINE, SHORTEST_REQUEST.length - BLANK_LINE.length);
    return end < 0 ? Math.min(PIECE_BYTES_MAX, length) : end + BLANK_LINE.length;
  }

  #hold(): void {
    if (!this.#holding) this.#held();
    this.#holding = true;
    this.#socket.pause();
  }

  #release(): void {
    if (!this.#holding) return;
    this.#holding = false;
    this.#socket.resume();
  }

  #forget(): void {
    this.#ahead = Buffer.alloc(0);
    this.#waiting.length = 0;
  }
}

/**
 * One request at a time on each connection (contract §10). Node's server parses everything that a client sends ahead and
 * serves all of it at once, however many requests that are: a few hundred kilobytes of them cost a gigabyte of answers.
 * Here the bytes behind a request stay bytes, and the socket is not read, until that request is answered. So a client
 * that pipelines (RFC 9112 §9.3.2) gets its answers in order, and pays for its hurry itself.
 */
import assert from 'node:assert/strict';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The most requests of one connection that are served at a time. */
export const REQUESTS_PER_CONNECTION_MAX = 1;
/** The most bytes of heads, or of a body of unknown length, that are parsed at a time. */
const PIECE_BYTES_MAX = 1_024;
/** Ends a head. */
const BLANK_LINE = '\r\n\r\n';
const SHORTEST_REQUEST = `GET / HTTP/1.1${BLANK_LINE}`;

type Bytes = Buffer<ArrayBuffer>;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

type Serve = (exchange: Exchange) => void;

/**
 * Makes a server serve one request at a time on each connection. Call it when its listeners are in place, before it
 * listens; one for `connect` has to be among them, or to follow. `held` is called each time a connection has to wait with
 * what it sent ahead. Gives back whether an answer on a connection is due or has begun.
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
  // Node would answer these past the connection, all that there are at once; and when it stopped the socket for that,
  // the next bytes would end the process. An expectation that is not known may be ignored (RFC 9110 §10.1.1).
  server.on('checkExpectation', receive);
  const isAnswering = (socket: Socket): boolean => connections.get(socket)?.isAnswering === true;
  // The refusal of one request must not pass for the answer to the one before it.
  const endWhereAnswering = (socket: Socket): void => {
    if (isAnswering(socket)) socket.destroy();
  };
  // Without a listener Node refuses what is not HTTP by itself, and only where no answer has begun.
  if (server.listenerCount('clientError') > 0) {
    server.prependListener('clientError', (_error, socket: Socket) => endWhereAnswering(socket));
  }
  // CONNECT takes the connection from Node's server at once, whatever is still being answered on it.
  server.prependListener('connect', (_request, socket: Socket) => endWhereAnswering(socket));
  return isAnswering;
}

class Connection {
  readonly #socket: Socket;
  readonly #serve: Serve;
  readonly #held: () => void;
  /** Node's own: gives bytes to the parser. */
  readonly #parse: (bytes: Bytes) => void;
  /** Received, and not parsed. At most what the socket had read when it was stopped. */
  #ahead: Bytes = Buffer.alloc(0);
  /** Parsed together with the one that is served: the requests of one piece. */
  readonly #waiting: Exchange[] = [];
  #serving: Exchange | undefined;
  /** What is still to come of the last body that said its length, in bytes. At most a piece too much. */
  #bodyLeft = 0;
  /** Whether the socket is stopped. */
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
    // Reading a body resumes the socket, even where all of that body is there.
    socket.on('resume', () => {
      if (this.#holding) socket.pause();
    });
    socket.once('close', () => this.#forget());
  }

  /** Whether an answer is due, or has begun, to a request that was received whole. */
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
      // Other connections come first: answers that go out at once would never let the event loop turn.
      if (this.#ahead.length > 0 || this.#waiting.length > 0) setImmediate(() => this.#next());
      else this.#next();
    });
    this.#serve(exchange);
  }

  /** After an answer that ends the connection nothing more is served, whatever was sent behind its request. */
  #next(): void {
    this.#serving = undefined;
    if (!this.#socket.writable) return this.#forget();
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#proceed();
    else this.#begin(waiting);
  }

  /** Parses what is there, up to the end of the request that is to be served. */
  #proceed(): void {
    while (this.#ahead.length > 0 && this.#serving?.request.complete !== true) {
      // What comes after the last answer is read, so that the client gets that answer, and dropped.
      if (!this.#socket.writable) return this.#forget();
      const piece = this.#ahead.subarray(0, this.#pieceBytes());
      this.#ahead = this.#ahead.subarray(piece.length);
      this.#parse(piece);
    }
    if (this.#ahead.length > 0) this.#hold();
    else this.#release();
  }

  /** How many of the bytes ahead to parse next: none that belong to a later request, as far as that can be seen. */
  #pieceBytes(): number {
    const { length } = this.#ahead;
    if (this.#bodyLeft > 0) {
      const bytes = Math.min(this.#bodyLeft, length);
      this.#bodyLeft -= bytes;
      return bytes;
    }
    if (this.#serving !== undefined) return Math.min(PIECE_BYTES_MAX, length);
    // Pieces of a few bytes would cost more than what is in them: nothing shorter than this is a request.
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

/** HTTP around the endpoints: routes, limits, request ids and one log line per request. */
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import assert from 'node:assert/strict';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { BODY_BYTES_MAX, refuse, type Refusal } from '@hallpass/protocol';
import type { BoundReached } from '../oauth/limits/bounds.ts';
import { respondRefusal, type Endpoint, type WireRequest, type WireResponse } from '../wire.ts';
import { StoreUnavailable } from '../store/store.ts';
import {
  ConnectionCloser,
  KEEP_ALIVE_MS_MAX,
  LINGER_MS_MAX,
  REQUEST_TIMEOUT_MS,
  UNREAD_ANSWER_MS_MAX,
} from './connection_closing.ts';
import type { Log } from './log.ts';
import type { Answered } from './metrics.ts';
import { serializeRequests } from './pipelining.ts';
import { isOperatorHost } from './operator_hosts.ts';
import { findRepeatedField } from './repeated_fields.ts';
import type { UntrustedProxyDetector } from './untrusted_proxy.ts';

/** Endpoints by path and method. HEAD works wherever GET does. */
export type Routes = Readonly<Record<string, Readonly<Record<string, Endpoint>>>>;

/** A listener that accepts requests. */
export interface Listener {
  /** With the port that it really listens on. */
  readonly url: string;
  /** Keeps serving, and asks each client to use a new connection, which another instance may accept. */
  readonly startDraining: () => void;
  /** Accepts no more requests, ends open streams, and resolves when the last response is sent. */
  readonly close: () => Promise<void>;
}

/** The largest request head, in bytes. */
export const HEADER_BYTES_MAX = 16 * 1024;

/** Serves routes on a host and port. Port 0 takes any free port. Rejects if the port is taken or not allowed. */
export async function listen(
  routes: Routes,
  {
    host,
    port,
    log,
    answered,
    trustedProxies = [],
    untrustedProxy,
    operatorHosts,
    headersOfFailure,
    boundReached = () => undefined,
    requestTimeoutMs = REQUEST_TIMEOUT_MS,
    unreadAnswerMs = UNREAD_ANSWER_MS_MAX,
    lingerMs = LINGER_MS_MAX,
  }: {
    readonly host: string;
    readonly port: number;
    readonly log: Log;
    readonly answered?: (answer: Answered) => void;
    /** The proxies whose X-Forwarded-For is trusted. */
    readonly trustedProxies?: readonly string[];
    /** Looks at each request for a proxy that is not trusted. */
    readonly untrustedProxy?: UntrustedProxyDetector;
    /** For an operator listener: the host names that it answers to besides this machine's. Undefined: any name. */
    readonly operatorHosts?: readonly string[];
    /** Headers for responses that no endpoint made, such as 413: a web page needs CORS headers to read them. */
    readonly headersOfFailure?: (route: string, request: WireRequest) => Promise<WireResponse['headers']>;
    readonly boundReached?: BoundReached;
    readonly requestTimeoutMs?: number;
    readonly unreadAnswerMs?: number;
    readonly lingerMs?: number;
  },
): Promise<Listener> {
  const streams = new Streams();
  let draining = false;
  const app = Fastify({
    bodyLimit: BODY_BYTES_MAX,
    trustProxy: trustedProxies.length > 0 ? [...trustedProxies] : false,
    requestTimeout: requestTimeoutMs,
    connectionTimeout: unreadAnswerMs,
    keepAliveTimeout: KEEP_ALIVE_MS_MAX,
    http: {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: requestTimeoutMs,
      // How often Node checks the timeouts. Its default would give a slow sender half a minute more.
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs),
      // Node would refuse a request without Host in its own words; we do it below in ours.
      requireHostHeader: false,
    },
    forceCloseConnections: 'idle',
    // Requests that have begun to arrive when the server stops are answered like any other.
    return503OnClosing: false,
    genReqId: () => randomUUID(),
    clientErrorHandler: ({ code }, socket) => refuseSocket(socket, refuse('malformed_request', { because: code })),
    frameworkErrors: (error, _request, reply) => void send(reply, respondError(error, log)),
  });
  // Endpoints parse bodies themselves, whatever the Content-Type says.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'none';
    answered?.({ route, status: reply.statusCode, seconds: reply.elapsedTime / 1000, logFields: reply.logFields });
    if (reply.statusCode === 413) boundReached('BODY_BYTES_MAX');
    log.request({ requestId: request.id, method: request.method, route, reply });
  });
  const fail = async (error: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const answer = respondError(error, log);
    const more = await headersOfFailure?.(request.routeOptions.url ?? '', toWire(request, reply, streams));
    return send(reply, { ...answer, headers: { ...answer.headers, ...more } });
  };
  app.setErrorHandler(fail);
  app.addHook('onRequest', async (request, reply) => {
    if (draining) reply.header('connection', 'close');
    if (!isGone(request)) {
      untrustedProxy?.look(request.raw);
      // Read it now: the socket no longer has an address once the connection has ended.
      reply.address = request.ip;
    }
    const repeated = findRepeatedField(request.raw.rawHeaders);
    if (repeated !== undefined)
      return await send(reply, respondRefusal(repeated, { headers: { connection: 'close' } }));
    // RFC 9112 §3.2. HTTP/1.0 does not require one.
    const needsHost = request.raw.httpVersion === '1.1' && request.headers.host === undefined;
    if (needsHost) return await send(reply, respondRefusal(refuse('malformed_request', { because: 'no Host' })));
  });
  if (operatorHosts !== undefined) {
    app.addHook('onRequest', async (request, reply) => {
      const { localAddress } = request.raw.socket;
      if (isOperatorHost(request.headers.host, { names: operatorHosts, localAddress })) return;
      return await send(reply, respondRefusal(refuse('host_not_known')));
    });
  }
  app.setNotFoundHandler((request, reply) => send(reply, respondUnrouted(routes, request.url)));
  for (const [path, methods] of Object.entries(routes)) addRoute(app, path, methods, { streams, fail });
  const isAnswering = serializeRequests(app.server, () => boundReached('REQUESTS_PER_CONNECTION_MAX'));
  app.server.on('timeout', (socket: Socket) => {
    // The same event ends idle connections.
    if (isAnswering(socket)) boundReached('UNREAD_ANSWER_MS_MAX');
    socket.destroy();
  });
  const ends = new ConnectionCloser(app.server, {
    isAnswering,
    lingerMs,
    unreadAnswerMs,
    onUnread: () => boundReached('UNREAD_ANSWER_MS_MAX'),
  });
  /** Answers what never became a request, and ends the connection: nothing behind it may pass for a request. */
  const refuseSocket = (socket: Socket, refusal: Refusal, method?: string): void => {
    if (socket.destroyed || !socket.writable) return;
    const { status, headers, body } = respondRefusal(refusal);
    const requestId = randomUUID();
    const { refused, because } = refusal;
    answered?.({ route: 'none', status, seconds: 0, logFields: { refused } });
    log.refusedConnection({ requestId, status, method, address: socket.remoteAddress, refused, because });
    // RFC 9110 §15.5.6 requires Allow; no method is allowed on what CONNECT names.
    const allow = status === 405 ? { allow: '' } : {};
    ends.linger(socket, printAnswer({ status, headers: { ...headers, ...allow, 'x-request-id': requestId }, body }));
  };
  // RFC 9110 §9.3.6. Without a listener, Node would close the connection silently.
  app.server.on('connect', (request, socket: Socket) => {
    refuseSocket(socket, refuse('method_not_allowed', { because: 'CONNECT' }), request.method);
  });
  // localhost may have two addresses, and Fastify would start a second server, which we could not drain.
  await app.listen({ host: host === 'localhost' ? '127.0.0.1' : host, port });
  const address = app.server.address();
  assert(typeof address === 'object' && address !== null, 'a TCP listener has a port');
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    startDraining: () => {
      draining = true;
    },
    close: async () => {
      draining = true;
      streams.end();
      await ends.endAll(app.close(), () => streams.destroy());
    },
  };
}

function addRoute(
  app: FastifyInstance,
  path: string,
  methods: Readonly<Record<string, Endpoint>>,
  {
    streams,
    fail,
  }: {
    readonly streams: Streams;
    readonly fail: (error: unknown, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;
  },
): void {
  for (const [method, endpoint] of Object.entries(methods)) {
    const handler = async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      // A connection that was reset no longer has an address to count by. Nobody reads the response.
      if (isGone(request)) {
        return send(reply, respondRefusal(refuse('malformed_request', { because: 'the caller has gone' })));
      }
      let answer: WireResponse;
      try {
        answer = await endpoint(toWire(request, reply, streams));
      } catch (error) {
        return await fail(error, request, reply);
      }
      // A HEAD request must not wait for the end of a stream.
      const headOnly = request.method === 'HEAD' && isStream(answer.body);
      return send(reply, headOnly ? { ...answer, body: '' } : answer);
    };
    app.route({ method: method === 'GET' ? ['GET', 'HEAD'] : method, url: path, exposeHeadRoute: false, handler });
  }
}

/** 404, or 405 for a path that exists (RFC 9110 §15.5.6). */
function respondUnrouted(routes: Routes, url: string): WireResponse {
  const path = url.split('?', 1)[0] ?? '';
  const methods = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (methods === undefined) return respondRefusal(refuse('not_found'));
  const allow = Object.keys(methods).flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  return respondRefusal(refuse('method_not_allowed'), { headers: { allow: allow.join(', ') } });
}

function isGone(request: FastifyRequest): boolean {
  return request.raw.socket.remoteAddress === undefined;
}

function toWire(request: FastifyRequest, reply: FastifyReply, streams: Streams): WireRequest {
  const query = request.url.includes('?') ? request.url.slice(request.url.indexOf('?') + 1) : '';
  return {
    method: request.method,
    header: (name) => {
      const value = request.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    query: new URLSearchParams(query),
    address: isGone(request) ? '' : request.ip,
    body: Buffer.isBuffer(request.body) ? request.body : new Uint8Array(),
    untilGone: () => streams.begin(reply),
  };
}

/** Responses that go on until the caller leaves or this server stops. */
class Streams {
  readonly #open = new Map<AbortController, FastifyReply>();
  #ended = false;

  begin(reply: FastifyReply): AbortSignal {
    const controller = new AbortController();
    this.#open.set(controller, reply);
    reply.raw.once('close', () => {
      this.#open.delete(controller);
      controller.abort();
    });
    if (this.#ended) controller.abort();
    return controller.signal;
  }

  end(): void {
    this.#ended = true;
    for (const controller of this.#open.keys()) controller.abort();
  }

  /** Cuts the streams whose readers have stopped reading, which cannot end by themselves. */
  destroy(): void {
    for (const reply of this.#open.values()) reply.raw.destroy();
  }
}

function send(reply: FastifyReply, { status, headers, body, logFields }: WireResponse): FastifyReply {
  void reply
    .code(status)
    .headers({ 'x-request-id': reply.request.id, 'x-content-type-options': 'nosniff', ...headers });
  reply.logFields = logFields;
  // Fastify would label an empty text as text/plain; the raw form leaves the headers as they are.
  if (isStream(body)) return reply.send(Readable.from(body));
  if (Buffer.isBuffer(body)) return reply.send(body);
  return reply.send(body === '' ? undefined : Buffer.from(body));
}

function isStream(body: WireResponse['body']): body is AsyncIterable<string> {
  return typeof body !== 'string' && !Buffer.isBuffer(body);
}

declare module 'fastify' {
  interface FastifyReply {
    logFields?: WireResponse['logFields'];
    /** Where the request came from. Absent if the caller was gone already. */
    address?: string;
  }
}

/** The three kinds of failure: the caller's, an outage, a bug. */
function respondError(error: unknown, log: Log): WireResponse {
  if (error instanceof StoreUnavailable) {
    log.outage(error);
    return respondRefusal(refuse('temporarily_unavailable', { because: error.message }));
  }
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  if (status === 413) return respondRefusal(refuse('body_too_large'), { headers: { connection: 'close' } });
  if (status === 415) return respondRefusal(refuse('unsupported_media_type'));
  if (typeof status === 'number' && status < 500) return respondRefusal(refuse('malformed_request'));
  log.bug(error);
  return respondRefusal(refuse('server_error'));
}

/** A response as HTTP/1.1 text, after which the connection ends. */
function printAnswer({ status, headers, body }: WireResponse): string {
  const text = typeof body === 'string' ? body : '';
  const fields = { ...headers, connection: 'close', 'content-length': Buffer.byteLength(text) };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, ...lines, '', text].join('\r\n');
}

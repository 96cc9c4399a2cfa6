/**
 * An issuer on a real socket. It signs tokens, serves keys, introspection and the revocation feed (contract §2, §9),
 * and misbehaves on request. The guard sees only what a server would send.
 */
import { parseBasic, PATHS, printBase64url, utf8, type Revocation, type SigningAlgorithm } from '@hallpass/protocol';
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export const API = 'https://api.example.com';
export const CREDENTIALS = { clientId: 'api-key', clientSecret: 'not-for-any-log' };
/** Where every clock starts: in the middle of a second, so that rounding errors show. */
const START = Date.UTC(2031, 4, 6, 7, 8, 9, 250);
export const NOW_SECONDS = Math.floor(START / 1000);

/** A clock that stands still until a test moves it. */
export class TestClock {
  #now = START;
  #elapsed = START;
  readonly now = (): number => this.#now;
  readonly elapsed = (): number => this.#elapsed;

  /** Lets time pass. */
  advance(seconds: number): void {
    this.#now += seconds * 1000;
    this.#elapsed += seconds * 1000;
  }

  /** Sets the time of day, forward or back. */
  set(seconds: number): void {
    this.#now += seconds * 1000;
  }
}

export interface SigningKey {
  readonly kid: string;
  readonly alg: SigningAlgorithm;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK & { readonly kid: string };
}

/** A key pair of an issuer. */
export async function makeKey(kid: string, alg: SigningAlgorithm = 'ES256'): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } };
}

let made = 0;

/** A new identifier in the form that tokens and grants have. */
export function makeId(): string {
  made += 1;
  return `01973a00-0000-7000-8000-${made.toString(16).padStart(12, '0')}`;
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A response to use instead of a path's usual one. */
export function answerWith(status: number, body: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
  };
}

type Entry = Revocation & { readonly cursor: string };

export class Issuer {
  readonly keys: SigningKey[];
  /** The `Last-Event-ID` of each feed request, in order. */
  readonly resumed: (string | undefined)[] = [];
  /** The tokens that were introspected. */
  readonly asked: string[] = [];
  /** The tokens that introspection reports as active. */
  readonly active = new Set<string>();
  /** By path, the response to send instead of the usual one. */
  readonly instead = new Map<string, Answer>();
  /** Whether a feed sends a heartbeat when it opens and after each entry. */
  heartbeats = true;
  /** The key set version in heartbeats; undefined for heartbeats without one. */
  keysVersion: string | undefined;
  /** The time in the `Date` of responses, in milliseconds; undefined for responses without it. */
  date: (() => number) | undefined;
  readonly #server: Server;
  readonly #counts = new Map<string, number>();
  readonly #log: Entry[] = [];
  readonly #feeds = new Set<ServerResponse>();
  #openings: (() => void)[] = [];
  #port = 0;

  constructor(keys: readonly SigningKey[]) {
    this.keys = [...keys];
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts listening; the second time on the same port. */
  async open(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.listen(this.#port, '127.0.0.1', resolve);
    });
    const address = this.#server.address();
    assert.ok(typeof address === 'object' && address !== null);
    this.#port = address.port;
  }

  /** Stops, and cuts all connections, until `open`. */
  async shut(): Promise<void> {
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
  }

  /** How often a path was requested. */
  count(path: string): number {
    return this.#counts.get(path) ?? 0;
  }

  /** Valid claims at the tests' time. */
  claims(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
    return {
      iss: this.url,
      sub: 'client-1',
      client_id: 'client-1',
      aud: API,
      iat: NOW_SECONDS,
      exp: NOW_SECONDS + 900,
      jti: makeId(),
      scope: '/accounts.read',
      grant_id: makeId(),
      ...changes,
    };
  }

  /** A signed token. Changing a claim or a header member to `undefined` removes it. */
  async token(
    changes: Readonly<Record<string, unknown>> = {},
    header: Readonly<Record<string, unknown>> = {},
    key: SigningKey | undefined = this.keys[0],
  ): Promise<string> {
    assert.ok(key !== undefined);
    const protectedHeader = { alg: key.alg, kid: key.kid, typ: 'at+jwt', ...header };
    return await new SignJWT(this.claims(changes)).setProtectedHeader(protectedHeader).sign(key.privateKey);
  }

  /** Sends an entry to all open feeds as the server does: the entry, then a heartbeat. */
  revoke(revocation: Omit<Revocation, 'expires_at'> & Partial<Revocation>): void {
    const entry = { cursor: `c${this.#log.length + 1}`, expires_at: NOW_SECONDS + 3_600, ...revocation };
    this.#log.push(entry);
    this.say(printEntry(entry) + this.#pulse());
  }

  heartbeat(): void {
    this.say(this.#printHeartbeat());
  }

  /** Sends any text to all open feeds. */
  say(text: string): void {
    for (const feed of this.#feeds) feed.write(text);
  }

  /** Cuts all feeds. */
  drop(): void {
    for (const feed of this.#feeds) feed.destroy();
  }

  /** Resolves when the next feed opens. */
  opened(): Promise<void> {
    return new Promise((resolve) => {
      this.#openings.push(resolve);
    });
  }

  #pulse(): string {
    return this.heartbeats ? this.#printHeartbeat() : '';
  }

  #printHeartbeat(): string {
    const cursor = `c${this.#log.length}`;
    const data = JSON.stringify({ cursor, keys: this.keysVersion });
    return `event: heartbeat\nid: ${cursor}\ndata: ${data}\n\n`;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '';
    response.sendDate = false;
    if (this.date !== undefined) response.setHeader('date', new Date(this.date()).toUTCString());
    this.#counts.set(path, this.count(path) + 1);
    const instead = this.instead.get(path);
    if (instead !== undefined) return instead(request, response);
    if (path === PATHS.jwks) {
      return answerWith(200, JSON.stringify({ keys: this.keys.map(({ jwk }) => jwk) }))(request, response);
    }
    const { clientId, clientSecret } = parseBasic(request.headers.authorization ?? '') ?? {};
    if (clientId !== CREDENTIALS.clientId || clientSecret !== CREDENTIALS.clientSecret) {
      return answerWith(401, '{"error":"invalid_client"}')(request, response);
    }
    if (path === PATHS.introspect) return this.#introspect(request, response);
    if (path === PATHS.revocations) return this.#feed(request, response);
    if (path === `${PATHS.revocations}?after=`) return this.#page(request, response);
    answerWith(404, '{}')(request, response);
  }

  #introspect(request: IncomingMessage, response: ServerResponse): void {
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece));
    request.on('end', () => {
      const token = new URLSearchParams(body).get('token') ?? '';
      this.asked.push(token);
      answerWith(200, JSON.stringify({ active: this.active.has(token) }))(request, response);
    });
  }

  /** All entries. */
  #page(request: IncomingMessage, response: ServerResponse): void {
    const page = { entries: this.#log, cursor: `c${this.#log.length}`, more: false };
    answerWith(200, JSON.stringify(page))(request, response);
  }

  #feed(request: IncomingMessage, response: ServerResponse): void {
    const after = request.headers['last-event-id'];
    assert.ok(!Array.isArray(after));
    this.resumed.push(after);
    const from = this.#log.findIndex(({ cursor }) => cursor === after) + 1;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    const said = this.#log.slice(from).map(printEntry).join('') + this.#pulse();
    if (said !== '') response.write(said);
    this.#feeds.add(response);
    response.on('close', () => this.#feeds.delete(response));
    for (const resolve of this.#openings.splice(0)) resolve();
  }
}

function printEntry(entry: Entry): string {
  return `event: revocation\nid: ${entry.cursor}\ndata: ${JSON.stringify(entry)}\n\n`;
}

/** A compact JWS of these texts, whatever they are, with these bytes as its signature. */
export function forge(header: unknown, payload: unknown, signature: Uint8Array = new Uint8Array(64)): string {
  const part = (value: unknown): string =>
    printBase64url(utf8(typeof value === 'string' ? value : JSON.stringify(value)));
  return `${part(header)}.${part(payload)}.${printBase64url(signature)}`;
}

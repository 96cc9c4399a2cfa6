/**
 * A real server on real sockets in this process, with a temporary folder and a clock that the test sets. Nothing of ours is
 * mocked; a test may bring its own time and its own faults.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { numericDate, printBasic, type NumericDate } from '@hallpass/protocol';
import { openInstance, type Instance } from '../../packages/server/src/serving/instance.ts';
import { startServer } from '../../packages/server/src/serving/server.ts';
import { readSettings, type Settings } from '../../packages/server/src/serving/settings/settings.ts';
import { openStore } from '../../packages/server/src/serving/stores.ts';
import { systemRandom } from '../../packages/server/src/serving/system.ts';
import type { ServerClock } from '../../packages/server/src/oauth/clock.ts';
import { manageApiKeys, type ApiKeys } from '../../packages/server/src/operator/api_keys.ts';
import { type NewApiKey } from '../../packages/server/src/operator/key_policy.ts';
import type { Client, Store } from '../../packages/server/src/store/store.ts';
import { databaseSettings } from '../postgres/database.ts';
import { assertBodyDescribed, assertDescribed } from './described.ts';

/** Where every clock starts: in the middle of a second, to expose rounding. */
export const START = Date.UTC(2031, 4, 6, 7, 8, 9, 250);
export const GRANT_SECONDS = 30 * 86_400;

/** A clock that stands still until a test, or a `sleep`, lets time pass. `set` changes the time of day without letting any pass. */
export class TestClock implements ServerClock {
  #now = START;
  #elapsed = 0;
  readonly now = (): number => this.#now;
  readonly sleep = async (milliseconds: number): Promise<void> => {
    this.#pass(milliseconds);
  };
  readonly elapsed = (): number => this.#elapsed;

  get seconds(): NumericDate {
    return numericDate(this.#now);
  }

  set(milliseconds: number): void {
    this.#now = milliseconds;
  }

  advance(seconds: number): void {
    this.#pass(Math.round(seconds * 1000));
  }

  #pass(milliseconds: number): void {
    this.#now += milliseconds;
    this.#elapsed += Math.max(0, milliseconds);
  }
}

export interface Key {
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly scope: string;
  readonly expiresIn: number;
}

export type Params = string | Readonly<Record<string, string | readonly string[]>>;

/** A token request that is good for any key of `makeKey`. */
export const ASK = { grant_type: 'client_credentials', scope: '/accounts.write' } as const;

/** Every endpoint that authenticates clients, with parameters that are good. */
export const ENDPOINTS = [
  ['/oauth2/token', ASK],
  ['/oauth2/revoke', { token: 'x' }],
  ['/oauth2/introspect', { token: 'x' }],
] as const;

interface With {
  /** Sent in the Authorization header, as Basic. */
  readonly key?: Key | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Hallpass {
  readonly url: string;
  readonly operatorUrl: string;
  readonly issuer: string;
  readonly folder: string;
  readonly instance: Instance;
  readonly clock: TestClock;
  readonly keys: ApiKeys;
  readonly makeKey: (wanted?: Partial<NewApiKey>) => Promise<Key>;
  /** A key for a guard: it may read the feed and introspect tokens for the issuer, and gets no tokens. */
  readonly makeReader: (wanted?: Partial<NewApiKey>) => Promise<Key>;
  /** The key with its new secret; the one before it works on for the overlap, in milliseconds. */
  readonly rotateSecret: (key: Key, overlap: number) => Promise<Key>;
  /** Changes a key's policy past the commands, with the version that the store wants. */
  readonly changeKey: (key: Key, changes: Partial<Client>) => Promise<void>;
  readonly request: (path: string, init?: RequestInit) => Promise<Answer>;
  readonly form: (path: string, params: Params, more?: With) => Promise<Answer>;
  readonly json: (path: string, value: unknown, more?: With) => Promise<Answer>;
  /** Requests a token by `client_credentials`; `more` replaces or adds parameters. */
  readonly ask: (
    key: Key,
    more?: Readonly<Record<string, string | readonly string[]>>,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Answer>;
  /** Requests a token by `client_credentials`, which must succeed. */
  readonly issue: (
    key: Key,
    scope?: string,
    more?: Readonly<Record<string, string | readonly string[]>>,
  ) => Promise<Tokens>;
  readonly refresh: (key: Key, refreshToken: string, more?: Readonly<Record<string, string>>) => Promise<Answer>;
  readonly revoke: (key: Key, token: string, more?: Readonly<Record<string, string>>) => Promise<Answer>;
  readonly introspect: (key: Key, token: string) => Promise<Answer>;
  readonly isActive: (key: Key, token: string) => Promise<boolean>;
  /** Requests /ping with a bearer token. */
  readonly ping: (accessToken: string) => Promise<Answer>;
  /** Reads a page of the revocation feed. */
  readonly readFeed: (key: Key, cursor?: string, headers?: Readonly<Record<string, string>>) => Promise<Answer>;
  readonly metrics: () => Promise<string>;
  /** The kinds of the events of the grant that an access token belongs to, newest first. */
  readonly eventsOf: (accessToken: string) => Promise<readonly string[]>;
  /** Sends raw bytes on a new connection and returns everything that came back until it was closed. */
  readonly raw: (...pieces: readonly (string | Uint8Array)[]) => Promise<string>;
  readonly close: () => Promise<void>;
}

export interface Options {
  readonly environment?: Readonly<Record<string, string>>;
  /** Starts on the folder of an earlier server. */
  readonly folder?: string;
  readonly clock?: TestClock;
  /** The clock of the database that the store is on, in milliseconds; by default it agrees with the server's. */
  readonly databaseClock?: () => number;
  /** Puts a fault between the server and its store. */
  readonly faulty?: (store: Store) => Store;
}

/** A complete response. */
export class Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;

  constructor(status: number, headers: Headers, text: string) {
    this.status = status;
    this.headers = headers;
    this.text = text;
  }

  get body(): Readonly<Record<string, unknown>> {
    const value: unknown = JSON.parse(this.text);
    assert.ok(typeof value === 'object' && value !== null, `not an object: ${this.text}`);
    return Object.fromEntries(Object.entries(value));
  }

  /** The status and the error code, such as `400 invalid_scope`. */
  get outcome(): string {
    if (this.status < 400) return String(this.status);
    return `${this.status} ${String(this.body['error'])}`;
  }

  /** Everything that a caller can see, except what differs between any two responses. */
  get visible(): string {
    const headers = [...this.headers].filter(([name]) => name !== 'x-request-id' && name !== 'date');
    return JSON.stringify([this.status, headers, this.text]);
  }

  header(name: string): string | undefined {
    return this.headers.get(name) ?? undefined;
  }
}

const SCOPES = ['/accounts.write', '/accounts.read', '/accounts/{accountID}/transfers.read', '/ping.read'];

/** Starts a server. It closes when the test that starts it ends, or else the file, if it is not closed before. */
export async function startHallpass(options: Options = {}): Promise<Hallpass> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'hallpass-test-'));
  const clock = options.clock ?? new TestClock();
  const settings = readSettings({
    HALLPASS_DATA_DIR: folder,
    HALLPASS_HOST: '127.0.0.1',
    HALLPASS_PORT: '0',
    HALLPASS_OPERATOR_PORT: '0',
    HALLPASS_LOG_LEVEL: 'silent',
    // Their own tests set these; everywhere else a test may fail as often as it likes.
    HALLPASS_KEY_REQUESTS_PER_SECOND: '0',
    HALLPASS_KEY_REVOCATIONS_PER_HOUR: '0',
    HALLPASS_ADDRESS_FAILURES_PER_MINUTE: '0',
    ...(await databaseSettings(folder)),
    ...options.environment,
  });
  // A database has its own clock, which is not in the year of these tests.
  const openOnTime = async (from: Settings): Promise<Store> => {
    const store = await openStore(from);
    const { databaseClock = from.databaseUrl === undefined ? undefined : clock.now } = options;
    return databaseClock === undefined ? store : { ...store, readClock: async () => databaseClock() };
  };
  const opened = await openInstance(settings, { clock, random: systemRandom }, openOnTime);
  const instance = { ...opened, store: options.faulty?.(opened.store) ?? opened.store };
  const server = await startServer(instance);
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await server.close();
  };
  after(async () => {
    await close();
    // A folder that was given is its owner's: a server that finds it gone fails its writes.
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true });
  });

  const { url, operatorUrl, issuer } = server;
  // Operators work beside the server: a fault between it and the store does not reach them.
  const keys = manageApiKeys(opened);
  const request: Hallpass['request'] = async (path, init) => {
    const response = await fetch(url + path, { redirect: 'manual', ...init });
    const text = await response.text();
    const { status, headers } = response;
    assertDescribed({ issuer, path, method: init?.method ?? 'GET', status, headers, text });
    return new Answer(status, headers, text);
  };
  const post = async (path: string, type: string, body: string, { key, headers }: With): Promise<Answer> => {
    const answer = await request(path, {
      method: 'POST',
      headers: { 'content-type': type, ...(key === undefined ? {} : { authorization: printBasic(key) }), ...headers },
      body,
    });
    if (answer.status < 300) assertBodyDescribed({ issuer, path, type, body });
    return answer;
  };
  const form: Hallpass['form'] = (path, params, more = {}) =>
    post(path, 'application/x-www-form-urlencoded', printForm(params), more);
  const makeKey: Hallpass['makeKey'] = async (wanted = {}) => {
    const { client, clientSecret } = await keys.create({ name: 'a key', scopes: SCOPES, ...wanted });
    // A key that signs has none.
    return { clientId: client.clientId, clientSecret: clientSecret ?? '' };
  };
  const ask: Hallpass['ask'] = (key, more = {}, headers = {}) =>
    form('/oauth2/token', { ...ASK, ...more }, { key, headers });
  const introspect: Hallpass['introspect'] = (key, token) => form('/oauth2/introspect', { token }, { key });
  return {
    url,
    operatorUrl,
    issuer,
    folder,
    instance,
    clock,
    keys,
    makeKey,
    makeReader: (wanted = {}) => makeKey({ scopes: [], resourceServerFor: [issuer], ...wanted }),
    rotateSecret: async ({ clientId }, overlap) => ({
      clientId,
      clientSecret: demand((await keys.rotateSecret(clientId, overlap)).clientSecret),
    }),
    changeKey: async ({ clientId }, changes) => {
      const client = await opened.store.findClient(clientId);
      assert.ok(client !== undefined, 'a key to change');
      const event = { at: clock.now(), kind: 'key_changed', clientId };
      const changed = { ...client, ...changes, version: client.version + 1 };
      assert.equal(await opened.store.saveClient(changed, { event }), 'saved');
    },
    request,
    form,
    json: (path, value, more = {}) =>
      post(path, 'application/json', typeof value === 'string' ? value : JSON.stringify(value), more),
    ask,
    issue: async (key, scope = ASK.scope, more = {}) => tokensOf(await ask(key, { scope, ...more })),
    refresh: (key, refreshToken, more = {}) =>
      form('/oauth2/token', { grant_type: 'refresh_token', refresh_token: refreshToken, ...more }, { key }),
    revoke: (key, token, more = {}) => form('/oauth2/revoke', { token, ...more }, { key }),
    introspect,
    isActive: async (key, token) => {
      const answer = await introspect(key, token);
      assert.equal(answer.status, 200, answer.text);
      const { active } = answer.body;
      assert.ok(typeof active === 'boolean', 'active is a JSON boolean (RFC 7662 §2.2)');
      // Nothing else is said of a token that is not active.
      if (!active) assert.equal(answer.text, '{"active":false}');
      return active;
    },
    ping: (accessToken) => request('/ping', { headers: { authorization: `Bearer ${accessToken}` } }),
    readFeed: (key, cursor = '', headers = {}) =>
      request(`/oauth2/revocations?after=${encodeURIComponent(cursor)}`, {
        headers: { authorization: printBasic(key), ...headers },
      }),
    metrics: async () => await (await fetch(`${operatorUrl}/metrics`)).text(),
    eventsOf: async (accessToken) => {
      const grant = claimOf(accessToken, 'grant_id');
      const events = await instance.store.listEvents({ limit: 1_000 });
      return events.filter(({ grantId }) => grantId === grant).map(({ kind }) => kind);
    },
    raw: (...pieces) => exchangeRaw(url, pieces),
    close,
  };
}

/** A secret that was made and shown. */
function demand(clientSecret: string | undefined): string {
  assert.ok(clientSecret !== undefined, 'a key with a secret');
  return clientSecret;
}

/** Parameters to a form body; a text goes as it is. */
export function printForm(params: Params): string {
  if (typeof params === 'string') return params;
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const item of typeof value === 'string' ? [value] : value) search.append(name, item);
  }
  return search.toString();
}

/** The tokens in an answer, which must be a good one. */
export function tokensOf(answer: Answer): Tokens {
  assert.equal(answer.status, 200, answer.text);
  const { access_token: accessToken, refresh_token: refreshToken = '', scope, expires_in: expiresIn } = answer.body;
  assert.ok(typeof accessToken === 'string' && typeof refreshToken === 'string');
  assert.ok(typeof scope === 'string' && typeof expiresIn === 'number');
  return { accessToken, refreshToken, scope, expiresIn };
}

interface Family {
  readonly at: Hallpass;
  readonly key: Key;
  readonly scope?: string;
}

/** A grant and its tokens by generation, each refreshed from the one before it. */
export function makeFamily(family: Family, generations: 0): Promise<readonly [Tokens]>;
export function makeFamily(family: Family, generations: 1): Promise<readonly [Tokens, Tokens]>;
export function makeFamily(family: Family, generations: 2): Promise<readonly [Tokens, Tokens, Tokens]>;
export function makeFamily(family: Family, generations: 3): Promise<readonly [Tokens, Tokens, Tokens, Tokens]>;
export function makeFamily(family: Family, generations: number): Promise<readonly Tokens[]>;
export async function makeFamily({ at, key, scope }: Family, generations: number): Promise<readonly Tokens[]> {
  const all = [await at.issue(key, scope)];
  while (all.length <= generations) all.push(tokensOf(await at.refresh(key, all.at(-1)?.refreshToken ?? '')));
  return all;
}

/** The credentials of a key as parameters of a body. */
export function bodyOf({ clientId, clientSecret }: Key): Readonly<Record<'client_id' | 'client_secret', string>> {
  return { client_id: clientId, client_secret: clientSecret };
}

/** The header and the claims of a JWT, not verified. */
export function decode(token: string): {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
} {
  const [header = '', claims = ''] = token.split('.');
  return { header: decodePart(header), claims: decodePart(claims) };
}

function decodePart(part: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  assert.ok(typeof value === 'object' && value !== null);
  return Object.fromEntries(Object.entries(value));
}

/** The text member of a JWT's claims. */
export function claimOf(token: string, name: string): string {
  const value = decode(token).claims[name];
  assert.ok(typeof value === 'string', `${name} is a text`);
  return value;
}

export function basicOf(key: Key): string {
  return printBasic(key);
}

export function exchangeRaw(url: string, pieces: readonly (string | Uint8Array)[]): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname, () => {
      for (const piece of pieces) socket.write(piece);
    });
    const failed = setTimeout(() => {
      socket.destroy();
      reject(new Error(`the connection stayed open after: ${Buffer.concat(chunks).toString()}`));
    }, 5_000);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    // A server that closes on what it will not read resets the connection; what it said before that counts.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(failed);
      resolve(Buffer.concat(chunks).toString('latin1'));
    });
  });
}

/** Waits until a condition holds, and fails after `milliseconds`: for what other processes and sockets do in their own time. */
export async function until(holds: () => Promise<boolean> | boolean, milliseconds = 30_000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!(await holds())) {
    assert.ok(performance.now() < end, `did not come to hold within ${milliseconds} ms`);
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

/** Whether work finishes in time. */
export async function within(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), milliseconds);
  });
  const inTime = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}

/** The guard's HTTP client for its issuer. All time and size limits are here. */
import {
  metadataURL,
  parseJson,
  PATHS,
  printBase64url,
  printBasic,
  printPlainBasic,
  readBody,
  type ClientCredentials,
} from '@hallpass/protocol';
import { nameOf, Outage, Refused } from '../outage.ts';
import { randomBytes, startTimer, uncachedOptions } from '../runtime.ts';

/** The time limit for a response, including its body, in seconds. */
const ANSWER_SECONDS_MAX = 5;
/** The largest response, in bytes. */
const ANSWER_BYTES_MAX = 65_536;
/** The same for a page of the feed: a thousand entries. */
const PAGE_BYTES_MAX = 1_048_576;
/** The size of the id that tells the issuer this guard from others with the same key, in bytes. */
const FOLLOWER_ID_BYTES = 16;

/** How to reach the issuer. */
export interface IssuerClientOptions {
  /** The issuer's address; a path prefix is kept. */
  readonly issuerAddress: string;
  readonly credentials: ClientCredentials;
  readonly fetch: typeof fetch;
  /** Called when a request is sent; the function it returns is called with the response headers. */
  readonly timeAnswer?: () => (headers: Headers) => void;
  /** Aborted when the guard is closed, which ends all requests. */
  readonly closing: AbortSignal;
}

/** Stands for the metadata document, whose path depends on the issuer's path. */
const METADATA = 'its metadata';

const CLOSED = 'The guard was closed.';

/** The issuer's response, whatever its status. */
export interface IssuerAnswer {
  readonly status: number;
  /** The parsed JSON; undefined if the body isn't JSON. */
  readonly body: unknown;
}

/** Sends the requests of one guard to its issuer. */
export class IssuerClient {
  readonly #options: IssuerClientOptions;
  readonly #base: string;
  readonly #metadataURL: string;
  /** Encoded for OAuth endpoints (RFC 6749 §2.3.1), and for the feed, which is a protected resource (RFC 7617). */
  readonly #basic: string;
  readonly #plainBasic: string;
  readonly #uncached = uncachedOptions();
  readonly #followerId = printBase64url(randomBytes(FOLLOWER_ID_BYTES));

  constructor(options: IssuerClientOptions) {
    this.#options = options;
    this.#base = options.issuerAddress.replace(/\/$/, '');
    this.#metadataURL = metadataURL(options.issuerAddress);
    this.#basic = printBasic(options.credentials);
    this.#plainBasic = printPlainBasic(options.credentials);
  }

  /** The issuer's keys as JSON (RFC 7517 §5). Throws `Outage`. */
  fetchKeySet(): Promise<unknown> {
    return this.#fetchJson(PATHS.jwks, { headers: { Accept: 'application/jwk-set+json, application/json' } });
  }

  /**
   * The issuer's metadata as JSON (RFC 8414 §3). The guard ignores the URLs in it: they are the public ones. Throws
   * `Outage`.
   */
  fetchMetadata(): Promise<unknown> {
    return this.#fetchJson(METADATA, { headers: { Accept: 'application/json' } });
  }

  /** The issuer's answer about a token, as JSON (RFC 7662 §2.1). Throws `Outage`. */
  introspect(token: string): Promise<unknown> {
    return this.#fetchJson(PATHS.introspect, {
      method: 'POST',
      headers: { Authorization: this.#basic, Accept: 'application/json' },
      // `fetch` sets the form's Content-Type.
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
    });
  }

  /** Exchanges a caller's key for a token with one scope, for one API (RFC 6749 §4.4, RFC 8707 §2). Throws `Outage`. */
  exchangeKey(
    basic: string,
    {
      scope,
      resource,
      address,
    }: { readonly scope: string; readonly resource: string; readonly address?: string | undefined },
  ): Promise<IssuerAnswer> {
    const body = new URLSearchParams({ grant_type: 'client_credentials', scope, resource });
    return this.#ask(PATHS.token, { method: 'POST', headers: this.#onBehalfOf(basic, address), body });
  }

  /** Checks a caller's key, encoded as in RFC 7617: 200 or 403 if it's valid (contract §2). Throws `Outage`. */
  ping(basic: string, address: string | undefined): Promise<IssuerAnswer> {
    return this.#ask(PATHS.ping, { headers: this.#onBehalfOf(basic, address) });
  }

  /** Opens the feed (contract §9 Feed) after a cursor or from the beginning. */
  async openFeed(cursor: string | undefined, signal: AbortSignal): Promise<Response> {
    const resume = cursor === undefined ? {} : { 'Last-Event-ID': cursor };
    const headers = { ...this.#following('text/event-stream'), ...resume };
    return await this.#fetch(PATHS.revocations, { headers, signal });
  }

  /**
   * A page of the feed as JSON, after a cursor or from the beginning. Also confirms to the issuer that the guard has
   * everything up to the cursor. Throws `Refused` and `Outage`.
   */
  readFeed(cursor: string | undefined): Promise<unknown> {
    const path = `${PATHS.revocations}?after=${cursor ?? ''}`;
    return this.#fetchJson(path, { headers: this.#following('application/json') }, PAGE_BYTES_MAX);
  }

  /**
   * The caller's credentials and address, and our own credentials: without ours the issuer wouldn't trust the address,
   * and would count all our callers' failures as ours (ADR 17).
   */
  #onBehalfOf(basic: string, address: string | undefined): Readonly<Record<string, string>> {
    const headers = { Authorization: basic, Accept: 'application/json', 'Hallpass-Guard': this.#basic };
    return address === undefined || !ADDRESS.test(address) ? headers : { ...headers, 'Hallpass-Caller': address };
  }

  /** Reads a page again without confirming anything: the request has no follower id. */
  rereadFeed(cursor: string | undefined): Promise<unknown> {
    const headers = { Authorization: this.#plainBasic, Accept: 'application/json' };
    return this.#fetchJson(`${PATHS.revocations}?after=${cursor ?? ''}`, { headers }, PAGE_BYTES_MAX);
  }

  #following(accept: string): Readonly<Record<string, string>> {
    return { Authorization: this.#plainBasic, Accept: accept, 'Hallpass-Follower': this.#followerId };
  }

  /**
   * No redirects: someone who could redirect us would get our secret, or could send us their keys. `manual` rather than
   * `error`, because Cloudflare's workers reject `error`; a redirect isn't a 200, so it counts as no answer.
   */
  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const { fetch, timeAnswer } = this.#options;
    const answered = timeAnswer?.();
    const url = path === METADATA ? this.#metadataURL : this.#base + path;
    const response = await fetch(url, { ...init, redirect: 'manual', ...this.#uncached });
    answered?.(response.headers);
    return response;
  }

  async #fetchJson(path: string, init: RequestInit, bytesMax: number = ANSWER_BYTES_MAX): Promise<unknown> {
    const { status, body } = await this.#ask(path, init, bytesMax);
    if (path.startsWith(PATHS.revocations) && (status === 401 || status === 403)) throw new Refused(status);
    if (status !== 200) throw new Outage(`The issuer answered ${path} with ${status}.`);
    if (body === undefined) throw new Outage(`The issuer answered ${path} with something that is not JSON.`);
    return body;
  }

  async #ask(path: string, init: RequestInit, bytesMax: number = ANSWER_BYTES_MAX): Promise<IssuerAnswer> {
    const { closing } = this.#options;
    const ending = new AbortController();
    const end = (): void => {
      ending.abort();
    };
    const cancel = startTimer(ANSWER_SECONDS_MAX * 1000, end);
    closing.addEventListener('abort', end);
    try {
      if (closing.aborted) throw new Outage(CLOSED);
      const response = await this.#fetch(path, { ...init, signal: ending.signal });
      const body = await readBody(response, bytesMax);
      if (body === undefined) throw new Outage(`The issuer's answer is larger than ${bytesMax} bytes.`);
      return { status: response.status, body: parseJson(body) };
    } catch (cause) {
      if (cause instanceof Outage) throw cause;
      if (closing.aborted) throw new Outage(CLOSED);
      const why = ending.signal.aborted ? 'no answer in time' : nameOf(cause);
      throw new Outage(`The issuer could not be asked for ${path}: ${why}.`, { cause });
    } finally {
      cancel();
      closing.removeEventListener('abort', end);
    }
  }
}

/** An IP address, possibly with a port, brackets or a zone. Any other `address` given to `check` isn't sent. */
const ADDRESS = /^[0-9a-z:.%[\]]{2,64}$/i;

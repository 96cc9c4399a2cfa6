/** The guard's line to its issuer: one place that says how long, how much and where to. */
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
import { startTimer, randomBytes } from '../runtime.ts';

/** How long an answer may take, its body included, in seconds. */
const ANSWER_SECONDS_MAX = 5;
/** The largest answer that is read, in bytes. */
const ANSWER_BYTES_MAX = 65_536;
/** The same for a page of the feed: a thousand entries. */
const PAGE_BYTES_MAX = 1_048_576;
/** The length of the name under which the issuer knows this guard from others with its key, in bytes. */
const FOLLOWER_ID_BYTES = 16;

export interface IssuerClientOptions {
  /** Where the issuer is reached; a path prefix is kept. */
  readonly issuerAddress: string;
  readonly credentials: ClientCredentials;
  readonly fetch: typeof fetch;
  /** Called with each question; what it gives is called with the headers of the answer. */
  readonly timeAnswer?: () => (headers: Headers) => void;
  /** Given when the guard is closed: whatever is under way ends. */
  readonly closing: AbortSignal;
}

/** What stands for the metadata, whose place depends on the path of the issuer. */
const METADATA = 'its metadata';

const CLOSED = 'The guard was closed.';

/** What the issuer answered, whatever it was. */
export interface IssuerAnswer {
  readonly status: number;
  /** As JSON; undefined where there is none. */
  readonly body: unknown;
}

export class IssuerClient {
  readonly #options: IssuerClientOptions;
  readonly #base: string;
  readonly #metadataURL: string;
  /** At the endpoints of OAuth (RFC 6749 §2.3.1), and at the feed, a protected resource (RFC 7617). */
  readonly #basic: string;
  readonly #plainBasic: string;
  readonly #followerId = printBase64url(randomBytes(FOLLOWER_ID_BYTES));

  constructor(options: IssuerClientOptions) {
    this.#options = options;
    this.#base = options.issuerAddress.replace(/\/$/, '');
    this.#metadataURL = metadataURL(options.issuerAddress);
    this.#basic = printBasic(options.credentials);
    this.#plainBasic = printPlainBasic(options.credentials);
  }

  /** The issuer's keys, as JSON (RFC 7517 §5). Throws `Outage`. */
  fetchKeySet(): Promise<unknown> {
    return this.#fetchJson(PATHS.jwks, { headers: { Accept: 'application/jwk-set+json, application/json' } });
  }

  /** What the issuer says of itself, as JSON (RFC 8414 §3). The addresses in it are public ones, and are not used. Throws `Outage`. */
  fetchMetadata(): Promise<unknown> {
    return this.#fetchJson(METADATA, { headers: { Accept: 'application/json' } });
  }

  /** What the issuer says of a token, as JSON (RFC 7662 §2.1). Throws `Outage`. */
  introspect(token: string): Promise<unknown> {
    return this.#fetchJson(PATHS.introspect, {
      method: 'POST',
      headers: { Authorization: this.#basic, Accept: 'application/json' },
      // A form by its type: `fetch` labels it.
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
    });
  }

  /** A token for a key that somebody shows us: of one scope, for one API (RFC 6749 §4.4, RFC 8707 §2). Throws `Outage`. */
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

  /** Whether there is such a key, as RFC 7617 has it in `basic`: 200 or 403 if so (contract §2). Throws `Outage`. */
  ping(basic: string, address: string | undefined): Promise<IssuerAnswer> {
    return this.#ask(PATHS.ping, { headers: this.#onBehalfOf(basic, address) });
  }

  /** The open feed (contract §9 Feed), from after a cursor or from the beginning. */
  async openFeed(cursor: string | undefined, signal: AbortSignal): Promise<Response> {
    const resume = cursor === undefined ? {} : { 'Last-Event-ID': cursor };
    const headers = { ...this.#following('text/event-stream'), ...resume };
    return await this.#fetch(PATHS.revocations, { headers, signal });
  }

  /**
   * A page of the feed, as JSON, from after a cursor or from the beginning. It also tells the issuer that everything up to
   * the cursor was taken. Throws `Refused` and `Outage`.
   */
  readFeed(cursor: string | undefined): Promise<unknown> {
    const path = `${PATHS.revocations}?after=${cursor ?? ''}`;
    return this.#fetchJson(path, { headers: this.#following('application/json') }, PAGE_BYTES_MAX);
  }

  /**
   * A caller's credentials, where they come from, and our own: without these the issuer would not believe us, and would
   * count the failures of all our callers as ours (ADR 17).
   */
  #onBehalfOf(basic: string, address: string | undefined): Readonly<Record<string, string>> {
    const headers = { Authorization: basic, Accept: 'application/json', 'Hallpass-Guard': this.#basic };
    return address === undefined || !ADDRESS.test(address) ? headers : { ...headers, 'Hallpass-Caller': address };
  }

  /** The same for a guard that reads once more what it has. It confirms nothing: the issuer is not told who reads. */
  rereadFeed(cursor: string | undefined): Promise<unknown> {
    const headers = { Authorization: this.#plainBasic, Accept: 'application/json' };
    return this.#fetchJson(`${PATHS.revocations}?after=${cursor ?? ''}`, { headers }, PAGE_BYTES_MAX);
  }

  #following(accept: string): Readonly<Record<string, string>> {
    return { Authorization: this.#plainBasic, Accept: accept, 'Hallpass-Follower': this.#followerId };
  }

  /**
   * No redirects: whoever could send us elsewhere would be sent our secret, or would send us its keys. `manual` and not
   * `error`, which Cloudflare's workers refuse; what it gives is no 200, and so no answer.
   */
  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const { fetch, timeAnswer } = this.#options;
    const answered = timeAnswer?.();
    const url = path === METADATA ? this.#metadataURL : this.#base + path;
    const response = await fetch(url, { ...init, redirect: 'manual', cache: 'no-store' });
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

/** An IP address, perhaps with a port, brackets or a zone. Whatever else a caller of `check` gives is not sent. */
const ADDRESS = /^[0-9a-z:.%[\]]{2,64}$/i;

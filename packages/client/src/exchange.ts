/** Sends a request and reads its answer, within limits of time and size, and retries where that is safe. */
import { readBody } from '@hallpass/protocol';
import type { Answer } from './answer.ts';
import { faultOf } from './fetch_fault.ts';
import { privateOptions } from './fetch_options.ts';
import { badArgument, failed, HallpassError } from './hallpass_error.ts';
import { parseServer } from './server_url.ts';
import type { Runtime } from './runtime.ts';

/** The longest `Retry-After` that is waited for, in seconds. Beyond it the caller decides. */
const RETRY_AFTER_SECONDS_MAX = 30;
/** The largest answer, in bytes, after decompression. */
const ANSWER_BYTES_MAX = 64 * 1024;
const TIMEOUT_SECONDS_DEFAULT = 10;
const TIMEOUT_SECONDS_MAX = 600;
const ATTEMPTS_DEFAULT = 3;
const ATTEMPTS_MAX = 10;
const BACKOFF_MILLISECONDS = 250;

/**
 * How often to try after a 503, a 429 with `Retry-After`, a lost connection or a timeout. All of these leave the effect
 * unknown, and it is safe to repeat the same request (contract §3).
 */
export interface RetryOptions {
  /** Attempts in all: 1 never retries. Default: 3. At most 10. */
  readonly attempts?: number | undefined;
}

/** How to reach one server. Holds no secret. */
export interface Connection {
  readonly baseURL: string;
  readonly fetch: typeof globalThis.fetch;
  readonly timeoutSeconds: number;
  readonly attempts: number;
  readonly runtime: Runtime;
}

/** Makes a connection from options. Throws a `HallpassError` with `bad_argument`. */
export function makeConnection(
  options: {
    readonly serverURL: string;
    readonly serverAddress?: string | undefined;
    readonly serverPlaintext?: 'refuse' | 'allow' | undefined;
    readonly fetch?: typeof globalThis.fetch | undefined;
    readonly timeoutSeconds?: number | undefined;
    readonly retry?: RetryOptions | undefined;
  },
  runtime: Runtime,
): Connection {
  const { timeoutSeconds = TIMEOUT_SECONDS_DEFAULT, retry: { attempts = ATTEMPTS_DEFAULT } = {} } = options;
  // A timer beyond its range ends at once, so Infinity would give a request no time at all.
  if (!(timeoutSeconds > 0 && timeoutSeconds <= TIMEOUT_SECONDS_MAX)) {
    throw badArgument(`timeoutSeconds must be above 0 and at most ${TIMEOUT_SECONDS_MAX}.`);
  }
  if (!(Number.isInteger(attempts) && attempts >= 1 && attempts <= ATTEMPTS_MAX)) {
    throw badArgument(`retry.attempts must be a whole number from 1 to ${ATTEMPTS_MAX}.`);
  }
  // Looked up for each request, because a page may replace the global later. A browser's must not be called as a method.
  const fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  return { baseURL: parseServer(options), fetch, timeoutSeconds, attempts, runtime };
}

/** A request, without the server's address. */
export interface Exchange {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A form, as text so that every attempt sends the same bytes. */
  readonly body?: string;
}

/**
 * Sends a request, and repeats it as the options say. Resolves to the last answer, of any status. Rejects with a
 * `HallpassError` when there is no answer.
 */
export async function exchange(connection: Connection, asked: Exchange): Promise<Answer> {
  const { attempts, runtime } = connection;
  for (let attempt = 1; ; attempt++) {
    const outcome = await attemptOnce(connection, asked);
    const wait = attempt < attempts && isWorthRepeating(outcome) ? waitAfter(outcome, attempt, runtime) : undefined;
    if (wait !== undefined) await runtime.sleep(wait);
    else if (outcome instanceof HallpassError) throw outcome;
    else return outcome;
  }
}

function isWorthRepeating(outcome: Answer | HallpassError): boolean {
  if (outcome instanceof HallpassError) return outcome.code === 'timeout' || outcome.code === 'connection_failed';
  const { statusCode, retryAfterSeconds = 0 } = outcome;
  // A retry before the time that the server asks for is refused again, and counts against the key.
  if (retryAfterSeconds > RETRY_AFTER_SECONDS_MAX) return false;
  return statusCode === 503 || (statusCode === 429 && outcome.retryAfterSeconds !== undefined);
}

/** How long to wait, in milliseconds: what the server asks for, plus a growing random time, so that clients do not return all at once. */
function waitAfter(outcome: Answer | HallpassError, attempt: number, { random }: Runtime): number {
  const backoff = BACKOFF_MILLISECONDS * 2 ** (attempt - 1);
  return (outcome.retryAfterSeconds ?? 0) * 1000 + Math.round(backoff * (0.5 + random() / 2));
}

/** Makes one attempt. Resolves to the answer or to the error; never rejects. */
async function attemptOnce(connection: Connection, asked: Exchange): Promise<Answer | HallpassError> {
  const controller = new AbortController();
  let stopTimer: (() => void) | undefined;
  const expired = new Promise<HallpassError>((resolve) => {
    stopTimer = connection.runtime.startTimer(connection.timeoutSeconds * 1000, () => {
      resolve(failed('timeout', { detail: `${connection.timeoutSeconds} s` }));
    });
  });
  try {
    // A race, because a custom `fetch` may ignore its signal.
    const outcome = await Promise.race([send(connection, asked, controller.signal), expired]);
    if (outcome instanceof HallpassError) controller.abort();
    return outcome;
  } catch (error) {
    return faultOf(error, secretsOf(asked));
  } finally {
    stopTimer?.();
  }
}

/** Everything in a request that must not appear in a message. */
function secretsOf({ headers = {}, body = '' }: Exchange): readonly string[] {
  const words = Object.values(headers).flatMap((text) => text.split(' '));
  return [body, ...new URLSearchParams(body).values(), ...words].filter((text) => text !== '');
}

async function send(connection: Connection, asked: Exchange, signal: AbortSignal): Promise<Answer | HallpassError> {
  const { baseURL, fetch, runtime } = connection;
  const { method, path, headers, body } = asked;
  const response = await fetch(baseURL + path, {
    method,
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
    // Credentials must not follow a redirect. `manual` and not `error`, because Cloudflare's workers refuse that.
    redirect: 'manual',
    ...privateOptions(),
    // The referrer policy stays the default: the server checks `Origin`, or without it `Referer` (contract §6).
    signal,
  });
  const { status } = response;
  if (isRedirect(response)) {
    // A browser hides the status.
    const statusCode = status === 0 ? undefined : status;
    return failed('unexpected_answer', { statusCode, detail: 'a redirect, which is never followed' });
  }
  // Some servers send 999, with which no `Response` can be made.
  if (status < 200 || status > 599) return failed('unexpected_answer', { statusCode: status });
  const bytes = await readBody(response, ANSWER_BYTES_MAX);
  if (bytes === undefined) return failed('unexpected_answer', { statusCode: status, detail: 'more than 64 KiB' });
  const retryAfterSeconds = parseRetryAfter(response.headers.get('retry-after'), runtime.now());
  return { statusCode: status, headers: new Headers(response.headers), body: bytes, retryAfterSeconds };
}

function isRedirect({ type, status }: Response): boolean {
  return type === 'opaqueredirect' || (status >= 300 && status < 400);
}

const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Parses `Retry-After` as whole seconds from now, never negative; undefined if it is malformed (RFC 9110 §10.2.3). */
function parseRetryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header);
  const instant = HTTP_DATE.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(instant) ? undefined : Math.max(0, Math.ceil((instant - now) / 1000));
}

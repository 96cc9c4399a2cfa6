/** One request to the server and its answer: within a time, within a size, and again where that is safe. */
import { readBody } from '@hallpass/protocol';
import type { Answer } from './answer.ts';
import { faultOf } from './fetch_fault.ts';
import { privateOptions } from './fetch_options.ts';
import { badArgument, failed, HallpassError } from './hallpass_error.ts';
import { parseServer } from './server_url.ts';
import type { Surroundings } from './surroundings.ts';

/** The longest wait that a server may ask for, in seconds; beyond it the caller decides. */
const RETRY_AFTER_SECONDS_MAX = 30;
/** The largest answer, in bytes, after decompression. */
const ANSWER_BYTES_MAX = 64 * 1024;
const TIMEOUT_SECONDS_DEFAULT = 10;
const TIMEOUT_SECONDS_MAX = 600;
const ATTEMPTS_DEFAULT = 3;
const ATTEMPTS_MAX = 10;
const BACKOFF_MILLISECONDS = 250;

/**
 * Whether to ask again after a 503, a 429 that says when, a lost connection or a timeout. All of these leave the effect
 * unknown, and the same request repeated is safe (contract §3).
 */
export interface RetryOptions {
  /** The first one included: 1 never repeats. Default 3, at most 10. */
  readonly attempts?: number | undefined;
}

/** A server, and the ways to reach it. Holds no secret. */
export interface Connection {
  readonly baseURL: string;
  readonly fetch: typeof globalThis.fetch;
  readonly timeoutSeconds: number;
  readonly attempts: number;
  readonly surroundings: Surroundings;
}

/** Options to a connection. Throws `bad_argument`. */
export function makeConnection(
  options: {
    readonly serverURL: string;
    readonly serverAddress?: string | undefined;
    readonly serverPlaintext?: 'refuse' | 'allow' | undefined;
    readonly fetch?: typeof globalThis.fetch | undefined;
    readonly timeoutSeconds?: number | undefined;
    readonly retry?: RetryOptions | undefined;
  },
  surroundings: Surroundings,
): Connection {
  const { timeoutSeconds = TIMEOUT_SECONDS_DEFAULT, retry: { attempts = ATTEMPTS_DEFAULT } = {} } = options;
  // A timer beyond its range rings at once, so "no limit" would come out as none of the time there is.
  if (!(timeoutSeconds > 0 && timeoutSeconds <= TIMEOUT_SECONDS_MAX)) {
    throw badArgument(`timeoutSeconds must be above 0 and at most ${TIMEOUT_SECONDS_MAX}.`);
  }
  if (!(Number.isInteger(attempts) && attempts >= 1 && attempts <= ATTEMPTS_MAX)) {
    throw badArgument(`retry.attempts must be a whole number from 1 to ${ATTEMPTS_MAX}.`);
  }
  // Looked up when it is needed: a page may replace the global one later, and a browser's must not be called as a method.
  const fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  return { baseURL: parseServer(options), fetch, timeoutSeconds, attempts, surroundings };
}

/** What is asked. */
export interface Exchange {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A form. A text, so that every attempt sends the same bytes. */
  readonly body?: string;
}

/** Asks until there is an answer worth having, of whatever status. Rejects with a `HallpassError` when none comes. */
export async function exchange(connection: Connection, asked: Exchange): Promise<Answer> {
  const { attempts, surroundings } = connection;
  for (let attempt = 1; ; attempt++) {
    const outcome = await attemptOnce(connection, asked);
    const wait =
      attempt < attempts && isWorthRepeating(outcome) ? waitAfter(outcome, attempt, surroundings) : undefined;
    if (wait !== undefined) await surroundings.sleep(wait);
    else if (outcome instanceof HallpassError) throw outcome;
    else return outcome;
  }
}

function isWorthRepeating(outcome: Answer | HallpassError): boolean {
  if (outcome instanceof HallpassError) return outcome.code === 'timeout' || outcome.code === 'connection_failed';
  const { statusCode, retryAfterSeconds = 0 } = outcome;
  // To come back sooner than asked is to be turned away again, and counted.
  if (retryAfterSeconds > RETRY_AFTER_SECONDS_MAX) return false;
  return statusCode === 503 || (statusCode === 429 && outcome.retryAfterSeconds !== undefined);
}

/** In milliseconds: what the server asks for, and a growing, random rest on top, so that clients do not come back as one. */
function waitAfter(outcome: Answer | HallpassError, attempt: number, { random }: Surroundings): number {
  const backoff = BACKOFF_MILLISECONDS * 2 ** (attempt - 1);
  return (outcome.retryAfterSeconds ?? 0) * 1000 + Math.round(backoff * (0.5 + random() / 2));
}

/** One attempt: its answer, or why there is none. Never throws. */
async function attemptOnce(connection: Connection, asked: Exchange): Promise<Answer | HallpassError> {
  const controller = new AbortController();
  let cancelAlarm: (() => void) | undefined;
  const expired = new Promise<HallpassError>((resolve) => {
    cancelAlarm = connection.surroundings.alarm(connection.timeoutSeconds * 1000, () => {
      resolve(failed('timeout', { detail: `${connection.timeoutSeconds} s` }));
    });
  });
  try {
    // A race, because a `fetch` from outside may not heed its signal.
    const outcome = await Promise.race([send(connection, asked, controller.signal), expired]);
    if (outcome instanceof HallpassError) controller.abort();
    return outcome;
  } catch (error) {
    return faultOf(error, secretsOf(asked));
  } finally {
    cancelAlarm?.();
  }
}

/** Whatever a request holds that must be in no message. */
function secretsOf({ headers = {}, body = '' }: Exchange): readonly string[] {
  const words = Object.values(headers).flatMap((text) => text.split(' '));
  return [body, ...new URLSearchParams(body).values(), ...words].filter((text) => text !== '');
}

async function send(connection: Connection, asked: Exchange, signal: AbortSignal): Promise<Answer | HallpassError> {
  const { baseURL, fetch, surroundings } = connection;
  const { method, path, headers, body } = asked;
  const response = await fetch(baseURL + path, {
    method,
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
    // Credentials go where they were sent and nowhere else. `manual` and not `error`, which Cloudflare's workers refuse.
    redirect: 'manual',
    ...privateOptions(),
    // The referrer policy is left alone: the server judges `Origin`, or failing that `Referer` (contract §6).
    signal,
  });
  const { status } = response;
  if (isRedirect(response)) {
    // A browser does not tell its status.
    const statusCode = status === 0 ? undefined : status;
    return failed('unexpected_answer', { statusCode, detail: 'a redirect, which is never followed' });
  }
  // Servers do send 999, and no `Response` can be made with it.
  if (status < 200 || status > 599) return failed('unexpected_answer', { statusCode: status });
  const bytes = await readBody(response, ANSWER_BYTES_MAX);
  if (bytes === undefined) return failed('unexpected_answer', { statusCode: status, detail: 'more than 64 KiB' });
  const retryAfterSeconds = parseRetryAfter(response.headers.get('retry-after'), surroundings.now());
  return { statusCode: status, headers: new Headers(response.headers), body: bytes, retryAfterSeconds };
}

function isRedirect({ type, status }: Response): boolean {
  return type === 'opaqueredirect' || (status >= 300 && status < 400);
}

const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** `Retry-After` to seconds from now, whole and never negative; undefined when it says nothing (RFC 9110 §10.2.3). */
function parseRetryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header);
  const instant = HTTP_DATE.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(instant) ? undefined : Math.max(0, Math.ceil((instant - now) / 1000));
}

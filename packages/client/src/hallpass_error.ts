/** The one error of the SDK. */
import type { ErrorCode } from '@hallpass/protocol';

/** What the SDK itself finds wrong; a server that sends one of these words is not believed. */
const OWN_CODES = ['bad_argument', 'connection_failed', 'timeout', 'tls_failed', 'unexpected_answer'] as const;
type OwnCode = (typeof OWN_CODES)[number];
/** The codes of answers. */
type AnswerCode = ErrorCode;

/** Stable. Any other lower-case word comes from a server that has codes of its own. */
export type HallpassErrorCode = OwnCode | AnswerCode | (string & Record<never, never>);

/** What to do next. */
const ADVICE: Record<AnswerCode | Exclude<OwnCode, 'bad_argument'>, string> = {
  access_denied: 'This API key may not be used from here: add the origin to the key, or call from a listed one.',
  connection_failed:
    'No answer came from the server. Check serverURL and the network; in a browser, whether the API key lists the origin of this page. Repeating the same request is safe.',
  insufficient_scope: 'The access token lacks a scope: create one with the scope that this request needs.',
  invalid_dpop_proof:
    'This API key gets bound tokens only, which this client does not ask for: use a client with DPoP.',
  invalid_client: 'The server does not accept this API key: check clientId and clientSecret.',
  invalid_grant: 'The refresh token is of no use any more: create a token with grantType client_credentials.',
  invalid_request: 'The server could not use the request: correct it as described.',
  invalid_scope: 'This scope cannot be had: ask for scopes that the API key allows.',
  invalid_target: 'This resource cannot be had: ask for one of the audiences of the API key.',
  invalid_token: 'The access token is not good any more: create a new one.',
  method_not_allowed: 'There is no such endpoint here: check serverURL.',
  not_found: 'There is no such endpoint here: check serverURL.',
  rate_limited: 'Too many requests: wait for retryAfterSeconds, then repeat the request.',
  server_error: 'Something went wrong at the server: give its operator the requestId.',
  temporarily_unavailable: 'The server cannot answer now: repeat the same request later, that is safe.',
  timeout: 'The server took too long. Repeat the same request, that is safe, or give it more timeoutSeconds.',
  tls_failed:
    "The server's TLS certificate was not accepted, or it speaks no TLS here. Nothing was sent, and repeating will not help: check serverURL and the certificate; for an authority of your own, set NODE_EXTRA_CA_CERTS.",
  unauthorized_client: 'This API key may not use this grant type: allow it on the key, or use another.',
  unexpected_answer: 'This is not the answer of a Hallpass server: check serverURL, and whether the server is up.',
  use_dpop_nonce: 'The server wants a nonce in the proof of possession: use a client with DPoP.',
  unsupported_grant_type: 'The server does not offer this grant type: use another.',
};

/** What is known about a failure beside its code. */
export interface Failure {
  readonly statusCode?: number | undefined;
  readonly description?: string | undefined;
  readonly rawResponse?: Response | undefined;
  readonly requestId?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
  /** What the system said, without anything of the request. */
  readonly cause?: Error | undefined;
}

/**
 * What every method of the SDK rejects with. Branch on `code`; `message` is for people and says what to do next. No
 * secret and no token is in any member, nor in what printing it shows.
 */
export class HallpassError extends Error {
  override readonly name = 'HallpassError';
  /** The `error` of the answer (RFC 6749 §5.2), or why there was no usable answer. */
  readonly code: HallpassErrorCode;
  readonly statusCode: number | undefined;
  /** The server's words (RFC 6749 §5.2 `error_description`). */
  readonly description: string | undefined;
  /** The answer, its body unread. */
  readonly rawResponse: Response | undefined;
  /** Under which the server's log has the request. */
  readonly requestId: string | undefined;
  /** How long the server asks to be left alone. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: HallpassErrorCode, message: string, failure: Failure = {}) {
    super(message, failure.cause === undefined ? {} : { cause: failure.cause });
    this.code = code;
    this.statusCode = failure.statusCode;
    this.description = failure.description;
    this.rawResponse = failure.rawResponse;
    this.requestId = failure.requestId;
    this.retryAfterSeconds = failure.retryAfterSeconds;
  }

  /** What a structured log should have: the message, which JSON leaves out of errors, and no response. */
  toJSON(): object {
    const { name, code, message, statusCode, description, requestId, retryAfterSeconds } = this;
    return { name, code, message, statusCode, description, requestId, retryAfterSeconds };
  }
}

/** A call that cannot work. The message names the argument, never its value. */
export function badArgument(message: string): HallpassError {
  return new HallpassError('bad_argument', message);
}

/** A failure on the way or at the server. */
export function failed(
  code: HallpassErrorCode,
  failure: Failure & { readonly detail?: string | undefined } = {},
): HallpassError {
  const status = failure.statusCode === undefined ? '' : `, status ${failure.statusCode}`;
  const detail = failure.detail === undefined ? '' : `, ${failure.detail}`;
  const said = failure.description === undefined ? '' : ` The server says: ${failure.description}`;
  return new HallpassError(code, `${adviceOn(code)} (${code}${status}${detail})${said}`, failure);
}

function adviceOn(code: string): string {
  const advice = new Map<string, string>(Object.entries(ADVICE)).get(code);
  return advice ?? 'The server refused the request: look its error code up in the documentation.';
}

/** Whether a code is one that this client has its own words for. */
export function hasAdvice(code: string): boolean {
  return Object.hasOwn(ADVICE, code);
}

/** Whether a word from outside may be the code of an error: lower case, short, and none of our own. */
export function isAnswerCode(word: string): boolean {
  return /^[a-z][a-z_]{0,63}$/.test(word) && !OWN_CODES.some((own) => own === word);
}

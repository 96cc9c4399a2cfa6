/** The error of the SDK, and what it advises for each code. */
import type { ErrorCode } from '@hallpass/protocol';

/** The codes that only the SDK sets. An answer with one of them is not believed. */
const OWN_CODES = ['bad_argument', 'connection_failed', 'timeout', 'tls_failed', 'unexpected_answer'] as const;
type OwnCode = (typeof OWN_CODES)[number];
/** The codes that answers have. */
type AnswerCode = ErrorCode;

/** A stable code. Any other lower-case word comes from a server with additional codes. */
export type HallpassErrorCode = OwnCode | AnswerCode | (string & Record<never, never>);

/** What the caller should do next, for each code. */
const ADVICE: Record<AnswerCode | Exclude<OwnCode, 'bad_argument'>, string> = {
  access_denied: 'This API key cannot be used from this origin: add the origin to the key, or call from a listed one.',
  connection_failed:
    'No answer came from the server. Check serverURL and the network; in a browser, check that the API key lists the origin of this page. It is safe to repeat the same request.',
  insufficient_scope: 'The access token lacks a scope: create one with the scope that this request needs.',
  invalid_dpop_proof:
    'This API key only gets tokens bound with DPoP, which this client does not support: use a client with DPoP.',
  invalid_client: 'The server does not accept this API key: check clientId and clientSecret.',
  invalid_grant: 'The refresh token is no longer valid: create a token with grantType client_credentials.',
  invalid_request: 'The server could not use the request: correct it as described.',
  invalid_scope: 'This scope is not available: ask for scopes that the API key allows.',
  invalid_target: 'This resource is not available: ask for one of the audiences of the API key.',
  invalid_token: 'The access token is no longer valid: create a new one.',
  method_not_allowed: 'There is no such endpoint here: check serverURL.',
  not_found: 'There is no such endpoint here: check serverURL.',
  rate_limited: 'Too many requests: wait for retryAfterSeconds, then repeat the request.',
  server_error: 'Something went wrong on the server: give its operator the requestId.',
  temporarily_unavailable: 'The server is temporarily unavailable. It is safe to repeat the same request later.',
  timeout:
    'The server took too long. It is safe to repeat the same request; if this happens often, raise timeoutSeconds.',
  tls_failed:
    "The server's TLS certificate was not accepted, or the server does not speak TLS here. Nothing was sent, and a retry will not help: check serverURL and the certificate. For a private certificate authority, set NODE_EXTRA_CA_CERTS.",
  unauthorized_client: 'This API key cannot use this grant type: allow it on the key, or use another.',
  unexpected_answer:
    'The answer did not come from a Hallpass server: check serverURL, and whether the server is running.',
  use_dpop_nonce: 'The server requires a nonce in a proof of possession: use a client with DPoP.',
  unsupported_grant_type: 'The server does not support this grant type: use another.',
};

/** What is known about a failure besides its code. */
export interface Failure {
  readonly statusCode?: number | undefined;
  readonly description?: string | undefined;
  readonly rawResponse?: Response | undefined;
  readonly requestId?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
  /** The error of the runtime, without anything from the request. */
  readonly cause?: Error | undefined;
}

/**
 * What every method of the SDK rejects with. Branch on `code`; `message` is for people and says what to do next. No
 * member holds a secret or a token, and printing the error shows none.
 */
export class HallpassError extends Error {
  override readonly name = 'HallpassError';
  /** The `error` of the answer (RFC 6749 §5.2), or why there was no usable answer. */
  readonly code: HallpassErrorCode;
  /** The HTTP status, if there was an answer. */
  readonly statusCode: number | undefined;
  /** The server's description (RFC 6749 §5.2 `error_description`). */
  readonly description: string | undefined;
  /** The answer, with an unread body. */
  readonly rawResponse: Response | undefined;
  /** The id of the request in the server's log. */
  readonly requestId: string | undefined;
  /** How long the server asks you to wait. */
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

  /** For structured logs: includes the message, which JSON leaves out of errors, and leaves out the response. */
  toJSON(): object {
    const { name, code, message, statusCode, description, requestId, retryAfterSeconds } = this;
    return { name, code, message, statusCode, description, requestId, retryAfterSeconds };
  }
}

/** Makes the error for a call that cannot work. The message must name the argument, never its value. */
export function badArgument(message: string): HallpassError {
  return new HallpassError('bad_argument', message);
}

/** Makes the error for a failure of the connection or the server, with the advice for its code. */
export function failed(
  code: HallpassErrorCode,
  failure: Failure & { readonly detail?: string | undefined } = {},
): HallpassError {
  const status = failure.statusCode === undefined ? '' : `, status ${failure.statusCode}`;
  const detail = failure.detail === undefined ? '' : `, ${failure.detail}`;
  const description = failure.description === undefined ? '' : ` The server says: ${failure.description}`;
  return new HallpassError(code, `${adviceOn(code)} (${code}${status}${detail})${description}`, failure);
}

function adviceOn(code: string): string {
  const advice = new Map<string, string>(Object.entries(ADVICE)).get(code);
  return advice ?? 'The server refused the request: look up its error code in the documentation.';
}

/** Whether this client has advice for a code. */
export function hasAdvice(code: string): boolean {
  return Object.hasOwn(ADVICE, code);
}

/** Whether a server may use a word as an error code: lower case, short, and not one that only the SDK sets. */
export function isAnswerCode(word: string): boolean {
  return /^[a-z][a-z_]{0,63}$/.test(word) && !OWN_CODES.some((own) => own === word);
}

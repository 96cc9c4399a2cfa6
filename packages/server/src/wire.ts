/** Requests and responses without a framework: what every endpoint takes and returns. The ground under all other rooms. */
import {
  GRANT_TYPES,
  printRefusal,
  type Dialect,
  type Parameters,
  type Refusal,
  type RefusalReason,
} from '@hallpass/protocol';

/** A request, read from the network. */
export interface WireRequest {
  readonly method: string;
  /** The value of a header, by its lower-case name; undefined if it is absent. */
  readonly header: (name: string) => string | undefined;
  readonly query: URLSearchParams;
  /** The caller's IP address. */
  readonly address: string;
  readonly body: Uint8Array;
  /** Aborted when the caller has gone or the server is closing. For responses that do not end by themselves. */
  readonly untilGone: () => AbortSignal;
}

/** A response, not yet sent. */
export interface WireResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes are sent unchanged, so that a document can be printed once for all responses. */
  readonly body: string | Buffer | AsyncIterable<string>;
  /** For the log and the metrics: which client asked for what, and why it was refused. */
  readonly logFields?: LogFields;
}

/** What the log says about a response, beside the request line. Never a secret: every text from outside is screened first. */
export interface LogFields {
  /** The client that was authenticated. */
  readonly clientId?: string;
  /** One of `GRANT_TYPES`, or `other`. */
  readonly grantType?: string;
  readonly refused?: RefusalReason;
  /** The private reason of a refusal. */
  readonly because?: string;
  /** The scope that was refused. */
  readonly scope?: string;
  /** The client that a request claimed to be from, if it was not authenticated. */
  readonly claimedClientId?: string;
}

/** What answers one method on one path. Rejects with `StoreUnavailable` during an outage, which becomes a 503. */
export type Endpoint = (request: WireRequest) => Promise<WireResponse>;

/** How long a client should wait before it repeats a request that met an outage, in seconds. */
const RETRY_AFTER_SECONDS = 1;

/** OAuth responses are for one caller and one moment (RFC 6749 §5.1). */
export const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' } as const;

/** A response with a JSON document, never cached unless the headers say otherwise. */
export function respondJson(status: number, document: unknown, headers: WireResponse['headers'] = {}): WireResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', ...NO_STORE, ...headers },
    body: JSON.stringify(document),
  };
}

/**
 * The response to a refusal. One of two places where the dialects differ (contract §3): a missing required parameter is a
 * 400 to a form, and to JSON a 422 with a member named after the parameter.
 */
export function respondRefusal(
  refusal: Refusal,
  {
    dialect,
    headers = {},
  }: { readonly dialect?: Dialect | undefined; readonly headers?: WireResponse['headers'] } = {},
): WireResponse {
  const { status, body, field } = printRefusal(refusal);
  const seconds = refusal.retryAfterSeconds ?? (status === 503 ? RETRY_AFTER_SECONDS : undefined);
  const retry: WireResponse['headers'] = {
    ...(seconds === undefined ? {} : { 'retry-after': String(seconds) }),
    // RFC 9110 §15.5.16: the codings that are supported.
    ...(refusal.refused === 'unsupported_content_coding' ? { 'accept-encoding': 'identity' } : {}),
  };
  const answer =
    field !== undefined && dialect === 'json'
      ? respondJson(422, { ...body, [field]: body.error_description }, { ...retry, ...headers })
      : respondJson(status, body, { ...retry, ...headers });
  return withLogFields(answer, logFieldsOf(refusal));
}

/** The refusals whose subject is a well-formed scope. A malformed one is not logged: it could be anything. */
const NAME_A_SCOPE: ReadonlySet<string> = new Set<RefusalReason>([
  'unfilled_scope',
  'scope_not_allowed',
  'scope_not_granted',
  'scope_not_in_subject',
  'insufficient_scope',
]);

function logFieldsOf({ refused, because, subject, claimedClientId }: Refusal): LogFields {
  return {
    refused,
    ...(because === undefined ? {} : { because }),
    ...(subject !== undefined && NAME_A_SCOPE.has(refused) ? { scope: subject } : {}),
    ...(claimedClientId === undefined ? {} : { claimedClientId }),
  };
}

/** The grant that a request asks for, if the log may hold it: any other text could be a misplaced secret. */
export function grantTypeOf({ values }: Parameters): Pick<LogFields, 'grantType'> {
  const asked = values.get('grant_type');
  if (asked === undefined) return {};
  return { grantType: GRANT_TYPES.find((offered) => offered === asked) ?? 'other' };
}

/** The response to a successful revocation: the other place where the dialects differ (contract §4). */
export function respondRevoked(dialect: Dialect, headers: WireResponse['headers']): WireResponse {
  if (dialect === 'form') return respondJson(200, {}, headers);
  return { status: 204, headers: { 'content-type': 'application/json', ...NO_STORE, ...headers }, body: '' };
}

/** The same response with more fields for its log line. */
export function withLogFields(response: WireResponse, logFields: LogFields): WireResponse {
  return { ...response, logFields: { ...response.logFields, ...logFields } };
}

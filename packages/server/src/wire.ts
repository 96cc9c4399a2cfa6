/** Requests and answers without a framework: what every endpoint takes and gives. */
import {
  GRANT_TYPES,
  printRefusal,
  type Dialect,
  type Parameters,
  type Refusal,
  type RefusalReason,
} from '@hallpass/protocol';

export interface WireRequest {
  readonly method: string;
  /** The value of a header, by its lower-case name. */
  readonly header: (name: string) => string | undefined;
  readonly query: URLSearchParams;
  /** The network address of the caller. */
  readonly address: string;
  readonly body: Uint8Array;
  /** A signal that is aborted when the caller has gone or the server is about to; for answers that do not end by themselves. */
  readonly untilGone: () => AbortSignal;
}

export interface WireResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes are sent as they are, so that a document may be printed once for all answers. */
  readonly body: string | Buffer | AsyncIterable<string>;
  /** For the log and the metrics: who asked for what, and why not. */
  readonly logFields?: LogFields;
}

/** What is logged of an answer, beside its request. Never a secret: each text from outside is screened before it comes here. */
export interface LogFields {
  /** Who was authenticated. */
  readonly clientId?: string;
  /** One of `GRANT_TYPES`, or `other`. */
  readonly grantType?: string;
  readonly refused?: RefusalReason;
  readonly because?: string;
  /** The scope that was refused. */
  readonly scope?: string;
  /** Who a request that was not authenticated says it is from. */
  readonly claimedClientId?: string;
}

export type Endpoint = (request: WireRequest) => Promise<WireResponse>;

/** How long a client should wait before it repeats what could not be answered, in seconds. */
const RETRY_AFTER_SECONDS = 1;

/** OAuth answers are for one caller and one moment (RFC 6749 §5.1). */
export const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' } as const;

/** An answer with a JSON document. */
export function respondJson(status: number, document: unknown, headers: WireResponse['headers'] = {}): WireResponse {
  return {
    status,
    headers: { 'content-type': 'application/json', ...NO_STORE, ...headers },
    body: JSON.stringify(document),
  };
}

/**
 * The answer to a refusal. One of the two places where the dialects differ (contract §3): a required parameter that is
 * missing is a 400 for a form, and for JSON a 422 with a member named like the parameter.
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
    // RFC 9110 §15.5.16: which codings would have been read.
    ...(refusal.refused === 'unsupported_content_coding' ? { 'accept-encoding': 'identity' } : {}),
  };
  const answer =
    field !== undefined && dialect === 'json'
      ? respondJson(422, { ...body, [field]: body.error_description }, { ...retry, ...headers })
      : respondJson(status, body, { ...retry, ...headers });
  return withLogFields(answer, logFieldsOf(refusal));
}

/** The refusals whose subject is a well-formed scope. A malformed one is for its sender alone: it could be anything. */
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

/** The grant that a request asks for, as far as a log may hold it: what else stands there could be a secret that slipped. */
export function grantTypeOf({ values }: Parameters): Pick<LogFields, 'grantType'> {
  const asked = values.get('grant_type');
  if (asked === undefined) return {};
  return { grantType: GRANT_TYPES.find((offered) => offered === asked) ?? 'other' };
}

/** The answer to a successful revocation: the other place where the dialects differ (contract §4). */
export function respondRevoked(dialect: Dialect, headers: WireResponse['headers']): WireResponse {
  if (dialect === 'form') return respondJson(200, {}, headers);
  return { status: 204, headers: { 'content-type': 'application/json', ...NO_STORE, ...headers }, body: '' };
}

/** The same answer with more for the log. */
export function withLogFields(response: WireResponse, logFields: LogFields): WireResponse {
  return { ...response, logFields: { ...response.logFields, ...logFields } };
}

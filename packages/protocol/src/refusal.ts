/**
 * The table of refusals: one row for each reason, with its public words (RFC 6749 §5.2, RFC 6750 §3.1, RFC 8707 §2,
 * RFC 9449 §5). The private detail (`because`) goes to the log and the audit, never to the caller.
 */

/** The `error` codes on the wire, each with the reasons that use it in the table below. */
export type ErrorCode =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'access_denied'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  | 'rate_limited'
  | 'invalid_token'
  | 'insufficient_scope'
  | 'not_found'
  | 'method_not_allowed'
  | 'temporarily_unavailable'
  | 'server_error';

interface Row {
  readonly status: number;
  readonly error: ErrorCode;
  /**
   * For the developer of the caller: what is wrong, and what to do. Printable ASCII without `"` and `\`. Where a subject is
   * appended (`: subject`), it ends without a full stop.
   */
  readonly description: string;
  /** The required parameter that is missing; the JSON dialect answers 422 and names it (contract §3). */
  readonly field?: string;
}

const ROWS = {
  // The body
  body_too_large: {
    status: 413,
    error: 'invalid_request',
    description: 'The body is larger than 16 KiB. Send fewer or shorter parameters.',
  },
  unsupported_media_type: {
    status: 415,
    error: 'invalid_request',
    description: 'Send the parameters as application/x-www-form-urlencoded or application/json.',
  },
  unsupported_charset: {
    status: 415,
    error: 'invalid_request',
    description: 'Bodies are read as UTF-8. In Content-Type send charset=utf-8 once, or no charset. The request has',
  },
  unsupported_content_coding: {
    status: 415,
    error: 'invalid_request',
    description: 'Send the body without Content-Encoding. This coding is not supported',
  },
  malformed_body: {
    status: 400,
    error: 'invalid_request',
    description: 'The body could not be read. Check its percent-encoding, its UTF-8 or its JSON.',
  },
  too_many_parameters: {
    status: 400,
    error: 'invalid_request',
    description: 'The body has more than 64 parameters.',
  },
  repeated_parameter: {
    status: 400,
    error: 'invalid_request',
    description: 'Send each parameter once; only resource may repeat. This one is repeated',
  },
  malformed_parameter: {
    status: 400,
    error: 'invalid_request',
    description:
      'A value must be a string of valid Unicode; only resource may be an array of strings. The malformed parameter is',
  },
  malformed_wait: {
    status: 400,
    error: 'invalid_request',
    description: 'The query parameter wait must be a whole number of seconds from 0 to 10, given once.',
  },

  // Client authentication
  authentication_failed: {
    status: 401,
    error: 'invalid_client',
    description: 'Client authentication failed. Check client_id and client_secret.',
  },
  conflicting_credentials: {
    status: 400,
    error: 'invalid_request',
    description:
      'The Authorization header and the body hold different credentials. Send only one of them, or the same in both.',
  },
  malformed_assertion: {
    status: 400,
    error: 'invalid_request',
    description:
      'Send client_assertion together with client_assertion_type, and without a secret. The type is urn:ietf:params:oauth:client-assertion-type:jwt-bearer.',
  },
  dpop_required: {
    status: 400,
    error: 'invalid_dpop_proof',
    description: 'This API key only gets sender-constrained tokens. Send a DPoP header with a proof.',
  },
  dpop_proof_not_good: {
    status: 400,
    error: 'invalid_dpop_proof',
    description:
      'The DPoP proof is malformed, was already used, or does not fit this request. Make a new one for each request.',
  },
  dpop_nonce_wanted: {
    status: 400,
    error: 'use_dpop_nonce',
    description:
      'The DPoP proof needs the nonce from the DPoP-Nonce header. Make a new one with it and repeat the request.',
  },
  rate_limited: {
    status: 429,
    error: 'rate_limited',
    description: 'Too many requests. Wait for the number of seconds in Retry-After, then send requests more slowly.',
  },
  origin_not_allowed: {
    status: 403,
    error: 'access_denied',
    description: 'This API key cannot be used from this origin.',
  },

  // The grant
  missing_grant_type: {
    status: 400,
    error: 'invalid_request',
    description: 'grant_type is required: client_credentials or refresh_token, for example.',
  },
  unsupported_grant_type: {
    status: 400,
    error: 'unsupported_grant_type',
    description: 'This grant_type is not supported. The metadata of this server lists the supported ones.',
  },
  grant_not_allowed: {
    status: 400,
    error: 'unauthorized_client',
    description: 'This API key cannot use this grant_type.',
  },
  missing_scope: {
    status: 400,
    error: 'invalid_scope',
    description: 'scope is required, because this API key has no default scope.',
    field: 'scope',
  },
  malformed_scope: {
    status: 400,
    error: 'invalid_scope',
    description:
      'A scope is a path with a verb, such as /accounts.write; separate several with single spaces. This is malformed',
  },
  scope_value_not_allowed: {
    status: 400,
    error: 'invalid_scope',
    description:
      'A segment of this scope has characters that scopes cannot hold. A segment has up to 128 ASCII letters, digits, and _ ~ -, with single dots inside. E-mail addresses, URNs and percent-encoding do not fit. The scope is',
  },
  unfilled_scope: {
    status: 400,
    error: 'invalid_scope',
    description: 'A scope still has a {parameter}. Replace it with a value',
  },
  scope_not_allowed: {
    status: 400,
    error: 'invalid_scope',
    description: 'This API key is not allowed this scope',
  },
  scope_not_granted: {
    status: 400,
    error: 'invalid_scope',
    description: 'A refresh can only ask for scopes that were granted, and this one was not',
  },
  no_scope_left: {
    status: 400,
    error: 'invalid_scope',
    description: 'This API key no longer has any scope of this grant. Ask for a new token.',
  },
  token_too_long: {
    status: 400,
    error: 'invalid_scope',
    description: 'A token with all of these scopes and resources would be too long. Ask for fewer of them.',
  },
  target_not_allowed: {
    status: 400,
    error: 'invalid_target',
    description: 'This resource is not an audience of this API key, or is not an absolute URI without a fragment.',
  },
  missing_refresh_token: {
    status: 400,
    error: 'invalid_request',
    description: 'refresh_token is required with grant_type=refresh_token.',
    field: 'refresh_token',
  },
  refresh_token_not_good: {
    status: 400,
    error: 'invalid_grant',
    description: 'The refresh token is invalid, expired, revoked or already used. Ask for a new token.',
  },

  // Token exchange
  missing_subject_token: {
    status: 400,
    error: 'invalid_request',
    description: 'subject_token and subject_token_type are required with token exchange.',
  },
  exchange_not_offered: {
    status: 400,
    error: 'invalid_request',
    description:
      'Token exchange accepts and issues only access tokens (urn:ietf:params:oauth:token-type:access_token), without an actor.',
  },
  subject_token_not_good: {
    status: 400,
    error: 'invalid_request',
    description: 'The subject_token is invalid, expired, revoked, or was not issued to this client.',
  },
  scope_not_in_subject: {
    status: 400,
    error: 'invalid_scope',
    description: 'Token exchange can only ask for scopes of the subject_token, which does not have this one',
  },

  // Revocation and introspection
  missing_token: {
    status: 400,
    error: 'invalid_request',
    description: 'token is required.',
    field: 'token',
  },
  token_of_another_client: {
    status: 400,
    error: 'invalid_request',
    description: 'This token was issued to another client.',
  },

  // A protected resource, RFC 6750 §3.1
  malformed_credentials: {
    status: 400,
    error: 'invalid_request',
    description: 'The Authorization header is malformed. Send one access token: Authorization: Bearer TOKEN.',
  },
  missing_credentials: {
    status: 401,
    error: 'invalid_token',
    description: 'An access token is required. Send it as Authorization: Bearer TOKEN.',
  },
  token_not_good: {
    status: 401,
    error: 'invalid_token',
    description: 'The access token is invalid, expired, revoked or meant for another API. Ask for a new token.',
  },
  token_of_another_issuer: {
    status: 401,
    error: 'invalid_token',
    description: 'The issuer (iss) of the access token is not the one that this API accepts tokens from.',
  },
  token_for_another_audience: {
    status: 401,
    error: 'invalid_token',
    description:
      'The access token is meant for another API. Ask for a token with this audience, if necessary with the parameter resource',
  },
  token_expired: {
    status: 401,
    error: 'invalid_token',
    description: 'The access token has expired. Ask for a new one.',
  },
  clock_differs: {
    status: 401,
    error: 'invalid_token',
    description:
      'The clocks of this API and of the issuer differ too much to accept this access token. A new token would be refused too, until the clock is corrected.',
  },
  token_is_bound: {
    status: 401,
    error: 'invalid_token',
    description:
      'The access token is bound to a key. Send it as Authorization: DPoP TOKEN, with a proof in the DPoP header.',
  },
  resource_proof_not_good: {
    status: 401,
    error: 'invalid_dpop_proof',
    description: 'The DPoP proof is missing, malformed, was already used, or does not fit this request and token.',
  },
  resource_nonce_wanted: {
    status: 401,
    error: 'use_dpop_nonce',
    description:
      'The DPoP proof needs the nonce from the DPoP-Nonce header. Make a new one with it and repeat the request.',
  },
  insufficient_scope: {
    status: 403,
    error: 'insufficient_scope',
    description: 'The access token lacks a scope that this request needs',
  },
  not_a_resource_server: {
    status: 403,
    error: 'insufficient_scope',
    description:
      'Only the key of a resource server can read the revocation feed. Ask the operator for a key made with --resource-server.',
  },
  route_not_allowed: {
    status: 403,
    error: 'insufficient_scope',
    description: 'No scope opens this route: it is not in the policy of this API.',
  },
  value_not_allowed: {
    status: 403,
    error: 'insufficient_scope',
    description:
      'No scope opens this path, because a value in it cannot be part of a scope. A value has up to 128 ASCII letters, digits, and _ ~ -, with single dots inside. The parameter is',
  },
  malformed_path: {
    status: 400,
    error: 'invalid_request',
    description: 'The path of the request is ambiguous. Dot segments, empty segments and encoded slashes are refused.',
  },

  override: {
    status: 400,
    error: 'invalid_request',
    description: 'This API does not accept overrides of the method or the path of a request. Remove this',
  },
  look_alike_field: {
    status: 400,
    error: 'invalid_request',
    description: 'A header name looks like one of X-Hallpass, with another character in place of a hyphen.',
  },
  upgrade_not_offered: {
    status: 400,
    error: 'invalid_request',
    description: 'This route does not support upgrades. Send the request without the Upgrade header.',
  },

  // HTTP
  repeated_field: {
    status: 400,
    error: 'invalid_request',
    description: 'This header may be sent only once, and was repeated',
  },
  not_found: { status: 404, error: 'not_found', description: 'There is nothing at this path.' },
  method_not_allowed: {
    status: 405,
    error: 'method_not_allowed',
    description: 'This method is not allowed here. The Allow header lists the allowed ones.',
  },
  host_not_known: {
    status: 421,
    error: 'invalid_request',
    description: 'This listener does not accept the name in Host. Use localhost, or configure the name.',
  },
  malformed_request: { status: 400, error: 'invalid_request', description: 'The request could not be read.' },

  // The server itself
  temporarily_unavailable: {
    status: 503,
    error: 'temporarily_unavailable',
    description:
      'The service is temporarily unavailable. It is safe to repeat the same request after the time in Retry-After.',
  },
  server_error: {
    status: 500,
    error: 'server_error',
    description: 'Something went wrong on the server. Give the x-request-id header of this answer to the operator.',
  },
} as const satisfies Record<string, Row>;

/** Why a request can be refused: a row of the table. */
export type RefusalReason = keyof typeof ROWS;

// oxlint-disable-next-line no-unsafe-type-assertion -- the keys of the table above
const REASONS = Object.keys(ROWS) as readonly RefusalReason[];

/** A refused request. A value, never thrown: an outage is an exception, a refusal is not. */
export interface Refusal {
  readonly refused: RefusalReason;
  /** The part of the request that the refusal is about, such as the missing scope. Appended to the description. */
  readonly subject?: string;
  /** When to try again, if known. */
  readonly retryAfterSeconds?: number;
  /** The private reason. Only for the log and the audit. */
  readonly because?: string;
  /** The client that the request claims to be from, if it is safe to log. Only for the log. */
  readonly claimedClientId?: string;
}

/** Makes a refusal. */
export function refuse(refused: RefusalReason, detail: Omit<Refusal, 'refused'> = {}): Refusal {
  return { refused, ...detail };
}

/** Whether a result is a refusal. */
export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}

/** The JSON body of an error answer (RFC 6749 §5.2). */
export interface ErrorBody {
  readonly error: ErrorCode;
  readonly error_description: string;
}

/** How much of a subject is quoted, in characters. */
const SUBJECT_LENGTH_MAX = 600;

/** The public part of a refusal: status, body, and the required parameter if that is what was missing. */
export function printRefusal(refusal: Refusal): {
  readonly status: number;
  readonly body: ErrorBody;
  readonly field?: string;
} {
  const row: Row = ROWS[refusal.refused];
  const description =
    refusal.subject === undefined ? sentence(row.description) : `${row.description}: ${printable(refusal.subject)}`;
  const answer = { status: row.status, body: { error: row.error, error_description: description } };
  return row.field === undefined ? answer : { ...answer, field: row.field };
}

/** Every row of the table, for the documents. */
export function listRefusals(): readonly (Row & { readonly reason: RefusalReason })[] {
  return REASONS.map((reason) => ({ reason, ...ROWS[reason] }));
}

function sentence(description: string): string {
  return description.endsWith('.') ? description : `${description}.`;
}

/** Keeps what RFC 6749 §5.2 allows in a description: printable ASCII without `"` and `\`. Nothing can break out of a header or a log. */
function printable(subject: string): string {
  return subject.slice(0, SUBJECT_LENGTH_MAX).replaceAll(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '?');
}

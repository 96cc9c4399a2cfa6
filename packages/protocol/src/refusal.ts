/**
 * What Hallpass says no with: one row for every reason, with the public words for it (RFC 6749 §5.2, RFC 6750 §3.1,
 * RFC 8707 §2, RFC 9449 §5). Private detail (`because`) goes to the log and the audit, never to the caller.
 */

/** The `error` codes on the wire. */
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
  /** A sentence for the caller's developer: what was wrong, and what to do next. Printable ASCII without `"` and `\`. */
  readonly description: string;
  /** The required parameter that is missing; the JSON dialect answers 422 and names it (contract §3). */
  readonly field?: string;
}

const ROWS = {
  // The body as such
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
    description: 'Bodies are read as UTF-8. Send charset=utf-8 in Content-Type, once, or no charset. This was sent',
  },
  unsupported_content_coding: {
    status: 415,
    error: 'invalid_request',
    description: 'Send the body without Content-Encoding. This coding is not read',
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
    description: 'Send each parameter once; only resource may repeat. This one is given twice',
  },
  malformed_parameter: {
    status: 400,
    error: 'invalid_request',
    description: 'Values are strings of whole characters; only resource may be an array of them. This one is not',
  },
  malformed_wait: {
    status: 400,
    error: 'invalid_request',
    description: 'The query parameter wait is a whole number of seconds, 0 to 10, given once.',
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
    description: 'The Authorization header and the body name different credentials. Send one of them, or both alike.',
  },
  malformed_assertion: {
    status: 400,
    error: 'invalid_request',
    description:
      'client_assertion and client_assertion_type belong together, and replace the secret. The type is urn:ietf:params:oauth:client-assertion-type:jwt-bearer.',
  },
  dpop_required: {
    status: 400,
    error: 'invalid_dpop_proof',
    description: 'This API key gets tokens bound to a key only. Send a DPoP header with a proof.',
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
    description: 'Too many requests. Wait for the seconds in Retry-After, then go on more slowly.',
  },
  origin_not_allowed: {
    status: 403,
    error: 'access_denied',
    description: 'This API key may not be used from this origin.',
  },

  // The grant
  missing_grant_type: {
    status: 400,
    error: 'invalid_request',
    description: 'grant_type is required, such as client_credentials or refresh_token.',
  },
  unsupported_grant_type: {
    status: 400,
    error: 'unsupported_grant_type',
    description: 'This grant_type is not offered. The metadata of this server lists those that are.',
  },
  grant_not_allowed: {
    status: 400,
    error: 'unauthorized_client',
    description: 'This API key may not use this grant_type.',
  },
  missing_scope: {
    status: 400,
    error: 'invalid_scope',
    description: 'scope is required, since this API key has no default scope.',
    field: 'scope',
  },
  malformed_scope: {
    status: 400,
    error: 'invalid_scope',
    description:
      'A scope is a path with a verb, such as /accounts.write; separate several by one space. This is malformed',
  },
  scope_value_not_allowed: {
    status: 400,
    error: 'invalid_scope',
    description:
      'A scope holds a value or a segment that no scope can hold. They are up to 128 letters (A to Z), digits, and _ ~ -, with single dots inside: no e-mail address, no URN, no percent-encoding. The scope is',
  },
  unfilled_scope: {
    status: 400,
    error: 'invalid_scope',
    description: 'A scope still holds a {parameter}. Put the value in its place',
  },
  scope_not_allowed: {
    status: 400,
    error: 'invalid_scope',
    description: 'This API key may not have this scope',
  },
  scope_not_granted: {
    status: 400,
    error: 'invalid_scope',
    description: 'A refresh may ask for the same or fewer scopes, and this one was not granted',
  },
  no_scope_left: {
    status: 400,
    error: 'invalid_scope',
    description: 'This API key has lost every scope of this grant. Ask for a new token.',
  },
  token_too_long: {
    status: 400,
    error: 'invalid_scope',
    description: 'A token with all of these scopes and resources would be too long. Ask for fewer of them.',
  },
  target_not_allowed: {
    status: 400,
    error: 'invalid_target',
    description: 'This resource is not among the audiences of this API key, or not an absolute URI without a fragment.',
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
    description: 'The refresh token is invalid, expired, revoked or was already used. Ask for a new token.',
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
      'Token exchange takes and gives access tokens only (urn:ietf:params:oauth:token-type:access_token), without an actor.',
  },
  subject_token_not_good: {
    status: 400,
    error: 'invalid_request',
    description: 'The subject_token is invalid, expired, revoked, or was not issued to this client.',
  },
  scope_not_in_subject: {
    status: 400,
    error: 'invalid_scope',
    description: 'Token exchange gives the same or fewer scopes, and the subject_token does not hold this one',
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
    description: 'The access token names another issuer (iss) than the one that this API takes tokens of.',
  },
  token_for_another_audience: {
    status: 401,
    error: 'invalid_token',
    description:
      'The access token is meant for another API. Ask for one with this audience, by the parameter resource if need be',
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
      'The clock of this API and the one of the issuer differ too much to accept this access token. A new one would be refused as well, until the clock is set right.',
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
      'The revocation feed is for the keys of resource servers. Ask the operator for one, made with --resource-server.',
  },
  route_not_allowed: {
    status: 403,
    error: 'insufficient_scope',
    description: 'No scope opens this route: the policy of this API does not name it.',
  },
  value_not_allowed: {
    status: 403,
    error: 'insufficient_scope',
    description:
      'No scope opens this path: a value in it cannot stand in a scope. Values are up to 128 letters (A to Z), digits, and _ ~ -, with single dots inside. The parameter is',
  },
  malformed_path: {
    status: 400,
    error: 'invalid_request',
    description:
      'The path of the request is not in its plain form: dot segments, empty segments and encoded slashes are refused.',
  },

  override: {
    status: 400,
    error: 'invalid_request',
    description: 'This API takes nothing that overrides the method or the path of a request. Leave this out',
  },
  look_alike_field: {
    status: 400,
    error: 'invalid_request',
    description: 'A header is named like one of X-Hallpass, with another character in the place of a hyphen.',
  },
  upgrade_not_offered: {
    status: 400,
    error: 'invalid_request',
    description: 'This route has no upgrade. Send the request without the Upgrade header.',
  },

  // HTTP
  repeated_field: {
    status: 400,
    error: 'invalid_request',
    description: 'A header that may be there only once is there twice',
  },
  not_found: { status: 404, error: 'not_found', description: 'There is nothing at this path.' },
  method_not_allowed: {
    status: 405,
    error: 'method_not_allowed',
    description: 'This method is not offered here. The Allow header names those that are.',
  },
  host_not_known: {
    status: 421,
    error: 'invalid_request',
    description: 'This listener does not answer to the name in Host. Use localhost, or have the name configured.',
  },
  malformed_request: { status: 400, error: 'invalid_request', description: 'The request could not be read.' },

  // Us
  temporarily_unavailable: {
    status: 503,
    error: 'temporarily_unavailable',
    description: 'The service cannot answer now. Repeat the same request after the time in Retry-After; that is safe.',
  },
  server_error: {
    status: 500,
    error: 'server_error',
    description: 'Something went wrong here. The x-request-id header helps the operator to find it.',
  },
} as const satisfies Record<string, Row>;

/** Every reason for which a request may be refused. */
export type RefusalReason = keyof typeof ROWS;

// oxlint-disable-next-line no-unsafe-type-assertion -- the names of an object of ours
const REASONS = Object.keys(ROWS) as readonly RefusalReason[];

/** A request that may not have what it asks for: a value, never thrown. */
export interface Refusal {
  readonly refused: RefusalReason;
  /** What a developer needs to see of their own request, such as the scope that is missing. Printed in the description. */
  readonly subject?: string;
  /** When to come back, where that is known. */
  readonly retryAfterSeconds?: number;
  /** For the log and the audit only. */
  readonly because?: string;
  /** For the log only: the client that the request says it is from, where that is fit for a log. */
  readonly claimedClientId?: string;
}

/** A refusal; the reason must have a row in the table. */
export function refuse(refused: RefusalReason, detail: Omit<Refusal, 'refused'> = {}): Refusal {
  return { refused, ...detail };
}

/** Whether a value is a refusal rather than what was hoped for. */
export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}

/** The JSON of an error answer (RFC 6749 §5.2). */
export interface ErrorBody {
  readonly error: ErrorCode;
  readonly error_description: string;
}

const SUBJECT_LENGTH_MAX = 600;

/** The public words of a refusal: its status, its body, and the required parameter that was missing, if that was it. */
export function wordsOf(refusal: Refusal): {
  readonly status: number;
  readonly body: ErrorBody;
  readonly field?: string;
} {
  const row: Row = ROWS[refusal.refused];
  const description =
    refusal.subject === undefined ? sentence(row.description) : `${row.description}: ${printable(refusal.subject)}`;
  const words = { status: row.status, body: { error: row.error, error_description: description } };
  return row.field === undefined ? words : { ...words, field: row.field };
}

/** Every row, for the documentation. */
export function listRefusals(): readonly (Row & { readonly reason: RefusalReason })[] {
  return REASONS.map((reason) => ({ reason, ...ROWS[reason] }));
}

function sentence(description: string): string {
  return description.endsWith('.') ? description : `${description}.`;
}

/** Only what RFC 6749 §5.2 allows in a description: printable ASCII without `"` and `\`, so nothing breaks a header or a log. */
function printable(subject: string): string {
  return subject.slice(0, SUBJECT_LENGTH_MAX).replaceAll(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '?');
}

/** The responses of the OpenAPI document: their headers, and refusals with their codes. */
import { listRefusals, type RefusalReason } from '@hallpass/protocol';
import { DOCUMENT_SECONDS } from '../metadata.ts';
import { refTo, type Schema } from './schemas.ts';

/** A reference to a component. */
export type Ref = { readonly $ref: string };
/** The schema of a body, by media type. */
export type Content = Readonly<Record<string, { readonly schema: Schema }>>;

/** A header of a response, as OpenAPI describes it. */
export interface Header {
  readonly description: string;
  readonly required?: true;
  readonly schema: Schema;
}

/** A response, and its name among the components. */
export interface NamedResponse {
  readonly name: string;
  readonly response: ApiResponse;
}

/** A response, as OpenAPI describes it. */
export interface ApiResponse {
  readonly description: string;
  readonly headers: Readonly<Record<string, Ref>>;
  readonly content?: Content;
}

// Headers

/** The schema of any string. */
export const string: Schema = { type: 'string' };
/** The headers of responses, for `components`. */
export const HEADERS = {
  RequestId: {
    description: 'The id of this request in the log.',
    required: true,
    schema: { type: 'string', format: 'uuid' },
  },
  NoStore: { description: 'For one caller and one moment.', required: true, schema: { const: 'no-store' } },
  PublicCache: {
    description: 'How long anyone may keep it.',
    required: true,
    schema: { const: `public, max-age=${DOCUMENT_SECONDS}` },
  },
  ETag: {
    description: 'The version of this document (RFC 9110 §8.8.3).',
    required: true,
    schema: { type: 'string', pattern: '^"[^"]+"$' },
  },
  AnyOrigin: { description: 'Any page may read it.', required: true, schema: { const: '*' } },
  Allow: { description: 'The methods that this path supports.', required: true, schema: string },
  RetryAfter: { description: 'Seconds to wait.', required: true, schema: { type: 'integer', minimum: 1 } },
  Challenge: { description: 'How to authenticate (RFC 9110 §11.6.1).', required: true, schema: string },
  BasicChallenge: {
    description: 'If the Authorization header was used (RFC 6749 §5.2).',
    schema: { type: 'string', pattern: '^Basic realm="' },
  },
  DpopNonce: { description: 'For the next proof, if the server requires nonces (RFC 9449 §8).', schema: string },
  AllowOrigin: {
    description: 'Your origin, as you sent it, if the API key lists it; before the key is known, if any key does.',
    schema: { type: 'string', pattern: '^[Hh][Tt][Tt][Pp][Ss]?://' },
  },
  Guards: {
    description:
      'With `wait`: how many guards have confirmed the revocation, of those connected in the last 10 s (a dictionary, RFC 9651). If there was nothing to revoke, no guard is asked and all count as confirmed.',
    schema: { type: 'string', pattern: '^confirmed=[0-9]+, connected=[0-9]+$' },
  },
  AllowMethods: { description: 'If the origin is listed.', schema: { const: 'POST' } },
  AllowHeaders: { description: 'If the origin is listed.', schema: string },
  MaxAge: { description: 'How long a browser may keep this, in seconds.', schema: { type: 'integer' } },
} as const satisfies Readonly<Record<string, Header>>;

/** A reference to a header in `components`. */
export const header = (name: keyof typeof HEADERS): Ref => ({ $ref: `#/components/headers/${name}` });

const ON_ALL = { 'X-Request-Id': header('RequestId') };
/** The headers of responses that must not be stored. */
export const PRIVATE = { ...ON_ALL, 'Cache-Control': header('NoStore') };
/** The header for browsers of other origins. */
export const CORS = { 'Access-Control-Allow-Origin': header('AllowOrigin') };
/** The header with the next DPoP nonce. */
export const NONCE = { 'DPoP-Nonce': header('DpopNonce') };
/** The header with the number of guards that have confirmed. */
export const GUARDS = { 'Hallpass-Guards': header('Guards') };
/** The headers of responses that caches may keep. */
export const CACHED = {
  ...ON_ALL,
  'Cache-Control': header('PublicCache'),
  ETag: header('ETag'),
  'Access-Control-Allow-Origin': header('AnyOrigin'),
};

type Headers = ApiResponse['headers'];

// Refusals

/** Refusals that several operations share, by the name that their responses have in the document. */
interface Family {
  readonly name: string;
  readonly reasons: readonly RefusalReason[];
  readonly headers: Headers;
  /** Headers of some statuses, beside those of all. */
  readonly byStatus?: Readonly<Record<string, Headers>>;
}

/** Any request can meet these. */
export const ANYWHERE: Family = {
  name: 'Any',
  reasons: [
    'malformed_request',
    'repeated_field',
    'body_too_large',
    'unsupported_media_type',
    'unsupported_charset',
    'unsupported_content_coding',
    'server_error',
  ],
  headers: {},
};

/** Requests that need the store. */
export const STORED: Family = { ...ANYWHERE, reasons: [...ANYWHERE.reasons, 'temporarily_unavailable'] };

/** Requests of clients with parameters in the body. */
export const OF_CLIENTS: Family = {
  name: 'Client',
  reasons: [
    ...STORED.reasons,
    'malformed_body',
    'too_many_parameters',
    'repeated_parameter',
    'malformed_parameter',
    'authentication_failed',
    'conflicting_credentials',
    'malformed_assertion',
    'rate_limited',
  ],
  headers: { ...CORS, ...NONCE, 'WWW-Authenticate': header('BasicChallenge') },
};

const CHALLENGE = { 'WWW-Authenticate': header('Challenge') };

/** Requests to the server as a protected resource (RFC 6750 §3). */
export const PROTECTED: Family = {
  name: 'Resource',
  reasons: [
    ...STORED.reasons,
    'authentication_failed',
    'rate_limited',
    'malformed_credentials',
    'missing_credentials',
    'token_not_good',
    'token_is_bound',
    'resource_proof_not_good',
    'resource_nonce_wanted',
    'insufficient_scope',
  ],
  headers: NONCE,
  byStatus: { 401: CHALLENGE, 403: CHALLENGE },
};

/** Headers that a status always has. */
const BY_STATUS: Readonly<Record<string, Headers>> = {
  405: { Allow: header('Allow') },
  429: { 'Retry-After': header('RetryAfter') },
  503: { 'Retry-After': header('RetryAfter') },
};

/**
 * The refusals of an operation by status: those of its family, and its own under its own name. In the JSON dialect a missing
 * parameter is a 422 that names it.
 */
export function refusals(
  { name: familyName, reasons, headers, byStatus = {} }: Family,
  own: { readonly name: string; readonly reasons: readonly RefusalReason[] } = { name: familyName, reasons: [] },
): Record<string, NamedResponse> {
  const rows = listRefusals().filter(({ reason }) => [...reasons, ...own.reasons].some((wanted) => wanted === reason));
  const statuses = [...new Set(rows.map(({ status }) => String(status)))];
  const responses = statuses.map((status): readonly [string, NamedResponse] => {
    const here = rows.filter((row) => String(row.status) === status);
    const isOwn = here.some(({ reason }) => own.reasons.some((one) => one === reason));
    const codes = [...new Set(here.map(({ error }) => error))];
    const sentences = here.map(({ error, description }) => `\`${error}\`: ${description}`);
    const response = {
      description: sentences.join('\n\n'),
      headers: { ...PRIVATE, ...headers, ...byStatus[status], ...BY_STATUS[status] },
      content: json({ allOf: [refTo('Error'), { properties: { error: { enum: codes } } }] }),
    };
    return [status, { name: `${isOwn ? own.name : familyName}${status}`, response }];
  });
  const missing = rows.flatMap(({ field, error, description }) =>
    field === undefined ? [] : [{ field, error, description }],
  );
  if (missing.length === 0) return Object.fromEntries(responses);
  const oneOf = missing.map(({ field, error }) => ({
    required: [field],
    properties: { error: { const: error }, [field]: { type: 'string' } },
  }));
  const unprocessable: ApiResponse = {
    description: missing
      .map(({ field, description }) => `JSON only, with a member \`${field}\`: ${description}`)
      .join('\n\n'),
    headers: { ...PRIVATE, ...headers },
    content: json({ allOf: [refTo('Error'), ...(oneOf.length === 1 ? oneOf : [{ oneOf }])] }),
  };
  return Object.fromEntries([...responses, ['422', { name: `${own.name}422`, response: unprocessable }]]);
}

/** A body of JSON with this schema. */
export function json(schema: Schema): Content {
  return { 'application/json': { schema } };
}

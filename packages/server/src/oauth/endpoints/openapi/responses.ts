/** What every operation of the OpenAPI document answers alike: headers, and refusals with their codes. */
import { listRefusals, type RefusalReason } from '@hallpass/protocol';
import { DOCUMENT_SECONDS } from '../metadata.ts';
import { refTo, type Schema } from './schemas.ts';

type Ref = { readonly $ref: string };
export type Content = Readonly<Record<string, { readonly schema: Schema }>>;

export interface Header {
  readonly description: string;
  readonly required?: true;
  readonly schema: Schema;
}

export interface ApiResponse {
  readonly description: string;
  readonly headers: Readonly<Record<string, Ref>>;
  readonly content?: Content;
}

// Headers

export const string: Schema = { type: 'string' };
export const HEADERS = {
  RequestId: {
    description: 'Names this request in the log.',
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
    description: 'Names this version (RFC 9110 §8.8.3).',
    required: true,
    schema: { type: 'string', pattern: '^"[^"]+"$' },
  },
  AnyOrigin: { description: 'Any page may read it.', required: true, schema: { const: '*' } },
  Allow: { description: 'The methods that are offered.', required: true, schema: string },
  RetryAfter: { description: 'Seconds to wait.', required: true, schema: { type: 'integer', minimum: 1 } },
  Challenge: { description: 'How to authenticate (RFC 9110 §11.6.1).', required: true, schema: string },
  BasicChallenge: {
    description: 'When the Authorization header was used (RFC 6749 §5.2).',
    schema: { type: 'string', pattern: '^Basic realm="' },
  },
  DpopNonce: { description: 'For the next proof, where nonces are asked for (RFC 9449 §8).', schema: string },
  AllowOrigin: {
    description: 'Your own origin as you wrote it, when the API key lists it, or before it is known, when any does.',
    schema: { type: 'string', pattern: '^[Hh][Tt][Tt][Pp][Ss]?://' },
  },
  Guards: {
    description:
      'How many guards have confirmed what is revoked, of those that were connected in the last 10 s: a dictionary (RFC 9651). Where a wait was asked for. Where there was nothing to revoke, no guard is asked and all of them count as confirmed.',
    schema: { type: 'string', pattern: '^confirmed=[0-9]+, connected=[0-9]+$' },
  },
  AllowMethods: { description: 'Where the origin is listed.', schema: { const: 'POST' } },
  AllowHeaders: { description: 'Where the origin is listed.', schema: string },
  MaxAge: { description: 'How long a browser may keep this, in seconds.', schema: { type: 'integer' } },
} as const satisfies Readonly<Record<string, Header>>;

export const header = (name: keyof typeof HEADERS): Ref => ({ $ref: `#/components/headers/${name}` });

const ON_ALL = { 'X-Request-Id': header('RequestId') };
export const PRIVATE = { ...ON_ALL, 'Cache-Control': header('NoStore') };
export const CORS = { 'Access-Control-Allow-Origin': header('AllowOrigin') };
export const NONCE = { 'DPoP-Nonce': header('DpopNonce') };
export const GUARDS = { 'Hallpass-Guards': header('Guards') };
export const CACHED = {
  ...ON_ALL,
  'Cache-Control': header('PublicCache'),
  ETag: header('ETag'),
  'Access-Control-Allow-Origin': header('AnyOrigin'),
};

export type Headers = ApiResponse['headers'];

// Refusals

/** What any request may meet. */
export const ANYWHERE = [
  'malformed_request',
  'repeated_field',
  'body_too_large',
  'unsupported_media_type',
  'unsupported_charset',
  'unsupported_content_coding',
  'server_error',
] as const;
export const BODY = ['malformed_body', 'too_many_parameters', 'repeated_parameter', 'malformed_parameter'] as const;
export const CLIENT = [
  'authentication_failed',
  'conflicting_credentials',
  'malformed_assertion',
  'rate_limited',
] as const;
export const STORE = ['temporarily_unavailable'] as const;

/** The headers that a status brings along, wherever it is answered. */
const BY_STATUS: Readonly<Record<number, Headers>> = {
  405: { Allow: header('Allow') },
  429: { 'Retry-After': header('RetryAfter') },
  503: { 'Retry-After': header('RetryAfter') },
};

/** Refusals to the answers that they are, by status; in the JSON dialect a missing parameter is a 422 that names it. */
export function refusals(reasons: readonly RefusalReason[], headers: Headers = {}): Record<string, ApiResponse> {
  const rows = listRefusals().filter(({ reason }) => reasons.some((wanted) => wanted === reason));
  const statuses = [...new Set(rows.map(({ status }) => status))];
  const answers = statuses.map((status): readonly [string, ApiResponse] => {
    const here = rows.filter((row) => row.status === status);
    const codes = [...new Set(here.map(({ error }) => error))];
    const sentences = here.map(({ error, description }) => `\`${error}\`: ${description}`);
    const schema = { allOf: [refTo('Error'), { properties: { error: { enum: codes } } }] };
    const all = { ...PRIVATE, ...headers, ...BY_STATUS[status] };
    return [String(status), { description: sentences.join('\n\n'), headers: all, content: json(schema) }];
  });
  const missing = rows.flatMap(({ field, error, description }) =>
    field === undefined ? [] : [{ field, error, description }],
  );
  if (missing.length === 0) return Object.fromEntries(answers);
  const oneOf = missing.map(({ field, error }) => ({
    required: [field],
    properties: { error: { const: error }, [field]: { type: 'string' } },
  }));
  const unprocessable: ApiResponse = {
    description: missing
      .map(({ field, description }) => `JSON alone, with a member \`${field}\`: ${description}`)
      .join('\n\n'),
    headers: { ...PRIVATE, ...headers },
    content: json({ allOf: [refTo('Error'), ...(oneOf.length === 1 ? oneOf : [{ oneOf }])] }),
  };
  return Object.fromEntries([...answers, ['422', unprocessable]]);
}

export function json(schema: Schema): Content {
  return { 'application/json': { schema } };
}

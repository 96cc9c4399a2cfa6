/** The operations of the OpenAPI document, one constant for each. */
import type { RefusalReason } from '@hallpass/protocol';
import { FEED_SCOPE } from '../feed.ts';
import { PING_SCOPE } from '../ping.ts';
import { WAIT_SECONDS_MAX } from '../revocation.ts';
import {
  ANYWHERE,
  CACHED,
  CORS,
  GUARDS,
  header,
  json,
  NONCE,
  OF_CLIENTS,
  PRIVATE,
  PROTECTED,
  refusals,
  STORED,
  string,
  type ApiResponse,
  type Content,
  type NamedResponse,
  type Ref,
} from './responses.ts';
import { refTo, type Schema } from './schemas.ts';

/** An operation: as it is written here, with its responses by status, or as it is printed, with references to them. */
export interface Operation<Response = NamedResponse> {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly security: Security;
  readonly parameters?: readonly Ref[];
  readonly requestBody?: { readonly required: true; readonly description: string; readonly content: Content };
  readonly responses: Readonly<Record<string, Response>>;
}

type Security = readonly Readonly<Record<string, readonly string[]>>[];

/** OpenAPI has no scheme for credentials in the body: the empty one stands for that. */
const BY_CLIENT: Security = [{ client_secret_basic: [] }, {}];
const IN_BODY =
  'The API key authenticates with client_secret_basic, client_secret_post, or private_key_jwt: `client_assertion` in the body.';

function byToken(scope: string): Security {
  return [{ access_token: [scope] }, { dpop: [scope] }, { client_secret_basic: [] }];
}

/** Every parameter outside a body, by its name among the components. */
export const PARAMETERS = {
  Proof: {
    name: 'DPoP',
    in: 'header',
    required: false,
    description: 'A proof of possession (RFC 9449). At the token endpoint it binds the token to its key.',
    schema: string,
  },
  // What a guard sends beside its caller's API key (ADR 17).
  Guard: {
    name: 'Hallpass-Guard',
    in: 'header',
    required: false,
    description:
      "For guards that pass on a caller's API key: Basic, with the key of their resource server. Failures are then counted against Hallpass-Caller instead of the guard's address.",
    schema: string,
  },
  GuardedCaller: {
    name: 'Hallpass-Caller',
    in: 'header',
    required: false,
    description: 'The IP address that the API key came from. Ignored without a valid Hallpass-Guard.',
    schema: string,
  },
  Wait: {
    name: 'wait',
    in: 'query',
    required: false,
    description:
      'How many seconds the response may wait until the connected guards have confirmed. The token is revoked in any case. If there is nothing to revoke, the response does not wait.',
    schema: { type: 'integer', minimum: 0, maximum: WAIT_SECONDS_MAX },
  },
  After: {
    name: 'after',
    in: 'query',
    required: false,
    description: 'Asks for a page instead of a stream, and says where it begins. Empty: at the start.',
    schema: string,
  },
  LastEventId: {
    name: 'Last-Event-ID',
    in: 'header',
    required: false,
    description: 'Where the stream resumes.',
    schema: string,
  },
  Follower: {
    name: 'Hallpass-Follower',
    in: 'header',
    required: false,
    description:
      "A name that the reader has made up for itself, 128 random bits as base64url. With it, and a resource server's key, revocations that wait count this reader.",
    schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{22}$' },
  },
} as const satisfies Readonly<Record<string, Schema>>;

const parameter = (name: keyof typeof PARAMETERS): Ref => ({ $ref: `#/components/parameters/${name}` });

const REPORTED = [parameter('Guard'), parameter('GuardedCaller')];

function bodyOf(name: 'Token' | 'OneToken'): NonNullable<Operation['requestBody']> {
  return {
    required: true,
    description: 'A form, or one flat JSON object. A form whose first character is `{` is read as JSON.',
    content: {
      'application/x-www-form-urlencoded': { schema: refTo(`${name}Form`) },
      ...json(refTo(`${name}Json`)),
    },
  };
}

/** A response of one operation. */
function named(name: string, response: ApiResponse): NamedResponse {
  return { name, response };
}

const OWN_TO_TOKEN: readonly RefusalReason[] = [
  'origin_not_allowed',
  'dpop_required',
  'dpop_proof_not_good',
  'dpop_nonce_wanted',
  'missing_grant_type',
  'unsupported_grant_type',
  'grant_not_allowed',
  'missing_scope',
  'malformed_scope',
  'unfilled_scope',
  'scope_value_not_allowed',
  'scope_not_allowed',
  'scope_not_granted',
  'no_scope_left',
  'token_too_long',
  'target_not_allowed',
  'missing_refresh_token',
  'refresh_token_not_good',
  'missing_subject_token',
  'exchange_not_offered',
  'subject_token_not_good',
  'scope_not_in_subject',
];

/** POST /oauth2/token. */
export const CREATE_TOKEN: Operation = {
  operationId: 'createToken',
  summary: 'Issues an access token, and refreshes one.',
  description: IN_BODY,
  security: BY_CLIENT,
  parameters: [parameter('Proof'), ...REPORTED],
  requestBody: bodyOf('Token'),
  responses: {
    200: named('Token200', {
      description: 'The token.',
      headers: { ...PRIVATE, ...CORS, ...NONCE },
      content: json(refTo('TokenResponse')),
    }),
    ...refusals(OF_CLIENTS, { name: 'Token', reasons: OWN_TO_TOKEN }),
  },
};

/** POST /oauth2/revoke. */
export const REVOKE_TOKEN: Operation = {
  operationId: 'revokeToken',
  summary: 'Revokes an access token, or with a refresh token its whole grant (RFC 7009).',
  description: IN_BODY,
  security: BY_CLIENT,
  parameters: [parameter('Wait')],
  requestBody: bodyOf('OneToken'),
  responses: {
    200: named('Revoke200', {
      description: 'To a form: revoked, or there was nothing to revoke.',
      headers: { ...PRIVATE, ...CORS, ...GUARDS },
      content: json(refTo('Revoked')),
    }),
    204: named('Revoke204', { description: 'To JSON: the same.', headers: { ...PRIVATE, ...CORS, ...GUARDS } }),
    ...refusals(OF_CLIENTS, {
      name: 'Revoke',
      reasons: ['origin_not_allowed', 'missing_token', 'malformed_wait', 'token_of_another_client'],
    }),
  },
};

/** POST /oauth2/introspect. */
export const INTROSPECT_TOKEN: Operation = {
  operationId: 'introspectToken',
  summary: 'Says what a token is good for, to its client and to the resource servers that it is for (RFC 7662).',
  description: IN_BODY,
  security: BY_CLIENT,
  requestBody: bodyOf('OneToken'),
  responses: {
    200: named('Introspect200', {
      description: 'Active or not.',
      headers: PRIVATE,
      content: json(refTo('IntrospectionResponse')),
    }),
    ...refusals(OF_CLIENTS, { name: 'Introspect', reasons: ['missing_token'] }),
  },
};

/** The preflight of a path that pages may call (CORS). */
export function preflight(operationId: string): Operation {
  return {
    operationId,
    summary: 'Tells a browser whether a page may call this path (CORS).',
    security: [],
    responses: {
      204: named('Preflight204', {
        description: 'With CORS headers if any API key lists the origin.',
        headers: {
          ...PRIVATE,
          ...CORS,
          'Access-Control-Allow-Methods': header('AllowMethods'),
          'Access-Control-Allow-Headers': header('AllowHeaders'),
          'Access-Control-Max-Age': header('MaxAge'),
        },
      }),
      ...refusals(STORED),
    },
  };
}

/** GET /. */
export const READ_FRONT_PAGE: Operation = {
  operationId: 'readFrontPage',
  summary: 'Tells a person what this server is, and where its documents are.',
  security: [],
  responses: {
    200: named('FrontPage200', {
      description: 'HTML if Accept names `text/html`, otherwise plain text.',
      headers: PRIVATE,
      content: { 'text/html': { schema: string }, 'text/plain': { schema: string } },
    }),
    ...refusals(ANYWHERE),
  },
};

/** A public document with its ETag. */
function published(
  { operationId, name, summary }: { readonly operationId: string; readonly name: string; readonly summary: string },
  content: Content,
): Operation {
  return {
    operationId,
    summary,
    security: [],
    responses: {
      200: named(`${name}200`, { description: 'The document.', headers: CACHED, content }),
      304: named('NotModified', {
        description: 'Not changed since the version in If-None-Match.',
        headers: CACHED,
      }),
      ...refusals(ANYWHERE),
    },
  };
}

/** GET /oauth2/jwks. */
export const READ_KEY_SET = published(
  { operationId: 'readKeySet', name: 'KeySet', summary: 'Reads the public signing keys (RFC 7517).' },
  { 'application/jwk-set+json': { schema: refTo('KeySet') } },
);

/** GET /.well-known/oauth-authorization-server. */
export const READ_METADATA = published(
  {
    operationId: 'readMetadata',
    name: 'Metadata',
    summary: 'Reads where the endpoints are and what they support (RFC 8414).',
  },
  json(refTo('Metadata')),
);

/** The metadata at one of the paths of OpenID Connect Discovery. */
export function readOpenidConfiguration(operationId: string): Operation {
  const summary = 'Reads the metadata at the path of OpenID Connect Discovery, for verifiers that look nowhere else.';
  return published({ operationId, name: 'OpenidConfiguration', summary }, json(refTo('OpenidConfiguration')));
}

/** GET /openapi.json. */
export const READ_OPENAPI = published(
  { operationId: 'readOpenapi', name: 'Openapi', summary: 'Reads this document.' },
  json(refTo('OpenApi')),
);

/** GET /oauth2/revocations. */
export const READ_REVOCATIONS: Operation = {
  operationId: 'readRevocations',
  summary: 'Follows the revocations: an event stream, or with `after` one page of JSON.',
  description:
    'For the API keys of resource servers. Events are `revocation`, whose data is a `Revocation`; `heartbeat`, with the cursor that the reader has reached and the version of the key set; and `confirm`, with a cursor, when a revocation waits for its readers: a reader that then asks for the page after it confirms everything up to it. A cursor that is too old starts again from the beginning, so there is never a gap.',
  security: byToken(FEED_SCOPE),
  parameters: [parameter('After'), parameter('LastEventId'), parameter('Follower'), parameter('Proof')],
  responses: {
    200: named('Revocations200', {
      description: 'The stream or the page.',
      headers: PRIVATE,
      content: { 'text/event-stream': { schema: string }, ...json(refTo('RevocationPage')) },
    }),
    ...refusals(PROTECTED, { name: 'Revocations', reasons: ['not_a_resource_server'] }),
  },
};

/** GET /ping. */
export const PING: Operation = {
  operationId: 'ping',
  summary: 'Says whether an access token or an API key works.',
  security: byToken(PING_SCOPE),
  parameters: [parameter('Proof'), ...REPORTED],
  responses: {
    200: named('Ping200', { description: 'It works.', headers: PRIVATE }),
    ...refusals(PROTECTED),
  },
};

const HEALTHY = named('Health200', {
  description: 'It can.',
  headers: PRIVATE,
  content: json(refTo('Health')),
});

/** GET /health/live. */
export const CHECK_LIVE: Operation = {
  operationId: 'checkLive',
  summary: 'Says whether the process can answer at all.',
  security: [],
  responses: { 200: HEALTHY, ...refusals(ANYWHERE) },
};

/** GET /health/ready. */
export const CHECK_READY: Operation = {
  operationId: 'checkReady',
  summary: 'Says whether the server can do everything, including writes to its store.',
  security: [],
  responses: { 200: HEALTHY, ...refusals(STORED) },
};

/** Any other method on a path of the document, and any other path. */
export const OTHER_METHODS = refusals(ANYWHERE, { name: 'OtherMethod', reasons: ['method_not_allowed'] });
/** The responses at any other path. */
export const OTHER_PATHS = refusals(ANYWHERE, { name: 'OtherPath', reasons: ['not_found'] });

/** GET /openapi.json: what the public listener takes and answers, for programs that read OpenAPI 3.1. */
import {
  BODY_BYTES_MAX,
  metadataURL,
  openidConfigurationURLs,
  PARAMETERS_MAX,
  PATHS,
  splitURL,
  type RefusalReason,
} from '@hallpass/protocol';
import type { Authority } from '../../authority.ts';
import { FEED_SCOPE } from '../feed.ts';
import { publish } from '../metadata.ts';
import {
  ANYWHERE,
  BODY,
  CACHED,
  CLIENT,
  CORS,
  GUARDS,
  header,
  HEADERS,
  json,
  NONCE,
  PRIVATE,
  refusals,
  STORE,
  string,
  type ApiResponse,
  type Content,
  type Header,
  type Headers,
} from './responses.ts';
import { refTo, SCHEMAS, type Schema } from './schemas.ts';
import { securitySchemes } from './security.ts';
import { PING_SCOPE } from '../ping.ts';
import { WAIT_SECONDS_MAX } from '../revocation.ts';
import type { Endpoint } from '../../../wire.ts';

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly security: Security;
  readonly parameters?: readonly Schema[];
  readonly requestBody?: { readonly required: true; readonly description: string; readonly content: Content };
  readonly responses: Readonly<Record<string, ApiResponse>>;
}

type Security = readonly Readonly<Record<string, readonly string[]>>[];

type Method = 'get' | 'head' | 'post' | 'options';

interface PathItem extends Readonly<Partial<Record<Method, Operation>>> {
  readonly servers?: readonly { readonly url: string }[];
  /** What any other method gets. */
  readonly 'x-other-methods': Readonly<Record<string, ApiResponse>>;
}

export interface OpenapiDocument {
  readonly openapi: '3.1.1';
  readonly info: Readonly<Record<'title' | 'version' | 'summary' | 'description', string>>;
  readonly servers: readonly { readonly url: string }[];
  readonly paths: Readonly<Record<string, PathItem>>;
  /** What any other path gets. */
  readonly 'x-other-paths': Readonly<Record<string, ApiResponse>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly headers: Readonly<Record<string, Header>>;
    readonly securitySchemes: Readonly<Record<string, Schema>>;
  };
}

/** Answers the document of this issuer; anyone may keep it for a while. */
export function openapiEndpoint({ issuer }: Authority): Endpoint {
  const document = openapiDocument(issuer);
  return publish(() => document, 'application/json');
}

/** The document, as it holds for an issuer. */
export function openapiDocument(issuer: string): OpenapiDocument {
  const base = issuer.replace(/\/$/, '');
  const metadata = splitURL(metadataURL(base));
  const servers = [{ url: metadata.origin }];
  return {
    openapi: '3.1.1',
    info: {
      title: 'Hallpass',
      version: '1',
      summary: 'Short-lived, scoped, revocable access tokens.',
      description: `A body has at most ${BODY_BYTES_MAX} bytes and ${PARAMETERS_MAX} parameters. Answers may get new members; ignore those that you do not know. After a 503, or no answer at all, repeating the same request is safe.`,
    },
    servers: [{ url: base }],
    paths: {
      '/': withHead(FRONT_PAGE),
      [PATHS.token]: withPreflight(TOKEN, 'preflightToken'),
      [PATHS.revoke]: withPreflight(REVOKE, 'preflightRevoke'),
      [PATHS.introspect]: pathOf({ post: INTROSPECT }),
      [PATHS.jwks]: withHead(published('readKeySet', 'Reads the public signing keys (RFC 7517).', JWKS)),
      // The well-known part stands before an issuer's path, not below it (RFC 8414 §3.1).
      [metadata.pathname]: { ...withHead(READ_METADATA), servers },
      ...openidConfigurations(base, servers),
      [PATHS.revocations]: withHead(REVOCATIONS),
      [PATHS.ping]: withHead(PING),
      [PATHS.live]: withHead(LIVE),
      [PATHS.ready]: withHead(READY),
      [PATHS.openapi]: withHead(published('readOpenapi', 'Reads this document.', json(refTo('OpenApi')))),
    },
    'x-other-paths': refusals(['not_found', ...ANYWHERE]),
    components: { schemas: SCHEMAS, headers: HEADERS, securitySchemes: securitySchemes(base) },
  };
}

// Paths

/** Below the issuer, and between its host and its path where it has one. */
function openidConfigurations(base: string, servers: PathItem['servers']): OpenapiDocument['paths'] {
  const { below, between } = openidConfigurationURLs(base);
  const at = (url: string, name: string): OpenapiDocument['paths'] => ({
    [splitURL(url).pathname]: { ...withHead(openidConfiguration(name)), ...(servers === undefined ? {} : { servers }) },
  });
  return below === between
    ? at(below, 'readOpenidConfiguration')
    : { ...at(below, 'readOpenidConfiguration'), ...at(between, 'readOpenidConfigurationBetween') };
}

function openidConfiguration(operationId: string): Operation {
  const summary = 'Reads the metadata where OpenID Connect Discovery has it, for verifiers that look nowhere else.';
  return published(operationId, summary, json(refTo('OpenidConfiguration')));
}

function pathOf(operations: Readonly<Partial<Record<Method, Operation>>>): PathItem {
  return { ...operations, 'x-other-methods': refusals(['method_not_allowed', ...ANYWHERE]) };
}

/** Whatever is read can be asked for its head alone (RFC 9110 §9.3.2). */
function withHead(get: Operation): PathItem {
  const responses = Object.entries(get.responses).map(([status, { description, headers }]) => [
    status,
    { description, headers },
  ]);
  const head = { ...get, operationId: `${get.operationId}Head`, responses: Object.fromEntries(responses) };
  return pathOf({ get, head });
}

function withPreflight(post: Operation, operationId: string): PathItem {
  const headers = {
    ...PRIVATE,
    ...CORS,
    'Access-Control-Allow-Methods': header('AllowMethods'),
    'Access-Control-Allow-Headers': header('AllowHeaders'),
    'Access-Control-Max-Age': header('MaxAge'),
  };
  const options: Operation = {
    operationId,
    summary: 'Tells a browser whether a page may ask (CORS).',
    security: [],
    responses: {
      204: { description: 'With CORS headers when some API key lists the origin.', headers },
      ...refusals([...ANYWHERE, ...STORE]),
    },
  };
  return pathOf({ post, options });
}

const JWKS: Content = { 'application/jwk-set+json': { schema: refTo('KeySet') } };

/** A public document with its ETag. */
function published(operationId: string, summary: string, content: Content): Operation {
  return {
    operationId,
    summary,
    security: [],
    responses: {
      200: { description: 'The document.', headers: CACHED, content },
      304: { description: 'Not changed since the version in If-None-Match.', headers: CACHED },
      ...refusals(ANYWHERE),
    },
  };
}

/** No scheme of OpenAPI says that credentials are in the body: the empty one stands for that. */
const BY_CLIENT: Security = [{ client_secret_basic: [] }, {}];
const IN_BODY =
  'The API key authenticates with client_secret_basic, client_secret_post, or private_key_jwt: `client_assertion` in the body.';

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

const PROOF: Schema = {
  name: 'DPoP',
  in: 'header',
  required: false,
  description: 'A proof of possession (RFC 9449). At the token endpoint it binds the token to its key.',
  schema: string,
};

/** What a guard sends beside the API key of its caller (ADR 17). */
const REPORT: readonly Schema[] = [
  {
    name: 'Hallpass-Guard',
    in: 'header',
    required: false,
    description:
      'For guards that pass on the API key of a caller: Basic, with the key of their resource server. Failures are then counted by Hallpass-Caller and not by the address of the guard.',
    schema: string,
  },
  {
    name: 'Hallpass-Caller',
    in: 'header',
    required: false,
    description: 'The IP address that the API key came from. Ignored without a good Hallpass-Guard.',
    schema: string,
  },
];

const BY_ORIGIN: Headers = { ...CORS, 'WWW-Authenticate': header('BasicChallenge') };

const TOKEN: Operation = {
  operationId: 'createToken',
  summary: 'Issues an access token, and refreshes one.',
  description: IN_BODY,
  security: BY_CLIENT,
  parameters: [PROOF, ...REPORT],
  requestBody: bodyOf('Token'),
  responses: {
    200: {
      description: 'The token.',
      headers: { ...PRIVATE, ...CORS, ...NONCE },
      content: json(refTo('TokenResponse')),
    },
    ...refusals(
      [
        ...([...ANYWHERE, ...BODY, ...CLIENT, ...STORE, 'origin_not_allowed'] as const),
        ...(['dpop_required', 'dpop_proof_not_good', 'dpop_nonce_wanted'] as const),
        ...(['missing_grant_type', 'unsupported_grant_type', 'grant_not_allowed'] as const),
        ...(['missing_scope', 'malformed_scope', 'unfilled_scope', 'scope_not_allowed', 'scope_not_granted'] as const),
        'scope_value_not_allowed' as const,
        ...(['no_scope_left', 'token_too_long', 'target_not_allowed'] as const),
        ...(['missing_refresh_token', 'refresh_token_not_good'] as const),
        ...([
          'missing_subject_token',
          'exchange_not_offered',
          'subject_token_not_good',
          'scope_not_in_subject',
        ] as const),
      ],
      { ...BY_ORIGIN, ...NONCE },
    ),
  },
};

const REVOKE: Operation = {
  operationId: 'revokeToken',
  summary: 'Revokes a token: an access token alone, or with a refresh token its whole grant (RFC 7009).',
  description: IN_BODY,
  security: BY_CLIENT,
  parameters: [
    {
      name: 'wait',
      in: 'query',
      required: false,
      description:
        'How many seconds the answer may wait until the guards that are connected have confirmed. What is revoked is revoked in any case. Where there is nothing to revoke, nobody waits.',
      schema: { type: 'integer', minimum: 0, maximum: WAIT_SECONDS_MAX },
    },
  ],
  requestBody: bodyOf('OneToken'),
  responses: {
    200: {
      description: 'To a form: revoked, or there was nothing to revoke.',
      headers: { ...PRIVATE, ...CORS, ...GUARDS },
      content: json(refTo('Revoked')),
    },
    204: { description: 'To JSON: the same.', headers: { ...PRIVATE, ...CORS, ...GUARDS } },
    ...refusals(
      [
        ...([...ANYWHERE, ...BODY, ...CLIENT, ...STORE, 'origin_not_allowed'] as const),
        ...(['missing_token', 'malformed_wait', 'token_of_another_client'] as const),
      ],
      BY_ORIGIN,
    ),
  },
};

const INTROSPECT: Operation = {
  operationId: 'introspectToken',
  summary: 'Tells what a token is good for, to those it concerns (RFC 7662).',
  description: IN_BODY,
  security: BY_CLIENT,
  requestBody: bodyOf('OneToken'),
  responses: {
    200: { description: 'Active or not.', headers: PRIVATE, content: json(refTo('IntrospectionResponse')) },
    ...refusals([...ANYWHERE, ...BODY, ...CLIENT, ...STORE, 'missing_token'], {
      'WWW-Authenticate': header('BasicChallenge'),
    }),
  },
};

const FRONT_PAGE: Operation = {
  operationId: 'readFrontPage',
  summary: 'Tells a person what this server is, and where its documents are.',
  security: [],
  responses: {
    200: {
      description: 'HTML where Accept names `text/html`, plain text elsewhere.',
      headers: PRIVATE,
      content: { 'text/html': { schema: string }, 'text/plain': { schema: string } },
    },
    ...refusals(ANYWHERE),
  },
};

const READ_METADATA = published(
  'readMetadata',
  'Reads where everything is and what is offered (RFC 8414).',
  json(refTo('Metadata')),
);

function byToken(scope: string): Security {
  return [{ access_token: [scope] }, { dpop: [scope] }, { client_secret_basic: [] }];
}

/** What is asked of the server as a protected resource (RFC 6750 §3). */
function challenged(...more: readonly RefusalReason[]): Record<string, ApiResponse> {
  const answers = refusals(
    [
      ...([...ANYWHERE, ...STORE, 'authentication_failed', 'rate_limited'] as const),
      ...(['malformed_credentials', 'missing_credentials', 'token_not_good', 'token_is_bound'] as const),
      ...(['resource_proof_not_good', 'resource_nonce_wanted', 'insufficient_scope'] as const),
      ...more,
    ],
    NONCE,
  );
  return Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => [
      status,
      ['401', '403'].includes(status)
        ? { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': header('Challenge') } }
        : answer,
    ]),
  );
}

const REVOCATIONS: Operation = {
  operationId: 'readRevocations',
  summary: 'Follows the revocations: an event stream, or with `after` one page of JSON.',
  description:
    'For API keys of resource servers. Events are `revocation` with a `Revocation` as data, `heartbeat` with the cursor that the reader has come to and the version of the key set, and `confirm` with a cursor when a revocation waits for its readers: who then asks for the page after it has confirmed everything up to it. A cursor that is too old gets everything from the start, never a gap.',
  security: byToken(FEED_SCOPE),
  parameters: [
    {
      name: 'after',
      in: 'query',
      required: false,
      description: 'Where to go on, and that a page is wanted. Empty: from the start.',
      schema: string,
    },
    {
      name: 'Last-Event-ID',
      in: 'header',
      required: false,
      description: 'Where the stream is to go on.',
      schema: string,
    },
    {
      name: 'Hallpass-Follower',
      in: 'header',
      required: false,
      description:
        'A name that the reader has made up for itself, 128 random bits as base64url: with it, and the key of a resource server, it is counted by revocations that wait.',
      schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{22}$' },
    },
    PROOF,
  ],
  responses: {
    200: {
      description: 'The stream or the page.',
      headers: PRIVATE,
      content: { 'text/event-stream': { schema: string }, ...json(refTo('RevocationPage')) },
    },
    ...challenged('not_a_resource_server'),
  },
};

const PING: Operation = {
  operationId: 'ping',
  summary: 'Tells whether an access token or an API key works.',
  security: byToken(PING_SCOPE),
  parameters: [PROOF, ...REPORT],
  responses: { 200: { description: 'It works.', headers: PRIVATE }, ...challenged() },
};

const HEALTH = { headers: PRIVATE, content: json(refTo('Health')) };

const LIVE: Operation = {
  operationId: 'checkLive',
  summary: 'Tells whether the process can answer at all.',
  security: [],
  responses: { 200: { description: 'It can.', ...HEALTH }, ...refusals(ANYWHERE) },
};

const READY: Operation = {
  operationId: 'checkReady',
  summary: 'Tells whether the server can do everything, its store included.',
  security: [],
  responses: { 200: { description: 'It can.', ...HEALTH }, ...refusals([...ANYWHERE, ...STORE]) },
};

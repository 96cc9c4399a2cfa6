/** GET /openapi.json: what the public listener takes and answers, for programs that read OpenAPI 3.1. */
import {
  BODY_BYTES_MAX,
  metadataURL,
  openidConfigurationURLs,
  PARAMETERS_MAX,
  PATHS,
  splitURL,
} from '@hallpass/protocol';
import assert from 'node:assert/strict';
import type { Endpoint } from '../../../wire.ts';
import type { Authority } from '../../authority.ts';
import { publish } from '../metadata.ts';
import {
  CHECK_LIVE,
  CHECK_READY,
  CREATE_TOKEN,
  INTROSPECT_TOKEN,
  OTHER_METHODS,
  OTHER_PATHS,
  PARAMETERS,
  PING,
  preflight,
  READ_FRONT_PAGE,
  READ_KEY_SET,
  READ_METADATA,
  READ_OPENAPI,
  READ_REVOCATIONS,
  readOpenidConfiguration,
  REVOKE_TOKEN,
  type Operation,
} from './operations.ts';
import { HEADERS, type ApiResponse, type Header, type NamedResponse, type Ref } from './responses.ts';
import { SCHEMAS, type Schema } from './schemas.ts';
import { securitySchemes } from './security.ts';

type Method = 'get' | 'head' | 'post' | 'options';

interface PathItem<Response> extends Readonly<Partial<Record<Method, Operation<Response>>>> {
  readonly servers?: readonly { readonly url: string }[];
}

type Paths<Response> = Readonly<Record<string, PathItem<Response>>>;
type Responses<Response> = Readonly<Record<string, Response>>;

/** An operation as the document has it: with references to its responses. */
export type PrintedOperation = Operation<Ref>;

/** The OpenAPI document, as far as our code reads it. */
export interface OpenapiDocument {
  readonly openapi: '3.1.1';
  readonly info: Readonly<Record<'title' | 'version' | 'summary' | 'description', string>>;
  readonly servers: readonly { readonly url: string }[];
  readonly paths: Paths<Ref>;
  /** The responses to any other method on these paths. */
  readonly 'x-other-methods': Responses<Ref>;
  /** The responses on any other path. */
  readonly 'x-other-paths': Responses<Ref>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>;
    readonly headers: Readonly<Record<string, Header>>;
    readonly parameters: Readonly<Record<string, Schema>>;
    readonly responses: Readonly<Record<string, ApiResponse>>;
    readonly securitySchemes: Readonly<Record<string, Schema>>;
  };
}

/** Serves the document of this issuer; anyone may cache it for a while. */
export function openapiEndpoint({ issuer }: Authority): Endpoint {
  const document = openapiDocument(issuer);
  return publish(() => document, 'application/json');
}

/** The document for an issuer. */
export function openapiDocument(issuer: string): OpenapiDocument {
  const base = issuer.replace(/\/$/, '');
  const paths = pathsOf(base);
  return {
    openapi: '3.1.1',
    info: {
      title: 'Hallpass',
      version: '1',
      summary: 'Short-lived, scoped, revocable access tokens.',
      description: `A body has at most ${BODY_BYTES_MAX} bytes and ${PARAMETERS_MAX} parameters. Responses may get new members; ignore those that you do not know. After a 503, or no response at all, repeating the same request is safe.`,
    },
    servers: [{ url: base }],
    paths: Object.fromEntries(Object.entries(paths).map(([path, item]) => [path, printItem(item)])),
    'x-other-methods': printResponses(OTHER_METHODS),
    'x-other-paths': printResponses(OTHER_PATHS),
    components: {
      schemas: SCHEMAS,
      headers: HEADERS,
      parameters: PARAMETERS,
      responses: collectResponses([
        ...Object.values(paths)
          .flatMap(operationsOf)
          .map(({ responses }) => responses),
        OTHER_METHODS,
        OTHER_PATHS,
      ]),
      securitySchemes: securitySchemes(base),
    },
  };
}

function pathsOf(base: string): Paths<NamedResponse> {
  const metadata = splitURL(metadataURL(base));
  const servers = [{ url: metadata.origin }];
  return {
    '/': withHead(READ_FRONT_PAGE),
    [PATHS.token]: { post: CREATE_TOKEN, options: preflight('preflightToken') },
    [PATHS.revoke]: { post: REVOKE_TOKEN, options: preflight('preflightRevoke') },
    [PATHS.introspect]: { post: INTROSPECT_TOKEN },
    [PATHS.jwks]: withHead(READ_KEY_SET),
    // The well-known part comes before an issuer's path, not below it (RFC 8414 §3.1).
    [metadata.pathname]: { ...withHead(READ_METADATA), servers },
    ...openidConfigurations(base, servers),
    [PATHS.revocations]: withHead(READ_REVOCATIONS),
    [PATHS.ping]: withHead(PING),
    [PATHS.live]: withHead(CHECK_LIVE),
    [PATHS.ready]: withHead(CHECK_READY),
    [PATHS.openapi]: withHead(READ_OPENAPI),
  };
}

/** Below the issuer, and between its host and its path if it has one. */
function openidConfigurations(
  base: string,
  servers: NonNullable<PathItem<NamedResponse>['servers']>,
): Paths<NamedResponse> {
  const { below, between } = openidConfigurationURLs(base);
  const at = (url: string, operationId: string): Paths<NamedResponse> => ({
    [splitURL(url).pathname]: { ...withHead(readOpenidConfiguration(operationId)), servers },
  });
  return below === between
    ? at(below, 'readOpenidConfiguration')
    : { ...at(below, 'readOpenidConfiguration'), ...at(between, 'readOpenidConfigurationBetween') };
}

/** HEAD works wherever GET does, with the same headers and no body (RFC 9110 §9.3.2). */
function withHead(get: Operation): PathItem<NamedResponse> {
  return { get, head: { ...get, operationId: `${get.operationId}Head` } };
}

// Responses are components, so that each is written once.

function operationsOf({ get, head, post, options }: PathItem<NamedResponse>): readonly Operation[] {
  return [get, head, post, options].filter((operation) => operation !== undefined);
}

function collectResponses(all: readonly Responses<NamedResponse>[]): Responses<ApiResponse> {
  const collected = new Map<string, ApiResponse>();
  for (const { name, response } of all.flatMap((responses) => Object.values(responses))) {
    assert.deepEqual(collected.get(name) ?? response, response, `two responses are called ${name}`);
    collected.set(name, response);
  }
  return Object.fromEntries(collected);
}

function printItem({ get, head, post, options, servers }: PathItem<NamedResponse>): PathItem<Ref> {
  return {
    ...(get === undefined ? {} : { get: printOperation(get) }),
    ...(head === undefined ? {} : { head: printOperation(head) }),
    ...(post === undefined ? {} : { post: printOperation(post) }),
    ...(options === undefined ? {} : { options: printOperation(options) }),
    ...(servers === undefined ? {} : { servers }),
  };
}

function printOperation(operation: Operation): PrintedOperation {
  return { ...operation, responses: printResponses(operation.responses) };
}

function printResponses(responses: Responses<NamedResponse>): Responses<Ref> {
  const refs = Object.entries(responses).map(([status, { name }]) => [
    status,
    { $ref: `#/components/responses/${name}` },
  ]);
  return Object.fromEntries(refs);
}

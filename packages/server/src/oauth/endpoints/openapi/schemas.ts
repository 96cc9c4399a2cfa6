/** The bodies of the OpenAPI document (JSON Schema 2020-12), from the constants that the code itself obeys. */
import {
  ACCESS_TOKEN_LENGTH_MAX,
  ACCESS_TOKEN_SECONDS_MAX,
  ACCESS_TOKEN_TYPE_URN,
  CLIENT_ALGORITHMS,
  CLIENT_ASSERTION_LENGTH_MAX,
  CLIENT_ASSERTION_TYPE,
  CLIENT_ID_LENGTH_MAX,
  CLIENT_SECRET_LENGTH_MAX,
  CURSOR_LENGTH_MAX,
  GRANT_TYPES,
  listRefusals,
  REFRESH_TOKEN_LENGTH_MAX,
  SCOPE_LENGTH_MAX,
  SCOPE_LIST_LENGTH_MAX,
  SCOPES_PER_REQUEST_MAX,
  SEGMENT_LENGTH_MAX,
  SIGNING_ALGORITHMS,
  type ParameterName,
} from '@hallpass/protocol';
import { PAGE_ENTRIES_MAX } from '../feed.ts';
import { CLIENT_METHODS } from '../metadata.ts';

/** A JSON Schema. */
export type Schema = Readonly<Record<string, unknown>>;

const WORD = '[A-Za-z0-9_~-]+';
const SEGMENT = String.raw`${WORD}(?:\.${WORD})*`;
/** A filled scope (contract §7); the lengths of its segments apart, which a pattern cannot count well. */
const FILLED_SCOPE = String.raw`(?:/${SEGMENT})+\.[a-z-]+`;

const text = (description: string, more: Schema = {}): Schema => ({ type: 'string', description, ...more });
const date = (description: string): Schema => ({ type: 'integer', minimum: 0, description });
const url = (description: string): Schema => ({ type: 'string', format: 'uri', description });
const listOf = (description: string, items: Schema): Schema => ({ type: 'array', description, items });
const object = (description: string, required: readonly string[], properties: Readonly<Record<string, Schema>>) => ({
  type: 'object',
  description,
  required,
  properties,
});

/** A reference to a schema by its name. */
export function refTo(name: keyof typeof OWN_SCHEMAS): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });

const PARAMETERS: Record<ParameterName | 'resource', Schema> = {
  grant_type: text('The grant (RFC 6749 §4.4, §6, RFC 8693).', { enum: GRANT_TYPES }),
  scope: text(
    'The requested scopes; without it, the default scope of the API key, or at a refresh everything that was granted.',
    {
      $ref: '#/components/schemas/ScopeList',
    },
  ),
  resource: {
    description: 'The APIs that the token is for (RFC 8707): URIs among the audiences of the API key.',
    oneOf: [
      { type: 'string', format: 'uri' },
      { type: 'array', items: { type: 'string', format: 'uri' } },
    ],
  },
  audience: text('With token exchange, the same as `resource` under its name in RFC 8693; ignored otherwise.'),
  refresh_token: text('With `grant_type=refresh_token`, and ignored otherwise.', {
    maxLength: REFRESH_TOKEN_LENGTH_MAX,
  }),
  subject_token: text('With token exchange: the access token to cut a narrower one from.', {
    maxLength: ACCESS_TOKEN_LENGTH_MAX,
  }),
  subject_token_type: text('With token exchange.', { const: ACCESS_TOKEN_TYPE_URN }),
  requested_token_type: text('With token exchange.', { const: ACCESS_TOKEN_TYPE_URN }),
  actor_token: text('Not supported: there are no actor tokens here.'),
  token: text('An access token or a refresh token.'),
  token_type_hint: text('Which of the two it is. Only a hint: an unknown or wrong one does no harm (RFC 7009 §2.1).'),
  client_id: text('The API key, if it is not in the Authorization header.', {
    maxLength: CLIENT_ID_LENGTH_MAX,
  }),
  client_secret: text('Its secret (client_secret_post).', { maxLength: CLIENT_SECRET_LENGTH_MAX }),
  client_assertion: text('A signed assertion instead of a secret (private_key_jwt, RFC 7523).', {
    maxLength: CLIENT_ASSERTION_LENGTH_MAX,
  }),
  client_assertion_type: text('Goes with `client_assertion`.', { const: CLIENT_ASSERTION_TYPE }),
};

const CREDENTIALS = ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type'] as const;

/** The parameters of a form, and the same in JSON, where null and an empty string count as absent. */
function requestSchema(
  description: string,
  required: readonly ParameterName[],
  names: readonly (keyof typeof PARAMETERS)[],
) {
  const properties = [...names, ...CREDENTIALS].map((name) => [name, ref(schemaNameOf(name))] as const);
  const optional = properties.map(([name, schema]) => {
    const isRequired = required.some((one) => one === name);
    return [name, isRequired ? schema : { anyOf: [schema, ref('Absent')] }] as const;
  });
  return {
    form: object(description, required, Object.fromEntries(properties)),
    json: object(`${description} Null and an empty string count as absent.`, required, Object.fromEntries(optional)),
  };
}

/** `grant_type` is the schema `GrantTypeParameter`. */
function schemaNameOf(parameter: string): string {
  const words = parameter.split('_').map((word) => word.slice(0, 1).toUpperCase() + word.slice(1));
  return `${words.join('')}Parameter`;
}

const PARAMETER_SCHEMAS: Readonly<Record<string, Schema>> = Object.fromEntries(
  Object.entries(PARAMETERS).map(([name, schema]) => [schemaNameOf(name), schema]),
);

const TOKEN = requestSchema(
  'A request for a token.',
  ['grant_type'],
  [
    'grant_type',
    'scope',
    'resource',
    'refresh_token',
    'subject_token',
    'subject_token_type',
    'audience',
    'requested_token_type',
    'actor_token',
  ],
);
const ONE_TOKEN = requestSchema('A token to revoke or to introspect.', ['token'], ['token', 'token_type_hint']);

const ENDPOINT_METHODS = (endpoint: string): Readonly<Record<string, Schema>> => ({
  [`${endpoint}_endpoint`]: url('Where it is.'),
  [`${endpoint}_endpoint_auth_methods_supported`]: listOf('How a client can authenticate.', { enum: CLIENT_METHODS }),
  [`${endpoint}_endpoint_auth_signing_alg_values_supported`]: listOf('The algorithms that may sign an assertion.', {
    enum: CLIENT_ALGORITHMS,
  }),
});

const METADATA = {
  issuer: url('Exactly as in `iss`.'),
  ...ENDPOINT_METHODS('token'),
  ...ENDPOINT_METHODS('revocation'),
  ...ENDPOINT_METHODS('introspection'),
  jwks_uri: url('The public signing keys.'),
  grant_types_supported: listOf('The supported grants.', { enum: GRANT_TYPES }),
  dpop_signing_alg_values_supported: listOf('The algorithms that may sign a proof (RFC 9449).', {
    enum: CLIENT_ALGORITHMS,
  }),
  response_types_supported: listOf('None: there is no authorization endpoint.', { type: 'string' }),
};

const OPENID_CONFIGURATION = {
  subject_types_supported: listOf("A client's `sub` is the same for every audience.", { enum: ['public'] }),
  id_token_signing_alg_values_supported: listOf('The algorithms that may sign access tokens; no ID token is issued.', {
    enum: SIGNING_ALGORITHMS,
  }),
};

const AUDIENCE: Schema = {
  description: 'The API that the token is for, or several.',
  oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }],
};

const OWN_SCHEMAS = {
  ScopeList: text(
    `Scopes with exactly one space between them, at most ${SCOPES_PER_REQUEST_MAX}. A scope is a path with a verb, its \`{parameters}\` filled in; it has at most ${SCOPE_LENGTH_MAX} characters, and a segment of it at most ${SEGMENT_LENGTH_MAX}.`,
    {
      pattern: `^${FILLED_SCOPE}(?: ${FILLED_SCOPE}){0,${SCOPES_PER_REQUEST_MAX - 1}}$`,
      maxLength: SCOPE_LIST_LENGTH_MAX,
      examples: ['/accounts.write /accounts/a1/transfers.read'],
    },
  ),
  // A form has no null, and its empty values are absent anyway.
  Absent: { enum: [null, ''] },
  TokenForm: TOKEN.form,
  TokenJson: TOKEN.json,
  OneTokenForm: ONE_TOKEN.form,
  OneTokenJson: ONE_TOKEN.json,
  TokenResponse: object('RFC 6749 §5.1.', ['access_token', 'token_type', 'expires_in', 'scope'], {
    access_token: text('Send it to the API.', { minLength: 1, maxLength: ACCESS_TOKEN_LENGTH_MAX }),
    token_type: text('`DPoP` when the token is bound to a key (RFC 9449).', { enum: ['Bearer', 'DPoP'] }),
    expires_in: {
      type: 'integer',
      minimum: 1,
      maximum: ACCESS_TOKEN_SECONDS_MAX,
      description: 'Seconds until it expires.',
    },
    scope: { ...ref('ScopeList'), description: 'As granted.' },
    refresh_token: text('For the next access token, unless the API key has refresh switched off.', {
      minLength: 1,
      maxLength: REFRESH_TOKEN_LENGTH_MAX,
    }),
    issued_token_type: text('With token exchange only (RFC 8693 §2.2.1).', { const: ACCESS_TOKEN_TYPE_URN }),
  }),
  Revoked: { ...object('An empty object (RFC 7009 §2.2).', [], {}), maxProperties: 0 },
  InactiveToken: object(
    'The whole response for a token that is not active, or not visible to the caller.',
    ['active'],
    {
      active: { const: false },
    },
  ),
  ActiveToken: object(
    'RFC 7662 §2.2.',
    ['active', 'scope', 'client_id', 'sub', 'iss', 'aud', 'iat', 'exp', 'jti', 'token_type'],
    {
      active: { const: true },
      scope: ref('ScopeList'),
      client_id: text('The API key that it was issued to.', { maxLength: CLIENT_ID_LENGTH_MAX }),
      sub: text('The same.'),
      iss: url('The issuer.'),
      aud: AUDIENCE,
      iat: date('Issued; seconds since 1970.'),
      exp: date('Expires; seconds since 1970.'),
      jti: text('Its identifier.'),
      token_type: text('How the access token is used, or that it is a refresh token.', {
        enum: ['Bearer', 'DPoP', 'refresh_token'],
      }),
      cnf: object('The key that it is bound to (RFC 7800 §3).', ['jkt'], { jkt: text('Its thumbprint (RFC 7638).') }),
    },
  ),
  IntrospectionResponse: { oneOf: [ref('InactiveToken'), ref('ActiveToken')] },
  KeySet: object('RFC 7517 §5.', ['keys'], { keys: listOf('Public keys.', ref('PublicKey')) }),
  PublicKey: object('A public signing key (RFC 7517 §4).', ['kty', 'kid', 'alg', 'use'], {
    kty: { enum: ['EC', 'OKP', 'RSA'] },
    kid: text('As in the header of the tokens that it signs.', { minLength: 1 }),
    alg: { enum: SIGNING_ALGORITHMS },
    use: { const: 'sig' },
    crv: { enum: ['P-256', 'Ed25519'] },
    x: text('EC and OKP.'),
    y: text('EC.'),
    n: text('RSA.'),
    e: text('RSA.'),
  }),
  Metadata: object('RFC 8414 §2.', Object.keys(METADATA), METADATA),
  OpenidConfiguration: {
    allOf: [
      ref('Metadata'),
      object(
        'Two members more, which OpenID Connect verifiers require. No ID token is issued.',
        Object.keys(OPENID_CONFIGURATION),
        OPENID_CONFIGURATION,
      ),
    ],
  },
  Revocation: object('One entry of the feed.', ['cursor', 'kind', 'id', 'expires_at'], {
    cursor: ref('Cursor'),
    kind: text(
      'What is revoked: an access token by its `jti`, a grant by its `grant_id`, or everything that one client (`client`) or any client (`before`) was issued before a moment.',
      { enum: ['token', 'grant', 'client', 'before'] },
    ),
    id: text('The id of what is revoked; `*` with `before`.', { minLength: 1 }),
    before: date('With `client` and `before`: tokens whose `iat` is below this are dead.'),
    expires_at: date('When the entry may be forgotten.'),
  }),
  Cursor: text('Where to read on.', { pattern: '^[A-Za-z0-9_-]+$', maxLength: CURSOR_LENGTH_MAX }),
  RevocationPage: object('Entries in the order in which they were committed.', ['entries', 'cursor', 'more', 'keys'], {
    entries: { ...listOf('Revocations.', ref('Revocation')), maxItems: PAGE_ENTRIES_MAX },
    cursor: ref('Cursor'),
    more: {
      type: 'boolean',
      description:
        'Whether there is more to read right now. If not, the page is complete up to the moment of the request.',
    },
    keys: text('The version of the published key set; it changes with every change of the keys.'),
  }),
  Health: object('The state of this instance.', ['status'], { status: { enum: ['live', 'ready'] } }),
  OpenApi: {
    ...object('This document.', ['openapi', 'info', 'paths'], {
      openapi: { type: 'string' },
      info: { type: 'object' },
      paths: { type: 'object' },
    }),
    additionalProperties: true,
  },
  Error: object(
    'RFC 6749 §5.2. A program reads `error`; `error_description` is for its developer.',
    ['error', 'error_description'],
    {
      error: text('The code.', { enum: [...new Set(listRefusals().map(({ error }) => error))] }),
      error_description: text('A sentence.', { pattern: String.raw`^[\x20-\x21\x23-\x5b\x5d-\x7e]+$` }),
    },
  ),
} satisfies Readonly<Record<string, Schema>>;

/** Every schema by its name. */
export const SCHEMAS: Readonly<Record<string, Schema>> = { ...OWN_SCHEMAS, ...PARAMETER_SCHEMAS };

/** The operations on access tokens, `create` and `revoke`, in the shapes of the seed page. */
import {
  PATHS,
  SingleFlight,
  TOKEN_TYPE_HINTS,
  parseJson,
  parseTokenResponse,
  type TokenTypeHint,
} from '@hallpass/protocol';
import { errorOf, printResponse, isEmptyOrJson, type Answer, type HTTPResponse } from './answer.ts';
import { exchange, type Connection } from './exchange.ts';
import { badArgument } from './hallpass_error.ts';

/** What every grant needs. */
interface GrantRequest {
  readonly clientId: string;
  readonly clientSecret: string;
  /** Scopes separated by single spaces, such as `/accounts.write`. Default: the key's default scope, or the grant's scopes. */
  readonly scope?: string | undefined;
  /** The APIs that the token is for (RFC 8707 §2). Default: the key's default audience. */
  readonly resource?: string | readonly string[] | undefined;
}

/** Asks for a first token for an API key (RFC 6749 §4.4.2). */
export interface ClientCredentialsRequest extends GrantRequest {
  readonly grantType: 'client_credentials';
  /** Allowed because the seed page shows one type for both grants. It is not sent. */
  readonly refreshToken?: string | undefined;
}

/** Asks for a new access token in an existing grant (RFC 6749 §6). */
export interface RefreshTokenRequest extends GrantRequest {
  readonly grantType: 'refresh_token';
  readonly refreshToken: string;
}

/** What `create` takes. */
export type CreateAccessTokenRequest = ClientCredentialsRequest | RefreshTokenRequest;

/**
 * A token answer (RFC 6749 §5.1). You read and copy both tokens like any member: `{ ...accessTokenResponse }` is a plain
 * object that holds them. Printing this object shows neither token. Serialising it to JSON throws a `HallpassError`,
 * because a logger and an answer to a browser make the same call. To send it to a browser, copy it first (ADR 42).
 */
export interface AccessTokenResponse {
  readonly accessToken: string;
  /** `Bearer` or `DPoP`, as the server wrote it. Compare it case-insensitively (RFC 6749 §5.1). */
  readonly tokenType: string;
  /** The lifetime of the access token, in seconds from now. */
  readonly expiresIn?: number | undefined;
  /** The granted scopes, separated by single spaces. */
  readonly scope?: string | undefined;
  /** Absent if the key has refresh switched off. */
  readonly refreshToken?: string | undefined;
}

/** The answer of `create`. */
export interface CreateAccessTokenResponse extends HTTPResponse {
  readonly accessTokenResponse?: AccessTokenResponse;
}

/** What `revoke` takes (RFC 7009 §2.1). */
export interface RevokeAccessTokenRequest {
  readonly clientId: string;
  readonly clientSecret: string;
  /** An access token or a refresh token. Revoking a refresh token ends its whole family. */
  readonly token: string;
  /** Saves the server a lookup. A wrong hint does no harm. */
  readonly tokenTypeHint?: TokenTypeHint | undefined;
  /**
   * How long the server may hold the answer until all connected guards have confirmed, in whole seconds from 0 to 10. The
   * timeout of the request grows by as much. Without it the answer comes at once and does not mention guards.
   */
  readonly waitSeconds?: number | undefined;
}

/** The answer of `revoke`. */
export interface RevokeAccessTokenResponse extends HTTPResponse {
  /** How many guards were connected, and how many of them refuse the token already. Only with `waitSeconds`, if the server knows. */
  readonly guards?: { readonly confirmed: number; readonly connected: number };
}

/** The operations of `hallpass.accessToken`. */
export class AccessTokenOperations {
  readonly #connection: Connection;
  readonly #refreshes = new SingleFlight<Answer>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Exchanges an API key, or an API key and a refresh token, for an access token (contract §3). Rejects with a
   * `HallpassError`. Concurrent refreshes with the same arguments share one request, so a thousand callers that find
   * their token expired cause one. Always keep the `refreshToken` of the latest answer.
   */
  async create(request: CreateAccessTokenRequest): Promise<CreateAccessTokenResponse> {
    requireTexts(request, ['clientId', 'clientSecret']);
    const { grantType, clientId, clientSecret, scope = '' } = request;
    if (typeof scope !== 'string') throw badArgument('scope is a string; put one space between several scopes.');
    const resource = parseResource(request.resource);
    const refreshToken = parseGrant(request);

    const credentials = { client_id: clientId, client_secret: clientSecret };
    const body = form({ grant_type: grantType, ...credentials, refresh_token: refreshToken, scope, resource });
    const secrets = refreshToken === '' ? [clientSecret] : [clientSecret, refreshToken];
    const post = (): Promise<Answer> => exchange(this.#connection, { method: 'POST', path: PATHS.token, body });
    // The whole body is the key, secret included: a caller with a wrong secret must not share the answer to a right one.
    const answer = await (refreshToken === '' ? post() : this.#refreshes.run(body, post));

    const members = answer.statusCode === 200 ? parseTokenResponse(parseJson(answer.body)) : undefined;
    if (members === undefined) throw errorOf(answer, secrets);
    return { ...printResponse(answer), accessTokenResponse: new GrantedTokens(members) };
  }

  /**
   * Revokes a token (contract §4, RFC 7009). Once it resolves, the server refuses the token; that includes a token it did
   * not know. Rejects with a `HallpassError`. The token may still be valid then, and it is safe to call again.
   */
  async revoke(request: RevokeAccessTokenRequest): Promise<RevokeAccessTokenResponse> {
    requireTexts(request, ['clientId', 'clientSecret', 'token']);
    const { clientId, clientSecret, token, tokenTypeHint, waitSeconds } = request;
    if (tokenTypeHint !== undefined && !TOKEN_TYPE_HINTS.includes(tokenTypeHint)) {
      throw badArgument('tokenTypeHint is access_token or refresh_token; leave it out if you do not know.');
    }
    if (waitSeconds !== undefined && !WAITS.includes(waitSeconds)) {
      throw badArgument('waitSeconds is a whole number from 0 to 10.');
    }
    const credentials = { client_id: clientId, client_secret: clientSecret };
    const body = form({ ...credentials, token, token_type_hint: tokenTypeHint ?? '' });
    const secrets = [clientSecret, token];
    const timeoutSeconds = this.#connection.timeoutSeconds + (waitSeconds ?? 0);
    const path = waitSeconds === undefined ? PATHS.revoke : `${PATHS.revoke}?wait=${waitSeconds}`;
    const answer = await exchange({ ...this.#connection, timeoutSeconds }, { method: 'POST', path, body });
    const done = answer.statusCode === 200 || answer.statusCode === 204;
    if (!done || !isEmptyOrJson(answer)) throw errorOf(answer, secrets);
    const [, confirmed, connected] = GUARDS.exec(answer.headers.get('hallpass-guards') ?? '') ?? [];
    const guards = { confirmed: Number(confirmed), connected: Number(connected) };
    return { ...printResponse(answer), ...(connected === undefined ? {} : { guards }) };
  }
}

/** The values of `wait` that a server accepts, in seconds. */
const WAITS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
/** `Hallpass-Guards` as our server prints it: a dictionary (RFC 9651 §3.2). */
const GUARDS = /^confirmed=([0-9]{1,15}), connected=([0-9]{1,15})$/;

/**
 * Holds the tokens behind getters, so that a console that prints the answer does not show them. The getters are own and
 * enumerable, so that a copy of the answer has them.
 */
class GrantedTokens implements AccessTokenResponse {
  readonly tokenType: string;
  readonly expiresIn: number | undefined;
  readonly scope: string | undefined;
  declare readonly accessToken: string;
  declare readonly refreshToken: string | undefined;

  constructor(members: NonNullable<ReturnType<typeof parseTokenResponse>>) {
    this.tokenType = members.token_type;
    this.expiresIn = members.expires_in;
    this.scope = members.scope;
    const { access_token: accessToken, refresh_token } = members;
    const refreshToken = refresh_token === '' ? undefined : refresh_token;
    Object.defineProperties(this, {
      accessToken: { enumerable: true, get: () => accessToken },
      refreshToken: { enumerable: true, get: () => refreshToken },
    });
  }

  /** Throws: JSON with the tokens would put them into logs, and JSON without them would leave a page without tokens. */
  toJSON(): never {
    throw badArgument(
      'A token answer does not serialise to JSON, so that its tokens do not end up in logs. To send it to a client, copy it: { ...accessTokenResponse }.',
    );
  }

  /** Node's `util.inspect` has an option that calls getters; it calls this instead. */
  [Symbol.for('nodejs.util.inspect.custom')](): object {
    const { tokenType, expiresIn, scope } = this;
    return { tokenType, expiresIn, scope };
  }
}

/**
 * Prints a form without empty values. A browser posts a form to another origin without a preflight; an Authorization
 * header would need one, so the secret is in the form too (Fetch §2.2.2).
 */
function form(parameters: Readonly<Record<string, string | readonly string[]>>): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const item of typeof value === 'string' ? [value] : value) if (item !== '') pairs.append(name, item);
  }
  return pairs.toString();
}

/** The types forbid this already, but not to callers that use JavaScript or read their settings from a file. */
function requireTexts(request: object, names: readonly string[]): void {
  if (typeof request !== 'object' || request === null) throw badArgument(`Pass an object with ${names.join(', ')}.`);
  const members = new Map<string, unknown>(Object.entries(request));
  for (const name of names) {
    const value = members.get(name);
    if (typeof value !== 'string' || value === '')
      throw badArgument(`${name} is required: pass a string that is not empty.`);
  }
}

/** The refresh token to send; empty for `client_credentials`. */
function parseGrant(request: CreateAccessTokenRequest): string {
  switch (request.grantType) {
    case 'client_credentials':
      return '';
    case 'refresh_token':
      requireTexts(request, ['refreshToken']);
      return request.refreshToken;
    default:
      throw badArgument('grantType is client_credentials or refresh_token.');
  }
}

function parseResource(resource: unknown = []): readonly string[] {
  const resources: readonly unknown[] = Array.isArray(resource) ? resource : [resource];
  const texts = resources.filter((item) => typeof item === 'string');
  if (texts.length < resources.length) throw badArgument('resource is a string or an array of strings.');
  return texts;
}

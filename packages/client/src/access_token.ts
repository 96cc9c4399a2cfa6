/** The operations on access tokens: `create` and `revoke`, in the shapes of the seed page. */
import {
  PATHS,
  SingleFlight,
  TOKEN_TYPE_HINTS,
  parseJson,
  parseTokenResponse,
  type TokenTypeHint,
} from '@hallpass/protocol';
import { errorOf, printResponse, saysNothingElse, type Answer, type HTTPResponse } from './answer.ts';
import { exchange, type Connection } from './exchange.ts';
import { badArgument } from './hallpass_error.ts';

/** What every grant needs. */
interface GrantRequest {
  readonly clientId: string;
  readonly clientSecret: string;
  /** Scopes with one space between, such as `/accounts.write`. Without it: the key's default, or the grant's scopes. */
  readonly scope?: string | undefined;
  /** The APIs that the token is for (RFC 8707 §2). Without it: the key's default audience. */
  readonly resource?: string | readonly string[] | undefined;
}

/** A first token for an API key (RFC 6749 §4.4.2). */
export interface ClientCredentialsRequest extends GrantRequest {
  readonly grantType: 'client_credentials';
  /** Allowed here since the seed page shows one type for both grants; not sent. */
  readonly refreshToken?: string | undefined;
}

/** A new access token for an old grant (RFC 6749 §6). */
export interface RefreshTokenRequest extends GrantRequest {
  readonly grantType: 'refresh_token';
  readonly refreshToken: string;
}

/** What `create` takes. */
export type CreateAccessTokenRequest = ClientCredentialsRequest | RefreshTokenRequest;

/**
 * A token answer (RFC 6749 §5.1). Both tokens are read like any member, and copied like any: `{ ...accessTokenResponse }`
 * is a plain object that holds them. Printing this object shows neither. Turning it into JSON throws a `HallpassError`,
 * since a log and an answer to a browser are made by the same call: copy it, to send it on (ADR 42).
 */
export interface AccessTokenResponse {
  readonly accessToken: string;
  /** `Bearer` or `DPoP`, as the server wrote it; compare it without regard to case (RFC 6749 §5.1). */
  readonly tokenType: string;
  /** Seconds from now. */
  readonly expiresIn?: number | undefined;
  readonly scope?: string | undefined;
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
  /** An access token or a refresh token. A refresh token takes its whole family with it. */
  readonly token: string;
  /** Spares the server a look; a wrong one does no harm. */
  readonly tokenTypeHint?: TokenTypeHint | undefined;
  /**
   * How long the answer may wait until the guards that are connected have confirmed, in whole seconds, 0 to 10. The time
   * that an answer may take is longer by as much. Without it: not at all, and nothing is said of guards.
   */
  readonly waitSeconds?: number | undefined;
}

/** The answer of `revoke`. */
export interface RevokeAccessTokenResponse extends HTTPResponse {
  /** How many guards refuse the token already, of those that were connected; where it waited, and the server could say. */
  readonly guards?: { readonly confirmed: number; readonly connected: number };
}

/** `hallpass.accessToken`. */
export class AccessTokenOperations {
  readonly #connection: Connection;
  readonly #refreshes = new SingleFlight<Answer>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Exchanges an API key, or an API key and a refresh token, for an access token (contract §3). Rejects with a
   * `HallpassError`. A refresh that is under way already is joined, not repeated: a thousand callers who find the same
   * token expired cause one request. Keep the `refreshToken` of each answer in place of the one before.
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
    // The body is the key. It holds the secret too: a caller with a wrong one must not ride along with a right one.
    const answer = await (refreshToken === '' ? post() : this.#refreshes.run(body, post));

    const members = answer.statusCode === 200 ? parseTokenResponse(parseJson(answer.body)) : undefined;
    if (members === undefined) throw errorOf(answer, secrets);
    return { ...printResponse(answer), accessTokenResponse: new GrantedTokens(members) };
  }

  /**
   * Takes a token back (contract §4, RFC 7009). When it resolves, the token is dead: so is one that was unknown or
   * expired all along. Rejects with a `HallpassError`; the token may still live then, and calling again is safe.
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
    if (!done || !saysNothingElse(answer)) throw errorOf(answer, secrets);
    const [, confirmed, connected] = GUARDS.exec(answer.headers.get('hallpass-guards') ?? '') ?? [];
    const guards = { confirmed: Number(confirmed), connected: Number(connected) };
    return { ...printResponse(answer), ...(connected === undefined ? {} : { guards }) };
  }
}

/** The waits that a server takes, in seconds. */
const WAITS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
/** As our server prints it; a dictionary (RFC 9651 §3.2). */
const GUARDS = /^confirmed=([0-9]{1,15}), connected=([0-9]{1,15})$/;

/**
 * The tokens behind getters, so that no console that prints an answer gives them away; of its own and enumerable, so that
 * no copy of an answer lacks them.
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

  /** Neither way is right in silence: with the tokens they would be in logs, without them a page would get none. */
  toJSON(): never {
    throw badArgument(
      'A token answer is not turned into JSON by itself, so that no log gets the tokens. To send it on, copy it: { ...accessTokenResponse }.',
    );
  }

  /** Node's `util.inspect` can be told to call getters; it asks here first. */
  [Symbol.for('nodejs.util.inspect.custom')](): object {
    const { tokenType, expiresIn, scope } = this;
    return { tokenType, expiresIn, scope };
  }
}

/**
 * A form, since a form is what a browser posts to another origin without a preflight, and with the secret in it, since
 * an Authorization header would bring the preflight back (Fetch §2.2.2). Empty values are left out.
 */
function form(parameters: Readonly<Record<string, string | readonly string[]>>): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const item of typeof value === 'string' ? [value] : value) if (item !== '') pairs.append(name, item);
  }
  return pairs.toString();
}

/** The types forbid all of this; they do not reach a caller who writes JavaScript or reads its settings from a file. */
function requireTexts(request: object, names: readonly string[]): void {
  if (typeof request !== 'object' || request === null) throw badArgument(`Pass an object with ${names.join(', ')}.`);
  const members = new Map<string, unknown>(Object.entries(request));
  for (const name of names) {
    const value = members.get(name);
    if (typeof value !== 'string' || value === '')
      throw badArgument(`${name} is required: pass a string that is not empty.`);
  }
}

/** The refresh token to send; empty for a grant that takes none. */
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

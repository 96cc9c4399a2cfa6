/**
 * An in-memory issuer for your API's tests: the guard decides as in production, and you don't need to start a server.
 *
 *   const issuer = await createTestIssuer({ audience: 'https://api.example.com' });
 *   const guard = createGuard(issuer.options);
 *   const token = await issuer.token({ scope: '/accounts/a1/transfers.read' });
 *   await issuer.revoke(token);
 *
 * Whoever holds this object can sign any token, so never use it for an API that others can reach.
 */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  ACCESS_TOKEN_TYPE,
  makeIdentifier,
  numericDate,
  OPAQUE_TOKEN_PREFIX,
  parseBasic,
  parsePlainBasic,
  PATHS,
  printBase64url,
  type AccessTokenClaims,
  type ClientCredentials,
  type Clock,
  type Revocation,
} from '@hallpass/protocol';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { GuardOptions } from '../options.ts';
import { randomBytes, SYSTEM_CLOCK } from '../runtime.ts';
import { TestFeeds } from './feed.ts';

/** The options of `createTestIssuer`. */
export interface TestIssuerOptions {
  /** The API whose guard you test. */
  readonly audience: string;
  /**
   * The clock that the guard gets too, unless you override it: `createGuard({ ...issuer.options, clock })`. Default:
   * this machine's.
   */
  readonly clock?: NonNullable<GuardOptions['clock']>;
}

/** The contents of a test token. */
export interface TestToken {
  /** Filled scopes, separated by spaces. Default: none, which allows nothing. */
  readonly scope?: string;
  /** Default: `test-client`. */
  readonly clientId?: string;
  /** In seconds; negative for an expired token. Default: 900. */
  readonly expiresIn?: number;
  /** Default: the audience of this issuer. */
  readonly audience?: string | readonly string[];
  /** The grant it belongs to. Default: a new one. */
  readonly grantId?: string;
  /** The thumbprint of the key that it's bound to (RFC 9449 §6.1). Default: a bearer token. */
  readonly boundTo?: string;
  /** Whether it's opaque, so that only introspection returns its contents. Default: false. */
  readonly opaque?: boolean;
}

/** An API key, for a guard that accepts keys over Basic. */
export interface TestKey extends ClientCredentials {
  readonly scopes: readonly string[];
}

/** An issuer in memory, with the means to make and revoke tokens. */
export interface TestIssuer {
  /** For `createGuard`, along with any other options. */
  readonly options: Pick<GuardOptions, 'issuer' | 'audience' | 'credentials' | 'fetch' | 'clock'>;
  readonly token: (token?: TestToken) => Promise<string>;
  /** Revokes a token from this issuer. When it resolves, every connected guard knows. */
  readonly revoke: (token: string) => Promise<void>;
  /** The same for all tokens of a grant, or all that a client got until now. */
  readonly revokeGrant: (grantId: string) => Promise<void>;
  readonly revokeClient: (clientId: string) => Promise<void>;
  readonly addKey: (key: TestKey) => void;
  /** Like disabling the key: its tokens are revoked, and it gets no more. */
  readonly removeKey: (clientId: string) => Promise<void>;
  /** Simulates an outage: requests fail and feeds are cut, until you call it with `false`. */
  readonly goAway: (away: boolean) => void;
}

const ISSUER = 'http://localhost';
const KEY_ID = 'test-key';
const EXPIRES_IN = 900;

/** Creates an issuer with its own key. See the top of this file for an example. */
export async function createTestIssuer({ audience, clock = SYSTEM_CLOCK }: TestIssuerOptions): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: KEY_ID, alg: 'ES256', use: 'sig' };
  const credentials = { clientId: 'test-api', clientSecret: printBase64url(randomBytes(32)) };
  const issued = new Map<string, AccessTokenClaims>();
  const ended = new Set<string>();
  const keys = new Map<string, TestKey>();
  const feeds = new TestFeeds();
  let away = false;

  const token = async (of: TestToken = {}): Promise<string> => {
    const claims = claimsOf(of, { audience, clock });
    const made = of.opaque === true ? OPAQUE_TOKEN_PREFIX + printBase64url(randomBytes(48)) : await sign(claims);
    issued.set(made, claims);
    return made;
  };
  const sign = (claims: AccessTokenClaims): Promise<string> =>
    new SignJWT({ ...claims, aud: typeof claims.aud === 'string' ? claims.aud : [...claims.aud] })
      .setProtectedHeader({ alg: 'ES256', kid: KEY_ID, typ: ACCESS_TOKEN_TYPE })
      .sign(privateKey);
  const end = async (revocation: Pick<Revocation, 'kind' | 'id' | 'before'>): Promise<void> => {
    for (const [text, claims] of issued) if (isOf(claims, revocation)) ended.add(text);
    await feeds.publish({ ...revocation, expires_at: numericDate(clock.now()) + ACCESS_TOKEN_SECONDS_MAX });
  };

  // `before` is exclusive, and tokens of this second count too.
  const endClient = (clientId: string): Promise<void> =>
    end({ kind: 'client', id: clientId, before: numericDate(clock.now()) + 1 });

  const answer = async (request: Request): Promise<Response> => {
    const { pathname: path, searchParams } = new URL(request.url);
    if (path === PATHS.jwks) return Response.json({ keys: [jwk] });
    const isResource = path === PATHS.ping || path === PATHS.revocations;
    const caller = (isResource ? parsePlainBasic : parseBasic)(request.headers.get('authorization') ?? '');
    if (path === PATHS.token) return await issueTo(caller, new URLSearchParams(await request.text()));
    if (path === PATHS.ping) return keyOf(caller) === undefined ? refuseWith(401, 'invalid_client') : new Response();
    if (caller?.clientSecret !== credentials.clientSecret) return refuseWith(401, 'invalid_client');
    if (path === PATHS.revocations) {
      return searchParams.has('after') ? Response.json(feeds.page()) : feeds.open(request.signal);
    }
    if (path !== PATHS.introspect) return refuseWith(404, 'not_found');
    const asked = new URLSearchParams(await request.text()).get('token') ?? '';
    const claims = issued.get(asked);
    if (claims === undefined || ended.has(asked) || claims.exp <= numericDate(clock.now())) {
      return Response.json({ active: false });
    }
    const { grant_id: _omitted, ...members } = claims;
    return Response.json({ active: true, ...members });
  };
  const keyOf = (caller: ClientCredentials | undefined): TestKey | undefined => {
    const key = keys.get(caller?.clientId ?? '');
    return key?.clientSecret === caller?.clientSecret ? key : undefined;
  };
  const issueTo = async (caller: ClientCredentials | undefined, form: URLSearchParams): Promise<Response> => {
    const key = keyOf(caller);
    if (key === undefined) return refuseWith(401, 'invalid_client');
    const scope = form.get('scope') ?? '';
    if (!scope.split(' ').every((each) => key.scopes.includes(each))) return refuseWith(400, 'invalid_scope');
    const access_token = await token({ scope, clientId: key.clientId });
    return Response.json({ access_token, token_type: 'Bearer', expires_in: EXPIRES_IN, scope });
  };

  return {
    options: {
      issuer: ISSUER,
      audience,
      credentials,
      clock,
      fetch: async (input, init) => {
        if (away) throw new TypeError('The test issuer is away.');
        return dated(await answer(new Request(input, init)), clock);
      },
    },
    token,
    revoke: async (text) => {
      const claims = issued.get(text);
      if (claims === undefined) throw new TypeError('Only tokens that this issuer gave can be revoked here.');
      await end({ kind: 'token', id: claims.jti });
    },
    revokeGrant: (grantId) => end({ kind: 'grant', id: grantId }),
    revokeClient: endClient,
    addKey: (key) => void keys.set(key.clientId, key),
    removeKey: async (clientId) => {
      keys.delete(clientId);
      await endClient(clientId);
    },
    goAway: (isAway) => {
      away = isAway;
      if (isAway) feeds.cut();
    },
  };
}

/** Real servers send a date (RFC 9110 §6.6.1), and the guard compares its clock with it. */
function dated(response: Response, clock: Clock): Response {
  response.headers.set('Date', new Date(clock.now()).toUTCString());
  return response;
}

function claimsOf(
  { scope = '', clientId = 'test-client', expiresIn = EXPIRES_IN, audience, grantId, boundTo }: TestToken,
  issuer: { readonly audience: string; readonly clock: Clock },
): AccessTokenClaims {
  const now = issuer.clock.now();
  const iat = numericDate(now) + Math.min(0, expiresIn - 1);
  return {
    iss: ISSUER,
    sub: clientId,
    client_id: clientId,
    aud: audience ?? issuer.audience,
    iat,
    exp: numericDate(now) + expiresIn,
    jti: makeIdentifier(now, randomBytes),
    scope,
    grant_id: grantId ?? makeIdentifier(now, randomBytes),
    ...(boundTo === undefined ? {} : { cnf: { jkt: boundTo } }),
  };
}

function isOf(claims: AccessTokenClaims, { kind, id }: Pick<Revocation, 'kind' | 'id'>): boolean {
  if (kind === 'token') return claims.jti === id;
  return kind === 'grant' ? claims.grant_id === id : claims.client_id === id;
}

function refuseWith(status: number, error: string): Response {
  return Response.json({ error }, { status });
}

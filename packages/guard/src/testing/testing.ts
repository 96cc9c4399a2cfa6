/**
 * An issuer in memory, for the tests of an API: its guard decides as in production, and no server has to be started.
 *
 *   const issuer = await createTestIssuer({ audience: 'https://api.example.com' });
 *   const guard = createGuard(issuer.options);
 *   const token = await issuer.token({ scope: '/accounts/a1/transfers.read' });
 *   await issuer.revoke(token);
 *
 * Its keys are made up, and whoever has it may sign anything: never point an API at one that anybody can reach.
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

export interface TestIssuerOptions {
  /** The API whose guard is tested. */
  readonly audience: string;
  /**
   * The same that the guard is given, unless its own options say otherwise: `createGuard({ ...issuer.options, clock })`.
   * Default: this machine's.
   */
  readonly clock?: NonNullable<GuardOptions['clock']>;
}

/** What a test's token says. */
export interface TestToken {
  /** Filled scopes with a space between. Default: none, which opens nothing. */
  readonly scope?: string;
  /** Default: `test-client`. */
  readonly clientId?: string;
  /** In seconds, also negative for one that has expired. Default: 900. */
  readonly expiresIn?: number;
  /** Default: the audience of this issuer. */
  readonly audience?: string | readonly string[];
  /** The grant it is of. Default: one of its own. */
  readonly grantId?: string;
  /** The thumbprint of the key that it is bound to (RFC 9449 §6.1). Default: a bearer token. */
  readonly boundTo?: string;
  /** Whether only introspection tells what it says. Default: false. */
  readonly opaque?: boolean;
}

/** An API key, for a guard that takes keys over Basic. */
export interface TestKey extends ClientCredentials {
  readonly scopes: readonly string[];
}

export interface TestIssuer {
  /** For `createGuard`, with whatever else it is to be told. */
  readonly options: Pick<GuardOptions, 'issuer' | 'audience' | 'credentials' | 'fetch' | 'clock'>;
  readonly token: (token?: TestToken) => Promise<string>;
  /** Ends a token that this issuer gave. When it resolves, every guard that follows has heard of it. */
  readonly revoke: (token: string) => Promise<void>;
  /** The same with all tokens of a grant, or all that a client was given until now. */
  readonly revokeGrant: (grantId: string) => Promise<void>;
  readonly revokeClient: (clientId: string) => Promise<void>;
  readonly addKey: (key: TestKey) => void;
  /** What disabling it does: tokens of the key are dead, and there are no more. */
  readonly removeKey: (clientId: string) => Promise<void>;
  /** Away, as in an outage: nothing is answered, and the feeds are cut; until it is called with `false`. */
  readonly goAway: (away: boolean) => void;
}

const ISSUER = 'http://localhost';
const KEY_ID = 'test-key';
const EXPIRES_IN = 900;

export async function createTestIssuer({ audience, clock = SYSTEM_CLOCK }: TestIssuerOptions): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: KEY_ID, alg: 'ES256', use: 'sig' };
  const credentials = { clientId: 'test-api', clientSecret: printBase64url(randomBytes(32)) };
  const given = new Map<string, AccessTokenClaims>();
  const ended = new Set<string>();
  const keys = new Map<string, TestKey>();
  const feeds = new TestFeeds();
  let away = false;

  const token = async (of: TestToken = {}): Promise<string> => {
    const claims = claimsOf(of, { audience, clock });
    const made = of.opaque === true ? OPAQUE_TOKEN_PREFIX + printBase64url(randomBytes(48)) : await sign(claims);
    given.set(made, claims);
    return made;
  };
  const sign = (claims: AccessTokenClaims): Promise<string> =>
    new SignJWT({ ...claims, aud: typeof claims.aud === 'string' ? claims.aud : [...claims.aud] })
      .setProtectedHeader({ alg: 'ES256', kid: KEY_ID, typ: ACCESS_TOKEN_TYPE })
      .sign(privateKey);
  const end = async (revocation: Pick<Revocation, 'kind' | 'id' | 'before'>): Promise<void> => {
    for (const [text, claims] of given) if (isOf(claims, revocation)) ended.add(text);
    await feeds.tell({ ...revocation, expires_at: numericDate(clock.now()) + ACCESS_TOKEN_SECONDS_MAX });
  };

  // Those of this second are meant as well, and `before` is exclusive.
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
    const claims = given.get(asked);
    if (claims === undefined || ended.has(asked) || claims.exp <= numericDate(clock.now())) {
      return Response.json({ active: false });
    }
    const { grant_id: _untold, ...told } = claims;
    return Response.json({ active: true, ...told });
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
      const claims = given.get(text);
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

/** As a server does (RFC 9110 §6.6.1): a guard compares its clock with that. */
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

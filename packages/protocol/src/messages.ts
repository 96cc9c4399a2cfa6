/** The documents that go over the wire, under the names that the RFCs give their members. */
import { parseAccessTokenClaims, type AccessTokenClaims } from './access_token.ts';
import type { NumericDate } from './clock.ts';

/** The answer of the token endpoint (RFC 6749 §5.1). */
export interface TokenResponse {
  readonly access_token: string;
  readonly token_type: 'Bearer' | 'DPoP';
  /** Seconds, whole. */
  readonly expires_in: number;
  readonly scope: string;
  readonly refresh_token?: string;
  /** With token exchange, and only there (RFC 8693 §2.2.1). */
  readonly issued_token_type?: typeof ACCESS_TOKEN_TYPE_URN;
}

/** The answer of the introspection endpoint (RFC 7662 §2.2). */
export type IntrospectionResponse =
  | { readonly active: false }
  | {
      readonly active: true;
      readonly scope: string;
      readonly client_id: string;
      readonly sub: string;
      readonly iss: string;
      readonly aud: string | readonly string[];
      readonly iat: NumericDate;
      readonly exp: NumericDate;
      /** Of a refresh token: its grant and its generation, with a dot between. */
      readonly jti: string;
      /** How an access token is used (RFC 6749 §5.1), or `refresh_token` for what is none. */
      readonly token_type: 'Bearer' | 'DPoP' | 'refresh_token';
      readonly cnf?: { readonly jkt: string };
    };

/**
 * What introspection said of an access token to its claims; undefined for one that is not active, and for what is no
 * answer of ours. The issuer does not tell the grant: `grant_id` is empty.
 */
export function parseIntrospectedToken(value: unknown): AccessTokenClaims | undefined {
  if (typeof value !== 'object' || value === null || !('active' in value) || value.active !== true) return undefined;
  // A refresh token opens nothing, however active it is.
  if ('token_type' in value && value.token_type === 'refresh_token') return undefined;
  const claims = parseAccessTokenClaims({ ...value, grant_id: NO_GRANT });
  return claims === undefined ? undefined : { ...claims, grant_id: '' };
}

/** Stands for the grant while the claims are read. */
const NO_GRANT = '00000000-0000-0000-0000-000000000000';

/** The grants on offer, each with what RFC 6749 calls it. */
export const GRANT_TYPES = [
  'client_credentials',
  'refresh_token',
  'urn:ietf:params:oauth:grant-type:token-exchange',
] as const;
/** The one kind of token that exchange takes and gives (RFC 8693 §3). */
export const ACCESS_TOKEN_TYPE_URN = 'urn:ietf:params:oauth:token-type:access_token';
export type GrantType = (typeof GRANT_TYPES)[number];

/** The kinds of token that `token_type_hint` may name (RFC 7009 §2.1). */
export const TOKEN_TYPE_HINTS = ['access_token', 'refresh_token'] as const;
export type TokenTypeHint = (typeof TOKEN_TYPE_HINTS)[number];

/** Where everything is, below the issuer. */
export const PATHS = {
  token: '/oauth2/token',
  revoke: '/oauth2/revoke',
  introspect: '/oauth2/introspect',
  jwks: '/oauth2/jwks',
  revocations: '/oauth2/revocations',
  ping: '/ping',
  live: '/health/live',
  ready: '/health/ready',
  openapi: '/openapi.json',
} as const;

/** Where an issuer's metadata is: the well-known part stands between host and path (RFC 8414 §3.1). */
export function metadataURL(issuer: string): string {
  const { origin, pathname } = splitURL(issuer);
  return `${origin}/.well-known/oauth-authorization-server${pathname}`;
}

/**
 * Where verifiers look that know OpenID Connect Discovery alone: below the issuer (§4 there), or between host and path
 * like other metadata (RFC 8414 §5). The same place, where the issuer has no path.
 */
export function openidConfigurationURLs(issuer: string): { readonly below: string; readonly between: string } {
  const { origin, pathname } = splitURL(issuer);
  const wellKnown = '/.well-known/openid-configuration';
  return { below: `${origin}${pathname}${wellKnown}`, between: `${origin}${wellKnown}${pathname}` };
}

/** The origin and the path of an absolute URL; the path is empty rather than `/`. */
export function splitURL(url: string): { readonly origin: string; readonly pathname: string } {
  const afterScheme = url.indexOf('://') + 3;
  const slash = url.indexOf('/', afterScheme);
  if (slash < 0) return { origin: url, pathname: '' };
  return { origin: url.slice(0, slash), pathname: url.slice(slash).replace(/\/$/, '') };
}

/** An answer of the token endpoint, from whatever server, to its members; undefined when it is no token answer. */
export function parseTokenResponse(value: unknown):
  | {
      readonly access_token: string;
      readonly token_type: string;
      readonly expires_in?: number;
      readonly scope?: string;
      readonly refresh_token?: string;
    }
  | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const members = new Map<string, unknown>(Object.entries(value));
  const access_token = members.get('access_token');
  const token_type = members.get('token_type');
  const expires_in = members.get('expires_in');
  const scope = members.get('scope');
  const refresh_token = members.get('refresh_token');
  if (typeof access_token !== 'string' || access_token === '' || typeof token_type !== 'string') return undefined;
  return {
    access_token,
    token_type,
    ...(typeof expires_in === 'number' ? { expires_in } : {}),
    ...(typeof scope === 'string' ? { scope } : {}),
    ...(typeof refresh_token === 'string' ? { refresh_token } : {}),
  };
}

/** An error answer, from whatever server, to its members (RFC 6749 §5.2); undefined when it is none. */
export function parseErrorResponse(
  value: unknown,
): { readonly error: string; readonly error_description?: string } | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const members = new Map<string, unknown>(Object.entries(value));
  const error = members.get('error');
  const description = members.get('error_description');
  if (typeof error !== 'string') return undefined;
  return typeof description === 'string' ? { error, error_description: description } : { error };
}

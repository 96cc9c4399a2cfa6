/** The messages of the OAuth endpoints, with the member names of the RFCs. */
import { parseAccessTokenClaims, type AccessTokenClaims } from './access_token.ts';
import type { NumericDate } from './clock.ts';

/** The answer of the token endpoint (RFC 6749 §5.1). */
export interface TokenResponse {
  readonly access_token: string;
  readonly token_type: 'Bearer' | 'DPoP';
  /** Whole seconds. */
  readonly expires_in: number;
  readonly scope: string;
  readonly refresh_token?: string;
  /** Only with token exchange (RFC 8693 §2.2.1). */
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
      /** For a refresh token: its grant and its generation, separated by a dot. */
      readonly jti: string;
      /** How an access token is used (RFC 6749 §5.1), or `refresh_token`. */
      readonly token_type: 'Bearer' | 'DPoP' | 'refresh_token';
      readonly cnf?: { readonly jkt: string };
    };

/**
 * Parses an introspection answer as the claims of an access token; undefined when the token is not active or the answer
 * is not one of ours. The answer does not name the grant, so `grant_id` is empty.
 */
export function parseIntrospectedToken(value: unknown): AccessTokenClaims | undefined {
  if (typeof value !== 'object' || value === null || !('active' in value) || value.active !== true) return undefined;
  // A refresh token opens nothing, even an active one.
  if ('token_type' in value && value.token_type === 'refresh_token') return undefined;
  const claims = parseAccessTokenClaims({ ...value, grant_id: NO_GRANT });
  return claims === undefined ? undefined : { ...claims, grant_id: '' };
}

/** A placeholder, so that the claims can be parsed like those of a token. */
const NO_GRANT = '00000000-0000-0000-0000-000000000000';

/** The values of `grant_type` that the token endpoint accepts. */
export const GRANT_TYPES = [
  'client_credentials',
  'refresh_token',
  'urn:ietf:params:oauth:grant-type:token-exchange',
] as const;
/** The only token type that token exchange accepts and issues (RFC 8693 §3). */
export const ACCESS_TOKEN_TYPE_URN = 'urn:ietf:params:oauth:token-type:access_token';
/** One of `GRANT_TYPES`. */
export type GrantType = (typeof GRANT_TYPES)[number];

/** The values of `token_type_hint` (RFC 7009 §2.1). */
export const TOKEN_TYPE_HINTS = ['access_token', 'refresh_token'] as const;
/** One of `TOKEN_TYPE_HINTS`. */
export type TokenTypeHint = (typeof TOKEN_TYPE_HINTS)[number];

/** Parses the success answer of any server's token endpoint (RFC 6749 §5.1); undefined when it is not one. */
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

/** Parses the error answer of any server (RFC 6749 §5.2); undefined when it is not one. */
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

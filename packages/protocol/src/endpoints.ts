/** Where the endpoints of an issuer are. */

/** The paths of the endpoints, below the issuer. */
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

/** The URL of an issuer's metadata. The well-known part stands between host and path (RFC 8414 §3.1). */
export function metadataURL(issuer: string): string {
  const { origin, pathname } = splitURL(issuer);
  return `${origin}/.well-known/oauth-authorization-server${pathname}`;
}

/**
 * Where verifiers look that only know OpenID Connect Discovery: `below` the issuer's path (§4 there), or `between` host
 * and path (RFC 8414 §5). Both are the same for an issuer without a path.
 */
export function openidConfigurationURLs(issuer: string): { readonly below: string; readonly between: string } {
  const { origin, pathname } = splitURL(issuer);
  const wellKnown = '/.well-known/openid-configuration';
  return { below: `${origin}${pathname}${wellKnown}`, between: `${origin}${wellKnown}${pathname}` };
}

/** Splits an absolute URL into origin and path. A path of `/` becomes empty, and a slash at the end is dropped. */
export function splitURL(url: string): { readonly origin: string; readonly pathname: string } {
  const afterScheme = url.indexOf('://') + 3;
  const slash = url.indexOf('/', afterScheme);
  if (slash < 0) return { origin: url, pathname: '' };
  return { origin: url.slice(0, slash), pathname: url.slice(slash).replace(/\/$/, '') };
}

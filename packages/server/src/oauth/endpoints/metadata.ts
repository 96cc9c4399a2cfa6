/** The public documents of this issuer: its metadata (RFC 8414) and its public keys (RFC 7517). */
import { createHash } from 'node:crypto';
import { CLIENT_ALGORITHMS, GRANT_TYPES, PATHS, SIGNING_ALGORITHMS } from '@hallpass/protocol';
import type { Authority } from '../authority.ts';
import type { Endpoint, WireRequest, WireResponse } from '../../wire.ts';

/** How long anyone may cache the key set and the metadata, in seconds. */
export const DOCUMENT_SECONDS = 300;

/** How a client can authenticate, by the names of the OAuth registry. */
export const CLIENT_METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const;

/** GET /.well-known/oauth-authorization-server. */
export function metadataEndpoint(authority: Authority): Endpoint {
  const document = metadataOf(authority);
  return publish(() => document, 'application/json');
}

/**
 * GET /.well-known/openid-configuration, for verifiers that look for keys nowhere else. The same metadata, with two members
 * that such verifiers require. That does not make it an OpenID Provider: `response_types_supported` is empty, there is no
 * authorization endpoint, and no ID token is ever issued.
 */
export function openidConfigurationEndpoint(authority: Authority): Endpoint {
  const document = {
    ...metadataOf(authority),
    // Holds for the `sub` of access tokens: a client's is the same for every audience (OpenID Connect Core §8).
    subject_types_supported: ['public'],
    // There are no ID tokens. Verifiers read this as the algorithms of the key set, and assume RS256 if it is empty.
    id_token_signing_alg_values_supported: SIGNING_ALGORITHMS,
  };
  return publish(() => document, 'application/json');
}

function metadataOf({ issuer }: Authority) {
  const at = (path: string): string => issuer.replace(/\/$/, '') + path;
  return {
    issuer,
    token_endpoint: at(PATHS.token),
    token_endpoint_auth_methods_supported: CLIENT_METHODS,
    token_endpoint_auth_signing_alg_values_supported: CLIENT_ALGORITHMS,
    revocation_endpoint: at(PATHS.revoke),
    revocation_endpoint_auth_methods_supported: CLIENT_METHODS,
    revocation_endpoint_auth_signing_alg_values_supported: CLIENT_ALGORITHMS,
    introspection_endpoint: at(PATHS.introspect),
    introspection_endpoint_auth_methods_supported: CLIENT_METHODS,
    introspection_endpoint_auth_signing_alg_values_supported: CLIENT_ALGORITHMS,
    jwks_uri: at(PATHS.jwks),
    grant_types_supported: GRANT_TYPES,
    dpop_signing_alg_values_supported: CLIENT_ALGORITHMS,
    // REQUIRED by RFC 8414 §2. Empty, because there is no authorization endpoint.
    response_types_supported: [],
  };
}

/** GET /oauth2/jwks. */
export function jwksEndpoint({ keys }: Authority): Endpoint {
  return publish(
    () => keys.publicJwks,
    'application/jwk-set+json',
    (jwks) => ({ keys: jwks }),
  );
}

/**
 * A public document: anyone may read it, from any page, and cache it for a while. It is printed and hashed when `find`
 * returns another object than before, not for each request.
 */
export function publish<Found extends object>(
  find: () => Found,
  contentType: string,
  toDocument: (found: Found) => object = (found) => found,
): Endpoint {
  let printed: { readonly from: Found; readonly etag: string; readonly answer: WireResponse } | undefined;
  return async (request) => {
    const from = find();
    if (printed?.from !== from) printed = { from, ...print(toDocument(from), contentType) };
    return matches(request, printed.etag) ? { ...printed.answer, status: 304, body: '' } : printed.answer;
  };
}

function print(document: object, contentType: string): { readonly etag: string; readonly answer: WireResponse } {
  const body = Buffer.from(JSON.stringify(document));
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  const headers = {
    'content-type': contentType,
    'cache-control': `public, max-age=${DOCUMENT_SECONDS}`,
    etag,
    'access-control-allow-origin': '*',
  };
  return { etag, answer: { status: 200, headers, body } };
}

function matches(request: WireRequest, etag: string): boolean {
  const wanted = request.header('if-none-match');
  return wanted !== undefined && wanted.split(',').some((tag) => [etag, '*'].includes(tag.trim().replace(/^W\//, '')));
}

/** What an API says of itself, so that a client finds its issuer (RFC 9728). */
import { CLIENT_ALGORITHMS } from '@hallpass/protocol';

/** The document, under the names that RFC 9728 §2 gives its members. What is not there is not offered. */
export interface ResourceMetadata {
  readonly resource: string;
  readonly authorization_servers: readonly string[];
  readonly bearer_methods_supported: readonly string[];
  readonly dpop_signing_alg_values_supported?: readonly string[];
  readonly scopes_supported?: readonly string[];
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

/**
 * Where the metadata of an API belongs, on the host that its audience names: the well-known part goes between host and
 * path (RFC 9728 §3.1). Throws a TypeError for an audience that is no address.
 */
export function metadataPath(audience: string): string {
  const { pathname } = parseResource(audience);
  return WELL_KNOWN + (pathname === '/' ? '' : pathname);
}

/** The whole address of it, as challenges name it (RFC 9728 §5.1). Throws as `metadataPath` does. */
export function metadataURL(audience: string): string {
  return parseResource(audience).origin + metadataPath(audience);
}

/** The document. Throws as `metadataPath` does: `resource` has to be an address (RFC 9728 §1.2). */
export function describeResource({
  audience,
  issuer,
  takesProofs,
  scopes,
}: {
  readonly audience: string;
  readonly issuer: string;
  /** Whether the address that clients call is known, so that proofs are taken. */
  readonly takesProofs: boolean;
  readonly scopes: readonly string[];
}): ResourceMetadata {
  parseResource(audience);
  return {
    resource: audience,
    authorization_servers: [issuer],
    bearer_methods_supported: ['header'],
    ...(takesProofs ? { dpop_signing_alg_values_supported: [...CLIENT_ALGORITHMS] } : {}),
    ...(scopes.length > 0 ? { scopes_supported: [...scopes] } : {}),
  };
}

/** Printable, and as a URL parser would write it: what is compared to the letter must have one spelling. */
const RESOURCE = /^https?:\/\/[\x21\x24-\x3b\x3d\x3f-\x5b\x5d-\x7e]+$/;

function parseResource(audience: string): URL {
  if (RESOURCE.test(audience) && URL.canParse(audience)) {
    const url = new URL(audience);
    const bare = url.username === '' && url.password === '' && !audience.includes('?');
    if (bare && (url.href === audience || url.href === `${audience}/`)) return url;
  }
  throw new TypeError(
    'resourceMetadata needs an audience like https://api.example.com: lower-case host, no credentials, no query, no fragment.',
  );
}

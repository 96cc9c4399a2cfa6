/** An API's description of itself, so that clients can find its issuer (RFC 9728). */
import { CLIENT_ALGORITHMS } from '@hallpass/protocol';

/** The document, with the member names of RFC 9728 §2. Absent members aren't supported. */
export interface ResourceMetadata {
  readonly resource: string;
  readonly authorization_servers: readonly string[];
  readonly bearer_methods_supported: readonly string[];
  readonly dpop_signing_alg_values_supported?: readonly string[];
  readonly scopes_supported?: readonly string[];
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

/**
 * The path of the metadata on the host named by the audience: the well-known part goes between host and path (RFC 9728
 * §3.1). Throws a TypeError if the audience isn't a URL.
 */
export function metadataPath(audience: string): string {
  const { pathname } = parseResource(audience);
  return WELL_KNOWN + (pathname === '/' ? '' : pathname);
}

/** The full URL, as used in challenges (RFC 9728 §5.1). Throws like `metadataPath`. */
export function metadataURL(audience: string): string {
  return parseResource(audience).origin + metadataPath(audience);
}

/** The document itself. Throws like `metadataPath`: `resource` must be a URL (RFC 9728 §1.2). */
export function describeResource({
  audience,
  issuer,
  takesProofs,
  scopes,
}: {
  readonly audience: string;
  readonly issuer: string;
  /** Whether the API's public URL is known, so that it can verify proofs of possession. */
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

/**
 * Printable, and normalized the way a URL parser would write it: values that are compared byte by byte need a single
 * spelling.
 */
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

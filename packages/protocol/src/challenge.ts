/** The `WWW-Authenticate` header of a protected resource (RFC 6750 §3), and the credentials that it asks for. */
import { CLIENT_ALGORITHMS } from './jws.ts';
import { refuse, wordsOf, type Refusal, type RefusalReason } from './refusal.ts';

/** One parameter of a challenge, quoted (RFC 9110 §11.2). Our own texts never hold what would need escaping. */
function parameter(name: string, value: string): string {
  return `${name}="${value.replaceAll(/["\\]/g, '')}"`;
}

/** Where a challenge is from. */
export interface ChallengeOrigin {
  readonly realm: string;
  /** The scheme that was tried; without it the refusal alone tells. */
  readonly scheme?: PresentedToken['scheme'] | undefined;
  /** Where the resource's metadata is (RFC 9728 §5.1). */
  readonly resourceMetadata?: string | undefined;
}

/**
 * A refusal to its challenge, in the scheme that was tried. Without credentials it carries no error code (RFC 6750
 * §3.1); for `insufficient_scope` it names the scope that is missing; for a proof that will not do it speaks of DPoP
 * (RFC 9449 §7.1).
 */
export function printChallenge(refusal: Refusal, { realm, scheme, resourceMetadata }: ChallengeOrigin): string {
  const dpop = scheme === 'DPoP' || DPOP_REFUSALS.has(refusal.refused);
  const parts = [parameter('realm', realm)];
  if (refusal.refused !== 'missing_credentials') {
    const { body } = wordsOf(refusal);
    parts.push(parameter('error', body.error), parameter('error_description', body.error_description));
    if (refusal.refused === 'insufficient_scope' && refusal.subject !== undefined) {
      parts.push(parameter('scope', refusal.subject));
    }
  }
  if (dpop) parts.push(parameter('algs', CLIENT_ALGORITHMS.join(' ')));
  if (resourceMetadata !== undefined) parts.push(parameter('resource_metadata', resourceMetadata));
  return `${dpop ? 'DPoP' : 'Bearer'} ${parts.join(', ')}`;
}

const DPOP_REFUSALS: ReadonlySet<string> = new Set<RefusalReason>([
  'token_is_bound',
  'resource_proof_not_good',
  'resource_nonce_wanted',
]);

/** The challenge of an endpoint that authenticates clients (RFC 6749 §5.2, RFC 7617 §2). */
export function printBasicChallenge(realm: string): string {
  return `Basic ${parameter('realm', realm)}, charset="UTF-8"`;
}

/** One or more spaces behind the scheme (RFC 9110 §11.4). */
const ACCESS_TOKEN = /^(bearer|dpop) +([A-Za-z0-9._~+/-]+=*)$/i;

/** An access token as a request brings it. */
export interface PresentedToken {
  readonly scheme: 'Bearer' | 'DPoP';
  readonly token: string;
}

/**
 * An `Authorization` header to the access token in it (RFC 6750 §2.1, RFC 9449 §7.1): refused when there is none, and
 * when what is there is not exactly one token.
 */
export function parseAccessTokenHeader(header: string | undefined): PresentedToken | Refusal {
  if (header === undefined || header === '') return refuse('missing_credentials');
  const [, scheme = '', token] = ACCESS_TOKEN.exec(header) ?? [];
  if (token !== undefined) return { scheme: scheme.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer', token };
  // Another scheme is no access token at all; one of ours with anything but one token is a malformed request.
  return refuse(/^(?:bearer|dpop)(?:\s|$)/i.test(header) ? 'malformed_credentials' : 'missing_credentials');
}

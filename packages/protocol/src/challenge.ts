/** The `WWW-Authenticate` header of a protected resource (RFC 6750 §3), and the `Authorization` header that it asks for. */
import { CLIENT_ALGORITHMS } from './client_public_key.ts';
import { printRefusal, refuse, type Refusal, type RefusalReason } from './refusal.ts';

/** One parameter of a challenge, quoted (RFC 9110 §11.2). Our own texts never need escaping. */
function parameter(name: string, value: string): string {
  return `${name}="${value.replaceAll(/["\\]/g, '')}"`;
}

/** The resource that sends a challenge. */
export interface ChallengeOrigin {
  readonly realm: string;
  /** The scheme of the request. Without it the refusal decides whether the challenge is for Bearer or DPoP. */
  readonly scheme?: PresentedToken['scheme'] | undefined;
  /** The URL of the resource's metadata (RFC 9728 §5.1). */
  readonly resourceMetadata?: string | undefined;
}

/**
 * Prints the challenge for a refusal, in the scheme of the request. A request without credentials gets no error code
 * (RFC 6750 §3.1), `insufficient_scope` names the missing scope, and a bad proof of possession gets a DPoP challenge
 * (RFC 9449 §7.1).
 */
export function printChallenge(refusal: Refusal, { realm, scheme, resourceMetadata }: ChallengeOrigin): string {
  const dpop = scheme === 'DPoP' || DPOP_REFUSALS.has(refusal.refused);
  const parts = [parameter('realm', realm)];
  if (refusal.refused !== 'missing_credentials') {
    const { body } = printRefusal(refusal);
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

/** Prints the challenge of an endpoint that authenticates clients (RFC 6749 §5.2, RFC 7617 §2). */
export function printBasicChallenge(realm: string): string {
  return `Basic ${parameter('realm', realm)}, charset="UTF-8"`;
}

/** One or more spaces follow the scheme (RFC 9110 §11.4). */
const ACCESS_TOKEN = /^(bearer|dpop) +([A-Za-z0-9._~+/-]+=*)$/i;

/** An access token as a request presents it. */
export interface PresentedToken {
  readonly scheme: 'Bearer' | 'DPoP';
  readonly token: string;
}

/**
 * Reads the access token in an `Authorization` header (RFC 6750 §2.1, RFC 9449 §7.1). Refuses a header without a Bearer
 * or DPoP token, and one of these schemes with anything other than exactly one token.
 */
export function parseAccessTokenHeader(header: string | undefined): PresentedToken | Refusal {
  if (header === undefined || header === '') return refuse('missing_credentials');
  const [, scheme = '', token] = ACCESS_TOKEN.exec(header) ?? [];
  if (token !== undefined) return { scheme: scheme.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer', token };
  // With another scheme there is no access token at all. With Bearer or DPoP the request is malformed.
  return refuse(/^(?:bearer|dpop)(?:\s|$)/i.test(header) ? 'malformed_credentials' : 'missing_credentials');
}

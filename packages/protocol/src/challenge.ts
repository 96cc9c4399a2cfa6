/** The `WWW-Authenticate` header of a protected resource (RFC 6750 §3), and the credentials that it asks for. */
import { refuse, wordsOf, type Refusal } from './refusal.ts';

/** One parameter of a challenge, quoted (RFC 9110 §11.2). Our own texts never hold what would need escaping. */
function parameter(name: string, value: string): string {
  return `${name}="${value.replaceAll(/["\\]/g, '')}"`;
}

/**
 * A refusal to its challenge. Without credentials it carries no error code (RFC 6750 §3.1); for `insufficient_scope`
 * it names the scope that is missing.
 */
export function printBearerChallenge(refusal: Refusal, realm: string): string {
  const parts = [parameter('realm', realm)];
  if (refusal.refused !== 'missing_credentials') {
    const { body } = wordsOf(refusal);
    parts.push(parameter('error', body.error), parameter('error_description', body.error_description));
    if (refusal.refused === 'insufficient_scope' && refusal.subject !== undefined) {
      parts.push(parameter('scope', refusal.subject));
    }
  }
  return `Bearer ${parts.join(', ')}`;
}

/** The challenge of an endpoint that authenticates clients (RFC 6749 §5.2, RFC 7617 §2). */
export function printBasicChallenge(realm: string): string {
  return `Basic ${parameter('realm', realm)}, charset="UTF-8"`;
}

const BEARER = /^bearer ([A-Za-z0-9._~+/-]+=*)$/i;

/**
 * An `Authorization` header to the bearer token in it (RFC 6750 §2.1): refused when there is none, and when what is
 * there is not exactly one token.
 */
export function parseBearer(header: string | undefined): string | Refusal {
  if (header === undefined || header === '') return refuse('missing_credentials');
  const token = BEARER.exec(header)?.[1];
  if (token !== undefined) return token;
  // Another scheme is no bearer credentials at all; a bearer scheme with anything but one token is a malformed request.
  return /^bearer(\s|$)/i.test(header) ? refuse('malformed_credentials') : refuse('missing_credentials');
}

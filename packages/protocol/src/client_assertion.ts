/** A client that authenticates with a signed assertion, `private_key_jwt` (RFC 7523 §2.2, §3). */
import type { NumericDate } from './clock.ts';
import { JTI_LENGTH_MAX, needsExtension, parseJws, type UnverifiedJws } from './jws.ts';

/** The only value of `client_assertion_type` that we accept (RFC 7523 §2.2). */
export const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** The longest assertion, in characters. */
export const CLIENT_ASSERTION_LENGTH_MAX = 4_096;
/** How far in the future `exp` may lie, in seconds. */
const LIFETIME_SECONDS_MAX = 300;
/** How long after `exp` an assertion is still accepted, since clocks differ, in seconds. */
const SKEW_SECONDS = 60;
/** How far in the future `iat` and `nbf` may lie, in seconds. */
const AHEAD_SECONDS_MAX = 10;

/** An assertion whose signature has not been checked yet. It names the client, so that the key can be found. */
export interface UnverifiedAssertion extends UnverifiedJws {
  readonly clientId: string;
  readonly algorithm: unknown;
  readonly keyId: unknown;
}

const TYPES: readonly unknown[] = [undefined, 'JWT', 'client-authentication+jwt'];

/** Parses an assertion; undefined when it does not have the form of one that we accept. Never throws. */
export function parseClientAssertion(text: string): UnverifiedAssertion | undefined {
  if (text.length > CLIENT_ASSERTION_LENGTH_MAX) return undefined;
  const jws = parseJws(text);
  if (jws === undefined || !TYPES.includes(jws.header.get('typ'))) return undefined;
  // The key is the registered one: nothing reads `jwk`, `jku` or `x5c`.
  if (needsExtension(jws.header)) return undefined;
  // The claims are read before the signature is checked only to find the client whose key must verify it.
  const clientId = jws.claims()?.get('sub');
  if (typeof clientId !== 'string') return undefined;
  return { ...jws, clientId, algorithm: jws.header.get('alg'), keyId: jws.header.get('kid') };
}

/**
 * Checks the claims of an assertion whose signature is good (RFC 7523 §3). Gives why they are refused, or else the `jti`,
 * which must be accepted only once, and how long to remember it.
 */
export function judgeClientAssertion(
  claims: ReadonlyMap<string, unknown>,
  expected: { readonly clientId: string; readonly issuer: string; readonly now: NumericDate },
): { readonly jti: string; readonly expiresAt: NumericDate } | { readonly fault: string } {
  const { clientId, issuer, now } = expected;
  const exp = claims.get('exp');
  const iat = claims.get('iat');
  const nbf = claims.get('nbf');
  const jti = claims.get('jti');
  if (claims.get('iss') !== clientId || claims.get('sub') !== clientId)
    return { fault: 'iss and sub are not the client' };
  // Only the issuer: an assertion for another server, or for several, could be replayed here (rfc7523bis §4).
  if (claims.get('aud') !== issuer) return { fault: 'aud is not the issuer' };
  if (!isInstant(exp) || exp <= now - SKEW_SECONDS) return { fault: 'expired' };
  if (exp > now + LIFETIME_SECONDS_MAX + SKEW_SECONDS) return { fault: 'exp is too far ahead' };
  for (const start of [iat, nbf]) {
    if (start !== undefined && (!isInstant(start) || start > now + AHEAD_SECONDS_MAX))
      return { fault: 'not valid yet' };
  }
  if (typeof jti !== 'string' || jti === '' || jti.length > JTI_LENGTH_MAX)
    return { fault: 'jti is missing or too long' };
  return { jti, expiresAt: Math.ceil(exp) + SKEW_SECONDS };
}

/** A NumericDate that a client wrote may have a fraction (RFC 7519 §2). */
function isInstant(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 && value < 2 ** 40;
}

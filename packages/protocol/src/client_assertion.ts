/** A client that authenticates by a signed assertion (RFC 7523 §2.2, §3): what it says, and whether that holds. */
import type { NumericDate } from './clock.ts';
import { asksForMore, parseJws, type UnverifiedJws } from './jws.ts';

/** The one value of `client_assertion_type` (RFC 7523 §2.2). */
export const CLIENT_ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** The longest assertion, in characters. */
export const CLIENT_ASSERTION_LENGTH_MAX = 4_096;
/** How far ahead an assertion may end, and how far clocks may differ, in seconds. */
const LIFETIME_SECONDS_MAX = 300;
const SKEW_SECONDS = 60;
const AHEAD_SECONDS_MAX = 10;
/** The longest `jti`, in characters. */
const JTI_LENGTH_MAX = 256;

/** An assertion, not yet believed: who it says it is from, so that the key can be found. */
export interface UnverifiedAssertion extends UnverifiedJws {
  readonly clientId: string;
  readonly algorithm: unknown;
  readonly keyId: unknown;
}

const TYPES: readonly unknown[] = [undefined, 'JWT', 'client-authentication+jwt'];

/** A text to an assertion, or undefined for what has not the form of one that we take. */
export function parseClientAssertion(text: string): UnverifiedAssertion | undefined {
  if (text.length > CLIENT_ASSERTION_LENGTH_MAX) return undefined;
  const jws = parseJws(text);
  if (jws === undefined || !TYPES.includes(jws.header.get('typ'))) return undefined;
  // The key is the registered one, so `jwk`, `jku` and `x5c` are read by nobody.
  if (asksForMore(jws.header)) return undefined;
  // The claims are read before the signature for this one purpose: to find the client whose key has to fit.
  const clientId = jws.claims()?.get('sub');
  if (typeof clientId !== 'string') return undefined;
  return { ...jws, clientId, algorithm: jws.header.get('alg'), keyId: jws.header.get('kid') };
}

/** Why the claims of a well-signed assertion do not hold; otherwise its `jti`, which may be used once, until when. */
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
  // The issuer alone: an assertion for another server, or for several, could be passed on (rfc7523bis §4).
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

/** A NumericDate from outside may have a fraction (RFC 7519 §2). */
function isInstant(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 && value < 2 ** 40;
}

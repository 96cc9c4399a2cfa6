/** The access token profile (contract §5, RFC 9068): a JWS whose header and claims are exactly these. */
import { printBase64url, utf8 } from './bytes.ts';
import type { NumericDate } from './clock.ts';
import { isIdentifier, isTokenIdentifier } from './identifier.ts';
import { isObject, parseJson } from './json.ts';
import { parseJws, type KnownHeader } from './jws.ts';

/** The signature algorithms on offer (RFC 7518 §3.1, RFC 8037 §3.1). */
export const SIGNING_ALGORITHMS = ['ES256', 'EdDSA', 'RS256'] as const;
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

/** The value of `typ` (RFC 9068 §2.1): what tells an access token from every other JWT. */
export const ACCESS_TOKEN_TYPE = 'at+jwt';
/** What an opaque access token begins with (contract §5): introspection alone tells what it says. */
export const OPAQUE_TOKEN_PREFIX = 'hpat_';
/** The longest access token, in characters: it has to fit in a request's headers. */
export const ACCESS_TOKEN_LENGTH_MAX = 14_336;
/**
 * The longest life that any setting can give an access token, in seconds: an hour. It also bounds how long a guard has
 * to remember that a grant was revoked.
 */
export const ACCESS_TOKEN_SECONDS_MAX = 3_600;

export interface AccessTokenHeader {
  readonly alg: SigningAlgorithm;
  readonly kid: string;
}

export interface AccessTokenClaims {
  readonly iss: string;
  /** Equal to `client_id`: there are no users. */
  readonly sub: string;
  readonly client_id: string;
  readonly aud: string | readonly string[];
  readonly iat: NumericDate;
  readonly exp: NumericDate;
  /** Never written by our issuer; judged where it is there (RFC 7519 §4.1.5). */
  readonly nbf?: NumericDate;
  readonly jti: string;
  /** Filled scopes, one space between. */
  readonly scope: string;
  readonly grant_id: string;
  /** The key the token is bound to (RFC 7800 §3.1, RFC 9449 §6.1). */
  readonly cnf?: { readonly jkt: string };
}

/** The first segment of every token signed with one key. */
export function printAccessTokenHeader({ alg, kid }: AccessTokenHeader): string {
  return printBase64url(utf8(JSON.stringify({ alg, kid, typ: ACCESS_TOKEN_TYPE })));
}

/** What is signed: header and claims, in the order in which the profile names them. */
export function printSigningInput(header: string, claims: AccessTokenClaims): string {
  const { iss, sub, client_id, aud, iat, exp, jti, scope, grant_id, cnf } = claims;
  const ordered = { iss, sub, client_id, aud, iat, exp, jti, scope, grant_id, cnf };
  return `${header}.${printBase64url(utf8(JSON.stringify(ordered)))}`;
}

/** The parts of a compact JWS (RFC 7515 §7.1), not yet believed. */
export interface UnverifiedAccessToken {
  readonly header: string;
  /** The members of the header: each name once. */
  readonly members: ReadonlyMap<string, unknown>;
  readonly kid: string;
  readonly signingInput: string;
  readonly signature: () => Uint8Array;
  /**
   * Parses the claims; call it when the signature has been found good, never before. `payload`: its bytes, where whoever
   * verified has decoded them already.
   */
  readonly claims: (payload?: Uint8Array) => AccessTokenClaims | undefined;
}

/**
 * A text to the parts of an access token; undefined when it has not the form of one. The header's only use is to name
 * a key: whoever verifies must then compare `header` with what `printAccessTokenHeader` gives for that key, whole.
 * That leaves no room for another `alg`, `typ`, `crit`, `jwk` or `b64` (RFC 8725 §3.1). `known`: the header that
 * was read before, for whoever reads many tokens of one key.
 */
export function parseAccessToken(token: string, known?: KnownHeader): UnverifiedAccessToken | undefined {
  if (token.length > ACCESS_TOKEN_LENGTH_MAX) return undefined;
  const jws = parseJws(token, known);
  const kid = jws?.header.get('kid');
  if (jws === undefined || typeof kid !== 'string') return undefined;
  return {
    header: jws.headerText,
    members: jws.header,
    kid,
    signingInput: jws.signingInput,
    signature: jws.signature,
    claims: (payload = jws.payload()) => parseAccessTokenClaims(parseJson(payload)),
  };
}

/** An object to the claims of the profile, or undefined when one is missing, malformed or of the wrong type. */
export function parseAccessTokenClaims(value: unknown): AccessTokenClaims | undefined {
  if (!isObject(value)) return undefined;
  const { iss, sub, client_id, iat, exp, nbf, jti, scope, grant_id } = value;
  const aud = parseAudience(value['aud']);
  const cnf = parseConfirmation(value['cnf']);
  if (typeof iss !== 'string' || typeof client_id !== 'string' || client_id === '' || sub !== client_id)
    return undefined;
  if (aud === undefined || !isNumericDate(iat) || !isNumericDate(exp) || typeof scope !== 'string') return undefined;
  if (!isTokenIdentifier(jti) || !isIdentifier(grant_id) || cnf === 'malformed') return undefined;
  if (nbf !== undefined && !isNumericDate(nbf)) return undefined;
  const parsed = { iss, sub: client_id, client_id, aud, iat, exp, jti, scope, grant_id };
  if (cnf === undefined && nbf === undefined) return parsed;
  return { ...parsed, ...(cnf === undefined ? {} : { cnf }), ...(nbf === undefined ? {} : { nbf }) };
}

function parseAudience(aud: unknown): string | readonly string[] | undefined {
  if (typeof aud === 'string') return aud;
  if (!Array.isArray(aud) || aud.length === 0) return undefined;
  const audiences = aud.filter((item) => typeof item === 'string');
  return audiences.length === aud.length ? audiences : undefined;
}

/** A token that is bound in a way we do not know must not pass for an unbound one. */
function parseConfirmation(cnf: unknown): { readonly jkt: string } | undefined | 'malformed' {
  if (cnf === undefined) return undefined;
  if (typeof cnf !== 'object' || cnf === null || !('jkt' in cnf) || typeof cnf.jkt !== 'string') return 'malformed';
  return { jkt: cnf.jkt };
}

/** Whether a value is a whole number of seconds that a date can be. */
export function isNumericDate(value: unknown): value is NumericDate {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** Whether an `aud` claim names an audience, compared to the letter (RFC 7519 §4.1.3). */
export function isMeantFor(aud: string | readonly string[], audience: string): boolean {
  return typeof aud === 'string' ? aud === audience : aud.includes(audience);
}

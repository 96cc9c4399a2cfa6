/** The access token profile (contract §5, RFC 9068): a JWS with exactly this header and these claims. */
import { printBase64url, utf8 } from './bytes.ts';
import type { NumericDate } from './clock.ts';
import { isIdentifier, isTokenIdentifier } from './identifier.ts';
import { isObject, parseJson } from './json.ts';
import { parseJws, type KnownHeader } from './jws.ts';

/** The algorithms that an issuer can sign access tokens with (RFC 7518 §3.1, RFC 8037 §3.1). */
export const SIGNING_ALGORITHMS = ['ES256', 'EdDSA', 'RS256'] as const;
/** One of `SIGNING_ALGORITHMS`. */
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

/** The `typ` of an access token's header (RFC 9068 §2.1). It sets an access token apart from every other JWT. */
export const ACCESS_TOKEN_TYPE = 'at+jwt';
/** The prefix of an opaque access token (contract §5). Only introspection can read such a token. */
export const OPAQUE_TOKEN_PREFIX = 'hpat_';
/** The longest access token, in characters. It has to fit in a request's headers. */
export const ACCESS_TOKEN_LENGTH_MAX = 14_336;
/**
 * The longest lifetime that any setting can give an access token, in seconds: an hour. It also bounds how long a guard
 * must remember that a grant was revoked.
 */
export const ACCESS_TOKEN_SECONDS_MAX = 3_600;

/** The header of an access token, apart from its fixed `typ`. */
interface AccessTokenHeader {
  readonly alg: SigningAlgorithm;
  readonly kid: string;
}

/** The claims of an access token (RFC 9068 §2.2), under their names on the wire. */
export interface AccessTokenClaims {
  readonly iss: string;
  /** Equal to `client_id`, since there are no users. */
  readonly sub: string;
  readonly client_id: string;
  readonly aud: string | readonly string[];
  readonly iat: NumericDate;
  readonly exp: NumericDate;
  /** Our issuer never writes it. A token that has it is checked against it (RFC 7519 §4.1.5). */
  readonly nbf?: NumericDate;
  readonly jti: string;
  /** Filled scopes, separated by single spaces. */
  readonly scope: string;
  readonly grant_id: string;
  /** The key the token is bound to (RFC 7800 §3.1, RFC 9449 §6.1). */
  readonly cnf?: { readonly jkt: string };
}

/** The header as base64url: the first segment of every token signed with this key. */
export function printAccessTokenHeader({ alg, kid }: AccessTokenHeader): string {
  return printBase64url(utf8(JSON.stringify({ alg, kid, typ: ACCESS_TOKEN_TYPE })));
}

/**
 * The text to sign: a printed header and the claims, in the order of the profile (RFC 7515 §5.1). Members outside the
 * profile are left out.
 */
export function printSigningInput(header: string, claims: AccessTokenClaims): string {
  const { iss, sub, client_id, aud, iat, exp, jti, scope, grant_id, cnf } = claims;
  const ordered = { iss, sub, client_id, aud, iat, exp, jti, scope, grant_id, cnf };
  return `${header}.${printBase64url(utf8(JSON.stringify(ordered)))}`;
}

/** The parts of an access token whose signature has not been checked yet. */
interface UnverifiedAccessToken {
  readonly header: string;
  /** The members of the header. None is named twice. */
  readonly members: ReadonlyMap<string, unknown>;
  readonly kid: string;
  readonly signingInput: string;
  readonly signature: () => Uint8Array;
  /**
   * Parses the claims. Call it only after the signature was found good. Pass the payload's bytes if you have decoded
   * them already. Members named twice are not looked for: the issuer signed these claims, and does not write them.
   */
  readonly claims: (payload?: Uint8Array) => AccessTokenClaims | undefined;
}

/**
 * Splits a text into the parts of an access token (RFC 7515 §7.1); undefined when it does not have that form. Use the
 * header only to find the key, then compare all of `header` with what `printAccessTokenHeader` gives for that key. That
 * leaves no room for another `alg`, `typ`, `crit`, `jwk` or `b64` (RFC 8725 §3.1). `known` is a header read before: a
 * guard reads many tokens of one key.
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

/**
 * Parses the claims of the profile; undefined when one is missing or malformed. Claims outside the profile are dropped.
 * Accepts `nbf`, which other issuers write.
 */
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

/** A token bound in a way we do not know must not pass for an unbound one. */
function parseConfirmation(cnf: unknown): { readonly jkt: string } | undefined | 'malformed' {
  if (cnf === undefined) return undefined;
  if (typeof cnf !== 'object' || cnf === null || !('jkt' in cnf) || typeof cnf.jkt !== 'string') return 'malformed';
  return { jkt: cnf.jkt };
}

/** Whether a value is a NumericDate in whole seconds (RFC 7519 §2). */
export function isNumericDate(value: unknown): value is NumericDate {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** Whether an `aud` claim names this audience, compared character by character (RFC 7519 §4.1.3). */
export function isMeantFor(aud: string | readonly string[], audience: string): boolean {
  return typeof aud === 'string' ? aud === audience : aud.includes(audience);
}

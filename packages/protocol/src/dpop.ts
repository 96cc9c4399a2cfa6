/** Proof of possession, DPoP (RFC 9449): parsing a proof, and checking it against the request it came with. */
import { printBase64url } from './bytes.ts';
import type { NumericDate } from './clock.ts';
import { parsePublicJwk, type ClientPublicKey } from './client_public_key.ts';
import { JTI_LENGTH_MAX, needsExtension, parseJws, type UnverifiedJws } from './jws.ts';

/** The longest proof, in characters. */
export const DPOP_PROOF_LENGTH_MAX = 4_096;
/** How old a proof may be, in seconds; its `jti` must be remembered for as long. */
const DPOP_WINDOW_SECONDS = 60;
/** How far in the future `iat` may lie, in seconds. */
const AHEAD_SECONDS_MAX = 10;

/** A proof whose signature has not been checked yet, with the key it carries. */
export interface UnverifiedProof extends UnverifiedJws {
  readonly key: ClientPublicKey;
}

/** Parses the value of a `DPoP` header; undefined when it does not have the form of a proof (RFC 9449 §4.3, checks 1 to 7). */
export function parseDpopProof(header: string): UnverifiedProof | undefined {
  if (header.length > DPOP_PROOF_LENGTH_MAX) return undefined;
  const jws = parseJws(header);
  if (jws === undefined || jws.header.get('typ') !== 'dpop+jwt') return undefined;
  if (needsExtension(jws.header)) return undefined;
  const key = parsePublicJwk(jws.header.get('jwk'));
  // The key determines the algorithm; the header may only agree.
  if (typeof key === 'string' || jws.header.get('alg') !== key.algorithm) return undefined;
  return { ...jws, key };
}

/** What a proof must match. */
export interface DpopExpectation {
  readonly method: string;
  /** The URL of the request. Its query and fragment are not compared. */
  readonly url: string;
  readonly now: NumericDate;
  /** Whether a nonce is one of ours and still valid; undefined where no nonce is required. */
  readonly isNonceGood?: ((nonce: string) => boolean) | undefined;
  /** The SHA-256 of the access token in the request, as base64url (RFC 9449 §4.2); undefined at the token endpoint. */
  readonly ath?: string | undefined;
}

/**
 * Checks the claims of a proof whose signature is good (RFC 9449 §4.3, checks 8 to 12). Gives why it is refused, or else
 * its `jti`, which must be accepted only once, and how long to remember it.
 */
export function judgeDpopProof(
  claims: ReadonlyMap<string, unknown>,
  { method, url, now, isNonceGood, ath }: DpopExpectation,
):
  | { readonly jti: string; readonly expiresAt: NumericDate }
  | { readonly fault: string; readonly wantsNonce?: boolean } {
  const jti = claims.get('jti');
  const htu = claims.get('htu');
  const iat = claims.get('iat');
  const nonce = claims.get('nonce');
  if (typeof jti !== 'string' || jti === '' || jti.length > JTI_LENGTH_MAX)
    return { fault: 'jti is missing or too long' };
  if (claims.get('htm') !== method) return { fault: 'htm is another method' };
  if (typeof htu !== 'string' || comparable(htu) !== comparable(url)) return { fault: 'htu is another address' };
  if (typeof iat !== 'number' || !Number.isFinite(iat)) return { fault: 'iat is missing' };
  if (ath !== undefined && claims.get('ath') !== ath) return { fault: 'ath is not of this access token' };
  if (isNonceGood !== undefined && (typeof nonce !== 'string' || !isNonceGood(nonce))) {
    return { fault: 'nonce is missing or old', wantsNonce: true };
  }
  if (iat < now - DPOP_WINDOW_SECONDS || iat > now + AHEAD_SECONDS_MAX) return { fault: 'iat is too far from now' };
  return { jti, expiresAt: Math.ceil(iat) + DPOP_WINDOW_SECONDS + 1 };
}

/**
 * A URL without query and fragment, normalized (RFC 9449 §4.3, RFC 3986 §6.2.2.1, §6.2.3): scheme and host in lower case,
 * escapes in upper case, the default port dropped. Escapes are not decoded, since that could turn one route into another.
 */
function comparable(url: string): string {
  const [, scheme = '', authority = '', path = ''] = /^([a-z]+):\/\/([^/?#]*)([^?#]*)/i.exec(url) ?? [];
  const port = scheme.toLowerCase() === 'https' ? /:443$/ : /:80$/;
  const escaped = path.replaceAll(/%[0-9a-f]{2}/gi, (escape) => escape.toUpperCase());
  return `${scheme.toLowerCase()}://${authority.toLowerCase().replace(port, '')}${escaped === '' ? '/' : escaped}`;
}

/** How long one nonce is handed out, in milliseconds; it is accepted for as long again. */
export const DPOP_NONCE_MS = 60_000;
/** How many bytes of the MAC make a nonce. Nobody guesses 16 bytes in two minutes. */
const NONCE_BYTES = 16;

/** The text whose MAC makes the nonce of a period. Periods are `DPOP_NONCE_MS` long and counted from 1970. */
export function dpopNonceInput(period: number): string {
  return `dpop nonce ${period}`;
}

/** Prints the MAC of `dpopNonceInput` as a nonce (RFC 9449 §8, §9). The key makes every nonce, so none is stored. */
export function printDpopNonce(mac: Uint8Array): string {
  return printBase64url(mac.subarray(0, NONCE_BYTES));
}

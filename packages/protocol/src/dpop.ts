/** Demonstrating proof of possession (RFC 9449): what a proof says, and whether it fits the request that it came with. */
import { printBase64url } from './bytes.ts';
import type { NumericDate } from './clock.ts';
import { asksForMore, parseJws, parsePublicJwk, type ClientPublicKey, type UnverifiedJws } from './jws.ts';

/** The longest proof, in characters. */
export const DPOP_PROOF_LENGTH_MAX = 4_096;
/** How far `iat` may be from now, in seconds, either way; and so how long a proof's `jti` has to be remembered. */
export const DPOP_WINDOW_SECONDS = 60;
const AHEAD_SECONDS_MAX = 10;
const JTI_LENGTH_MAX = 256;

/** A proof, not yet believed, with the key that it brings along. */
export interface UnverifiedProof extends UnverifiedJws {
  readonly key: ClientPublicKey;
}

/** The value of the one `DPoP` header to a proof; undefined for what has not the form of one (RFC 9449 §4.3, 1 to 7). */
export function parseDpopProof(header: string): UnverifiedProof | undefined {
  if (header.length > DPOP_PROOF_LENGTH_MAX) return undefined;
  const jws = parseJws(header);
  if (jws === undefined || jws.header.get('typ') !== 'dpop+jwt') return undefined;
  if (asksForMore(jws.header)) return undefined;
  const key = parsePublicJwk(jws.header.get('jwk'));
  // The algorithm is the key's; the header may only agree.
  if (typeof key === 'string' || jws.header.get('alg') !== key.algorithm) return undefined;
  return { ...jws, key };
}

export interface DpopExpectation {
  readonly method: string;
  /** The address that the request came to; query and fragment are left out of the comparison. */
  readonly url: string;
  readonly now: NumericDate;
  /** Whether this nonce is one of ours that is still good; undefined where none is asked for. */
  readonly isNonceGood?: ((nonce: string) => boolean) | undefined;
  /** The hash of the access token that came along, SHA-256 as base64url (RFC 9449 §4.2); undefined at the token endpoint. */
  readonly ath?: string | undefined;
}

/** Why a well-signed proof does not fit; otherwise its `jti`, which may be used once, until when. */
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
 * An address without query and fragment, normalized (RFC 9449 §4.3, RFC 3986 §6.2.2.1, §6.2.3): scheme and host in lower
 * case, escapes in upper case, the default port dropped. Nothing is decoded: whose routes are whose is not for a proof to say.
 */
function comparable(url: string): string {
  const [, scheme = '', authority = '', path = ''] = /^([a-z]+):\/\/([^/?#]*)([^?#]*)/i.exec(url) ?? [];
  const port = scheme.toLowerCase() === 'https' ? /:443$/ : /:80$/;
  const escaped = path.replaceAll(/%[0-9a-f]{2}/gi, (escape) => escape.toUpperCase());
  return `${scheme.toLowerCase()}://${authority.toLowerCase().replace(port, '')}${escaped === '' ? '/' : escaped}`;
}

/** How long one nonce is handed out, in milliseconds; it is accepted for as long again. */
export const DPOP_NONCE_MS = 60_000;
/** Of the 32 bytes of a MAC: nobody guesses 16 in two minutes. */
const NONCE_BYTES = 16;

/** What is put under a MAC to make the nonce of a period, the whole number of `DPOP_NONCE_MS` since 1970. */
export function dpopNonceInput(period: number): string {
  return `dpop nonce ${period}`;
}

/** The MAC of `dpopNonceInput` to its nonce (RFC 9449 §8, §9). Whoever has the key knows every nonce: none has to be stored. */
export function printDpopNonce(mac: Uint8Array): string {
  return printBase64url(mac.subarray(0, NONCE_BYTES));
}

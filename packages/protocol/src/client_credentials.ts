/** A client's id and secret on the wire (RFC 6749 §2.3.1, RFC 7617). */
import { printBase64url, utf8, parseBase64url, parseUtf8 } from './bytes.ts';
import { parseFormText } from './parameters.ts';

/** The longest `client_id`, in characters. */
export const CLIENT_ID_LENGTH_MAX = 128;
/** The longest `client_secret`, in characters; a longer one is refused before it is hashed. */
export const CLIENT_SECRET_LENGTH_MAX = 256;

export interface ClientCredentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

/** One or more spaces behind the scheme (RFC 9110 §11.4). */
const BASIC = /^basic +([A-Za-z0-9+/]+={0,2})$/i;

/**
 * An `Authorization: Basic` header to its credentials as RFC 7617 has them: what stands before the first colon, and behind
 * it, with nothing decoded. This is how a protected resource reads it. Undefined for anything else, and when malformed.
 */
export function parsePlainBasic(header: string): ClientCredentials | undefined {
  const encoded = BASIC.exec(header)?.[1];
  if (encoded === undefined || encoded.length % 4 !== 0) return undefined;
  const bytes = parseBase64url(encoded.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_'));
  const pair = bytes === undefined ? undefined : parseUtf8(bytes);
  const colon = pair?.indexOf(':') ?? -1;
  if (pair === undefined || colon < 0) return undefined;
  return { clientId: pair.slice(0, colon), clientSecret: pair.slice(colon + 1) };
}

/** The same, with each half form-decoded: how an authorization server reads it (RFC 6749 §2.3.1). */
export function parseBasic(header: string): ClientCredentials | undefined {
  const plain = parsePlainBasic(header);
  const clientId = plain && parseFormText(plain.clientId);
  const clientSecret = plain && parseFormText(plain.clientSecret);
  return clientId === undefined || clientSecret === undefined ? undefined : { clientId, clientSecret };
}

/**
 * Both readings of a header, the likelier one first; one where they are the same. Clients that were written for another
 * server send an imported secret as it is (`curl -u`), and those that follow RFC 6749 §2.3.1 send it form-encoded. A
 * secret with `+` or `%` in it differs between the two.
 */
export function parseBasicReadings(header: string): readonly ClientCredentials[] {
  const plain = parsePlainBasic(header);
  const decoded = parseBasic(header);
  if (plain === undefined) return [];
  if (decoded === undefined) return [plain];
  if (!isReadInTwoWays(plain)) return [plain];
  return couldBeEncoded(plain) ? [decoded, plain] : [plain, decoded];
}

/** Whether credentials read differently when their halves are form-decoded. */
export function isReadInTwoWays({ clientId, clientSecret }: ClientCredentials): boolean {
  return /[+%]/.test(clientId + clientSecret);
}

/**
 * Whether a form encoder could have made these: it leaves no other characters as they are, and writes each escape whole. A
 * `+` alone is rather one of base64 than a space.
 */
function couldBeEncoded({ clientId, clientSecret }: ClientCredentials): boolean {
  return [clientId, clientSecret].every((half) => ENCODED.test(half)) && /%/.test(clientId + clientSecret);
}

const ENCODED = /^(?:[A-Za-z0-9*._~!'()+-]|%[0-9A-Fa-f]{2})*$/;

/** Credentials to an `Authorization` header for an authorization server; the inverse of `parseBasic`. */
export function printBasic({ clientId, clientSecret }: ClientCredentials): string {
  return printPlainBasic({ clientId: printFormText(clientId), clientSecret: printFormText(clientSecret) });
}

/** Credentials to an `Authorization` header for a protected resource; the inverse of `parsePlainBasic` for an id without a colon. */
export function printPlainBasic({ clientId, clientSecret }: ClientCredentials): string {
  const base64 = printBase64url(utf8(`${clientId}:${clientSecret}`))
    .replaceAll('-', '+')
    .replaceAll('_', '/');
  return `Basic ${base64}${'='.repeat((4 - (base64.length % 4)) % 4)}`;
}

/** One name or value as `application/x-www-form-urlencoded` has it; the inverse of `parseFormText`. */
function printFormText(text: string): string {
  return encodeURIComponent(text)
    .replaceAll('%20', '+')
    .replaceAll(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

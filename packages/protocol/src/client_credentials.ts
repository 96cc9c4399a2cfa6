/** A client's id and secret in an `Authorization: Basic` header (RFC 6749 §2.3.1, RFC 7617). */
import { printBase64url, utf8, parseBase64url, parseUtf8 } from './bytes.ts';
import { parseFormText } from './parameters.ts';

/** The longest `client_id`, in characters. */
export const CLIENT_ID_LENGTH_MAX = 128;
/** The longest `client_secret`, in characters. A longer one is refused before it is hashed. */
export const CLIENT_SECRET_LENGTH_MAX = 256;

/** A client's id and secret, decoded. */
export interface ClientCredentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

/** One or more spaces follow the scheme (RFC 9110 §11.4). */
const BASIC = /^basic +([A-Za-z0-9+/]+={0,2})$/i;

/**
 * Reads a Basic header as RFC 7617 says, which is how a protected resource reads it: the text before the first colon and
 * the text after it, not decoded further. Undefined when the header is malformed or of another scheme.
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

/** Reads a Basic header as an authorization server does: each half is also form-decoded (RFC 6749 §2.3.1). */
export function parseBasic(header: string): ClientCredentials | undefined {
  const plain = parsePlainBasic(header);
  const clientId = plain && parseFormText(plain.clientId);
  const clientSecret = plain && parseFormText(plain.clientSecret);
  return clientId === undefined || clientSecret === undefined ? undefined : { clientId, clientSecret };
}

/**
 * Both readings of a Basic header, the likelier one first, or one if they agree. Clients that follow RFC 6749 §2.3.1
 * form-encode their secret; others, such as `curl -u`, send it unchanged. An imported secret with `+` or `%` in it
 * reads differently in the two.
 */
export function parseBasicReadings(header: string): readonly ClientCredentials[] {
  const plain = parsePlainBasic(header);
  const decoded = parseBasic(header);
  if (plain === undefined) return [];
  if (decoded === undefined) return [plain];
  if (!isReadInTwoWays(plain)) return [plain];
  return couldBeEncoded(plain) ? [decoded, plain] : [plain, decoded];
}

/** Whether form-decoding could change these credentials. */
export function isReadInTwoWays({ clientId, clientSecret }: ClientCredentials): boolean {
  return /[+%]/.test(clientId + clientSecret);
}

/**
 * Whether a form encoder could have written these: it leaves no other character unescaped, and writes each escape in
 * full. A `+` without any escape is more likely base64 than a space.
 */
function couldBeEncoded({ clientId, clientSecret }: ClientCredentials): boolean {
  return [clientId, clientSecret].every((half) => ENCODED.test(half)) && /%/.test(clientId + clientSecret);
}

const ENCODED = /^(?:[A-Za-z0-9*._~!'()+-]|%[0-9A-Fa-f]{2})*$/;

/** Prints the Basic header for an authorization server; the inverse of `parseBasic`. */
export function printBasic({ clientId, clientSecret }: ClientCredentials): string {
  return printPlainBasic({ clientId: printFormText(clientId), clientSecret: printFormText(clientSecret) });
}

/** Prints the Basic header for a protected resource; the inverse of `parsePlainBasic` if the id has no colon. */
export function printPlainBasic({ clientId, clientSecret }: ClientCredentials): string {
  const base64 = printBase64url(utf8(`${clientId}:${clientSecret}`))
    .replaceAll('-', '+')
    .replaceAll('_', '/');
  return `Basic ${base64}${'='.repeat((4 - (base64.length % 4)) % 4)}`;
}

/** Encodes one name or value as `application/x-www-form-urlencoded`; the inverse of `parseFormText`. */
function printFormText(text: string): string {
  return encodeURIComponent(text)
    .replaceAll('%20', '+')
    .replaceAll(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

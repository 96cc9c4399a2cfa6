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

const BASIC = /^basic ([A-Za-z0-9+/]+={0,2})$/i;

/** An `Authorization: Basic` header to its credentials, or undefined when it is anything else or malformed. */
export function parseBasic(header: string): ClientCredentials | undefined {
  const encoded = BASIC.exec(header)?.[1];
  if (encoded === undefined || encoded.length % 4 !== 0) return undefined;
  const bytes = parseBase64url(encoded.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_'));
  const pair = bytes === undefined ? undefined : parseUtf8(bytes);
  const colon = pair?.indexOf(':') ?? -1;
  if (pair === undefined || colon < 0) return undefined;
  // RFC 6749 §2.3.1: each half is form-encoded before it is joined. What we make reads the same either way.
  const clientId = parseFormText(pair.slice(0, colon));
  const clientSecret = parseFormText(pair.slice(colon + 1));
  if (clientId === undefined || clientSecret === undefined) return undefined;
  return { clientId, clientSecret };
}

/** Credentials to an `Authorization` header; the inverse of `parseBasic`. */
export function printBasic({ clientId, clientSecret }: ClientCredentials): string {
  const bytes = utf8(`${printFormText(clientId)}:${printFormText(clientSecret)}`);
  const base64 = printBase64url(bytes).replaceAll('-', '+').replaceAll('_', '/');
  return `Basic ${base64}${'='.repeat((4 - (base64.length % 4)) % 4)}`;
}

/** One name or value as `application/x-www-form-urlencoded` has it; the inverse of `parseFormText`. */
function printFormText(text: string): string {
  return encodeURIComponent(text)
    .replaceAll('%20', '+')
    .replaceAll(/[!'()~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** The credentials that a guard reads of a request: from its headers alone, never from a query or a body. */
import {
  parseAccessTokenHeader,
  parsePlainBasic,
  refuse,
  type ClientCredentials,
  type PresentedToken,
  type Refusal,
} from '@hallpass/protocol';

/** A request in the terms of the web or of Node. */
export interface GuardedRequest {
  readonly method: string;
  /** As it was received: a path with its query, or an absolute URL. */
  readonly url: string;
  /** Every value of each field: of Node's, `headersDistinct`, since `headers` hides a second Authorization or Host. */
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /**
   * The IP address that the request comes from. It goes to the issuer with an API key, which counts failures by it. Give
   * only what is certain: the socket's address, or what a proxy of yours says.
   */
  readonly address?: string;
}

/** An API key as a request brings it (RFC 7617). */
export interface PresentedKey {
  readonly scheme: 'Basic';
  readonly key: ClientCredentials;
  readonly address: string | undefined;
}

export type PresentedCredentials = PresentedToken | PresentedKey;

/**
 * The credentials of a request (RFC 6750 §2.1, RFC 9449 §7.1; RFC 7617 where keys are taken). Refused when there are
 * none, when they are malformed, and when there are two: a proxy in front of us might have looked at the other one.
 */
export function readCredentials(
  { headers, address }: Pick<GuardedRequest, 'headers' | 'address'>,
  { takesKeys }: { readonly takesKeys: boolean },
): PresentedCredentials | Refusal {
  const values = readHeader(headers, AUTHORIZATION);
  const [value, ...more] = values;
  // `Headers` joins repeated fields with commas; so do some proxies.
  if (more.length > 0 || (value?.includes(',') === true && SECOND_CREDENTIALS.test(value))) {
    return refuse('malformed_credentials', { because: 'more than one Authorization' });
  }
  if (!takesKeys || value === undefined || !BASIC.test(value)) return parseAccessTokenHeader(value);
  const key = parsePlainBasic(value);
  return key === undefined
    ? refuse('malformed_credentials', { because: 'malformed Basic' })
    : { scheme: 'Basic', key, address };
}

const AUTHORIZATION = 'authorization';
const SECOND_CREDENTIALS = /,\s*(?:bearer|dpop|basic)(?:\s|$)/i;
const BASIC = /^basic(?:\s|$)/i;

/** Its proofs of possession, as they came: one is right. Some that were joined with commas are one that is malformed. */
export function readProofs(headers: GuardedRequest['headers']): readonly string[] {
  return readHeader(headers, 'dpop');
}

/** Every value of a field, whatever the case of its name; `name` in lower case. */
export function readHeader(headers: GuardedRequest['headers'], name: string): readonly string[] {
  if (isHeaders(headers)) return valuesOf(headers, name);
  const values: string[] = [];
  for (const key of Object.keys(headers)) {
    if (key.length === name.length && key.toLowerCase() === name) values.push(...valuesOf(headers, key));
  }
  return values;
}

/** The values under exactly this name. */
export function valuesOf(headers: GuardedRequest['headers'], name: string): readonly string[] {
  const value = isHeaders(headers) ? headers.get(name) : headers[name];
  if (value === undefined || value === null) return [];
  return typeof value === 'string' ? [value] : value;
}

export function isHeaders(headers: GuardedRequest['headers']): headers is Headers {
  return 'get' in headers && typeof headers.get === 'function';
}

/** How a guard reads a request's credentials: from its headers only, never from the query or the body. */
import {
  parseAccessTokenHeader,
  parsePlainBasic,
  refuse,
  type ClientCredentials,
  type PresentedToken,
  type Refusal,
} from '@hallpass/protocol';

/** A request in the form of the web's `Request` or of Node's. */
export interface GuardedRequest {
  readonly method: string;
  /** As received: a path with its query, or an absolute URL. */
  readonly url: string;
  /**
   * All values of each header. In Node pass `headersDistinct`, because `headers` hides a second Authorization or Host.
   */
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /**
   * The IP address that the request comes from. The guard sends it to the issuer along with an API key, and the issuer
   * counts failures by it. Give only what you can trust: the socket's address, or what your own proxy reports.
   */
  readonly address?: string;
}

/** An API key from an Authorization header (RFC 7617). */
export interface PresentedKey {
  readonly scheme: 'Basic';
  readonly key: ClientCredentials;
  readonly address: string | undefined;
}

/** The credentials of a request: an access token or an API key. */
export type PresentedCredentials = PresentedToken | PresentedKey;

/**
 * The credentials of a request (RFC 6750 §2.1, RFC 9449 §7.1; RFC 7617 if keys are accepted). Refuses a request with
 * none, with malformed ones, and with two: a proxy in front of the guard might have checked the other one.
 */
export function readCredentials(
  { headers, address }: Pick<GuardedRequest, 'headers' | 'address'>,
  { acceptsKeys }: { readonly acceptsKeys: boolean },
): PresentedCredentials | Refusal {
  const values = readHeader(headers, AUTHORIZATION);
  const [value, ...more] = values;
  // `Headers` and some proxies join repeated fields with commas.
  if (more.length > 0 || (value?.includes(',') === true && SECOND_CREDENTIALS.test(value))) {
    return refuse('malformed_credentials', { because: 'more than one Authorization' });
  }
  if (!acceptsKeys || value === undefined || !BASIC.test(value)) return parseAccessTokenHeader(value);
  const key = parsePlainBasic(value);
  return key === undefined
    ? refuse('malformed_credentials', { because: 'malformed Basic' })
    : { scheme: 'Basic', key, address };
}

const AUTHORIZATION = 'authorization';
const SECOND_CREDENTIALS = /,\s*(?:bearer|dpop|basic)(?:\s|$)/i;
const BASIC = /^basic(?:\s|$)/i;

/**
 * The values of the `DPoP` header, unparsed. Exactly one is valid; several joined with commas count as one malformed
 * proof.
 */
export function readProofs(headers: GuardedRequest['headers']): readonly string[] {
  return readHeader(headers, 'dpop');
}

/** All values of a header, whatever the case of its name. Pass `name` in lower case. */
export function readHeader(headers: GuardedRequest['headers'], name: string): readonly string[] {
  if (isHeaders(headers)) return valuesOf(headers, name);
  const values: string[] = [];
  for (const key of Object.keys(headers)) {
    if (key.length === name.length && key.toLowerCase() === name) values.push(...valuesOf(headers, key));
  }
  return values;
}

/** The values stored under exactly this name. */
export function valuesOf(headers: GuardedRequest['headers'], name: string): readonly string[] {
  const value = isHeaders(headers) ? headers.get(name) : headers[name];
  if (value === undefined || value === null) return [];
  return typeof value === 'string' ? [value] : value;
}

/** Whether headers are a web `Headers` object rather than a record. */
export function isHeaders(headers: GuardedRequest['headers']): headers is Headers {
  return 'get' in headers && typeof headers.get === 'function';
}

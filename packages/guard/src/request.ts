/** What a guard reads of a request, and nothing else: no query, no body, no forwarded or overriding headers. */
import { parseAccessTokenHeader, refuse, type PresentedToken, type Refusal } from '@hallpass/protocol';

/** A request in the terms of the web or of Node. */
export interface GuardedRequest {
  readonly method: string;
  /** As it was received: a path with its query, or an absolute URL. */
  readonly url: string;
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
}

/**
 * The access token of a request (RFC 6750 §2.1, RFC 9449 §7.1). Refused when there is none, when it is malformed, and when there are
 * two: a proxy in front of us might have looked at the other one.
 */
export function readAccessToken(headers: GuardedRequest['headers']): PresentedToken | Refusal {
  const values = readHeader(headers, 'authorization');
  // `Headers` joins repeated fields with commas; so do some proxies.
  if (values.length > 1 || values.some((value) => SECOND_CREDENTIALS.test(value))) {
    return refuse('malformed_credentials', { because: 'more than one Authorization' });
  }
  return parseAccessTokenHeader(values[0]);
}

const SECOND_CREDENTIALS = /,\s*(?:bearer|dpop|basic)(?:\s|$)/i;

/** Its proofs of possession, as they came: one is right. Some that were joined with commas are one that is malformed. */
export function readProofs(headers: GuardedRequest['headers']): readonly string[] {
  return readHeader(headers, 'dpop');
}

function readHeader(headers: GuardedRequest['headers'], name: string): string[] {
  if (isHeaders(headers)) {
    const value = headers.get(name);
    return value === null ? [] : [value];
  }
  return Object.entries(headers)
    .filter(([key]) => key.toLowerCase() === name)
    .flatMap(([, value]) => value ?? []);
}

function isHeaders(headers: GuardedRequest['headers']): headers is Headers {
  return 'get' in headers && typeof headers.get === 'function';
}

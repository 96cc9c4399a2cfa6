/** What a guard reads of a request, and nothing else: no query, no body, no forwarded or overriding headers. */
import { parseBearer, refuse, type Refusal } from '@hallpass/protocol';

/** A request in the terms of the web or of Node. */
export interface GuardedRequest {
  readonly method: string;
  /** As it was received: a path with its query, or an absolute URL. */
  readonly url: string;
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
}

/**
 * The bearer token of a request (RFC 6750 §2.1). Refused when there is none, when it is malformed, and when there are
 * two: a proxy in front of us might have looked at the other one.
 */
export function readBearer(headers: GuardedRequest['headers']): string | Refusal {
  const values = readHeader(headers, 'authorization');
  // `Headers` joins repeated fields with commas; so do some proxies.
  if (values.length > 1 || values.some((value) => SECOND_CREDENTIALS.test(value))) {
    return refuse('malformed_credentials', { because: 'more than one Authorization' });
  }
  return parseBearer(values[0]);
}

const SECOND_CREDENTIALS = /,\s*(?:bearer|dpop|basic)(?:\s|$)/i;

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

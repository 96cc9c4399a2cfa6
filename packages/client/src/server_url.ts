/** Where credentials may be sent. */
import { badArgument } from './hallpass_error.ts';

// What `new URL` forgives (white space, backslashes, a missing slash, an empty user) is no address anyone means.
const FORM = /^https?:\/\/[^\s/?#@\\]+(?:\/[^\s?#\\]*)?$/i;
const LOOPBACK = /^(?:(?:[a-z0-9-]+\.)*localhost|127\.0\.0\.1|\[::1\])$/;

/**
 * A `serverURL` to the text that endpoint paths are appended to, without a slash at its end. Throws `bad_argument` for
 * anything but https, or http on this machine: whoever is in between would read the client secret (RFC 6749 §2.3.1). The
 * refused text is not repeated, since it may hold a password.
 */
export function parseServerURL(text: unknown): string {
  if (typeof text !== 'string' || !FORM.test(text) || !URL.canParse(text)) {
    throw badArgument('serverURL must be like https://auth.example.com: no credentials, no query, no fragment.');
  }
  const { protocol, hostname, origin, pathname } = new URL(text);
  if (protocol === 'http:' && !LOOPBACK.test(hostname)) {
    throw badArgument(
      'serverURL must begin with https://. Plain http is accepted on localhost, 127.0.0.1 and [::1] alone.',
    );
  }
  return origin + pathname.replace(/\/+$/, '');
}

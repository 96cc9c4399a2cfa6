/** Reads the path of a request in the one way that all routers agree on, or refuses it (CWE-551). */

const ORIGIN = /^https?:\/\/[^/?#\\]*/i;

/** The path and query of a URL as it was received, without its origin if it has one. */
export function pathOf(url: string): string {
  return url.replace(ORIGIN, '');
}

/**
 * The address that a client called, with its query; undefined when it cannot be known. Only `publicURL` says which host
 * it has. The request's own `Host` cannot be trusted: an API that the client trusts less than this one could forward the
 * client's token and proof with its own name in `Host`, and the proof would fit (RFC 9449 §4.3, 9).
 */
export function publicAddress(url: string, publicURL: string | undefined): string | undefined {
  if (publicURL === undefined) return undefined;
  const path = pathOf(url);
  // Anything else would become part of the host.
  return path === '' || path.startsWith('/') || path.startsWith('?') ? publicURL + path : undefined;
}

/** The longest path, in characters. */
const PATH_LENGTH_MAX = 8_192;

/** The characters of a path in RFC 3986, except `;`: no control, no space, no backslash, nothing beyond ASCII. */
const RAW_PATH = /^(?:\/[A-Za-z0-9._~!$&'()*+,=:@%-]+)+$/;

/**
 * Parses a URL as it was received into the segments of its path, each decoded once; undefined when another program could
 * read a different path. Refused: dot segments, empty segments and a trailing slash (frameworks disagree about them),
 * encoded slashes and backslashes (proxies decode them), `%25` (something may decode twice), `;` (it begins a parameter
 * for some), escapes of characters that need none, and anything that is not UTF-8.
 */
export function parsePath(url: string): readonly string[] | undefined {
  const path = withoutQuery(url.startsWith('/') ? url : pathOf(url));
  if (path === '/') return [];
  if (path.length > PATH_LENGTH_MAX || !RAW_PATH.test(path)) return undefined;
  const segments = path.slice(1).split('/');
  if (path.includes('%')) {
    if (NEEDLESS_ESCAPE.test(path)) return undefined;
    for (const [at, raw] of segments.entries()) {
      const segment = decode(raw);
      if (segment === undefined || UNSAFE.test(segment)) return undefined;
      segments[at] = segment;
    }
  }
  return segments.includes('.') || segments.includes('..') ? undefined : segments;
}

/** A request target up to its query. */
export function withoutQuery(url: string): string {
  const query = url.indexOf('?');
  return query < 0 ? url : url.slice(0, query);
}

/** An escape of a letter, a digit or `-._~`: `%2e` is a dot to some and three characters to others (RFC 3986 §2.3). */
const NEEDLESS_ESCAPE = /%(?:2[de]|3\d|[46][1-9a-f]|[57][\da]|5f|7e)/i;

/** Characters that only an escape can have brought in: `/`, `\`, `%`, `;` and the control characters. */
// oxlint-disable-next-line no-control-regex -- they are what it is for
const UNSAFE = /[/\\%;\u0000-\u001f\u007f-\u009f]/;

/** Percent-encoded UTF-8 to text, once; overlong forms and surrogates are not UTF-8 (RFC 3629 §3). */
function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}

/** What a body claims to be: `Content-Type` and `Content-Encoding` (RFC 9110 §8.3, §8.4). */
import { refuse, type Refusal } from './refusal.ts';

/** A media type with the only parameter that is read here. */
interface MediaType {
  /** In lower case, without parameters: `application/json`. */
  readonly essence: string;
  /** The value of each `charset` parameter, in order, without quotes. */
  readonly charsets: readonly string[];
}

/** One parameter and the semicolon before it (RFC 9110 §5.6.6). The parameter may be empty. */
const PARAMETER =
  /^[ \t]*;[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~0-9A-Za-z-]*)))?[ \t]*/;

/** Parses a `Content-Type`; undefined when a parameter is malformed, because that could hide a charset. Never throws. */
export function parseMediaType(text: string): MediaType | undefined {
  const [essence = ''] = text.split(';', 1);
  const charsets: string[] = [];
  let rest = text.slice(essence.length);
  while (rest !== '') {
    const found = PARAMETER.exec(rest);
    if (found === null) return undefined;
    const [all, name, quoted, token] = found;
    if (name?.toLowerCase() === 'charset') charsets.push(token ?? (quoted ?? '').replaceAll(/\\(.)/g, '$1'));
    rest = rest.slice(all.length);
  }
  return { essence: essence.trim().toLowerCase(), charsets };
}

/** How much of a charset or a coding is quoted in the answer, in characters. */
const REPEATED_LENGTH_MAX = 40;

/**
 * Why a body with these headers is refused; undefined if it can be read. Bodies are read as UTF-8 only. Reading one in
 * another charset would give it a meaning that its sender did not intend.
 */
export function findUnreadableLabel(
  type: MediaType | undefined,
  contentEncoding: string | undefined,
): Refusal | undefined {
  if (type === undefined)
    return refuse('unsupported_media_type', { because: 'a parameter of Content-Type is malformed' });
  const [charset = 'utf-8', ...more] = type.charsets;
  if (charset.toLowerCase() !== 'utf-8' || more.length > 0) {
    const subject = [charset, ...more].join(', ').slice(0, REPEATED_LENGTH_MAX);
    return refuse('unsupported_charset', { subject: subject === '' ? 'an empty one' : subject });
  }
  const coding = contentEncoding?.trim().toLowerCase() ?? '';
  if (coding === '' || coding === 'identity') return undefined;
  return refuse('unsupported_content_coding', { subject: coding.slice(0, REPEATED_LENGTH_MAX) });
}

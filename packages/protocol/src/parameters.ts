/**
 * Parses a request body into its parameters (contract §3, §9). No name may come twice, except `resource`; an empty value
 * counts as absent. There are two dialects, and the body alone decides which: a form is answered exactly as the RFCs say,
 * JSON as the family's clients expect. Parameters in the query string are never read.
 */
import { parseUtf8, utf8 } from './bytes.ts';
import { isObject, memberNames, parseJson } from './json.ts';
import { findUnreadableLabel, parseMediaType } from './media_type.ts';
import { refuse, type Refusal } from './refusal.ts';

/** The largest body, in bytes. */
export const BODY_BYTES_MAX = 16 * 1024;
/** The most parameters in one body. */
export const PARAMETERS_MAX = 64;

/** The parameters that Hallpass reads. Others are ignored, but must not come twice either. */
const KNOWN = [
  'audience',
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  'grant_type',
  'refresh_token',
  'requested_token_type',
  'scope',
  'subject_token',
  'subject_token_type',
  'actor_token',
  'token',
  'token_type_hint',
] as const;
const REPEATABLE = 'resource';

/** A parameter that Hallpass reads, apart from `resource`. */
export type ParameterName = (typeof KNOWN)[number];

/** The parameters of a request. */
export interface Parameters {
  readonly dialect: 'form' | 'json';
  readonly values: ReadonlyMap<ParameterName, string>;
  /** The values of `resource` (RFC 8707 §2), in order. */
  readonly resources: readonly string[];
}

/** The dialect of a body. Errors are answered in it too. */
export type Dialect = Parameters['dialect'];

/** Parses a body by its `Content-Type`. Refuses a body that is too large, mislabelled or malformed. Never throws. */
export function parseParameters(
  contentType: string | undefined,
  body: Uint8Array,
  { contentEncoding }: { readonly contentEncoding?: string | undefined } = {},
): Parameters | Refusal {
  if (body.length > BODY_BYTES_MAX) return refuse('body_too_large');
  const dialect = dialectOf(contentType, body);
  if (dialect === undefined) return refuse('unsupported_media_type');
  const unreadable = findUnreadableLabel(parseMediaType(contentType ?? ''), contentEncoding);
  if (unreadable !== undefined) return unreadable;
  const text = parseUtf8(body);
  if (text === undefined) return refuse('malformed_body', { because: 'not UTF-8' });
  const pairs = dialect === 'json' ? parseFlatJson(text) : parseForm(text);
  return 'refused' in pairs ? pairs : gather(dialect, pairs);
}

/** The dialect of a body, even of one that is refused; undefined for a media type that we do not read. */
export function dialectOf(contentType: string | undefined, body: Uint8Array): Dialect | undefined {
  const type = contentType?.split(';', 1)[0]?.trim().toLowerCase();
  if (type === 'application/json') return 'json';
  if (type !== 'application/x-www-form-urlencoded') return undefined;
  // The family's documentation posts JSON under curl's default type (contract §3).
  return firstNonSpace(body) === 0x7b ? 'json' : 'form';
}

function firstNonSpace(body: Uint8Array): number | undefined {
  return body.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d);
}

type Pairs = readonly (readonly [name: string, value: unknown])[];

function gather(dialect: Dialect, pairs: Pairs): Parameters | Refusal {
  if (pairs.length > PARAMETERS_MAX) return refuse('too_many_parameters');
  const values = new Map<ParameterName, string>();
  const resources: string[] = [];
  const seen = new Set<string>();
  for (const [name, value] of pairs) {
    const first = !seen.has(name);
    seen.add(name);
    if (name === REPEATABLE && (first || dialect === 'form')) {
      const list = Array.isArray(value) ? value : [value];
      for (const item of list) {
        if (typeof item === 'string') {
          if (!isWellFormed(item)) return malformed(name);
          if (item !== '') resources.push(item);
        } else if (item !== null || Array.isArray(value)) return malformed(name);
      }
      continue;
    }
    const known = KNOWN.find((candidate) => candidate === name);
    if (!first) return repeated(name);
    if (known === undefined) continue;
    if (typeof value === 'string') {
      if (!isWellFormed(value)) return malformed(name);
      if (value !== '') values.set(known, value);
    } else if (value !== null) return malformed(name);
  }
  return { dialect, values, resources };
}

function malformed(name: string): Refusal {
  return refuse('malformed_parameter', { because: name, subject: name });
}

/** How much of an unknown name is quoted in the answer, in characters. */
const NAME_REPEATED_LENGTH_MAX = 64;

/** The log does not get an unknown name: it is the sender's text, and may be a misplaced secret. */
function repeated(name: string): Refusal {
  const known = name === REPEATABLE || KNOWN.some((candidate) => candidate === name);
  return refuse('repeated_parameter', {
    because: known ? name : 'an unknown parameter',
    subject: name === '' ? 'one without a name' : name.slice(0, NAME_REPEATED_LENGTH_MAX),
  });
}

/** JSON can hold a lone surrogate (`\ud800`), which UTF-8 cannot: two such texts would be hashed alike. */
function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Parses `application/x-www-form-urlencoded` with strict percent-encoding and UTF-8 (RFC 6749 appendix B). */
function parseForm(text: string): Pairs | Refusal {
  if (text === '') return [];
  const pairs: [string, string][] = [];
  for (const piece of text.split('&')) {
    if (piece === '') continue;
    const equals = piece.indexOf('=');
    const name = parseFormText(equals < 0 ? piece : piece.slice(0, equals));
    const value = equals < 0 ? '' : parseFormText(piece.slice(equals + 1));
    if (name === undefined || value === undefined) return refuse('malformed_body', { because: 'percent-encoding' });
    pairs.push([name, value]);
    if (pairs.length > PARAMETERS_MAX) return refuse('too_many_parameters');
  }
  return pairs;
}

/** Decodes one form-encoded name or value; undefined for a bad escape or bytes that are not UTF-8. */
export function parseFormText(text: string): string | undefined {
  if (!text.includes('%')) return text.replaceAll('+', ' ');
  const source = utf8(text.replaceAll('+', ' '));
  const bytes = new Uint8Array(source.length);
  let length = 0;
  for (let at = 0; at < source.length; at++) {
    let byte = source[at] ?? 0;
    if (byte === 0x25) {
      const high = hexDigit(source[at + 1]);
      const low = hexDigit(source[at + 2]);
      if (high === undefined || low === undefined) return undefined;
      byte = high * 16 + low;
      at += 2;
    }
    bytes[length++] = byte;
  }
  return parseUtf8(bytes.subarray(0, length));
}

function hexDigit(byte: number | undefined): number | undefined {
  if (byte === undefined) return undefined;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : undefined;
}

/**
 * Parses a JSON object into its members. `JSON.parse` silently keeps the last of two members with one name, so the names
 * are also read from the text: an attacker bypasses checks with a parameter that two parsers read differently.
 */
function parseFlatJson(text: string): Pairs | Refusal {
  const value = parseJson(text);
  if (value === undefined) return refuse('malformed_body', { because: 'not JSON' });
  if (!isObject(value)) return refuse('malformed_body', { because: 'not a JSON object' });
  const members = new Map<string, unknown>(Object.entries(value));
  // Only the outermost names: what an unknown member holds is ignored.
  const [names = []] = memberNames(text);
  if (names.length > PARAMETERS_MAX) return refuse('too_many_parameters');
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) return repeated(twice);
  return names.map((name) => [name, members.get(name)]);
}

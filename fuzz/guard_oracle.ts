/**
 * What paths, routes and scopes mean, written a second time from the contract (§7, §8, §9) and the RFCs, one character
 * at a time and without a regular expression, for the fuzz to compare with. Slow and plain on purpose.
 */

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const DIGITS = '0123456789';
const HEX = '0123456789abcdefABCDEF';
/** What never needs an escape (RFC 3986 §2.3), and what a path may have beside it (§3.3) less the semicolon. */
const UNRESERVED = new Set(`${LETTERS}${DIGITS}-._~`);
const BESIDE = new Set("!$&'()*+,=:@");
const PATH_LENGTH_MAX = 8_192;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The segments of a request target, or undefined when it is no path that all agree on. */
export function readPathByHand(url: string): readonly string[] | undefined {
  const path = pathByHand(url);
  if (path === '/') return [];
  if (path.length > PATH_LENGTH_MAX || !path.startsWith('/')) return undefined;
  const segments: string[] = [];
  for (const raw of path.slice(1).split('/')) {
    const segment = readSegmentByHand(raw);
    if (segment === undefined) return undefined;
    segments.push(segment);
  }
  return segments;
}

/** Without the origin, if there is one, and the query. */
export function pathByHand(url: string): string {
  let from = 0;
  for (const scheme of ['http://', 'https://']) {
    if (url.slice(0, scheme.length).toLowerCase() === scheme) {
      from = scheme.length;
      while (from < url.length && !'/?#\\'.includes(url.charAt(from))) from += 1;
    }
  }
  const query = url.indexOf('?', from);
  return query < 0 ? url.slice(from) : url.slice(from, query);
}

function readSegmentByHand(raw: string): string | undefined {
  const bytes: number[] = [];
  for (let at = 0; at < raw.length; at++) {
    const character = raw.charAt(at);
    if (character === '%') {
      const [high, low] = [raw.charAt(at + 1), raw.charAt(at + 2)];
      if (high === '' || low === '' || !HEX.includes(high) || !HEX.includes(low)) return undefined;
      const byte = Number.parseInt(high + low, 16);
      // One spelling for what needs no escape, and none for what another reader could take for more than a character.
      if (byte < 0x20 || byte === 0x7f) return undefined;
      if (byte < 0x80 && (UNRESERVED.has(String.fromCharCode(byte)) || '/\\%;'.includes(String.fromCharCode(byte)))) {
        return undefined;
      }
      bytes.push(byte);
      at += 2;
    } else if (UNRESERVED.has(character) || BESIDE.has(character)) bytes.push(character.charCodeAt(0));
    else return undefined;
  }
  if (raw === '' || raw === '.' || raw === '..') return undefined;
  try {
    const text = strictUtf8.decode(Uint8Array.from(bytes));
    return hasControl(text) ? undefined : text;
  } catch {
    return undefined;
  }
}

/** The control characters of both sets (C0, DEL, C1). */
export function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return true;
  }
  return false;
}

/** A segment with every byte escaped that is not unreserved: one spelling for one value. */
export function spell(segment: string): string {
  let text = '';
  for (const byte of Buffer.from(segment, 'utf8')) {
    const character = String.fromCharCode(byte);
    text += byte < 0x80 && UNRESERVED.has(character) ? character : escapeOf(byte);
  }
  return text;
}

/** A raw segment in that spelling; its escapes stay what they are. */
export function respell(raw: string): string {
  let text = '';
  for (let at = 0; at < raw.length; at++) {
    const character = raw.charAt(at);
    if (character === '%') {
      text += raw.slice(at, at + 3).toUpperCase();
      at += 2;
    } else text += UNRESERVED.has(character) ? character : escapeOf(raw.charCodeAt(at));
  }
  return text;
}

function escapeOf(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
}

/** Routes and their scopes, as a policy has them. */
export type Routes = Readonly<Record<string, string>>;

export interface Found {
  readonly route: string;
  /** Name and value of each parameter, in order. */
  readonly values: readonly (readonly [name: string, value: string])[];
}

/**
 * All routes that fit, the one with the leftmost literal first. None, where on the way to that one a segment differs from
 * a literal in its place by case alone: a reader that minds no case would have taken the literal (CWE-178).
 */
export function findByHand(routes: Routes, method: string, segments: readonly string[]): readonly Found[] {
  const patterns = patternsOf(routes, method);
  const fitting = patterns
    .filter(({ places }) => places.length === segments.length && fits(places, segments))
    .toSorted((one, other) => (kindsOf(one.places) < kindsOf(other.places) ? -1 : 1));
  const [first] = fitting;
  if (first === undefined || isClosedByCase(patterns, segments, kindsOf(first.places))) return [];
  return fitting.map(({ route, places }) => {
    const values = places.flatMap((place, at) =>
      isTemplate(place) ? [[nameOf(place), segments[at] ?? ''] as const] : [],
    );
    return { route, values };
  });
}

interface Pattern {
  readonly route: string;
  readonly places: readonly string[];
}

function patternsOf(routes: Routes, method: string): readonly Pattern[] {
  return Object.keys(routes).flatMap((route) => {
    const [of, path = ''] = route.split(' ');
    return of === method ? [{ route, places: path === '/' ? [] : path.slice(1).split('/') }] : [];
  });
}

function fits(places: readonly string[], segments: readonly string[]): boolean {
  return places.every((place, at) => isTemplate(place) || place === segments[at]);
}

/** `L` for a literal and `P` for a parameter, so that the order of letters is that of preference. */
function kindsOf(places: readonly string[]): string {
  return places.map((place) => (isTemplate(place) ? 'P' : 'L')).join('');
}

/** Two patterns go the same way whatever they call their parameters. */
function wayOf(places: readonly string[]): string {
  return places.map((place) => (isTemplate(place) ? '{}' : place)).join('/');
}

function isClosedByCase(patterns: readonly Pattern[], segments: readonly string[], chosen: string): boolean {
  return segments.some((segment, at) =>
    patterns.some(({ places }) => {
      const [before, place] = [places.slice(0, at), places[at]];
      if (place === undefined || isTemplate(place) || !fits(before, segments)) return false;
      if (place === segment || place.toLowerCase() !== segment.toLowerCase()) return false;
      // Where the very literal is there too, there is nothing to mistake.
      const beside = patterns.some(
        (other) => other.places[at] === segment && wayOf(other.places.slice(0, at)) === wayOf(before),
      );
      return !beside && `${kindsOf(before)}L` < chosen;
    }),
  );
}

function isTemplate(place: string): boolean {
  return place.startsWith('{');
}

function nameOf(place: string): string {
  return place.slice(1, -1);
}

const SEGMENT_CHARACTERS = new Set(`${LETTERS}${DIGITS}_~-.`);
const VERB_CHARACTERS = new Set('abcdefghijklmnopqrstuvwxyz-');
const NAME_CHARACTERS = new Set(`${LETTERS}${DIGITS}_-`);
const NAME_BEGINNINGS = new Set(`${LETTERS}_`);
const SCOPE_LENGTH_MAX = 512;
const SEGMENT_LENGTH_MAX = 128;

function isMadeOf(text: string, characters: ReadonlySet<string>): boolean {
  return text !== '' && text.split('').every((character) => characters.has(character));
}

/** Whether a text may fill a parameter: a literal segment of a scope. */
function isLiteralByHand(segment: string): boolean {
  if (segment.length > SEGMENT_LENGTH_MAX || !isMadeOf(segment, SEGMENT_CHARACTERS)) return false;
  return !segment.startsWith('.') && !segment.endsWith('.') && !segment.includes('..');
}

function isParameterByHand(segment: string): boolean {
  if (segment.length > SEGMENT_LENGTH_MAX || !segment.startsWith('{') || !segment.endsWith('}')) return false;
  const name = nameOf(segment);
  return isMadeOf(name, NAME_CHARACTERS) && NAME_BEGINNINGS.has(name.charAt(0));
}

/** A scope's parts; undefined when the text is none (contract §9, "Scope grammar"). */
export function readScopeByHand(
  text: string,
): { readonly segments: readonly string[]; readonly verb: string; readonly parameters: readonly string[] } | undefined {
  const dot = text.lastIndexOf('.');
  if (text.length > SCOPE_LENGTH_MAX || dot < 0) return undefined;
  const verb = text.slice(dot + 1);
  const [before, ...segments] = text.slice(0, dot).split('/');
  if (before !== '' || segments.length === 0 || !isMadeOf(verb, VERB_CHARACTERS)) return undefined;
  if (!segments.every((segment) => isLiteralByHand(segment) || isParameterByHand(segment))) return undefined;
  const parameters = segments.filter(isTemplate).map(nameOf);
  return new Set(parameters).size === parameters.length ? { segments, verb, parameters } : undefined;
}

/** A scope's text with the values in it; undefined when one is missing or is no literal, or the whole is too long. */
export function fillByHand(text: string, values: Readonly<Record<string, unknown>>): string | undefined {
  const scope = readScopeByHand(text);
  if (scope === undefined) return undefined;
  if (scope.parameters.length === 0) return text;
  const segments: string[] = [];
  for (const segment of scope.segments) {
    if (!isTemplate(segment)) {
      segments.push(segment);
      continue;
    }
    const value = ownValue(values, nameOf(segment));
    if (typeof value !== 'string' || !isLiteralByHand(value)) return undefined;
    segments.push(value);
  }
  const filled = `/${segments.join('/')}.${scope.verb}`;
  return filled.length > SCOPE_LENGTH_MAX ? undefined : filled;
}

/** What an object holds itself, whatever its prototype has. */
export function ownValue(values: object, name: string): unknown {
  for (const [own, value] of Object.entries(values)) if (own === name) return value;
  return undefined;
}

/** Whether a scope opens Hallpass itself (contract §10): only the very text grants one. */
function isReservedByHand(text: string): boolean {
  return text === '/ping.read' || ['/oauth2', '/admin'].some((begin) => isBelow(text, begin));
}

/** Whether the first segment of a scope is this one: what follows it is a slash, or the last dot, before the verb. */
function isBelow(text: string, begin: string): boolean {
  if (!text.startsWith(begin)) return false;
  const next = text.charAt(begin.length);
  return next === '/' || (next === '.' && text.lastIndexOf('.') === begin.length);
}

/**
 * Whether a scope covers another: letter by letter, or any one segment in a parameter's place. One of Hallpass's own is
 * covered by its own text alone, and not when that has a parameter.
 */
export function coversByHand(granted: string, requested: string): boolean {
  const [held, wanted] = [readScopeByHand(granted), readScopeByHand(requested)];
  if (held === undefined || wanted === undefined || held.verb !== wanted.verb) return false;
  if (isReservedByHand(requested)) return granted === requested && wanted.parameters.length === 0;
  if (held.segments.length !== wanted.segments.length) return false;
  return held.segments.every((segment, at) => isTemplate(segment) || segment === wanted.segments[at]);
}

/** Whether a token's `scope` claim opens a scope: one of its words is that text, and the text has no parameter. */
export function opensByHand(claim: string, required: string): boolean {
  if (required.includes('{')) return false;
  let word = '';
  for (const character of `${claim} `) {
    if (character === ' ') {
      if (word === required) return true;
      word = '';
    } else word += character;
  }
  return false;
}

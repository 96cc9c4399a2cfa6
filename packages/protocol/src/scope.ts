/**
 * The scope algebra (contract §7): one meaning of a scope for the server, the guard and the types.
 *
 *   scope   = "/" *( segment "/" ) name "." verb        name is a segment
 *   segment = 1*128( ALPHA / DIGIT / "_" / "~" / "-" / inner dots ) / "{" parameter "}"
 *   verb    = 1*( a-z / "-" )
 *
 * A scope stands for a set of filled scopes: itself when it has no parameter, one for every value otherwise, less the
 * reserved ones. `covers` is "superset of" between those sets, and a scope that stands for nothing is covered by
 * nothing. Everything here takes time linear in the text it reads, without backtracking.
 */

/** The longest scope, in characters. */
export const SCOPE_LENGTH_MAX = 512;
/** The longest segment, in characters; a parameter counts with its braces. */
export const SEGMENT_LENGTH_MAX = 128;
/** The most scopes in one request or one token. */
export const SCOPES_PER_REQUEST_MAX = 100;
/** The longest list of scopes, in characters: what fits in a token that still fits in a request's headers. */
export const SCOPE_LIST_LENGTH_MAX = 8192;

/** The first segments of the scopes that open Hallpass itself: no parameter ever stands for a scope that begins so. */
export const RESERVED_FIRST_SEGMENTS: readonly string[] = ['oauth2', 'admin'];
/** The scopes that are reserved by themselves. */
const RESERVED_SCOPES: readonly string[] = ['/ping.read'];

declare const scopeBrand: unique symbol;

/** A scope that was parsed: a well-formed text with its parts beside it. Made by `parseScope` and `fillScope` alone. */
export interface Scope {
  readonly [scopeBrand]: true;
  /** The scope as it is written on the wire. */
  readonly text: string;
  /** The segments in order, the name last; a parameter keeps its braces. */
  readonly segments: readonly string[];
  readonly verb: string;
  /** The names of the parameters, in order, without braces. Empty when the scope is filled. */
  readonly parameters: readonly string[];
}

/** Why a text is not a scope. */
export type ScopeFault =
  | 'too_long'
  | 'not_absolute'
  | 'no_verb'
  | 'bad_verb'
  | 'empty_segment'
  | 'dot_segment'
  | 'segment_too_long'
  | 'bad_character'
  | 'bad_parameter'
  | 'repeated_parameter';

const VERB = /^[a-z-]+$/;
const SEGMENT = /^[A-Za-z0-9_~.-]+$/;
/** A segment that nothing is wrong with, but for its length: no dots at its ends, or side by side. */
const PLAIN_SEGMENT = /^[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*$/;
const PARAMETER = /^\{[A-Za-z_][A-Za-z0-9_-]*\}$/;

/** A text to its scope, or why it is none. Never throws. */
export function parseScope(text: string): Scope | ScopeFault {
  if (text.length > SCOPE_LENGTH_MAX) return 'too_long';
  if (!text.startsWith('/')) return 'not_absolute';
  const dot = text.lastIndexOf('.');
  if (dot < text.lastIndexOf('/')) return 'no_verb';
  const verb = text.slice(dot + 1);
  const segments = text.slice(1, dot).split('/');
  const parameters: string[] = [];
  for (const segment of segments) {
    const fault = segmentFault(segment);
    if (fault !== undefined) return fault;
    if (segment.startsWith('{')) parameters.push(segment.slice(1, -1));
  }
  if (!VERB.test(verb)) return 'bad_verb';
  if (new Set(parameters).size < parameters.length) return 'repeated_parameter';
  return makeScope(text, segments, verb, parameters);
}

function segmentFault(segment: string): ScopeFault | undefined {
  if (segment.length > SEGMENT_LENGTH_MAX) return 'segment_too_long';
  if (PLAIN_SEGMENT.test(segment)) return undefined;
  if (segment === '') return 'empty_segment';
  if (segment.includes('{') || segment.includes('}')) return PARAMETER.test(segment) ? undefined : 'bad_parameter';
  // Dots are for inside a segment: at an end, or side by side, they are the stuff of path tricks.
  return SEGMENT.test(segment) ? 'dot_segment' : 'bad_character';
}

function makeScope(text: string, segments: readonly string[], verb: string, parameters: readonly string[]): Scope {
  // oxlint-disable-next-line no-unsafe-type-assertion -- the one place that makes the brand
  return { text, segments, verb, parameters } as Scope;
}

/** Whether `parseScope` or `fillScope` gave a scope. */
export function isScope(parsed: Scope | ScopeFault | FillFault): parsed is Scope {
  return typeof parsed === 'object';
}

/** A scope to its text; the inverse of `parseScope`. */
export function printScope(scope: Scope): string {
  return scope.text;
}

/**
 * Whether a scope is one of Hallpass's own (contract §10): `/oauth2/...`, `/admin/...`, `/ping.read`. Only the very text
 * grants one. If a parameter could stand for it, a partner's `/{org}/{item}.read` would read the revocation feed.
 */
export function isReserved({ text, segments }: Scope): boolean {
  const [first] = segments;
  return (first !== undefined && RESERVED_FIRST_SEGMENTS.includes(first)) || RESERVED_SCOPES.includes(text);
}

/** Whether a text may stand in a parameter's place: a literal segment of the grammar. */
export function isSegmentValue(value: string): boolean {
  return !value.startsWith('{') && segmentFault(value) === undefined;
}

/** Why a template could not be filled. */
export type FillFault = 'missing_value' | 'bad_value' | 'too_long';

/**
 * A template with its parameters replaced: `/accounts/{accountID}.read` and `{ accountID: 'a1' }` give
 * `/accounts/a1.read`. Values for names that the template does not have are ignored. A value that is no literal segment
 * is refused, so filling can never change the shape of a scope, only narrow it. What comes out may be reserved: then the
 * template does not cover it, and only a token that holds the very text opens it.
 */
export function fillScope(template: Scope, values: Readonly<Record<string, string>>): Scope | FillFault {
  if (template.parameters.length === 0) return template;
  const segments = [...template.segments];
  let at = -1;
  for (const name of template.parameters) {
    at = segments.indexOf(`{${name}}`, at + 1);
    // Own properties only: a parameter called `constructor` must not find Object's.
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (typeof value !== 'string') return 'missing_value';
    if (!isSegmentValue(value)) return 'bad_value';
    segments[at] = value;
  }
  const text = `/${segments.join('/')}.${template.verb}`;
  return text.length > SCOPE_LENGTH_MAX ? 'too_long' : makeScope(text, segments, template.verb, []);
}

/**
 * Whether everything that `requested` stands for is also in `granted`. A template covers any one value in each
 * parameter's place; a filled scope covers itself alone. The verb must be equal: `read` never implies `write`.
 * A reserved scope is covered by itself alone (`isReserved`), and a reserved template covers nothing.
 * For a *token's* scopes use `opens`: there a template is no template any more.
 */
export function covers(granted: Scope, requested: Scope): boolean {
  if (isReserved(requested)) return requested.parameters.length === 0 && granted.text === requested.text;
  if (granted.verb !== requested.verb || granted.segments.length !== requested.segments.length) return false;
  return granted.segments.every((segment, at) => segment.startsWith('{') || segment === requested.segments[at]);
}

/** A set of granted scopes that answers `contains` in time linear in the question, however many it holds. */
export class ScopeSet {
  /** By shape (the places of the parameters), the texts with those places blanked. */
  readonly #byShape = new Map<string, { readonly places: readonly number[]; readonly texts: Set<string> }>();

  constructor(scopes: Iterable<Scope>) {
    for (const scope of scopes) {
      const places = [...scope.segments.keys()].filter((at) => scope.segments[at]?.startsWith('{') === true);
      const shape = `${scope.segments.length}:${places.join(',')}`;
      const entry = this.#byShape.get(shape) ?? { places, texts: new Set() };
      entry.texts.add(blank(scope, places));
      this.#byShape.set(shape, entry);
    }
  }

  /** Whether one scope of the set covers the requested one. */
  contains(requested: Scope): boolean {
    const reserved = isReserved(requested);
    for (const { places, texts } of this.#byShape.values()) {
      if (reserved && places.length > 0) continue;
      if (texts.has(blank(requested, places))) return true;
    }
    return false;
  }

  /** Whether each of the requested scopes is covered by one of the set. */
  containsAll(requested: Iterable<Scope>): boolean {
    for (const scope of requested) if (!this.contains(scope)) return false;
    return true;
  }
}

/** A scope's text with the segments in these places emptied. No parsed scope has an empty segment, so none collides. */
function blank(scope: Scope, places: readonly number[]): string {
  if (places.length === 0) return scope.text;
  const segments = [...scope.segments];
  for (const at of places) if (at < segments.length) segments[at] = '';
  return `/${segments.join('/')}.${scope.verb}`;
}

/**
 * Whether a token's `scope` claim, or the words of it, open a filled scope: one of them is that very text. A `{...}` that
 * got into a token is a literal there and opens nothing, a malformed scope opens nothing, and nothing implies anything
 * else.
 */
export function opens(tokenScope: string | readonly string[], required: Scope): boolean {
  if (required.parameters.length > 0) return false;
  const words = typeof tokenScope === 'string' ? tokenScope.split(' ') : tokenScope;
  return words.includes(required.text);
}

/** Why a text is not a list of scopes. */
export interface ScopeListFault {
  readonly fault: ScopeFault | 'bad_spacing' | 'too_many' | 'list_too_long';
  /** The first word that is wrong, and its place; absent where the list as a whole is. */
  readonly word?: { readonly text: string; readonly place: number; readonly of: number };
}

/**
 * A `scope` parameter (RFC 6749 §3.3) to its scopes: one space between, none around, doubles dropped, the order kept.
 * Templates are allowed here; a request that may not hold one must look at `parameters`.
 */
export function parseScopeList(text: string): readonly Scope[] | ScopeListFault {
  if (text.length > SCOPE_LIST_LENGTH_MAX) return { fault: 'list_too_long' };
  const words = text.split(' ');
  const of = words.length;
  if (of > SCOPES_PER_REQUEST_MAX) return { fault: 'too_many' };
  const scopes = new Map<string, Scope>();
  for (const [at, word] of words.entries()) {
    const scope = word === '' ? 'bad_spacing' : parseScope(word);
    if (typeof scope === 'string') return { fault: scope, word: { text: word, place: at + 1, of } };
    scopes.set(scope.text, scope);
  }
  return [...scopes.values()];
}

/** What is wrong with a text that is no scope, for its author; the end of a sentence. */
export function describeScopeFault(fault: ScopeFault): string {
  return SCOPE_LIST_FAULTS[fault];
}

const SCOPE_LIST_FAULTS: Readonly<Record<ScopeListFault['fault'], string>> = {
  too_long: `longer than ${SCOPE_LENGTH_MAX} characters`,
  not_absolute: 'it does not begin with a slash',
  no_verb: 'it has no verb behind its last dot',
  bad_verb: 'its verb is not lower-case letters',
  empty_segment: 'a segment is empty',
  dot_segment: 'a segment begins or ends with a dot, or has two in a row',
  segment_too_long: `a segment is longer than ${SEGMENT_LENGTH_MAX} characters`,
  bad_character: 'a segment has a character that is not allowed',
  bad_parameter: 'a parameter is not a whole segment such as {name}',
  repeated_parameter: 'a parameter is there twice',
  bad_spacing: 'there is a space too many before or behind it',
  too_many: `more than ${SCOPES_PER_REQUEST_MAX} scopes`,
  list_too_long: `longer than ${SCOPE_LIST_LENGTH_MAX} characters in all`,
};
/** How much of a word that is no scope is repeated to its sender, in characters. */
const WORD_REPEATED_LENGTH_MAX = 100;

/** What is wrong with a list of scopes, for whoever sent it: which one, where, and why. */
export function describeScopeListFault({ fault, word }: ScopeListFault): string {
  const why = SCOPE_LIST_FAULTS[fault];
  if (word === undefined) return why;
  const { text, place, of } = word;
  const shown = text.length > WORD_REPEATED_LENGTH_MAX ? `${text.slice(0, WORD_REPEATED_LENGTH_MAX)}...` : text;
  return `${shown === '' ? 'an empty word' : shown} (scope ${place} of ${of}: ${why})`;
}

/** Scopes to a `scope` parameter or claim. */
export function printScopeList(scopes: readonly Scope[]): string {
  return scopes.map(printScope).join(' ');
}

/** The names of a scope's parameters, for the compiler: `ScopeParameter<'/a/{b}/c.read'>` is `'b'`. */
export type ScopeParameter<Text extends string> = string extends Text
  ? string
  : Text extends `${string}{${infer Name}}${infer Rest}`
    ? Name | ScopeParameter<Rest>
    : never;

/** The values that fill a scope, for the compiler: `ScopeValues<'/a/{b}/c.read'>` is `{ readonly b: string }`. */
export type ScopeValues<Text extends string> = { readonly [Name in ScopeParameter<Text>]: string };

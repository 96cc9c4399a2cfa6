/**
 * The scope algebra (contract §7): one meaning of a scope for the server, the guard and the types.
 *
 *   scope   = "/" *( segment "/" ) name "." verb        name is a segment
 *   segment = 1*128( ALPHA / DIGIT / "_" / "~" / "-" / inner dots ) / "{" parameter "}"
 *   verb    = 1*( a-z / "-" )
 *
 * A scope stands for a set of filled scopes: itself if it has no parameter, otherwise one for every value, except the
 * reserved ones. `covers` is "superset of" between those sets, and a scope that stands for nothing is covered by
 * nothing. Everything here takes time linear in the text it reads, without backtracking.
 */

/** The longest scope, in characters. */
export const SCOPE_LENGTH_MAX = 512;
/** The longest segment, in characters. A parameter counts with its braces. */
export const SEGMENT_LENGTH_MAX = 128;

/** The first segments of scopes for Hallpass itself. No template ever covers a scope that begins with one of these. */
const RESERVED_FIRST_SEGMENTS: readonly string[] = ['oauth2', 'admin'];
/** Single scopes that are reserved too. */
const RESERVED_SCOPES: readonly string[] = ['/ping.read'];

declare const scopeBrand: unique symbol;

/** A parsed scope. Only `parseScope` and `fillScope` make one. */
export interface Scope {
  readonly [scopeBrand]: true;
  /** The scope as written on the wire. */
  readonly text: string;
  /** The segments in order, the name last. A parameter keeps its braces. */
  readonly segments: readonly string[];
  /** What follows the last dot, such as `read`. */
  readonly verb: string;
  /** The names of the parameters, in order, without braces. Empty if the scope is filled. */
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
/** A correct literal segment, apart from its length: no dots at its ends, and no two in a row. */
const PLAIN_SEGMENT = /^[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*$/;
const PARAMETER = /^\{[A-Za-z_][A-Za-z0-9_-]*\}$/;

/** Parses a scope, or says why the text is not one. Never throws. */
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
  // A dot may only stand inside a segment. At an end, or two in a row, it is used for path tricks.
  return SEGMENT.test(segment) ? 'dot_segment' : 'bad_character';
}

function makeScope(text: string, segments: readonly string[], verb: string, parameters: readonly string[]): Scope {
  // oxlint-disable-next-line no-unsafe-type-assertion -- the one place that makes the brand
  return { text, segments, verb, parameters } as Scope;
}

/** Whether the result of `parseScope` or `fillScope` is a scope and not a fault. */
export function isScope(parsed: Scope | ScopeFault | FillFault): parsed is Scope {
  return typeof parsed === 'object';
}

/** Prints a scope; the inverse of `parseScope`. */
export function printScope(scope: Scope): string {
  return scope.text;
}

/**
 * Whether a scope is one of Hallpass's own (contract §10): `/oauth2/...`, `/admin/...`, `/ping.read`. Only its exact text
 * grants it. If a parameter could stand for it, a partner's `/{org}/{item}.read` would read the revocation feed.
 */
export function isReserved({ text, segments }: Scope): boolean {
  const [first] = segments;
  return (first !== undefined && RESERVED_FIRST_SEGMENTS.includes(first)) || RESERVED_SCOPES.includes(text);
}

/** Says what is wrong with a malformed scope, for its author. The end of a sentence. */
export function describeScopeFault(fault: ScopeFault): string {
  return FAULTS[fault];
}

const FAULTS: Readonly<Record<ScopeFault, string>> = {
  too_long: `longer than ${SCOPE_LENGTH_MAX} characters`,
  not_absolute: 'it does not begin with a slash',
  no_verb: 'it has no verb after its last dot',
  bad_verb: 'its verb is not lower-case letters',
  empty_segment: 'a segment is empty',
  dot_segment: 'a segment begins or ends with a dot, or has two in a row',
  segment_too_long: `a segment is longer than ${SEGMENT_LENGTH_MAX} characters`,
  bad_character: 'a segment has a character that is not allowed',
  bad_parameter: 'a parameter is not a whole segment such as {name}',
  repeated_parameter: 'it names a parameter twice',
};

/** Whether a text can take the place of a parameter: it must be a literal segment of the grammar. */
export function isSegmentValue(value: string): boolean {
  return !value.startsWith('{') && segmentFault(value) === undefined;
}

/** Why a template could not be filled. */
export type FillFault = 'missing_value' | 'bad_value' | 'too_long';

/**
 * Replaces the parameters of a template: `/accounts/{accountID}.read` and `{ accountID: 'a1' }` give `/accounts/a1.read`.
 * Values for other names are ignored. A value that is not a literal segment is refused, so filling can narrow a scope but
 * never change its shape. The result may be reserved; then the template does not cover it, and only a token with its
 * exact text opens it.
 */
export function fillScope(template: Scope, values: Readonly<Record<string, string>>): Scope | FillFault {
  if (template.parameters.length === 0) return template;
  const segments = [...template.segments];
  let at = -1;
  for (const name of template.parameters) {
    at = segments.indexOf(`{${name}}`, at + 1);
    // Only own properties: a parameter named `constructor` must not find Object's.
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (typeof value !== 'string') return 'missing_value';
    if (!isSegmentValue(value)) return 'bad_value';
    segments[at] = value;
  }
  const text = `/${segments.join('/')}.${template.verb}`;
  return text.length > SCOPE_LENGTH_MAX ? 'too_long' : makeScope(text, segments, template.verb, []);
}

/**
 * Whether `granted` includes everything that `requested` stands for. A template covers any value in each parameter's
 * place; a filled scope covers only itself. The verbs must be equal: `write` does not imply `read`. A reserved scope is
 * covered only by itself (`isReserved`), and a reserved template covers nothing. For the scopes of a token use `opens`:
 * there a template is only text.
 */
export function covers(granted: Scope, requested: Scope): boolean {
  if (isReserved(requested)) return requested.parameters.length === 0 && granted.text === requested.text;
  if (granted.verb !== requested.verb || granted.segments.length !== requested.segments.length) return false;
  return granted.segments.every((segment, at) => segment.startsWith('{') || segment === requested.segments[at]);
}

/** A set of granted scopes. The time that a question takes does not grow with the number of scopes in the set. */
export class ScopeSet {
  /** For each shape (the places of the parameters), the texts with those places emptied. */
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

  /** Whether a scope of the set covers the requested one. */
  contains(requested: Scope): boolean {
    const reserved = isReserved(requested);
    for (const { places, texts } of this.#byShape.values()) {
      if (reserved && places.length > 0) continue;
      if (texts.has(blank(requested, places))) return true;
    }
    return false;
  }

  /** Whether the set contains each of the requested scopes. */
  containsAll(requested: Iterable<Scope>): boolean {
    for (const scope of requested) if (!this.contains(scope)) return false;
    return true;
  }
}

/** A scope's text with the segments in these places emptied. A parsed scope has no empty segment, so no two collide. */
function blank(scope: Scope, places: readonly number[]): string {
  if (places.length === 0) return scope.text;
  const segments = [...scope.segments];
  for (const at of places) if (at < segments.length) segments[at] = '';
  return `/${segments.join('/')}.${scope.verb}`;
}

/**
 * Whether a token's `scope` claim, or its words, open a filled scope: one word must be exactly its text. A `{parameter}`
 * that got into a token opens nothing, a malformed scope opens nothing, and no scope implies another.
 */
export function opens(tokenScope: string | readonly string[], required: Scope): boolean {
  if (required.parameters.length > 0) return false;
  const words = typeof tokenScope === 'string' ? tokenScope.split(' ') : tokenScope;
  return words.includes(required.text);
}

/** The names of a scope's parameters, for the compiler: `ScopeParameter<'/a/{b}/c.read'>` is `'b'`. */
export type ScopeParameter<Text extends string> = string extends Text
  ? string
  : Text extends `${string}{${infer Name}}${infer Rest}`
    ? Name | ScopeParameter<Rest>
    : never;

/** The values that fill a scope, for the compiler: `ScopeValues<'/a/{b}/c.read'>` is `{ readonly b: string }`. */
export type ScopeValues<Text extends string> = { readonly [Name in ScopeParameter<Text>]: string };

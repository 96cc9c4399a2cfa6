/** What the prose of an OpenAPI document says of scopes, and how sure one can be of it. */
import { isObject, isScope, parseScope, SCOPE_LENGTH_MAX, type Scope } from '@hallpass/protocol';
import { own } from './openapi_faults.ts';
import { parametersOf, type Operation } from './openapi_operations.ts';

/** An operation, and a scope of its own: beyond doubt, or proposed. */
export interface Known {
  readonly operation: Operation;
  readonly scope: string;
}

/** A scope for an operation. */
export interface Proposal {
  readonly operation: Operation;
  readonly scope: string;
  readonly sure: boolean;
  /** Where it comes from, or why somebody has to look at it; a phrase or sentences. */
  readonly reason: string;
}

/** One proposal for each operation: from its own words if there are any, else by what the others do. */
export function propose(
  document: Readonly<Record<string, unknown>>,
  operations: readonly Operation[],
  known: readonly Known[],
): readonly Proposal[] {
  const read = operations.map((operation) => readProse(operation));
  const sure = read.flatMap((proposal) => (proposal?.sure === true ? [proposal] : []));
  const all = [...known, ...sure];
  // For those that say nothing, even a neighbour that one is unsure of is more than nothing.
  const hints = [...all, ...read.flatMap((proposal) => (proposal?.sure === false ? [proposal] : []))];
  return operations.map((operation, index) => {
    const found = read[index];
    if (found === undefined) return deduce(document, operation, hints);
    return found.sure ? compareToNeighbours(found, all) : found;
  });
}

/** What an operation's own description and summary say; undefined when they name no scope. */
function readProse(operation: Operation): Proposal | undefined {
  const texts = ['description', 'summary'].map((name) => own(operation.fields, name));
  const mentions = texts.flatMap((text) => (typeof text === 'string' ? findScopes(text) : []));
  const spoken = mentions.filter(({ aboutScopes }) => aboutScopes);
  const candidates = [...new Map((spoken.length > 0 ? spoken : mentions).map((one) => [one.scope.text, one])).values()];
  const fitting = candidates.find(({ scope }) => fits(operation, scope)) ?? candidates[0];
  if (fitting === undefined) return undefined;
  const { scope } = fitting;
  const negated = mentions.find((one) => one.negated !== undefined && one.scope.text === scope.text)?.negated;
  const bound = bind(operation, scope);
  const doubts: string[] = [];
  if (candidates.length > 1) {
    doubts.push(`The description names several scopes: ${candidates.map((one) => one.scope.text).join(', ')}.`);
  }
  if (spoken.length === 0) doubts.push(`The description has ${scope.text} in it, but does not speak of scopes there.`);
  if (negated !== undefined) doubts.push(`The sentence that names ${scope.text} says "${negated}".`);
  if (bound.doubt !== undefined) doubts.push(bound.doubt);
  if (!verbFits(operation, scope)) doubts.push(`A ${operation.method} asks for .${scope.verb}, by its description.`);
  const reason = doubts.length === 0 ? 'named in its description' : doubts.join(' ');
  return { operation, scope: bound.scope, sure: doubts.length === 0, reason };
}

interface Mention {
  readonly scope: Scope;
  /** Whether the sentence has the word. */
  readonly aboutScopes: boolean;
  /** A word of the sentence that may turn it around. */
  readonly negated: string | undefined;
}

/** Where a sentence ends: at an empty line, or at a stop before a space and no small letter (`e.g. this`). */
const SENTENCE_END = /\n\s*\n|(?<=[.!?])\s+(?![\sa-z])/;
/** A tag that begins a line, or ends it. What is emphasised (`do <b>not</b>`) is a part of its sentence. */
const LINE_TAG = /<\/?(?:br|div|h[1-6]|hr|li|ol|p|t[dhr]|ul)\b[^<>]*>/gi;
/** A path that is no part of an address or of a longer word. */
const PATH = /(?<![\w:/.~}%-])\/[\w~.{}/-]+/g;
const TURNING =
  /\b(?:not|no|never|without|instead|unless|except|deprecated|formerly|optional|optionally|previously)\b|\b\w+n['’]t\b/i;

function findScopes(text: string): readonly Mention[] {
  const sentences = text.replaceAll(LINE_TAG, '\n\n').split(SENTENCE_END);
  return sentences.flatMap((sentence) => {
    const aboutScopes = /\bscopes?\b/i.test(sentence);
    const negated = TURNING.exec(sentence)?.[0];
    return [...sentence.matchAll(PATH)].flatMap(([path]) => {
      if (path.length > SCOPE_LENGTH_MAX) return [];
      const scope = parseScope(path.replace(/[.]+$/, ''));
      return isScope(scope) ? [{ scope, aboutScopes, negated }] : [];
    });
  });
}

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY']);

/** Whether a verb that says `read` or `write` says so of a method that does. */
function verbFits({ method }: Operation, { verb }: Scope): boolean {
  if (/^(?:read|view|list)\b/.test(verb)) return READING.has(method);
  return !/^(?:write|create|update|delete|edit)\b/.test(verb) || !READING.has(method);
}

function fits(operation: Operation, scope: Scope): boolean {
  return verbFits(operation, scope) && scope.parameters.every((name) => operation.parameters.includes(name));
}

/** A scope with the parameters of the path; a doubt where they are not surely the same. */
function bind(operation: Operation, scope: Scope): { readonly scope: string; readonly doubt?: string } {
  const { parameters, template } = operation;
  const path = template.split('/').slice(1);
  const doubts: string[] = [];
  const segments: string[] = [];
  for (const [place, segment] of scope.segments.entries()) {
    const name = segment.slice(1, -1);
    if (!segment.startsWith('{') || parameters.includes(name)) {
      segments.push(segment);
      continue;
    }
    const same = parameters.filter((other) => plain(other) === plain(name));
    const [one, ...others] = same;
    if (one !== undefined && others.length === 0) {
      segments.push(`{${one}}`);
      continue;
    }
    const there = path[place];
    if (there?.startsWith('{') === true && segments.every((before, at) => before === path[at])) {
      doubts.push(`Is ${segment} of ${scope.text} what the path calls ${there}?`);
      segments.push(there);
      continue;
    }
    doubts.push(`The description asks for ${scope.text}, and the path has no ${segment} that could fill it.`);
    // `/accounts/{accountID}/transfers` without an account is `/transfers`.
    segments.pop();
  }
  const bound = parseScope(`/${segments.join('/')}.${scope.verb}`);
  if (isScope(bound) && doubts.length === 0) return { scope: bound.text };
  const doubt = doubts.length === 0 ? `Which parameters of the path are those of ${scope.text}?` : doubts.join(' ');
  return { scope: isScope(bound) ? bound.text : scopeOfPath(operation, scope.verb), doubt };
}

/** A parameter's name without what is a matter of style: `account-id`, `accountID`, `account_id`. */
function plain(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase();
}

/** The scope that a path would have by itself: its segments up to the last that is no parameter. */
function scopeOfPath({ template }: Operation, verb: string): string {
  const segments = template.split('/').slice(1);
  const last = segments.findLastIndex((segment) => !segment.startsWith('{'));
  const text = `/${segments.slice(0, last + 1).join('/')}.${verb}`;
  return isScope(parseScope(text)) ? text : `/api.${verb}`;
}

/** A description that was copied from another operation's names its scope: two methods of one path rarely differ so. */
function compareToNeighbours(proposal: Proposal, known: readonly Known[]): Proposal {
  const { operation, scope } = proposal;
  const others = known.filter(
    (one) => one.operation.template === operation.template && baseOf(one.scope) !== baseOf(scope),
  );
  const [other] = others;
  if (other === undefined) return proposal;
  const reason = `The description asks for ${scope}, and that of ${other.operation.route} for ${other.scope}.`;
  return { ...proposal, sure: false, reason };
}

function baseOf(scope: string): string {
  return scope.slice(0, scope.lastIndexOf('.'));
}

/** A scope for an operation whose own words say nothing. None of this is sure. */
function deduce(document: Readonly<Record<string, unknown>>, operation: Operation, known: readonly Known[]): Proposal {
  const verb = verbOf(operation.method, known);
  const guess = (scope: string, reason: string): Proposal => ({ operation, scope, sure: false, reason });
  const usable = known.filter(({ scope }) => parametersOf(scope).every((name) => operation.parameters.includes(name)));
  const beside = agreed(usable.filter((one) => one.operation.template === operation.template));
  if (beside !== undefined) {
    return guess(
      `${baseOf(beside.scope)}.${verb}`,
      'Its description names no scope. Proposed: as the other methods of this path.',
    );
  }
  const tagged = readTags(document, operation);
  if (tagged !== undefined) {
    const bound = bind(operation, tagged.scope);
    const reason = `Its own description names no scope, that of its tag ${tagged.tag} does: ${tagged.scope.text}.`;
    return guess(bound.scope, reason);
  }
  const near = agreed(nearest(operation, usable));
  if (near !== undefined) {
    const reason = `Its description names no scope. Proposed: as ${near.operation.route}.`;
    return guess(`${baseOf(near.scope)}.${verb}`, reason);
  }
  return guess(scopeOfPath(operation, verb), 'Its description names no scope. Proposed: by its path and method.');
}

/** The verb that most operations of this method have. */
function verbOf(method: string, known: readonly Known[]): string {
  const counts = new Map<string, number>();
  for (const { operation, scope } of known) {
    const verb = scope.slice(scope.lastIndexOf('.') + 1);
    if (operation.method === method) counts.set(verb, (counts.get(verb) ?? 0) + 1);
  }
  const [most] = [...counts].toSorted(([, one], [, other]) => other - one);
  return most?.[0] ?? (READING.has(method) ? 'read' : 'write');
}

/** The first of them, when their scopes differ in nothing but the verb. */
function agreed(known: readonly Known[]): Known | undefined {
  const bases = new Set(known.map(({ scope }) => baseOf(scope)));
  return bases.size === 1 ? known[0] : undefined;
}

/** How many segments of the way two paths have to share at the least, to be neighbours. */
const SHARED_MIN = 2;

/** The operations above or below in the tree of paths that share the most of the way. */
function nearest({ template }: Operation, known: readonly Known[]): readonly Known[] {
  const path = template.split('/').slice(1);
  let [best, length]: [Known[], number] = [[], SHARED_MIN];
  for (const one of known) {
    const other = one.operation.template.split('/').slice(1);
    const shared = [...path.keys()].findIndex((at) => path[at] !== other[at]);
    const common = shared === -1 ? path.length : shared;
    if (common < Math.min(path.length, other.length) || common < length) continue;
    if (common > length) [best, length] = [[], common];
    best.push(one);
  }
  return best;
}

/** The one scope that the descriptions of its tags name. */
function readTags(
  document: Readonly<Record<string, unknown>>,
  { fields }: Operation,
): { readonly tag: string; readonly scope: Scope } | undefined {
  const [names, tags] = [own(fields, 'tags'), own(document, 'tags')];
  if (!Array.isArray(names) || !Array.isArray(tags)) return undefined;
  const found = (tags as readonly unknown[]).flatMap((tag) => {
    if (!isObject(tag) || !names.includes(own(tag, 'name'))) return [];
    const description = own(tag, 'description');
    const mentions = typeof description === 'string' ? findScopes(description) : [];
    return mentions
      .filter(({ aboutScopes }) => aboutScopes)
      .map(({ scope }) => ({ tag: String(own(tag, 'name')), scope }));
  });
  const texts = new Set(found.map(({ scope }) => scope.text));
  return texts.size === 1 ? found[0] : undefined;
}

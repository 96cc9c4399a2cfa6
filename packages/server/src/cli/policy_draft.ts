/**
 * Drafts scopes for an API that has none, or names them in another way. It proposes all of them at once, by one rule on
 * paths and methods, for you to review as one list (ADR 28).
 */
import {
  CLOSED_WORD,
  inspectDocument,
  type ClosedOperation,
  type DocumentOperation,
  type PolicyFault,
} from '@hallpass/guard/openapi';
import { escapeControls, flattenControls, isScope, parseScope } from '@hallpass/protocol';

/** Where a draft comes from, besides its file. */
interface DraftOptions {
  readonly overlay?: string;
  readonly scopes?: string;
  readonly basePath?: string;
}

/** A line of a draft: a route and its scope, or that it is closed. */
export interface DraftedRoute {
  readonly route: string;
  /** Undefined for a route that is closed. */
  readonly scope: string | undefined;
  /** Where the scope comes from, or why the route is closed. */
  readonly note: string;
}

/** A scope of the document that is a word or a URL, and the Hallpass scope proposed for it. */
export interface DraftedScope {
  readonly name: string;
  readonly scope: string;
  /** The routes of the operations that ask for it. */
  readonly routes: readonly string[];
}

/**
 * Drafts a scope for each operation of an OpenAPI file. Scopes that the document has are kept. `faults` say what keeps
 * the file from being drafted; then there are no routes.
 */
export async function draftRoutes(
  file: string,
  options: DraftOptions = {},
): Promise<{ readonly routes: readonly DraftedRoute[]; readonly faults: readonly PolicyFault[] }> {
  const { operations, tableWith, faults } = await inspectDocument(file, options);
  const words = new Map(proposeScopes(operations).map(({ name, scope }) => [name, scope]));
  const propose = proposerFor(operations);
  const proposals = operations.map((operation) => {
    const { route, scope: asked, prose } = operation;
    if (asked === undefined) return { route, scope: propose(operation), note: hintFrom(prose) };
    const scope = words.get(asked);
    return { route, scope: scope ?? asked, note: scope === undefined ? '' : `the document says ${asked}` };
  });
  const { routes, open, closed } = tableWith(new Map(proposals.map(({ route, scope }) => [route, scope])));
  // A route map has no line for an unknown path prefix or an unknown method.
  const unwritable = closed.filter(({ prefix, except }) => prefix === undefined || except !== undefined);
  const wrong = [...faults, ...unwritable.flatMap(({ fault }) => fault ?? [])];
  if (wrong.length > 0) return { routes: [], faults: wrong };
  const notes = new Map(proposals.map(({ route, note }) => [route, note]));
  return {
    routes: [
      ...routes.map(({ route, scope }) => ({ route, scope, note: notes.get(route) ?? '' })),
      ...open.map((one) => closedLine(one, 'public: serve it outside the guard')),
      ...closed.map((one) => closedLine(one, one.fault?.sentence ?? '')),
    ],
    faults: [],
  };
}

/** Drafts a Hallpass scope for each scope of an OpenAPI file that is a word or a URL. */
export async function draftScopes(
  file: string,
  { overlay }: Pick<DraftOptions, 'overlay'> = {},
): Promise<{ readonly scopes: readonly DraftedScope[]; readonly faults: readonly PolicyFault[] }> {
  // The path prefix does not matter to the name of a scope.
  const options = { basePath: '', ...(overlay === undefined ? {} : { overlay }) };
  const { operations, faults } = await inspectDocument(file, options);
  return { scopes: proposeScopes(operations), faults };
}

function closedLine({ method, prefix = '', template }: ClosedOperation, note: string): DraftedRoute {
  return { route: `${method} ${prefix}${template.startsWith('/') ? '' : '/'}${template}`, scope: undefined, note };
}

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY', 'TRACE']);
const verbFor = (method: string): string => (READING.has(method) ? 'read' : 'write');

/** First segments that say nothing about what is behind them. */
const COMMON_FRONT = /^(?:api|rest|v\d+(?:[._-]\w+)*)$/i;

/**
 * A path's scope is the path up to its last literal, with the parameters on the way: `/accounts/{id}/cards/{card}` becomes
 * `/accounts/{id}/cards.read`. A last parameter is kept if other paths continue behind it, because what they hold is its own.
 */
function proposerFor(operations: readonly DocumentOperation[]): (operation: DocumentOperation) => string {
  const paths = operations.map(({ template }) => template.split('/').slice(1));
  const inner = new Set(paths.flatMap((path) => path.map((_, index) => path.slice(0, index).join('/'))));
  let front = 0;
  const [first = []] = paths;
  while (COMMON_FRONT.test(first[front] ?? '') && paths.every((path) => path[front] === first[front])) front += 1;
  return ({ template, method }) => {
    const path = template.split('/').slice(1);
    const last = path.findLastIndex((segment) => !segment.startsWith('{'));
    const kept = inner.has(path.join('/')) ? path : path.slice(0, last + 1);
    const segments = kept.slice(front).map((segment) => (segment.startsWith('{') ? segment : scopeSegment(segment)));
    const scope = `/${segments.filter((segment) => segment !== '').join('/')}.${verbFor(method)}`;
    return isScope(parseScope(scope)) ? scope : `/api.${verbFor(method)}`;
  };
}

/** Makes a text fit for a segment of a scope. */
function scopeSegment(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_~.-]+/g, '-').replaceAll(/^[.-]+|[.-]+$/g, '');
}

/** A path in prose that looks like a scope, and is not part of an address or a longer word. */
const SCOPE_IN_PROSE = /(?<![\w:/.~}%-])\/[\w~.{}/-]{1,511}/g;
/** The most scopes from one description that a hint repeats. */
const HINTS_MAX = 3;

/** The scopes that an operation's description names: a hint for your review, nothing more. */
function hintFrom(prose: readonly string[]): string {
  const paths = prose.flatMap((text) => [...text.matchAll(SCOPE_IN_PROSE)]).map(([path]) => path.replace(/[.]+$/, ''));
  const scopes = [...new Set(paths)].filter((path) => isScope(parseScope(path)));
  return scopes.length === 0 ? '' : `its description names ${scopes.slice(0, HINTS_MAX).join(', ')}`;
}

/** A Hallpass scope for each scope name that is not one, sorted by name. No two names get the same scope. */
function proposeScopes(operations: readonly DocumentOperation[]): readonly DraftedScope[] {
  const uses = new Map<string, DocumentOperation[]>();
  for (const operation of operations) {
    for (const name of operation.scopeNames) {
      // A Hallpass scope stands for itself.
      if (isScope(parseScope(name))) continue;
      const users = uses.get(name);
      if (users === undefined) uses.set(name, [operation]);
      else users.push(operation);
    }
  }
  const taken = new Set<string>();
  return [...uses]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, users]) => {
      const { base, verb } = translate(name, users);
      let scope = `${base}.${verb}`;
      for (let count = 2; taken.has(scope); count++) scope = `${base}-${count}.${verb}`;
      taken.add(scope);
      return { name, scope, routes: users.map(({ route }) => route) };
    });
}

const VERB =
  /^(?:read|write|readonly|read-only|readwrite|create|update|delete|edit|list|view|get|manage|admin|all|full)$/i;

/** `payments:read`, `read:payments` and `https://api.example.com/auth/payments.read` all become `/payments.read`. */
function translate(
  name: string,
  operations: readonly DocumentOperation[],
): { readonly base: string; readonly verb: string } {
  // Of a URL only the last part: what comes before it is the same in all of them.
  const short = /^[a-z][a-z0-9+.-]*:\/\//i.test(name) ? (name.replace(/\/+$/, '').split('/').at(-1) ?? name) : name;
  const parts = short
    .split(/[:./\s]+/)
    .map(scopeSegment)
    .filter((part) => part !== '');
  const usual = operations.every(({ method }) => READING.has(method)) ? 'read' : 'write';
  const [first = '', last = ''] = [parts[0], parts.at(-1)];
  let verb: string | undefined;
  if (parts.length > 1 && VERB.test(last)) verb = parts.pop();
  else if (parts.length > 1 && VERB.test(first)) verb = parts.shift();
  const proposal = { base: `/${parts.join('/')}`, verb: (verb ?? usual).toLowerCase() };
  return isScope(parseScope(`${proposal.base}.${proposal.verb}`)) ? proposal : { base: '/api', verb: usual };
}

/** Prints a draft as a policy file: one line for each route. */
export function printRouteMap(routes: readonly DraftedRoute[]): string {
  return printMap(routes.map(({ route, scope = CLOSED_WORD, note }) => ({ name: route, value: scope, note })));
}

/** Prints a mapping of scopes as a file for `--scopes`. */
export function printScopeMapping(scopes: readonly DraftedScope[]): string {
  return printMap(
    scopes.map(({ name, scope, routes: [first = '', ...more] }) => ({
      name,
      value: scope,
      note: more.length === 0 ? first : `${first}, and ${more.length} more`,
    })),
  );
}

/** The widest column, in characters. Longer texts run over. */
const COLUMN_LENGTH_MAX = 60;

function printMap(lines: readonly { readonly name: string; readonly value: string; readonly note: string }[]): string {
  const columns = lines.map(({ name, value, note }) => ({ name: `${printName(name)}:`, value, note }));
  const width = Math.min(COLUMN_LENGTH_MAX, Math.max(...columns.map(({ name }) => name.length)));
  const values = Math.min(COLUMN_LENGTH_MAX, Math.max(...columns.map(({ value }) => value.length)));
  return columns
    .map(({ name, value, note }) => {
      const line = `${name.padEnd(width)} ${note === '' ? value : value.padEnd(values)}`;
      // A note repeats words of the document, which must not begin a line of their own.
      return `${line}${note === '' ? '' : `  # ${flattenControls(note)}`}\n`;
    })
    .join('');
}

/** A name that YAML reads literally. Only between double quotes does an escape stand for its character. */
function printName(name: string): string {
  return /^[A-Z][A-Z-]* \/(?:[A-Za-z0-9._~{}/-]*[A-Za-z0-9_~}/-])?$/.test(name)
    ? name
    : escapeControls(JSON.stringify(name));
}

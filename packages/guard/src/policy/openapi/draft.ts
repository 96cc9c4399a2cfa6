/**
 * Scopes for an API that has none, or has them in other words: a whole set in one go, proposed by one rule from paths
 * and methods, to be reviewed as one list (ADR 28).
 */
import { escapeControls, flattenControls, isObject, isScope, parseScope } from '@hallpass/protocol';
import { inside, type Spot } from './faults.ts';
import type { ClosedOperation, Operation, OperationsRead } from './operations.ts';
import { CLOSED_WORD, closeDoubles, type Candidate } from './routes.ts';
import type { SecurityReader } from './security.ts';

/** A line of a draft: a route and its scope, or that it is closed. */
export interface DraftedRoute {
  readonly route: string;
  /** Undefined for a route that is closed. */
  readonly scope: string | undefined;
  /** Where the scope comes from, or why the route is closed. */
  readonly note: string;
}

/** A scope of a document that is a word or a URL, and one of Hallpass for it. */
export interface DraftedScope {
  readonly name: string;
  readonly scope: string;
  /** The operations that ask for it. */
  readonly routes: readonly string[];
}

/** A line for each operation; a scope that the document has stays as it is. */
export function draftRoutes(read: OperationsRead, security: SecurityReader): readonly DraftedRoute[] {
  const { operations } = read;
  const mapped = new Map(draftScopes(operations, security).map(({ name, scope }) => [name, scope]));
  const propose = proposer(operations.map(({ template }) => template));
  const notes = new Map<string, string>();
  const routes: Candidate[] = [];
  const open: ClosedOperation[] = [];
  for (const operation of operations) {
    const { route, method, template, prefix, spot } = operation;
    const demand = security.demandOf(operation);
    if (demand.asks === 'nothing') {
      open.push({ route, method, template, prefix });
      notes.set(route, 'public: serve it outside the guard');
      continue;
    }
    const asked = demand.asks === 'scope' ? demand.scope : undefined;
    const [scope, note] =
      asked === undefined
        ? [propose(operation), hintOf(spot)]
        : [mapped.get(asked) ?? asked, mapped.has(asked) ? `the document says ${asked}` : ''];
    notes.set(route, note);
    routes.push({ route, method, path: route.slice(method.length + 1), scope, spot });
  }
  const table = closeDoubles({ routes, open, closed: read.closed });
  const opened = table.routes.map(({ route, scope }) => ({ route, scope, note: notes.get(route) ?? '' }));
  const closed = [...table.open, ...table.closed].map(({ method, prefix = '', template, route, fault }) => ({
    route: `${method} ${prefix}${template.startsWith('/') ? '' : '/'}${template}`,
    scope: undefined,
    note: fault?.sentence ?? notes.get(route) ?? '',
  }));
  return [...opened, ...closed];
}

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY', 'TRACE']);
const verbOf = (method: string): string => (READING.has(method) ? 'read' : 'write');

/** Segments in front of every path that say nothing of what is behind them. */
const FRONT = /^(?:api|rest|v\d+(?:[._-]\w+)*)$/i;

/**
 * The scope of a path is the path up to its last text, with the parameters on the way: `/accounts/{id}/cards/{card}` is
 * `/accounts/{id}/cards.read`. A parameter at the end stays where other paths go on behind it: what is theirs is its own.
 */
function proposer(templates: readonly string[]): (operation: Operation) => string {
  const paths = templates.map((template) => template.split('/').slice(1));
  const inner = new Set(paths.flatMap((path) => path.map((_, index) => path.slice(0, index).join('/'))));
  let front = 0;
  const [first = []] = paths;
  while (FRONT.test(first[front] ?? '') && paths.every((path) => path[front] === first[front])) front += 1;
  return ({ template, method }) => {
    const path = template.split('/').slice(1);
    const last = path.findLastIndex((segment) => !segment.startsWith('{'));
    const kept = inner.has(path.join('/')) ? path : path.slice(0, last + 1);
    const segments = kept.slice(front).map((segment) => (segment.startsWith('{') ? segment : plain(segment)));
    const scope = `/${segments.filter((segment) => segment !== '').join('/')}.${verbOf(method)}`;
    return isScope(parseScope(scope)) ? scope : `/api.${verbOf(method)}`;
  };
}

/** A text as a segment of a scope may have it. */
function plain(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_~.-]+/g, '-').replaceAll(/^[.-]+|[.-]+$/g, '');
}

/** A path in prose that has the form of a scope; no part of an address or of a longer word. */
const SCOPE_IN_PROSE = /(?<![\w:/.~}%-])\/[\w~.{}/-]{1,511}/g;

/** What the words of an operation say of scopes: a hint for the review, and no more. */
function hintOf(spot: Spot): string {
  const prose = ['description', 'summary'].map((name) => inside(spot, name).value);
  const found = prose.flatMap((text) => (typeof text === 'string' ? [...text.matchAll(SCOPE_IN_PROSE)] : []));
  const scopes = new Set(found.map(([path]) => path.replace(/[.]+$/, '')).filter((path) => isScope(parseScope(path))));
  return scopes.size === 0 ? '' : `its description names ${[...scopes].slice(0, HINTS_MAX).join(', ')}`;
}

/** How many scopes of one description a hint repeats. */
const HINTS_MAX = 3;

/** A scope of Hallpass for each scope of a document that is not one: in the order of their names, no two alike. */
export function draftScopes(operations: readonly Operation[], security: SecurityReader): readonly DraftedScope[] {
  const uses = new Map<string, Operation[]>();
  for (const operation of operations) {
    for (const name of namesIn(security.of(operation).value)) {
      if (isScope(parseScope(name))) continue;
      const those = uses.get(name);
      if (those === undefined) uses.set(name, [operation]);
      else those.push(operation);
    }
  }
  const taken = new Set<string>();
  return [...uses]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, those]) => {
      const { base, verb } = translate(name, those);
      let scope = `${base}.${verb}`;
      for (let count = 2; taken.has(scope); count++) scope = `${base}-${count}.${verb}`;
      taken.add(scope);
      return { name, scope, routes: those.map(({ route }) => route) };
    });
}

function namesIn(security: unknown): ReadonlySet<string> {
  const lists = Array.isArray(security)
    ? (security as readonly unknown[]).flatMap((one) => (isObject(one) ? Object.values(one) : []))
    : [];
  return new Set(lists.flat().filter((name) => typeof name === 'string'));
}

const VERB =
  /^(?:read|write|readonly|read-only|readwrite|create|update|delete|edit|list|view|get|manage|admin|all|full)$/i;

/** `payments:read`, `read:payments` and `https://api.example.com/auth/payments.read` are all `/payments.read`. */
function translate(name: string, operations: readonly Operation[]): { readonly base: string; readonly verb: string } {
  // Of a URL its last part: what is before it is alike in all of them.
  const short = /^[a-z][a-z0-9+.-]*:\/\//i.test(name) ? (name.replace(/\/+$/, '').split('/').at(-1) ?? name) : name;
  const parts = short
    .split(/[:./\s]+/)
    .map(plain)
    .filter((part) => part !== '');
  const reads = operations.every(({ method }) => READING.has(method));
  let verb = reads ? 'read' : 'write';
  const [first = '', last = ''] = [parts[0], parts.at(-1)];
  if (parts.length > 1 && VERB.test(last)) verb = parts.pop() ?? verb;
  else if (parts.length > 1 && VERB.test(first)) verb = parts.shift() ?? verb;
  const base = `/${parts.join('/')}`;
  const isFit = isScope(parseScope(`${base}.${verb.toLowerCase()}`));
  return isFit ? { base, verb: verb.toLowerCase() } : { base: '/api', verb: reads ? 'read' : 'write' };
}

/** A draft as a file of routes and scopes: one line for each, which is all there is to review. */
export function printRouteMap(routes: readonly DraftedRoute[]): string {
  return printMap(routes.map(({ route, scope = CLOSED_WORD, note }) => ({ name: route, value: scope, note })));
}

/** A mapping of scopes as a file. */
export function printScopeMapping(scopes: readonly DraftedScope[]): string {
  return printMap(
    scopes.map(({ name, scope, routes: [first = '', ...more] }) => ({
      name,
      value: scope,
      note: more.length === 0 ? first : `${first}, and ${more.length} more`,
    })),
  );
}

/** Names up to this length are set in a column. */
const COLUMN_LENGTH_MAX = 60;

function printMap(lines: readonly { readonly name: string; readonly value: string; readonly note: string }[]): string {
  const columns = lines.map(({ name, value, note }) => ({ name: `${printName(name)}:`, value, note }));
  const width = Math.min(COLUMN_LENGTH_MAX, Math.max(...columns.map(({ name }) => name.length)));
  const values = Math.min(COLUMN_LENGTH_MAX, Math.max(...columns.map(({ value }) => value.length)));
  return columns
    .map(({ name, value, note }) => {
      const line = `${name.padEnd(width)} ${note === '' ? value : value.padEnd(values)}`;
      // Nothing of the document's words may become a line of its own.
      return `${line}${note === '' ? '' : `  # ${flattenControls(note)}`}\n`;
    })
    .join('');
}

/** A name that YAML takes to the letter. Only between double quotes an escape stands for its character. */
function printName(name: string): string {
  return /^[A-Z][A-Z-]* \/(?:[A-Za-z0-9._~{}/-]*[A-Za-z0-9_~}/-])?$/.test(name)
    ? name
    : escapeControls(JSON.stringify(name));
}

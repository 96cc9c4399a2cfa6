/** Decides which scope opens which operation, and which operations are closed. */
import { isObject, isScope, parseScope, type ScopeFault } from '@hallpass/protocol';
import { ClosedPaths, plainNames } from '../closed_paths.ts';
import { faultAt, inside, ofOperation, quote, rootOf, type PolicyFault, type Source, type Spot } from './faults.ts';
import { parametersOf, routeFault, type ClosedOperation, type Operation, type OperationsRead } from './operations.ts';
import type { Demand, SecurityReader } from './security.ts';

/** A route and the scope that opens it. */
export interface PolicyRoute {
  /** As a policy names it: `GET /accounts/{accountID}`. */
  readonly route: string;
  readonly method: string;
  readonly path: string;
  readonly scope: string;
}

/** What becomes of the operations of a document. */
export interface PolicyTable {
  readonly routes: readonly PolicyRoute[];
  /** Public operations, which ask for no token. The guard does not open them: serve them outside it. */
  readonly open: readonly ClosedOperation[];
  /** Closed operations, each with the fault that closes it, unless a route map closes it on purpose. */
  readonly closed: readonly ClosedOperation[];
}

/** A route that has not been compared with the others yet. */
interface Candidate extends PolicyRoute {
  readonly spot: Spot;
}

/**
 * Decides which scope opens each operation, or why it is closed. `proposed`: scopes by route that take the place of what
 * the document asks for.
 */
export function mapOperations(
  { operations, closed: unread }: OperationsRead,
  security: SecurityReader,
  proposed: ReadonlyMap<string, string> = new Map(),
): PolicyTable {
  const routes: Candidate[] = [];
  const open: ClosedOperation[] = [];
  const closed = [...unread];
  for (const operation of operations) {
    const { route, method, template, prefix, spot } = operation;
    const demand = security.demandOf(operation);
    if (demand.asks === 'nothing') {
      open.push({ route, method, template, prefix });
      continue;
    }
    const proposal = proposed.get(route);
    const opening = proposal === undefined ? demand : ({ asks: 'scope', scope: proposal, spot } as const);
    const fault = demandFault(operation, opening);
    if (fault !== undefined) closed.push({ route, method, template, prefix, fault: ofOperation(fault, route) });
    else if (opening.asks === 'scope')
      routes.push({ route, method, path: route.slice(method.length + 1), scope: opening.scope, spot });
  }
  return closeDoubles({ routes, open, closed });
}

/** Why what an operation asks for cannot open it; undefined if it can. */
function demandFault(operation: Operation, demand: Demand): PolicyFault | undefined {
  switch (demand.asks) {
    case 'scope':
      return scopeFault(operation, demand.scope, demand.spot);
    case 'too_much':
      return faultAt('several_scopes', operation.spot, demand.because);
    case 'malformed':
      return demand.fault;
    case 'no_scope':
    case 'nothing':
      return faultAt('unmapped', operation.spot, ASK_FOR_ONE);
  }
}

const ASK_FOR_ONE =
  'Its security asks for no scope. Name one there, or write security: [] and serve it outside the guard.';

/**
 * Closes routes that match the same requests, such as two templates that differ only in their parameters' names. Neither
 * scope is right for both, so neither opens.
 */
function closeDoubles({
  routes,
  open,
  closed,
}: Omit<PolicyTable, 'routes'> & { readonly routes: readonly Candidate[] }): PolicyTable {
  const others = new ClosedPaths([...open, ...closed]);
  const byShape = new Map<string, Candidate[]>();
  for (const one of routes) {
    const those = byShape.get(plainNames(one.route));
    if (those === undefined) byShape.set(plainNames(one.route), [one]);
    else those.push(one);
  }
  const doubles: ClosedOperation[] = [];
  const left: PolicyRoute[] = [];
  for (const candidate of routes) {
    const { spot, ...one } = candidate;
    const { route, method, path } = one;
    const segments = path === '/' ? [] : path.slice(1).split('/');
    const generic = segments.map((segment) => (segment.startsWith('{') ? NO_TEXT : segment));
    const twin =
      byShape.get(plainNames(route))?.find((other) => other !== candidate)?.route ??
      others.twinOf(plainNames(route)) ??
      others.find(method, generic, path);
    if (twin === undefined) left.push(one);
    else {
      const sentence = `It matches the same requests as ${quote(twin)}. Keep one of the two.`;
      doubles.push({ route, method, template: path, prefix: '', fault: faultAt('ambiguous', spot, sentence, route) });
    }
  }
  return { routes: left, open, closed: [...closed, ...doubles] };
}

/** Stands for a parameter's value; cannot be a literal of a path. */
const NO_TEXT = '\u0002';

type Named = Pick<Operation, 'route' | 'parameters'>;

/** The scope that closes a route in a route map. */
export const CLOSED_WORD = 'closed';

/** Reads a map of routes to scopes, as `compilePolicy` takes it. A route with the scope `closed` is closed. */
export function readRouteMap(source: Source): { readonly table: PolicyTable; readonly faults: readonly PolicyFault[] } {
  const root = rootOf(source);
  const routes: Candidate[] = [];
  const closed: ClosedOperation[] = [];
  const faults: PolicyFault[] = [];
  for (const [route, scope] of Object.entries(isObject(root.value) ? root.value : {})) {
    const spot = inside(root, route);
    const [, method = '', path = ''] = /^(\S+) (\/[^]*)$/.exec(route) ?? [];
    if (scope === CLOSED_WORD && /^(?:[A-Z][A-Z-]*|\*)$/.test(method)) {
      closed.push({ route, method, template: path, prefix: '' });
      continue;
    }
    const fault = path === '' ? "Write it as 'GET /path'." : routeFault(route, path);
    const one = { route, parameters: parametersOf(path) };
    if (fault !== undefined) faults.push(faultAt('bad_path', spot, fault, route));
    else if (typeof scope !== 'string') faults.push(faultAt('malformed', spot, 'Its scope must be a string.', route));
    else {
      const wrong = scopeFault(one, scope, spot);
      if (wrong !== undefined) faults.push(wrong);
      routes.push({ route, method, path, scope, spot });
    }
  }
  const table = closeDoubles({ routes, open: [], closed });
  const wrong = new Set(faults.map(({ operation }) => operation));
  const left = { ...table, routes: table.routes.filter(({ route }) => !wrong.has(route)) };
  // A route map is written for guards only. So unlike in an OpenAPI document, every fault is an error.
  return { table: left, faults: [...faults, ...table.closed.flatMap(({ fault }) => fault ?? [])] };
}

/** What to do about a text that is not a scope. */
const SCOPE_ADVICE: Readonly<Record<ScopeFault, string>> = {
  too_long: 'Make it shorter.',
  not_absolute: 'A scope begins with a slash, as in /accounts.read.',
  no_verb: 'A scope ends in a dot and a verb, as in /accounts.read.',
  bad_verb: 'The verb, after the last dot, is made of lower-case letters and hyphens, as in /accounts.read.',
  empty_segment: 'A segment is empty. Remove a slash.',
  dot_segment: 'Dots are allowed only inside a segment.',
  segment_too_long: 'Make its segments shorter.',
  bad_character: 'Segments are made of letters, digits, and _ ~ - or dots inside.',
  bad_parameter: 'A parameter is a whole segment, as in /accounts/{accountID}.read.',
  repeated_parameter: 'A parameter may be used only once.',
};

/** Why a scope cannot open a route; undefined if it can. */
function scopeFault({ route, parameters }: Named, text: string, where: Spot): PolicyFault | undefined {
  const scope = parseScope(text);
  if (!isScope(scope)) {
    const advice = text.startsWith('/') ? SCOPE_ADVICE[scope] : `${SCOPE_ADVICE.not_absolute} ${MAP_IT}`;
    return faultAt('bad_scope', where, `${quote(text)} is not a scope. ${advice}`, route);
  }
  const strangers = scope.parameters.filter((name) => !parameters.includes(name));
  const [stranger] = strangers;
  if (stranger === undefined) return undefined;
  return faultAt('unknown_parameter', where, adviseOnParameter(text, { stranger, strangers, parameters }), route);
}

const MAP_IT = 'Or map it: hallpass policy scopes proposes how.';

function adviseOnParameter(
  scope: string,
  names: { readonly stranger: string; readonly strangers: readonly string[]; readonly parameters: readonly string[] },
): string {
  const { stranger, strangers, parameters } = names;
  const fault = `The scope ${quote(scope)} has {${stranger}}, and the path does not.`;
  if (parameters.length === 0) {
    return `${fault} The path has no parameter that could fill it: ask for a scope without, and check {${stranger}} in the handler with guard.check.`;
  }
  const unused = parameters.filter((name) => !scope.includes(`{${name}}`));
  const [only, ...others] = unused;
  if (only !== undefined && others.length === 0 && strangers.length === 1) {
    return `${fault} If it is what the path calls {${only}}, write ${quote(scope.replace(`{${stranger}}`, () => `{${only}}`))}.`;
  }
  return `${fault} The path has ${parameters.map((name) => `{${name}}`).join(', ')}: write the scope with one of these.`;
}

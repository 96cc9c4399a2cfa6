/** Which scope opens which route of an API (contract §8). A route that the policy does not name is closed. */
import {
  fillScope,
  describeScopeFault,
  isScope,
  isSegmentValue,
  parseScope,
  refuse,
  type FillFault,
  type Refusal,
  type Scope,
  type ScopeParameter,
} from '@hallpass/protocol';
import type { PathValues } from '../decision.ts';
import { parsePath } from './path.ts';

/** What a request matched: its route, the decoded path parameters, and the scope it needs. */
export interface Match<Route extends string = string> {
  readonly route: Route;
  readonly values: PathValues;
  readonly scope: Scope;
}

/** A compiled policy. It keeps no state between requests. */
export interface Policy<Route extends string = string> {
  readonly match: (method: string, url: string) => Match<Route> | Refusal;
  /** Its routes, including those that it closes. */
  readonly routes: readonly Route[];
  /** The scopes of its routes, each once, sorted. */
  readonly scopes: readonly Scope[];
}

/**
 * Routes with their scopes. The compiler checks that every scope is one of `Scopes`, and that every parameter of a scope
 * is a parameter of its route.
 */
export type PolicyRoutes<Routes extends Readonly<Record<string, string>>, Scopes extends string = string> = {
  readonly [Route in keyof Routes]: Routes[Route] extends Scopes
    ? ScopeParameter<Routes[Route]> extends ScopeParameter<Route & string>
      ? Routes[Route]
      : `{${ScopeParameter<Routes[Route]>}} is no parameter of this route`
    : `${Routes[Route]} is not among the scopes`;
};

/** The options of a policy. */
export interface PolicyOptions<Scopes extends string = string> {
  /** The scopes of the API. A route with any other scope is an error. Default: any scope is allowed. */
  readonly scopes?: readonly Scopes[];
}

interface CompiledRoute {
  readonly key: string;
  readonly parameters: readonly string[];
  readonly scope: Scope;
}

/** A node in the tree of segments. */
interface Node {
  readonly literals: Map<string, Node>;
  /** Its literals in lower case. */
  readonly folded: Set<string>;
  parameter?: Node;
  route?: CompiledRoute;
}

function emptyNode(): Node {
  return { literals: new Map(), folded: new Set() };
}

/**
 * Compiles routes such as `'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read'` into a policy.
 * A request matches whole segments, case-sensitively. Where a literal and a parameter both match, the literal wins,
 * leftmost first. A value that differs from a literal in its place only by case matches nothing. `HEAD` is not `GET`: name
 * it, or it is closed.
 *
 * Throws a TypeError that names the route when the route or its scope is malformed, when the scope is not in the
 * catalogue or has a parameter that the route does not have, and when two routes match the same requests.
 */
export function compilePolicy<
  const Routes extends Readonly<Record<string, string>>,
  const Scopes extends string = string,
>(
  routes: Routes & PolicyRoutes<Routes, Scopes>,
  { scopes: catalogue }: PolicyOptions<Scopes> = {},
): Policy<keyof Routes & string> {
  const methods = new Map<string, Node>();
  const known: ReadonlySet<string> | undefined = catalogue === undefined ? undefined : new Set(catalogue);
  for (const [key, scope] of Object.entries(routes)) {
    if (known?.has(scope) === false) throw new TypeError(`Route '${key}': '${scope}' is not among the scopes.`);
    addRoute(methods, key, scope);
  }
  const match = (method: string, url: string): Match | Refusal => {
    const segments = parsePath(url);
    if (segments === undefined) return refuse('malformed_path');
    const captured: string[] = [];
    const route = find(methods.get(method), { segments, at: 0, captured });
    if (route === undefined || route === 'differs_by_case') return refuse('route_not_allowed');
    const values = Object.fromEntries(route.parameters.map((name, at) => [name, captured[at] ?? '']));
    const scope = fillScope(route.scope, values);
    if (!isScope(scope)) return refuseValue(route.scope, values, scope);
    return { route: route.key, values, scope };
  };
  const texts = [...new Set(Object.values<string>(routes))].toSorted();
  return { match, routes: Object.keys(routes), scopes: texts.map(parseScope).filter(isScope) };
}

/** Refuses a value that no scope can hold, such as an e-mail address. No token ever opens that path, so the caller is told why. */
export function refuseValue(template: Scope, values: PathValues, fault: FillFault): Refusal {
  const bad = template.parameters.filter((name) => !isSegmentValue(values[name] ?? ''));
  const names = (bad.length > 0 ? bad : template.parameters).map((name) => `{${name}}`).join(' ');
  return refuse('value_not_allowed', { subject: names, because: `${fault}: ${names}` });
}

const ROUTE = /^([A-Z][A-Z-]*) (\/.*)$/;
const LITERAL = /^[A-Za-z0-9._~!$&'()*+,=:@-]+$/;
const PARAMETER = /^\{([A-Za-z_][A-Za-z0-9_-]*)\}$/;

function addRoute(methods: Map<string, Node>, key: string, scopeText: string): void {
  const [, method, path] = ROUTE.exec(key) ?? [];
  if (method === undefined || path === undefined) throw new TypeError(`Route '${key}': write it as 'GET /path'.`);
  const scope = parseScope(scopeText);
  if (!isScope(scope))
    throw new TypeError(`Route '${key}': '${scopeText}' is not a scope (${describeScopeFault(scope)}).`);

  let node: Node = methods.get(method) ?? emptyNode();
  methods.set(method, node);
  const parameters: string[] = [];
  for (const segment of path === '/' ? [] : path.slice(1).split('/')) {
    const name = PARAMETER.exec(segment)?.[1];
    if (name === undefined) {
      if (!LITERAL.test(segment) || segment === '.' || segment === '..') {
        throw new TypeError(`Route '${key}': '${segment}' is neither a plain segment nor a {parameter}.`);
      }
      const next = node.literals.get(segment) ?? emptyNode();
      node.literals.set(segment, next);
      node.folded.add(segment.toLowerCase());
      node = next;
      continue;
    }
    if (parameters.includes(name)) throw new TypeError(`Route '${key}': {${name}} is used twice.`);
    parameters.push(name);
    node = node.parameter ??= emptyNode();
  }

  const stranger = scope.parameters.find((name) => !parameters.includes(name));
  if (stranger !== undefined) {
    throw new TypeError(`Route '${key}': the scope's {${stranger}} is no parameter of the path.`);
  }
  if (node.route !== undefined) throw new TypeError(`Routes '${node.route.key}' and '${key}' match the same requests.`);
  node.route = { key, parameters, scope };
}

/** A walk down the tree: the segments of a path, the index of the next one, and the values captured so far. */
interface Walk {
  readonly segments: readonly string[];
  readonly at: number;
  readonly captured: string[];
}

/** Each node has one parent, so the work is bounded by the size of the policy, whatever the request. */
function find(node: Node | undefined, { segments, at, captured }: Walk): CompiledRoute | 'differs_by_case' | undefined {
  const segment = segments[at];
  if (node === undefined || segment === undefined) return node?.route;
  // A case-insensitive router would take it for the literal (CWE-178). So it is not a parameter's value, neither here nor
  // higher up after backtracking.
  if (node.folded.size > 0 && !node.literals.has(segment) && node.folded.has(segment.toLowerCase())) {
    return 'differs_by_case';
  }
  const next = { segments, at: at + 1, captured };
  const literal = find(node.literals.get(segment), next);
  if (literal !== undefined || node.parameter === undefined) return literal;
  captured.push(segment);
  const route = find(node.parameter, next);
  if (route === undefined) captured.pop();
  return route;
}

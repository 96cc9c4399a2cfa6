/** Which scope opens which route of an API (contract §8). What no policy names is closed. */
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

/** What a request came to: its route, the decoded parameters of the path, and the scope that it needs. */
export interface Match<Route extends string = string> {
  readonly route: Route;
  readonly values: PathValues;
  readonly scope: Scope;
}

/** Made by `compilePolicy`; holds no state between requests. */
export interface Policy<Route extends string = string> {
  readonly match: (method: string, url: string) => Match<Route> | Refusal;
  /** Its routes, those that it closes among them. */
  readonly routes: readonly Route[];
  /** The scopes of its routes, each once, in order. */
  readonly scopes: readonly Scope[];
}

/**
 * Routes with their scopes. Every scope has to be one of `Scopes`, and every parameter of a scope one of its route, for
 * the compiler too.
 */
export type PolicyRoutes<Routes extends Readonly<Record<string, string>>, Scopes extends string = string> = {
  readonly [Route in keyof Routes]: Routes[Route] extends Scopes
    ? ScopeParameter<Routes[Route]> extends ScopeParameter<Route & string>
      ? Routes[Route]
      : `{${ScopeParameter<Routes[Route]>}} is no parameter of this route`
    : `${Routes[Route]} is not among the scopes`;
};

export interface PolicyOptions<Scopes extends string = string> {
  /** The scopes of the API: a route with another one is a mistake. Default: any. */
  readonly scopes?: readonly Scopes[];
}

interface CompiledRoute {
  readonly key: string;
  readonly parameters: readonly string[];
  readonly scope: Scope;
}

/** A place in the tree of segments. */
interface Node {
  readonly literals: Map<string, Node>;
  /** Its literals without their case. */
  readonly folded: Set<string>;
  parameter?: Node;
  route?: CompiledRoute;
}

function emptyNode(): Node {
  return { literals: new Map(), folded: new Set() };
}

/**
 * Routes such as `'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read'` to a policy. A request
 * matches whole segments, case-sensitively; where a literal and a parameter both fit, the literal wins, leftmost first. A
 * value that differs from a literal in its place by case alone matches nothing.
 * `HEAD` is not `GET`: name it, or it is closed.
 *
 * Throws a TypeError naming the route when it or its scope is malformed or not among the scopes, when the scope has a
 * parameter that the route has not, and when two routes match the same requests.
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

/** A value that no scope can hold, such as an e-mail address: no token ever opens that path, and the sender is told why. */
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
    if (parameters.includes(name)) throw new TypeError(`Route '${key}': {${name}} is there twice.`);
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

/** A walk down the tree: the segments of a path, the one that is next, and what parameters took so far. */
interface Walk {
  readonly segments: readonly string[];
  readonly at: number;
  readonly captured: string[];
}

/** Each node is reached by one path of the tree, so the work is bounded by the policy's size, whatever the request. */
function find(node: Node | undefined, { segments, at, captured }: Walk): CompiledRoute | 'differs_by_case' | undefined {
  const segment = segments[at];
  if (node === undefined || segment === undefined) return node?.route;
  // Another reader, one that minds no case, would take it for the literal (CWE-178): it is nobody's value, neither here
  // nor in the place of a parameter that is met on the way back.
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

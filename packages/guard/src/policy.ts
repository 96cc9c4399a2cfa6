/**
 * Which scope opens which route. The route is found here, on the path as it was sent, and what a handler is given are
 * the values that the decision was made on: there is no second parser to disagree with.
 */
import { isScope, isSegmentValue, parseScope, refuse, type Refusal, type ScopeParameter } from '@hallpass/protocol';

/** Routes to scopes: `{ 'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read' }`. */
export type Policy = Readonly<Record<string, string>>;

/** The names of a route's parameters. */
export type RouteParameter<Route extends string> = ScopeParameter<Route>;

/** A route that a request has come by. */
export interface RouteMatch {
  /** As the policy has it. */
  readonly route: string;
  /** The scope that opens it, its parameters not filled in. */
  readonly scope: string;
  /** The path's parameters, decoded once. */
  readonly values: Readonly<Record<string, string>>;
}

export interface CompiledPolicy {
  /** The route of a request; undefined when the policy names none: then it is refused. */
  readonly match: (method: string, url: string) => RouteMatch | Refusal | undefined;
}

interface CompiledRoute {
  readonly name: string;
  readonly scope: string;
  readonly segments: readonly string[];
  /** The parameters that the scope uses; their values have to be segments that a scope can hold. */
  readonly inScope: readonly string[];
}

const ROUTE = /^([A-Z]+) (\/.*)$/;
const PARAMETER = /^\{([A-Za-z_][A-Za-z0-9_-]*)\}$/;
const LITERAL = /^[A-Za-z0-9_~.-]+$/;

/** Checks a policy whole. Throws a `TypeError` that names the route that cannot be meant. */
export function compilePolicy(policy: Policy): CompiledPolicy {
  const byMethod = new Map<string, CompiledRoute[]>();
  const shapes = new Map<string, string>();
  for (const [name, scope] of Object.entries(policy)) {
    const { method, route } = compileRoute(name, scope);
    const shape = `${method} /${route.segments.map((segment) => (PARAMETER.test(segment) ? '{}' : segment)).join('/')}`;
    const twin = shapes.get(shape);
    if (twin !== undefined)
      throw new TypeError(`The routes "${twin}" and "${name}" match the same requests. Keep one of them.`);
    shapes.set(shape, name);
    byMethod.set(method, [...(byMethod.get(method) ?? []), route]);
  }
  // A literal segment wins over a parameter, from the left: sorted once, the first route that fits is the one.
  for (const routes of byMethod.values()) routes.sort((a, b) => compareRoutes(a.segments, b.segments));
  return {
    match(method, url) {
      const segments = parsePath(url);
      if (segments === undefined) return refuse('malformed_path');
      const route = byMethod.get(method)?.find((candidate) => fits(candidate.segments, segments));
      return route === undefined ? undefined : bind(route, segments);
    },
  };
}

function compileRoute(name: string, scopeText: string): { readonly method: string; readonly route: CompiledRoute } {
  const [, method, path] = ROUTE.exec(name) ?? [];
  if (method === undefined || path === undefined)
    throw new TypeError(`A route is a method and a path, such as "GET /accounts/{accountID}". This is not: "${name}".`);
  const segments = path === '/' ? [] : path.slice(1).split('/');
  for (const segment of segments) {
    const literal = LITERAL.test(segment) && segment !== '.' && segment !== '..';
    if (!literal && !PARAMETER.test(segment))
      throw new TypeError(`The route "${name}" has a segment that no path can have: "${segment}".`);
  }
  const parameters = segments.flatMap((segment) => PARAMETER.exec(segment)?.[1] ?? []);
  if (new Set(parameters).size < parameters.length) throw new TypeError(`The route "${name}" has one parameter twice.`);
  const scope = parseScope(scopeText);
  if (!isScope(scope)) throw new TypeError(`The route "${name}" has no scope: "${scopeText}" is not one (${scope}).`);
  const unbound = scope.parameters.find((parameter) => !parameters.includes(parameter));
  if (unbound !== undefined)
    throw new TypeError(`The scope of "${name}" needs {${unbound}}, which is not in its path.`);
  return { method, route: { name, scope: scopeText, segments, inScope: scope.parameters } };
}

function compareRoutes(a: readonly string[], b: readonly string[]): number {
  for (const [at, segment] of a.entries()) {
    const difference = Number(PARAMETER.test(segment)) - Number(PARAMETER.test(b[at] ?? ''));
    if (difference !== 0) return difference;
  }
  return 0;
}

function fits(pattern: readonly string[], segments: readonly string[]): boolean {
  return (
    pattern.length === segments.length && pattern.every((part, at) => PARAMETER.test(part) || part === segments[at])
  );
}

function bind(
  { name, scope, segments: pattern, inScope }: CompiledRoute,
  segments: readonly string[],
): RouteMatch | Refusal {
  const values: [string, string][] = [];
  for (const [at, part] of pattern.entries()) {
    const parameter = PARAMETER.exec(part)?.[1];
    const value = segments[at];
    if (parameter === undefined || value === undefined) continue;
    if (inScope.includes(parameter) && !isSegmentValue(value)) return refuse('malformed_path', { because: parameter });
    values.push([parameter, value]);
  }
  return { route: name, scope, values: Object.fromEntries(values) };
}

/** The most segments of a path; more match no route anyway. */
const SEGMENTS_MAX = 64;

/**
 * The path of a request target to its segments, each decoded once; undefined when it is not in its plain form. Two
 * programs that read `/a/%2e%2e/b`, `//a`, `/a;b` or `/a%2fb` differently are how guards are walked around (CWE-551),
 * so none of these is read at all.
 */
export function parsePath(url: string): readonly string[] | undefined {
  const path = pathOf(url);
  if (path === '/') return [];
  if (!path.startsWith('/') || !/^[\x21-\x7e]+$/.test(path) || /[\\;]|%(?:2f|5c|25|3b|00)/i.test(path))
    return undefined;
  const segments: string[] = [];
  for (const raw of path.slice(1).split('/')) {
    const segment = decodeSegment(raw);
    if (segment === undefined || segment === '' || segment === '.' || segment === '..') return undefined;
    segments.push(segment);
  }
  return segments.length > SEGMENTS_MAX ? undefined : segments;
}

/** The path as it was sent: a URL parser would resolve its dot segments first, and hide what was tried. */
function pathOf(url: string): string {
  const target = /^https?:\/\/[^/?#]*/i.exec(url)?.[0];
  const afterAuthority = target === undefined ? url : url.slice(target.length);
  const path = afterAuthority.split(/[?#]/, 1)[0] ?? '';
  return target !== undefined && path === '' ? '/' : path;
}

function decodeSegment(raw: string): string | undefined {
  try {
    const segment = decodeURIComponent(raw);
    return /\p{Cc}/u.test(segment) ? undefined : segment;
  } catch {
    return undefined;
  }
}

/** Which scope each operation asks for in its `security`, and all that keeps them from being one policy. */
import { isObject, isScope, parseScope, refuse, type ScopeFault } from '@hallpass/protocol';
import { own, quote, type Faults, type Place } from './openapi_faults.ts';
import { parametersOf, routeFault, type Operation } from './openapi_operations.ts';
import { compilePolicy, type Policy } from './policy.ts';

/** An operation, and what opens it. */
export interface PolicyRoute {
  /** As a policy names it: `GET /accounts/{accountID}`. */
  readonly route: string;
  readonly method: string;
  readonly path: string;
  readonly scope: string;
}

/** What the operations of a document come to. */
export interface PolicyTable {
  readonly routes: readonly PolicyRoute[];
  /** Operations that ask for nothing. No guard opens them: serve them outside of it. */
  readonly open: readonly string[];
  /** Operations that the document has no scope for. No guard opens them. */
  readonly unmapped: readonly string[];
}

/** A member of an operation that somebody still has to look at: why, in a sentence. */
export const UNSURE = 'x-hallpass-unsure';

/** What a document asks of whoever calls an operation. */
export type Demand =
  | { readonly asks: 'scope'; readonly scope: string }
  | { readonly asks: 'nothing' | 'no_scope' }
  | { readonly asks: 'too_much' | 'malformed'; readonly because: string };

/** Operations to routes; what no policy can be made of goes to the faults, every single one. */
export function mapOperations(
  document: Readonly<Record<string, unknown>>,
  operations: readonly Operation[],
  faults: Faults,
): PolicyTable {
  const routes: PolicyRoute[] = [];
  const open: string[] = [];
  const unmapped: string[] = [];
  for (const operation of operations) {
    const { route, method, place, fields } = operation;
    const path = route.slice(method.length + 1);
    const demand = readDemand(document, fields);
    const unsure = own(fields, UNSURE);
    const isUnsure = unsure !== undefined && unsure !== false;
    if (isUnsure) {
      const why = typeof unsure === 'string' && unsure !== '' ? unsure : 'It does not say why.';
      faults.add(
        'unsure',
        place,
        `${sentenceOf(why)} Settle it where ${UNSURE} stands: set the security, and take that away.`,
        route,
      );
    }
    switch (demand.asks) {
      case 'scope': {
        if (checkScope(operation, demand.scope, [...place, 'security'], faults))
          routes.push({ route, method, path, scope: demand.scope });
        break;
      }
      case 'nothing':
        open.push(route);
        break;
      case 'no_scope':
        unmapped.push(route);
        if (!isUnsure) faults.add('unmapped', place, ASK_FOR_ONE, route);
        break;
      case 'too_much':
        faults.add('several_scopes', place, demand.because, route);
        break;
      case 'malformed':
        faults.add('malformed', [...place, 'security'], demand.because, route);
        break;
    }
  }
  findDoubles(operations, faults);
  return { routes, open, unmapped };
}

const ASK_FOR_ONE =
  'Its security asks for no scope. Name one there, or say security: [] and serve it outside the guard.';

function sentenceOf(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/**
 * The one scope that an operation's `security` asks for, or the document's where it has none of its own. Alternatives
 * without scopes, of schemes that have none (`http`, `apiKey`, `mutualTLS`), may stand beside it.
 */
export function readDemand(
  document: Readonly<Record<string, unknown>>,
  fields: Readonly<Record<string, unknown>>,
): Demand {
  const security = Object.hasOwn(fields, 'security') ? fields['security'] : own(document, 'security');
  if (security === undefined) return { asks: 'no_scope' };
  if (!Array.isArray(security)) return { asks: 'malformed', because: 'security must be a list of objects.' };
  const scopes = new Set<string>();
  let [bare, anyone] = [false, security.length === 0];
  for (const requirement of security as readonly unknown[]) {
    if (!isObject(requirement)) return { asks: 'malformed', because: 'security must be a list of objects.' };
    const entries = Object.entries(requirement);
    if (entries.length === 0) anyone = true;
    const asked = entries.flatMap(([, list]) => list);
    if (!asked.every((scope) => typeof scope === 'string') || !entries.every(([, list]) => Array.isArray(list))) {
      return { asks: 'malformed', because: 'A requirement names, for each scheme, a list of scopes.' };
    }
    const stranger = entries.find(([name]) => schemeOf(document, name) === undefined);
    if (stranger !== undefined) {
      const because = `There is no security scheme ${quote(stranger[0])}. Name one of components.securitySchemes.`;
      return { asks: 'malformed', because };
    }
    if (asked.length === 0 && entries.some(([name]) => HAS_SCOPES.has(schemeOf(document, name)?.type))) bare = true;
    for (const scope of asked) scopes.add(scope);
  }
  // Whoever may come without anything needs no token: a guard in front would shut them out.
  if (anyone) return { asks: 'nothing' };
  const [scope, ...others] = scopes;
  if (scope === undefined) return { asks: 'no_scope' };
  if (others.length > 0)
    return { asks: 'too_much', because: `${quote([...scopes].join(', '))} are several scopes. ${ONE}` };
  if (bare)
    return { asks: 'too_much', because: `One alternative asks for ${quote(scope)}, another for no scope. ${ONE}` };
  return { asks: 'scope', scope };
}

const ONE = 'An operation is opened by one, the same in each alternative.';

/** The types of schemes in which a token without any scope would do, where none is asked for. */
const HAS_SCOPES: ReadonlySet<unknown> = new Set(['oauth2', 'openIdConnect']);

function schemeOf(document: Readonly<Record<string, unknown>>, name: string): { readonly type: unknown } | undefined {
  const components = own(document, 'components');
  const schemes = isObject(components) ? own(components, 'securitySchemes') : undefined;
  const scheme = isObject(schemes) ? own(schemes, name) : undefined;
  return isObject(scheme) ? { type: own(scheme, 'type') } : undefined;
}

type Named = Pick<Operation, 'route' | 'parameters' | 'place'>;

/** Routes and their scopes, as `compilePolicy` takes them, to a table. */
export function readRouteMap(map: Readonly<Record<string, unknown>>, faults: Faults): PolicyTable {
  const routes: PolicyRoute[] = [];
  const named: Named[] = [];
  for (const [route, scope] of Object.entries(map)) {
    const place = [route];
    const [method = '', path = ''] = route.split(' ');
    const fault = path.startsWith('/') ? routeFault(route, path) : "Write it as 'GET /path'.";
    if (fault !== undefined) faults.add('bad_path', place, fault, route);
    else if (typeof scope !== 'string') faults.add('malformed', place, 'Its scope must be a text.', route);
    else {
      const one = { route, parameters: parametersOf(path), place };
      named.push(one);
      if (checkScope(one, scope, place, faults)) routes.push({ route, method, path, scope });
    }
  }
  findDoubles(named, faults);
  return { routes, open: [], unmapped: [] };
}

/** What to do about a text that is no scope. */
const SCOPE_ADVICE: Readonly<Record<ScopeFault, string>> = {
  too_long: 'Make it shorter.',
  not_absolute: 'A scope begins with a slash, as in /accounts.read.',
  no_verb: 'A scope ends in a dot and a verb, as in /accounts.read.',
  bad_verb: 'The verb, after the last dot, is made of small letters and hyphens, as in /accounts.read.',
  empty_segment: 'A segment is empty. Take a slash away.',
  dot_segment: 'Dots may stand inside a segment alone.',
  segment_too_long: 'Make its segments shorter.',
  bad_character: 'Segments are made of letters, digits, and _ ~ - or dots inside.',
  bad_parameter: 'A parameter is a whole segment, as in /accounts/{accountID}.read.',
  repeated_parameter: 'A parameter may be there once.',
};

function checkScope({ route, parameters }: Named, text: string, where: Place, faults: Faults): boolean {
  const scope = parseScope(text);
  if (!isScope(scope)) {
    faults.add('bad_scope', where, `${quote(text)} is not a scope. ${SCOPE_ADVICE[scope]}`, route);
    return false;
  }
  const strangers = scope.parameters.filter((name) => !parameters.includes(name));
  for (const stranger of strangers) {
    faults.add('unknown_parameter', where, adviseOnParameter(text, { stranger, strangers, parameters }), route);
  }
  return strangers.length === 0;
}

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

/** Two templates that differ in the names of their parameters alone match the same requests, whoever is asked first. */
function findDoubles(operations: readonly Named[], faults: Faults): void {
  const first = new Map<string, string>();
  for (const { route, place } of operations) {
    const shape = route.replaceAll(/\{[^{}]*\}/g, '{}');
    const other = first.get(shape);
    if (other === undefined) first.set(shape, route);
    else faults.add('ambiguous', place, `It matches the same requests as ${quote(other)}. Keep one of the two.`, route);
  }
}

/** A scope for routes that are closed whatever a token holds; the match never gets as far as asking for it. */
const CLOSED = '/closed.closed';

/**
 * The policy of a table without faults. Operations that it does not open are routes of it nevertheless: `/accounts/export`,
 * closed, must not fall to `/accounts/{accountID}` and be opened by the scope of that.
 */
export function compileTable({ routes, open, unmapped }: PolicyTable): Policy {
  const scopes = routes.map(({ route, scope }) => [route, scope] as const);
  const closed = new Set([...open, ...unmapped]);
  const { match } = compilePolicy<Readonly<Record<string, string>>>(
    Object.fromEntries([...scopes, ...[...closed].map((route) => [route, CLOSED] as const)]),
  );
  const opened = compilePolicy<Readonly<Record<string, string>>>(Object.fromEntries(scopes));
  return {
    scopes: opened.scopes,
    match: (method, url) => {
      const found = match(method, url);
      return 'route' in found && closed.has(found.route) ? refuse('route_not_allowed') : found;
    },
  };
}

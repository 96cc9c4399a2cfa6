/** Reads which scope an operation asks for in its `security`. */
import { isObject, isScope, parseScope } from '@hallpass/protocol';
import { faultAt, inside, isFault, own, quote, rootOf, type PolicyFault, type Source, type Spot } from './faults.ts';
import type { PolicyFiles } from './files.ts';
import { findStranger } from './members.ts';
import type { Operation } from './operations.ts';
import { besideReference, follow } from './references.ts';

/** What an operation asks of a caller. */
export type Demand =
  | { readonly asks: 'scope'; readonly scope: string; readonly spot: Spot }
  | { readonly asks: 'nothing' | 'no_scope' }
  | { readonly asks: 'too_much'; readonly because: string }
  | { readonly asks: 'malformed'; readonly fault: PolicyFault };

/** From scopes that are words or URLs to Hallpass scopes: `payments:read` to `/payments.read`. */
export type ScopeMapping = Readonly<Record<string, string>>;

interface SecurityContext {
  readonly source: Source;
  readonly minor: number;
  readonly files: PolicyFiles | undefined;
  readonly mapping: ScopeMapping;
}

/** Reads what the operations of one document ask for, in their own security, their path item's, or the document's. */
export class SecurityReader {
  readonly #context: SecurityContext;
  readonly #schemes = new Map<string, Scheme | PolicyFault | undefined>();
  /** What the document's own security asks for; cached, because thousands of operations may rely on it. */
  #ofDocument: Demand | undefined;

  constructor(context: SecurityContext) {
    this.#context = context;
  }

  /** Every scope that an operation's security names, each once, whatever is asked for together. */
  namesIn(operation: Pick<Operation, 'security'>): readonly string[] {
    const { value } = this.#securityOf(operation);
    const requirements: readonly unknown[] = Array.isArray(value) ? value : [];
    const names = requirements.flatMap((one) => (isObject(one) ? Object.values(one).flat() : []));
    return [...new Set(names.filter((name) => typeof name === 'string'))];
  }

  /**
   * The one scope that an operation asks for. It may have alternatives of schemes without scopes (`http`, `apiKey`,
   * `mutualTLS`).
   */
  demandOf(operation: Pick<Operation, 'security'>): Demand {
    if (operation.security !== undefined) return this.#read(operation.security);
    return (this.#ofDocument ??= this.#read(this.#securityOf(operation)));
  }

  #securityOf({ security = inside(rootOf(this.#context.source), 'security') }: Pick<Operation, 'security'>): Spot {
    return security;
  }

  #read(security: Spot): Demand {
    if (security.value === undefined) return { asks: 'no_scope' };
    if (!Array.isArray(security.value)) return malformed(security, LIST);
    const collapsed: string[] = [];
    const found = { scopes: new Set<string>(), bare: false, anyone: security.value.length === 0, collapsed };
    for (const requirement of security.value as readonly unknown[]) {
      if (!isObject(requirement)) return malformed(security, LIST);
      const entries = Object.entries(requirement);
      if (entries.length === 0) found.anyone = true;
      const asked = entries.flatMap(([, list]) => list);
      if (!asked.every((scope) => typeof scope === 'string') || !entries.every(([, list]) => Array.isArray(list))) {
        return malformed(security, 'A requirement names, for each scheme, a list of scopes.');
      }
      let hasScopes = false;
      for (const [name] of entries) {
        const scheme = this.#schemeOf(name);
        if (scheme === undefined) {
          return malformed(
            security,
            `There is no security scheme ${quote(name)}. Name one of components.securitySchemes.`,
          );
        }
        if (isFault(scheme)) return { asks: 'malformed', fault: scheme };
        hasScopes ||= scheme.hasScopes;
      }
      if (asked.length === 0 && hasScopes) found.bare = true;
      const names = new Set(asked);
      const mapped = new Set([...names].map((scope) => own(this.#context.mapping, scope) ?? scope));
      // Two scopes that are required at once must not be mapped to one that is less.
      if (mapped.size < names.size) collapsed.push(...names);
      for (const scope of mapped) if (typeof scope === 'string') found.scopes.add(scope);
    }
    return settle(found, security);
  }

  #schemeOf(name: string): Scheme | PolicyFault | undefined {
    if (!this.#schemes.has(name)) this.#schemes.set(name, this.#readScheme(name));
    return this.#schemes.get(name);
  }

  #readScheme(name: string): Scheme | PolicyFault | undefined {
    const { source, files, minor } = this.#context;
    const written = inside(rootOf(source), 'components', 'securitySchemes', name);
    if (!isObject(written.value)) return undefined;
    const scheme = follow(written, {
      noun: 'a security scheme',
      files,
      onReference: (spot) => besideReference((kind) => findStranger(kind, spot, { minor, ignored: () => undefined })),
    });
    if (isFault(scheme)) return scheme;
    const stranger = findStranger('a security scheme', scheme, { minor, ignored: () => undefined });
    if (stranger !== undefined) return faultAt('unknown_member', stranger.spot, stranger.sentence);
    const type = inside(scheme, 'type').value;
    if (typeof type === 'string' && (TYPES.get(type)?.since ?? Infinity) <= minor) return TYPES.get(type);
    const said = typeof type === 'string' ? quote(type) : 'This';
    return faultAt(
      'malformed',
      inside(scheme, 'type'),
      `${said} is not a type of security scheme in OpenAPI 3.${minor}.`,
    );
  }
}

interface Scheme {
  readonly since: number;
  /** Whether the scheme has scopes. If so, asking for none means that any token will do. */
  readonly hasScopes: boolean;
}

const TYPES: ReadonlyMap<string, Scheme> = new Map([
  ['oauth2', { since: 0, hasScopes: true }],
  ['openIdConnect', { since: 0, hasScopes: true }],
  ['http', { since: 0, hasScopes: false }],
  ['apiKey', { since: 0, hasScopes: false }],
  ['mutualTLS', { since: 1, hasScopes: false }],
]);

const LIST = 'security must be a list of objects.';
const ONE = 'An operation is opened by one, the same in each alternative.';

function malformed(spot: Spot, sentence: string): Demand {
  return { asks: 'malformed', fault: faultAt('malformed', spot, sentence) };
}

function settle(
  found: {
    readonly scopes: ReadonlySet<string>;
    readonly bare: boolean;
    readonly anyone: boolean;
    readonly collapsed: readonly string[];
  },
  spot: Spot,
): Demand {
  // A public operation. A guard would shut out callers without a token.
  if (found.anyone) return { asks: 'nothing' };
  const [scope, ...others] = found.scopes;
  if (scope === undefined) return { asks: 'no_scope' };
  const several = others.length > 0 ? [...found.scopes] : found.collapsed;
  if (several.length > 0)
    return { asks: 'too_much', because: `${quote(several.join(', '))} are several scopes. ${ONE}` };
  if (found.bare)
    return { asks: 'too_much', because: `One alternative asks for ${quote(scope)}, another for no scope. ${ONE}` };
  return { asks: 'scope', scope, spot };
}

/** Reads a mapping of scopes. With faults it must not be used. */
export function readMapping(source: Source): {
  readonly mapping: ScopeMapping;
  readonly faults: readonly PolicyFault[];
} {
  const root = rootOf(source);
  if (!isObject(root.value) || Object.hasOwn(root.value, 'openapi')) {
    return { mapping: {}, faults: [faultAt('malformed', root, MAPPING)] };
  }
  const faults = Object.entries(root.value).flatMap(([name, scope]) => {
    if (typeof scope === 'string' && isScope(parseScope(scope))) return [];
    const said = typeof scope === 'string' ? quote(scope) : 'Its value';
    return [faultAt('bad_scope', inside(root, name), `${quote(name)}: ${said} is not a scope, as /payments.read is.`)];
  });
  const mapping = Object.fromEntries(
    Object.entries(root.value).flatMap(([name, scope]) => (typeof scope === 'string' ? [[name, scope]] : [])),
  );
  return { mapping, faults };
}

const MAPPING = "A mapping has a line for each scope: 'payments:read': /payments.read. Is this the right file?";

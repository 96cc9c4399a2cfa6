/** The scope templates that code passes to a check, each parsed once. */
import { describeScopeFault, isScope, parseScope, type Scope } from '@hallpass/protocol';

/** The most templates that are remembered. An API has fewer, and one that makes them up must not fill the memory. */
const TEMPLATES_MAX = 1_000;

/** Parses templates and remembers them. */
export class Templates {
  readonly #parsed = new Map<string, Scope>();
  readonly #catalogue: ReadonlySet<string> | undefined;

  /** `catalogue`: the only templates allowed; undefined allows any. */
  constructor(catalogue: readonly string[] | undefined) {
    this.#catalogue = catalogue === undefined ? undefined : new Set(catalogue);
  }

  /** Throws a TypeError for a text that is not a scope, or not in the catalogue. */
  parse(text: string): Scope {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const scope = parseScope(text);
    if (!isScope(scope)) throw new TypeError(`'${text}' is not a scope (${describeScopeFault(scope)}).`);
    if (this.#catalogue?.has(text) === false) throw new TypeError(`'${text}' is not among the scopes of this guard.`);
    if (this.#parsed.size < TEMPLATES_MAX) this.#parsed.set(text, scope);
    return scope;
  }
}

/** Scope templates, parsed once. */
import { describeScopeFault, isScope, parseScope, type Scope } from '@hallpass/protocol';

/** The most templates that are remembered; an API has fewer, and one that makes them up must not fill the memory. */
const TEMPLATES_MAX = 1_000;

export class Templates {
  readonly #parsed = new Map<string, Scope>();
  readonly #catalogue: ReadonlySet<string> | undefined;

  /** `catalogue`: the only ones that there are; undefined where nobody said. */
  constructor(catalogue: readonly string[] | undefined) {
    this.#catalogue = catalogue === undefined ? undefined : new Set(catalogue);
  }

  /** Throws a TypeError for what is no scope, and for one that the catalogue does not have. */
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

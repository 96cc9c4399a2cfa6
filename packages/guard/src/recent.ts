/**
 * The things used last, up to a bound; what has not been asked for in a while makes room. Two maps in turn: no clock, no
 * list to keep in order, and at most twice the work of one map; half of the bound, of what was used last, is there for
 * sure. Nothing that must not be forgotten belongs here.
 */
export class Recent<Value> {
  readonly #half: number;
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();

  /** `max`: how many are held at the most, rounded up to an even number; 0 holds none. */
  constructor(max: number) {
    this.#half = Math.ceil(max / 2);
  }

  get(key: string): Value | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old === undefined) return undefined;
    this.#old.delete(key);
    this.set(key, old);
    return old;
  }

  set(key: string, value: Value): void {
    if (this.#half === 0) return;
    if (this.#young.size >= this.#half && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}

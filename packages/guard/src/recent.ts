/** What is known of a digest, and of no other that shares its slot. */
interface Held<Value> {
  readonly digest: string;
  readonly value: Value;
}

/**
 * The things used last by their digests, up to a bound; what has not been asked for in a while makes room. Two maps in
 * turn: no clock, no list to keep in order, and at most twice the work of one map; half of the bound, of what was used
 * last, is there, but for one of two that share a slot. Nothing that must not be forgotten belongs here.
 */
export class Recent<Value> {
  readonly #half: number;
  #young = new Map<number, Held<Value>>();
  #old = new Map<number, Held<Value>>();

  /** `max`: how many are held at the most, rounded up to an even number; 0 holds none. */
  constructor(max: number) {
    this.#half = Math.ceil(max / 2);
  }

  get(digest: string): Value | undefined {
    const slot = slotOf(digest);
    const young = this.#young.get(slot);
    if (young?.digest === digest) return young.value;
    const old = this.#old.get(slot);
    if (old?.digest !== digest) return undefined;
    this.#old.delete(slot);
    this.#hold(slot, old);
    return old.value;
  }

  set(digest: string, value: Value): void {
    if (this.#half > 0) this.#hold(slotOf(digest), { digest, value });
  }

  delete(digest: string): void {
    const slot = slotOf(digest);
    for (const half of [this.#young, this.#old]) if (half.get(slot)?.digest === digest) half.delete(slot);
  }

  #hold(slot: number, held: Held<Value>): void {
    if (this.#young.size >= this.#half && !this.#young.has(slot)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(slot, held);
  }
}

/** So many characters of base64url are 30 bits: two digests in ten thousand hardly ever share them. */
const SLOT_CHARACTERS = 5;

/**
 * A digest to a small whole number. By a text that is new to it a map of V8 finds nothing before it has entered the text
 * among all others that it knows, which takes as long as the digest.
 */
function slotOf(digest: string): number {
  let slot = 0;
  for (let at = 0; at < SLOT_CHARACTERS; at++) slot = (slot << 6) ^ digest.charCodeAt(at);
  return slot;
}

/** What is known of a digest, and of no other that shares its slot. */
interface Held<Value> {
  readonly digest: string;
  readonly value: Value;
  readonly bytes: number;
}

/** What an entry takes beside its value, in bytes: the digest, and its places in maps and objects. */
const ENTRY_BYTES = 1_024;
/** How much a remembered token may take on average, in bytes: a long one leaves room for fewer. */
export const REMEMBERED_TOKEN_BYTES = 4_096;

/**
 * The things used last by their digests, up to a bound; what has not been asked for in a while makes room. Two maps in
 * turn: no clock, no list to keep in order, and at most twice the work of one map; half of the bound, of what was used
 * last, is there, but for one of two that share a slot. Nothing that must not be forgotten belongs here.
 */
export class DigestCache<Value> {
  readonly #half: number;
  readonly #halfBytes: number;
  #young = new Map<number, Held<Value>>();
  #old = new Map<number, Held<Value>>();
  /** Of the young ones. One that is replaced or deleted counts until they are old: too much is better than too little. */
  #youngBytes = 0;

  /**
   * `max`: how many are held at the most, rounded up to an even number; 0 holds none. `bytesMax`: how much they take
   * together, as they were weighed.
   */
  constructor(max: number, bytesMax: number = 2 * Math.ceil(max / 2) * REMEMBERED_TOKEN_BYTES) {
    this.#half = Math.ceil(max / 2);
    this.#halfBytes = bytesMax / 2;
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

  /** `bytes`: what the value takes, about. One that is heavier than half of the bound is not held. */
  set(digest: string, value: Value, bytes: number = 0): void {
    const held = { digest, value, bytes: bytes + ENTRY_BYTES };
    if (this.#half > 0 && held.bytes <= this.#halfBytes) this.#hold(slotOf(digest), held);
  }

  delete(digest: string): void {
    const slot = slotOf(digest);
    for (const half of [this.#young, this.#old]) if (half.get(slot)?.digest === digest) half.delete(slot);
  }

  #hold(slot: number, held: Held<Value>): void {
    const isFull = this.#young.size >= this.#half && !this.#young.has(slot);
    if (isFull || this.#youngBytes + held.bytes > this.#halfBytes) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngBytes = 0;
    }
    this.#young.set(slot, held);
    this.#youngBytes += held.bytes;
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

/** What a holder takes, in bytes, by the length of the text that its claims came in: they are held twice, as scopes too. */
export function weightOf(textLength: number): number {
  return 2 * textLength;
}

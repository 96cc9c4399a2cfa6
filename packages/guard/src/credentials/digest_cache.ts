/** An entry. It keeps its whole digest, because two digests can share a slot. */
interface Held<Value> {
  readonly digest: string;
  readonly value: Value;
  readonly bytes: number;
}

/** An entry's size without its value, in bytes: the digest, and its share of maps and objects. */
const ENTRY_BYTES = 1_024;
/** The average size allowed for a cached token, in bytes. Longer tokens leave room for fewer. */
export const REMEMBERED_TOKEN_BYTES = 4_096;

/**
 * A bounded cache of recently used values, by digest. It alternates between two maps instead of keeping a list in
 * order: no clock, and at most twice the work of one map. The most recently used half of the capacity is always
 * present, except when two digests share a slot. Don't keep anything here that must not be lost.
 */
export class DigestCache<Value> {
  readonly #half: number;
  readonly #halfBytes: number;
  #young = new Map<number, Held<Value>>();
  #old = new Map<number, Held<Value>>();
  /** The size of the young half. Replaced and deleted entries count until it gets old: overestimating is safe. */
  #youngBytes = 0;

  /**
   * `max`: the number of entries, rounded up to an even number; 0 stores nothing. `bytesMax`: their total size, as
   * given to `set`.
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

  /** `bytes`: the approximate size of the value. A value larger than half of the capacity isn't stored. */
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

/** Five characters of base64url are 30 bits: among ten thousand digests hardly two share a slot. */
const SLOT_CHARACTERS = 5;

/**
 * The slot of a digest, as a small integer. Looking up a new string in a V8 map interns it first, which takes as long
 * as hashing the token.
 */
function slotOf(digest: string): number {
  let slot = 0;
  for (let at = 0; at < SLOT_CHARACTERS; at++) slot = (slot << 6) ^ digest.charCodeAt(at);
  return slot;
}

/**
 * The size of a holder in bytes, estimated from the length of its token: claims are stored twice, as text and as parsed
 * scopes.
 */
export function weightOf(textLength: number): number {
  return 2 * textLength;
}

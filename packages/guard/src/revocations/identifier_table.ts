/** A compact hash table of UUIDs, each with the second until which it is held. */
import type { NumericDate } from '@hallpass/protocol';

/**
 * The hash divides the table into this many parts, and each grows on its own. No addition has to move more than one
 * part, and there is never a whole old table in memory beside a whole new one.
 */
const PARTS = 256;
/** The smallest size of a part, in places. All sizes are powers of two. */
const PLACES_MIN = 8;
/** A part doubles when it is fuller than the first share, and shrinks when it is emptier than the second. */
const LOAD_MAX = 3 / 4;
const LOAD_MIN = 1 / 8;
/** A place has four words for the 128 bits of the identifier, and a fifth for its second. */
const ID_WORDS = 4;
const PLACE_WORDS = 5;
/** The latest second that a place can store, in the year 2106. What should be held for longer is held forever. */
const UNTIL_MAX = 0xffff_ffff;

/** One part of the table: open addressing with linear probing. A place is free when its second is 0. */
interface Part {
  readonly words: Uint32Array;
  readonly places: number;
  held: number;
}

/**
 * Holds all 128 bits of each UUID, so that none is ever mistaken for another. The hash has a secret seed, so that an
 * attacker who can choose identifiers cannot make them collide.
 */
export class IdentifierTable {
  readonly #seed: Uint32Array;
  readonly #parts: (Part | undefined)[];
  /** The identifier that the current call is about. */
  readonly #id = new Uint32Array(ID_WORDS);
  #size = 0;
  #sweptPart = 0;
  #sweptPlace = 0;

  /** `seed`: four random words. `parts`: a power of two, at most 256. */
  constructor(seed: Uint32Array, parts: number = PARTS) {
    this.#seed = seed;
    this.#parts = Array.from({ length: parts }, () => undefined);
  }

  get size(): number {
    return this.#size;
  }

  /** The memory that the places take, free ones included. */
  get bytes(): number {
    return this.#parts.reduce((sum, part) => sum + (part?.words.byteLength ?? 0), 0);
  }

  /** Whether a UUID is held. False for anything that is not a lower-case UUID. */
  has(text: string): boolean {
    if (this.#size === 0 || !parseWords(text, this.#id)) return false;
    const hash = this.#hash(this.#id, 0);
    const part = this.#parts[this.#partOf(hash)];
    return part !== undefined && untilOf(part, this.#find(part, hash)) > 0;
  }

  /**
   * Holds a lower-case UUID until the given second, or the one it is already held until if that is later. Throws a
   * TypeError for any other text.
   */
  hold(text: string, until: NumericDate): void {
    if (!parseWords(text, this.#id)) throw new TypeError('The identifier table holds lower-case UUIDs only.');
    const hash = this.#hash(this.#id, 0);
    const at = this.#partOf(hash);
    let part = this.#parts[at] ?? (this.#parts[at] = makePart(PLACES_MIN));
    let place = this.#find(part, hash);
    const known = untilOf(part, place);
    if (known === 0) {
      if (part.held + 1 > part.places * LOAD_MAX) {
        part = this.#parts[at] = this.#rebuild(part, part.places * 2);
        place = this.#find(part, hash);
      }
      part.words.set(this.#id, place * PLACE_WORDS);
      part.held += 1;
      this.#size += 1;
    }
    // Rounded up, because `now` is in whole seconds.
    const second = Math.min(Math.max(Math.ceil(until), 1), UNTIL_MAX);
    part.words[place * PLACE_WORDS + ID_WORDS] = Math.max(known, second);
  }

  /** Checks the next `looks` identifiers, continuing round the table from the last call, and frees those that have expired. */
  sweep(now: NumericDate, looks: number): void {
    // At most once each: `looks` is capped by the number of identifiers.
    for (let left = Math.min(looks, this.#size); left > 0;) {
      const part = this.#parts[this.#sweptPart];
      if (part === undefined || this.#sweptPlace >= part.places) {
        this.#leavePart(part);
        continue;
      }
      const until = untilOf(part, this.#sweptPlace);
      if (until > 0) left -= 1;
      // Freeing may move another identifier into this place, so stay here.
      if (until > 0 && until <= now && until < UNTIL_MAX) this.#free(part, this.#sweptPlace);
      else this.#sweptPlace += 1;
    }
  }

  /** Moves to the next part, and shrinks the one it leaves: here nothing refers to its places by number. */
  #leavePart(part: Part | undefined): void {
    if (part?.held === 0) this.#parts[this.#sweptPart] = undefined;
    else if (part !== undefined && part.places > PLACES_MIN && part.held < part.places * LOAD_MIN) {
      let { places } = part;
      while (places > PLACES_MIN && part.held < places * LOAD_MIN * 2) places /= 2;
      this.#parts[this.#sweptPart] = this.#rebuild(part, places);
    }
    this.#sweptPart = (this.#sweptPart + 1) % this.#parts.length;
    this.#sweptPlace = 0;
  }

  /** The place of the current identifier, or the free place where it belongs. */
  #find({ words, places }: Part, hash: number): number {
    const [a, b, c, d] = this.#id;
    for (let place = hash & (places - 1); ; place = (place + 1) & (places - 1)) {
      const at = place * PLACE_WORDS;
      if (words[at + ID_WORDS] === 0) return place;
      if (words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === d) return place;
    }
  }

  /** Frees a place, and moves up the ones behind it that were displaced by it, so that no search ends too early. */
  #free(part: Part, freed: number): void {
    const { words, places } = part;
    const last = places - 1;
    let gap = freed;
    for (let place = (gap + 1) & last; untilOf(part, place) > 0; place = (place + 1) & last) {
      const wanted = this.#hash(words, place * PLACE_WORDS) & last;
      // Move it only if the gap is between the place it belongs in and the one it is in.
      if (((place - wanted) & last) < ((place - gap) & last)) continue;
      words.copyWithin(gap * PLACE_WORDS, place * PLACE_WORDS, (place + 1) * PLACE_WORDS);
      gap = place;
    }
    words[gap * PLACE_WORDS + ID_WORDS] = 0;
    part.held -= 1;
    this.#size -= 1;
  }

  #rebuild(old: Part, places: number): Part {
    const part = makePart(places);
    for (let from = 0; from < old.words.length; from += PLACE_WORDS) {
      if (old.words[from + ID_WORDS] === 0) continue;
      let place = this.#hash(old.words, from) & (places - 1);
      while (untilOf(part, place) > 0) place = (place + 1) & (places - 1);
      const to = place * PLACE_WORDS;
      for (let at = 0; at < PLACE_WORDS; at++) part.words[to + at] = old.words[from + at] ?? 0;
    }
    part.held = old.held;
    return part;
  }

  /** Uses the hash bits that do not decide the place within the part. */
  #partOf(hash: number): number {
    return (hash >>> 24) & (this.#parts.length - 1);
  }

  #hash(words: Uint32Array, from: number): number {
    let hash = 0;
    for (let at = 0; at < ID_WORDS; at++) {
      hash = Math.imul(hash ^ (words[from + at] ?? 0) ^ (this.#seed[at] ?? 0), 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    hash = Math.imul(hash, 0x85eb_ca77);
    return (hash ^ (hash >>> 13)) >>> 0;
  }
}

function makePart(places: number): Part {
  return { words: new Uint32Array(places * PLACE_WORDS), places, held: 0 };
}

function untilOf({ words }: Part, place: number): number {
  return words[place * PLACE_WORDS + ID_WORDS] ?? 0;
}

/** By character code: the value of a lower-case hex digit, or `NOT_A_DIGIT`. */
const NOT_A_DIGIT = 16;
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code));
  return value < 0 ? NOT_A_DIGIT : value;
});
const TEXT_LENGTH = 36;
const DASH = 45;

/** Parses a UUID into its four words. For any other text it returns false, and the words are undefined. */
function parseWords(text: string, words: Uint32Array): boolean {
  if (text.length !== TEXT_LENGTH) return false;
  let word = 0;
  let digits = 0;
  for (let at = 0; at < TEXT_LENGTH; at++) {
    const code = text.charCodeAt(at);
    if (at === 8 || at === 13 || at === 18 || at === 23) {
      if (code !== DASH) return false;
      continue;
    }
    const value = DIGITS[code] ?? NOT_A_DIGIT;
    if (value === NOT_A_DIGIT) return false;
    word = (word << 4) | value;
    digits += 1;
    if ((digits & 7) === 0) words[(digits >> 3) - 1] = word;
  }
  return true;
}

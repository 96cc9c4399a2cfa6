/** Identifiers of tokens and grants, each with the second until which it is held, in few bytes. */
import type { NumericDate } from '@hallpass/protocol';

/**
 * The table is cut into so many parts by the hash, and each grows by itself when it is full: no addition has to move
 * more than a part, and memory is never needed for a whole old table beside a whole new one.
 */
const PARTS = 256;
/** The fewest places of a part; a power of two, as all its sizes are. */
const PLACES_MIN = 8;
/** A part is made twice as large beyond the first share, and smaller below the second. */
const LOAD_MAX = 3 / 4;
const LOAD_MIN = 1 / 8;
/** An identifier has 128 bits: four words, and the fifth is its second. */
const ID_WORDS = 4;
const PLACE_WORDS = 5;
/** The latest second that a place can hold, in the year 2106; what is to be held for longer is held for ever. */
const UNTIL_MAX = 0xffff_ffff;

/** Some of the places of a table: open addressing, the next place when one is taken. A second of 0 is a free place. */
interface Part {
  readonly words: Uint32Array;
  readonly places: number;
  held: number;
}

/**
 * Holds UUIDs as all their bits, so that no other can ever be taken for one of them. Where each of them lies depends on a
 * seed that nobody knows: who could choose identifiers, could not choose such that crowd in one place.
 */
export class IdentifierTable {
  readonly #seed: Uint32Array;
  readonly #parts: (Part | undefined)[];
  /** The identifier that is being looked for. */
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

  /** How much memory the places take, free ones too. */
  get bytes(): number {
    return this.#parts.reduce((sum, part) => sum + (part?.words.byteLength ?? 0), 0);
  }

  /** Whether it is held: false for what is no UUID in lower-case digits. */
  has(text: string): boolean {
    if (this.#size === 0 || !parseWords(text, this.#id)) return false;
    const hash = this.#hash(this.#id, 0);
    const part = this.#parts[this.#partOf(hash)];
    return part !== undefined && untilOf(part, this.#find(part, hash)) > 0;
  }

  /** Holds a UUID in lower-case digits, until that second or the later one that it was held until already. */
  hold(text: string, until: NumericDate): void {
    if (!parseWords(text, this.#id)) throw new TypeError('Only UUIDs are held here.');
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
    // Whole seconds, since "now" is one.
    const second = Math.min(Math.max(Math.ceil(until), 1), UNTIL_MAX);
    part.words[place * PLACE_WORDS + ID_WORDS] = Math.max(known, second);
  }

  /** Goes on round the table where it was last, looks at so many identifiers, and frees the places of those that are over. */
  sweep(now: NumericDate, looks: number): void {
    // Each once at the most: the parts are gone through until so many were looked at.
    for (let left = Math.min(looks, this.#size); left > 0;) {
      const part = this.#parts[this.#sweptPart];
      if (part === undefined || this.#sweptPlace >= part.places) {
        this.#leavePart(part);
        continue;
      }
      const until = untilOf(part, this.#sweptPlace);
      if (until > 0) left -= 1;
      // Another may have moved into the place that was freed: it is looked at next.
      if (until > 0 && until <= now && until < UNTIL_MAX) this.#free(part, this.#sweptPlace);
      else this.#sweptPlace += 1;
    }
  }

  /** Memory comes back here, where nobody looks for places by number. */
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

  /** The place of the identifier that is being looked for, or the free one where it belongs. */
  #find({ words, places }: Part, hash: number): number {
    const [a, b, c, d] = this.#id;
    for (let place = hash & (places - 1); ; place = (place + 1) & (places - 1)) {
      const at = place * PLACE_WORDS;
      if (words[at + ID_WORDS] === 0) return place;
      if (words[at] === a && words[at + 1] === b && words[at + 2] === c && words[at + 3] === d) return place;
    }
  }

  /** Frees a place, and moves up those behind it that lie there for want of it, so that no search ends too early. */
  #free(part: Part, freed: number): void {
    const { words, places } = part;
    const last = places - 1;
    let gap = freed;
    for (let place = (gap + 1) & last; untilOf(part, place) > 0; place = (place + 1) & last) {
      const wanted = this.#hash(words, place * PLACE_WORDS) & last;
      // How far it lies from where it belongs, against how far it would lie from there in the gap.
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

  /** By the bits that say nothing about the place in the part. */
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

/** By character code: the value of a lower-case digit, and `NO_DIGIT` for everything else. */
const NO_DIGIT = 16;
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code));
  return value < 0 ? NO_DIGIT : value;
});
const TEXT_LENGTH = 36;
const DASH = 45;

/** A UUID to its four words; false, and whatever in the words, for any other text. */
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
    const value = DIGITS[code] ?? NO_DIGIT;
    if (value === NO_DIGIT) return false;
    word = (word << 4) | value;
    digits += 1;
    if ((digits & 7) === 0) words[(digits >> 3) - 1] = word;
  }
  return true;
}

/** Parses JSON into a document that knows the lines of its places. */
import { parseJson } from '@hallpass/protocol';
import { faultOnLine, PolicyError, quote, type Place, type PolicyFault, type Source } from './faults.ts';
import { NESTED, NOT_READ, twice } from './yaml.ts';

/** The deepest nesting of JSON. */
const DEPTH_MAX = 1_000;
const [QUOTE, BACKSLASH] = [0x22, 0x5c];

/** Parses a text; undefined if it is not JSON. Throws a PolicyError for duplicate names and for nesting that is too deep. */
export function readJson(text: string, file: string): Source | undefined {
  const document = parseJson(text);
  if (document === undefined) return undefined;
  const faults = findDoubles(text, file);
  if (faults.length > 0) throw new PolicyError(faults);
  return { file, document, lineOf: lineFinder(text) };
}

/** Scans valid JSON for duplicate names, which `JSON.parse` silently drops. */
function findDoubles(text: string, file: string): readonly PolicyFault[] {
  const faults: PolicyFault[] = [];
  const lines = new Lines(text);
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{' || character === '[') {
      if (open.push(new Set()) > DEPTH_MAX) return [faultOnLine(file, undefined, `${NOT_READ}${NESTED}`)];
    } else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      if (text[skipSpace(text, end)] === ':') {
        const name = nameAt(text, at, end);
        const names = open.at(-1);
        if (names?.has(name) === true) faults.push(faultOnLine(file, lines.of(at), twice(quote(name))));
        names?.add(name);
      }
      at = end - 1;
    }
  }
  return faults;
}

/** Finds the line of an offset, counted from 1. */
class Lines {
  readonly #text: string;
  #starts: number[] | undefined;

  constructor(text: string) {
    this.#text = text;
  }

  of(offset: number): number {
    this.#starts ??= this.#find();
    let [low, high] = [0, this.#starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    return low + 1;
  }

  #find(): number[] {
    const starts = [0];
    for (let at = this.#text.indexOf('\n'); at !== -1; at = this.#text.indexOf('\n', at + 1)) starts.push(at + 1);
    return starts;
  }
}

interface Member {
  /** The offset of its name, or of the item itself in a list. */
  readonly start: number;
  readonly value: number;
}

/** Scans each object once, however many of its places are looked up. */
function lineFinder(text: string): Source['lineOf'] {
  const lines = new Lines(text);
  const found = new Map<number, ReadonlyMap<string, Member>>();
  const membersAt = (at: number): ReadonlyMap<string, Member> => {
    const members = found.get(at) ?? readMembers(text, at);
    found.set(at, members);
    return members;
  };
  return (place: Place) => {
    let at = skipSpace(text, 0);
    let start: number | undefined;
    for (const name of place) {
      const member = text[at] === '{' || text[at] === '[' ? membersAt(at).get(name) : undefined;
      if (member === undefined) break;
      ({ start, value: at } = member);
    }
    return start === undefined ? undefined : lines.of(start);
  };
}

function readMembers(text: string, opening: number): ReadonlyMap<string, Member> {
  const members = new Map<string, Member>();
  const isObject = text[opening] === '{';
  let at = skipSpace(text, opening + 1);
  while (at < text.length && text[at] !== '}' && text[at] !== ']') {
    const start = at;
    let name = String(members.size);
    if (isObject) {
      const end = endOfString(text, at);
      name = nameAt(text, at, end);
      at = skipSpace(text, skipSpace(text, end) + 1);
    }
    members.set(name, { start, value: at });
    at = skipSpace(text, endOfValue(text, at));
    if (text[at] === ',') at = skipSpace(text, at + 1);
  }
  return members;
}

function endOfValue(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (character === '"') at = endOfString(text, at) - 1;
    else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') {
      depth -= 1;
      if (depth < 0) return at;
      if (depth === 0) return at + 1;
    } else if (character === ',' && depth === 0) return at;
    if (depth === 0 && character === '"') return at + 1;
  }
  return text.length;
}

/** The offset after the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes += 1;
    if (escapes % 2 === 0 && text.charCodeAt(at) === QUOTE) return at + 1;
  }
  return text.length;
}

function nameAt(text: string, start: number, end: number): string {
  const name = text.slice(start + 1, end - 1);
  return name.includes('\\') ? String(JSON.parse(text.slice(start, end))) : name;
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && /[\s]/.test(text[at] ?? '')) at += 1;
  return at;
}

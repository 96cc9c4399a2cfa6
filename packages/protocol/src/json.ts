/** JSON from outside, and the check for an object that names a member twice. */
import { parseUtf8 } from './bytes.ts';

/** The members of a JSON object, by name. */
type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a JSON value is an object, and not `null` or an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses a JSON text, or the UTF-8 bytes of one. Undefined when it is not JSON. Never throws. */
export function parseJson(source: string | Uint8Array): unknown {
  const text = typeof source === 'string' ? source : parseUtf8(source);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Parses the UTF-8 bytes of a JSON object. Undefined for any other value, and for one in which an object, at any depth,
 * names a member twice. Parsers differ on which of the two they keep (RFC 7515 §4), so an attacker could
 * show two readers different values.
 */
export function parseStrictObject(bytes: Uint8Array): JsonObject | undefined {
  const text = parseUtf8(bytes);
  const value = text === undefined ? undefined : parseJson(text);
  return text !== undefined && isObject(value) && !memberNames(text).some(hasRepeat) ? value : undefined;
}

/**
 * The member names of each object in a JSON text, in order and with repeats, the outermost object first. The text must
 * be valid JSON.
 */
export function memberNames(text: string): readonly (readonly string[])[] {
  const objects: string[][] = [];
  // The objects and arrays that are open here, the innermost last: an object's names, or undefined for an array.
  const open: (string[] | undefined)[] = [];
  let atName = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '"') {
      const end = stringEnd(text, at);
      if (atName) open.at(-1)?.push(String(JSON.parse(text.slice(at, end + 1))));
      atName = false;
      at = end;
    } else if (character === '{') {
      const names: string[] = [];
      objects.push(names);
      open.push(names);
      atName = true;
    } else if (character === '[') {
      open.push(undefined);
      atName = false;
    } else if (character === '}' || character === ']') {
      open.pop();
      atName = false;
    } else if (character === ',') {
      atName = open.at(-1) !== undefined;
    }
  }
  return objects;
}

/** Where the string that starts at `start` has its closing quote. */
function stringEnd(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charAt(at) !== '"') at += text.charAt(at) === '\\' ? 2 : 1;
  return at;
}

function hasRepeat(names: readonly string[]): boolean {
  return new Set(names).size < names.length;
}

import type { Random } from './clock.ts';

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * A new identifier for a token (`jti`) or a grant (`grant_id`): a UUID version 7 (RFC 9562 §5.7), 74 random bits behind
 * the millisecond it was made in. In time order, because a store appends in order at a quarter of the price of
 * inserting at random places.
 */
export function makeIdentifier(milliseconds: number, random: Random): string {
  const bytes = random(16);
  for (let at = 0; at < 6; at++) bytes[at] = Math.floor(milliseconds / 2 ** (8 * (5 - at))) & 0xff;
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => HEX[byte]).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** The millisecond in which an identifier of `makeIdentifier`'s form was made. */
export function momentOfIdentifier(identifier: string): number {
  return Number.parseInt(identifier.slice(0, 8) + identifier.slice(9, 13), 16);
}

/** How many tokens deep a token may have been cut from others. */
export const LINEAGE_MAX = 4;

/**
 * The identifier of a token that was cut from another: the other's, a tilde, and its own. So whoever knows that the
 * parent is revoked knows it of the child, and no row has to say who came from whom.
 */
export function makeChildIdentifier(parent: string, milliseconds: number, random: Random): string {
  return `${parent}~${makeIdentifier(milliseconds, random)}`;
}

/** A token's identifier and those of the tokens that it was cut from, itself first. */
export function lineageOf(identifier: string): readonly string[] {
  const parts = identifier.split('~');
  if (parts.length === 1) return parts;
  return parts.map((_, at) => parts.slice(0, parts.length - at).join('~'));
}

/** Whether a text has the form of a token's identifier: `makeIdentifier`'s, or several of them cut from each other. */
export function isTokenIdentifier(text: unknown): text is string {
  if (isIdentifier(text)) return true;
  if (typeof text !== 'string') return false;
  const parts = text.split('~');
  return parts.length <= LINEAGE_MAX && parts.every((part) => UUID.test(part));
}

/** Whether a text has the form of `makeIdentifier`'s. */
export function isIdentifier(text: unknown): text is string {
  return typeof text === 'string' && UUID.test(text);
}

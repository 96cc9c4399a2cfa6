/** A page of the revocation feed (contract §9 Feed). */
import { isCursor, parseRevocationEntry, type RevocationEntry } from '@hallpass/protocol';

export interface FeedPage {
  /** In order; undefined for what cannot be read. */
  readonly entries: readonly (RevocationEntry | undefined)[];
  /** Where to read on: everything up to here is in this page or those before it. */
  readonly cursor: string;
  /** Whether there is more to read at once. If not, this was everything that was committed when the page was asked for. */
  readonly more: boolean;
  /** Which key set is published, by its version; undefined where the issuer says nothing of it. */
  readonly keys: unknown;
}

/** A value from the issuer to a page; undefined when it is none. Unknown members are ignored. */
export function parsePage(value: unknown): FeedPage | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const members = new Map<string, unknown>(Object.entries(value));
  const entries: unknown = members.get('entries');
  const cursor = members.get('cursor');
  const more = members.get('more');
  if (!Array.isArray(entries) || !isCursor(cursor) || typeof more !== 'boolean') return undefined;
  // One that has more but nothing in it would be asked for again for ever.
  if (more && entries.length === 0) return undefined;
  return { entries: entries.map(parseRevocationEntry), cursor, more, keys: members.get('keys') };
}

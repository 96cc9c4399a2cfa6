/** Parses a page of the revocation feed (contract §9 Feed). */
import { isCursor, parseRevocationEntry, type RevocationEntry } from '@hallpass/protocol';
import { Outage } from '../outage.ts';

/** What the issuer answers when the feed is read by pages. */
export interface FeedPage {
  /** In order. An entry that cannot be read is undefined: it must not be skipped. */
  readonly entries: readonly (RevocationEntry | undefined)[];
  /** Where to continue: this page and those before it hold everything up to here. */
  readonly cursor: string;
  /** Whether there is more to read now. If not, this page ends with all that was committed when you asked for it. */
  readonly more: boolean;
  /** The version of the published key set; undefined if the issuer does not send one. */
  readonly keys: unknown;
}

/** Parses what the issuer answered. Unknown members are ignored. Throws `Outage` when it is not a page. */
export function parsePage(value: unknown): FeedPage {
  const members = new Map<string, unknown>(Object.entries(typeof value === 'object' && value !== null ? value : {}));
  const entries: unknown = members.get('entries');
  const cursor = members.get('cursor');
  const more = members.get('more');
  if (!Array.isArray(entries) || !isCursor(cursor) || typeof more !== 'boolean') throw new Outage(NOT_A_PAGE);
  // An empty page with more to come would be requested forever.
  if (more && entries.length === 0) throw new Outage(NOT_A_PAGE);
  return { entries: entries.map(parseRevocationEntry), cursor, more, keys: members.get('keys') };
}

const NOT_A_PAGE = 'The issuer answered with something that is not a page of the feed.';

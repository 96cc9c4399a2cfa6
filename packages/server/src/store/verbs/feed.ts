/**
 * The operations on the feed of revocations, and its cursors.
 *
 * A cursor is `FEED-POSITION-COMMIT`. A position alone is not enough: a store that went back in time (a point-in-time
 * restore, a failover to a standby that was behind, a copied file) uses positions twice, and a guard that had read up to
 * 150 would miss entries 101 to 150 of the new history. The commit's random id tells the histories apart.
 */
import { isCursor, parseRevocationEntry, type NumericDate } from '@hallpass/protocol';
import type { Sql, SqlRow } from '../sql.ts';
import type { RevocationPage } from '../store.ts';

/** The newest position of the feed, and what else is read with it. */
export interface FeedEnd {
  readonly feedId: string;
  readonly last: number;
  /** The commit that used the last position; empty if an older version did. */
  readonly commitId: string;
  /** How many times followers were asked to confirm. */
  readonly calls: number;
  /** See `StoredTime.trusted`; 0 until a server has saved the time, so that nothing counts as expired. */
  readonly trusted: number;
}

/** See `Store.readRevocations`. */
export async function readRevocations(
  sql: Sql,
  { after, limit, now }: { readonly after?: string; readonly limit: number; readonly now: NumericDate },
): Promise<RevocationPage> {
  const end = await findFeedEnd(sql);
  const start = await findPosition(sql, after, end);
  // The clock of this machine may be hours ahead and would skip live entries, so the trusted time counts as well. That one
  // stands still while no server runs, and by `expires_at` alone would keep long-dead entries: `feed_until` drops them.
  const trusted = Math.floor(end.trusted / 1000);
  const aliveAt = Math.min(now, trusted);
  const rows = await sql.all(
    `SELECT position, kind, subject, before_date, expires_at, commit_id FROM revocations
      WHERE position > ? AND expires_at > ? AND (feed_until IS NULL OR feed_until > ?) ORDER BY position LIMIT ?`,
    start,
    aliveAt,
    trusted,
    limit,
  );
  const entries = rows.flatMap((row) => {
    const entry = parseRevocationEntry({
      cursor: cursorOf(end.feedId, row),
      kind: row['kind'],
      id: row['subject'],
      before: row['before_date'] ?? undefined,
      expires_at: row['expires_at'],
    });
    return entry === undefined ? [] : [entry];
  });
  const more = rows.length === limit;
  const seen = rows.at(-1);
  // The end was read first, so rows may lie behind it; and it may lie behind the last row, where entries have expired.
  const isBehind = seen === undefined || (!more && Number(seen['position']) < end.last);
  return { entries, cursor: isBehind ? printEnd(end) : cursorOf(end.feedId, seen), more, calls: end.calls };
}

/** Reads the end of the feed. Throws for a store whose set-up never finished. */
export async function findFeedEnd(sql: Sql): Promise<FeedEnd> {
  const [feed] = await sql.all(
    `SELECT feed_id, last_position, last_commit,
            (SELECT calls FROM follower_calls WHERE one = 1) AS calls,
            (SELECT trusted FROM store_time WHERE one = 1) AS trusted
       FROM feed WHERE one = 1`,
  );
  if (feed === undefined) throw new Error('The store has no feed: its set-up was not finished.');
  const last = Number(feed['last_position']);
  const lastCommit = String(feed['last_commit'] ?? '');
  return {
    feedId: String(feed['feed_id']),
    last,
    commitId: lastCommit.startsWith(`${last}-`) ? lastCommit.slice(`${last}-`.length) : '',
    calls: Number(feed['calls'] ?? 0),
    trusted: Number(feed['trusted'] ?? 0),
  };
}

/** Prints the end of the feed as a cursor. */
export function printEnd({ feedId, last, commitId }: FeedEnd): string {
  return printCursor({ feedId, position: last, commitId });
}

function cursorOf(feedId: string, row: SqlRow): string {
  return printCursor({ feedId, position: Number(row['position']), commitId: String(row['commit_id'] ?? '') });
}

interface Place {
  readonly feedId: string;
  readonly position: number;
  readonly commitId: string;
}

function printCursor({ feedId, position, commitId }: Place): string {
  return commitId === '' ? `${feedId}-${position}` : `${feedId}-${position}-${commitId}`;
}

const CURSOR = /^([0-9a-z]+)-([0-9]{1,15})(?:-([A-Za-z0-9_-]+))?$/;

function parseCursor(text: string | undefined): Place | undefined {
  const [, feedId, position, commitId = ''] = (isCursor(text) ? CURSOR.exec(text) : undefined) ?? [];
  return feedId === undefined ? undefined : { feedId, position: Number(position), commitId };
}

/**
 * The position of a cursor. For a cursor that this history of the store did not issue, or whose entry is forgotten, the
 * start: reading from there repeats entries but never skips one.
 */
export async function findPosition(sql: Sql, cursor: string | undefined, end: FeedEnd): Promise<number> {
  return (await findKnownPosition(sql, cursor, end)) ?? 0;
}

/** Like `findPosition`, but undefined for such a cursor. */
export async function findKnownPosition(
  sql: Sql,
  cursor: string | undefined,
  end: FeedEnd,
): Promise<number | undefined> {
  const place = parseCursor(cursor);
  if (place === undefined || place.feedId !== end.feedId || place.position > end.last) return undefined;
  const { position, commitId } = place;
  if (position === end.last) return commitId === end.commitId ? position : undefined;
  // There is no entry at position 0 to compare with.
  if (position === 0) return 0;
  const [row] = await sql.all('SELECT commit_id FROM revocations WHERE position = ?', position);
  return row !== undefined && String(row['commit_id'] ?? '') === commitId ? position : undefined;
}

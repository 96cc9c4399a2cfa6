/** The operations on the followers of the feed (ADR 16). */
import { findFeedEnd, findKnownPosition, findPosition, printEnd } from './feed.ts';
import { inBatches, rowsOf, type Sql } from '../sql.ts';
import { FOLLOWERS_PER_CLIENT_MAX, type Follower, type FollowerCount } from '../store.ts';

/**
 * See `Store.askFollowers`. The end is read before the call is counted, so a follower that sees the call sees the feed at
 * least up to there, and confirms enough. Independent statements; needs no transaction.
 */
export async function askFollowers(sql: Sql): Promise<string> {
  const end = await findFeedEnd(sql);
  await sql.run(
    `INSERT INTO follower_calls (one, calls) VALUES (1, 1)
     ON CONFLICT (one) DO UPDATE SET calls = follower_calls.calls + 1`,
  );
  return printEnd(end);
}

/** See `Store.saveFollowers`. Rows are written in a fixed order, which avoids deadlocks. Needs no transaction. */
export async function saveFollowers(sql: Sql, followers: readonly Follower[], aliveAfter: number): Promise<void> {
  if (followers.length === 0) return;
  const end = await findFeedEnd(sql);
  const ids = new Map(followers.map((follower) => [`${follower.clientId} ${follower.followerId}`, follower]));
  const ordered = [...ids].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, follower]) => follower);
  const positions = new Map<string | undefined, number>();
  for (const { cursor } of ordered) {
    if (!positions.has(cursor)) positions.set(cursor, await findPosition(sql, cursor, end));
  }
  for (const some of inBatches(ordered)) {
    await sql.run(
      `INSERT INTO followers (client_id, follower_id, position, seen_at)
       SELECT column1, column2, CAST(column3 AS BIGINT), CAST(column4 AS BIGINT)
         FROM (VALUES ${rowsOf(some.length, 4)}) AS given
        WHERE EXISTS (SELECT 1 FROM followers WHERE client_id = column1 AND follower_id = column2)
           OR (SELECT COUNT(*) FROM followers WHERE client_id = column1 AND seen_at > ?) < ?
       ON CONFLICT (client_id, follower_id) DO UPDATE SET
         position = CASE WHEN excluded.position > followers.position THEN excluded.position ELSE followers.position END,
         seen_at = CASE WHEN excluded.seen_at > followers.seen_at THEN excluded.seen_at ELSE followers.seen_at END`,
      ...some.flatMap(({ clientId, followerId, cursor, seenAt }) => [
        clientId,
        followerId,
        positions.get(cursor) ?? 0,
        seenAt,
      ]),
      aliveAfter,
      FOLLOWERS_PER_CLIENT_MAX,
    );
  }
}

/** See `Store.countFollowers`. */
export async function countFollowers(
  sql: Sql,
  { cursor, aliveAfter }: { readonly cursor: string; readonly aliveAfter: number },
): Promise<FollowerCount> {
  const end = await findFeedEnd(sql);
  // An unknown cursor belongs to a history that the store has left; no follower has confirmed it.
  const position = cursor === '' ? 0 : await findKnownPosition(sql, cursor, end);
  const [row] = await sql.all(
    `SELECT COUNT(*) AS connected, SUM(CASE WHEN position >= ? THEN 1 ELSE 0 END) AS confirmed
       FROM followers WHERE seen_at > ?`,
    position ?? Number.MAX_SAFE_INTEGER,
    aliveAfter,
  );
  return { connected: Number(row?.['connected'] ?? 0), confirmed: Number(row?.['confirmed'] ?? 0) };
}

/** The verbs about the store's time: what nothing may be forgotten without (`oauth/store_time.ts`). */
import type { Sql } from '../sql.ts';
import type { StoredTime, TimeReport } from '../store.ts';

export async function findTime(sql: Sql): Promise<StoredTime | undefined> {
  const [row] = await sql.all('SELECT seen_at, trusted FROM store_time WHERE one = 1');
  return row === undefined ? undefined : { seenAt: Number(row['seen_at']), trusted: Number(row['trusted']) };
}

/** One statement; no transaction needed. Of several processes that keep the time, none can make it run faster. */
export async function saveTime(sql: Sql, { now, trusted, settled }: TimeReport): Promise<StoredTime> {
  const [row] = await sql.all(
    `INSERT INTO store_time (one, seen_at, trusted) VALUES (1, ?, ?)
     ON CONFLICT (one) DO UPDATE SET
       seen_at = excluded.seen_at,
       trusted = CASE WHEN CAST(? AS BIGINT) = 1 AND store_time.trusted > excluded.seen_at THEN excluded.seen_at
                      WHEN excluded.trusted > store_time.trusted THEN excluded.trusted
                      ELSE store_time.trusted END
     RETURNING seen_at, trusted`,
    now,
    Math.min(trusted, now),
    settled ? 1 : 0,
  );
  return { seenAt: Number(row?.['seen_at']), trusted: Number(row?.['trusted']) };
}

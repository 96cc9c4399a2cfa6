/** The operations on the store's time. Expired rows are forgotten by this time alone, never by a machine's clock. */
import type { Sql } from '../sql.ts';
import type { StoredTime, TimeReport } from '../store.ts';

/** See `Store.findTime`. */
export async function findTime(sql: Sql): Promise<StoredTime | undefined> {
  const [row] = await sql.all('SELECT seen_at, trusted FROM store_time WHERE one = 1');
  return row === undefined ? undefined : { seenAt: Number(row['seen_at']), trusted: Number(row['trusted']) };
}

/** See `Store.saveTime`. However many processes save the time, it runs no faster. One statement; needs no transaction. */
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

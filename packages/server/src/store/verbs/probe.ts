/** The write that shows whether the store can be written. */
import type { Sql } from '../sql.ts';

/**
 * Changes one row, which is one of the counters and is never forgotten. It has to become another value each time: SQLite
 * writes nothing for a row that stays what it is. One statement; no transaction needed.
 */
export async function probe(sql: Sql): Promise<void> {
  await sql.run(
    `INSERT INTO counters (name, period, used, expires_at) VALUES ('write probe', 0, 1, 253402300799)
     ON CONFLICT (name, period) DO UPDATE SET used = counters.used + 1`,
  );
}

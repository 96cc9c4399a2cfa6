/** The write that shows whether the store can be written. */
import type { Sql } from '../sql.ts';

/**
 * Writes one row, a counter that is never forgotten, to prove that the store is writable. The value has to change each
 * time, because SQLite writes nothing for an unchanged row. One statement; needs no transaction.
 */
export async function probe(sql: Sql): Promise<void> {
  await sql.run(
    `INSERT INTO counters (name, period, used, expires_at) VALUES ('write probe', 0, 1, 253402300799)
     ON CONFLICT (name, period) DO UPDATE SET used = counters.used + 1`,
  );
}

/** The operations on the issuer's own keys. */
import type { NumericDate } from '@hallpass/protocol';
import { lockForAdding } from './clients.ts';
import { recordConsequences, recordEvent } from './revocations.ts';
import type { Sql, SqlValue } from '../sql.ts';
import type { Consequences, KeyRecord, StoreEvent } from '../store.ts';

/** See `Store.loadKeys`. Throws for a use that this version does not know. */
export async function loadKeys(sql: Sql): Promise<readonly KeyRecord[]> {
  const rows = await sql.all(
    'SELECT key_id, key_use, algorithm, wrapped, created_at, active_from FROM keys ORDER BY active_from, key_id',
  );
  return rows.map((row) => ({
    keyId: String(row['key_id']),
    use: keyUseOf(row['key_use']),
    algorithm: String(row['algorithm']),
    wrapped: String(row['wrapped']),
    createdAt: Number(row['created_at']),
    activeFrom: Number(row['active_from']),
  }));
}

const KEY_USES = ['sign', 'refresh_mac', 'secret_mac', 'access_seal'] as const;

function keyUseOf(value: SqlValue | undefined): KeyRecord['use'] {
  const use = KEY_USES.find((known) => known === value);
  if (use !== undefined) return use;
  throw new Error(`The store holds a key with an unknown use: ${String(value)}`);
}

/** See `Store.addKey`. */
export async function addKey(
  sql: Sql,
  key: KeyRecord,
  unlessMadeAfter: number,
  event?: StoreEvent,
): Promise<'added' | 'exists'> {
  await lockForAdding(sql);
  const written = await sql.run(
    `INSERT INTO keys (key_id, key_use, algorithm, wrapped, created_at, active_from)
     SELECT ?, ?, ?, ?, ?, ?
      WHERE NOT EXISTS (SELECT 1 FROM keys WHERE key_use = ? AND algorithm = ? AND created_at > ?)`,
    key.keyId,
    key.use,
    key.algorithm,
    key.wrapped,
    key.createdAt,
    key.activeFrom,
    key.use,
    key.algorithm,
    unlessMadeAfter,
  );
  if (written === 0) return 'exists';
  if (event !== undefined) await recordEvent(sql, event);
  return 'added';
}

/** See `Store.removeKey`. */
export async function removeKey(sql: Sql, keyId: string, consequences: Consequences): Promise<'removed' | 'unknown'> {
  if ((await sql.run('DELETE FROM keys WHERE key_id = ?', keyId)) === 0) return 'unknown';
  await recordConsequences(sql, consequences);
  return 'removed';
}

/** See `Store.rewrapKey`. One statement; needs no transaction. */
export async function rewrapKey(
  sql: Sql,
  keyId: string,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<'kept' | 'changed_meanwhile'> {
  const written = await sql.run('UPDATE keys SET wrapped = ? WHERE key_id = ? AND wrapped = ?', to, keyId, from);
  return written === 1 ? 'kept' : 'changed_meanwhile';
}

/** See `Store.countGrantsSealedBy`. */
export async function countGrantsSealedBy(sql: Sql, keyId: string, now: NumericDate): Promise<number> {
  const [row] = await sql.all(
    'SELECT COUNT(*) AS grants FROM families WHERE key_id = ? AND COALESCE(newest_expires_at, expires_at) > ?',
    keyId,
    now,
  );
  return Number(row?.['grants']);
}

/** The operations on grants, single-use ids and counters, and the forgetting of what has expired. */
import type { NumericDate } from '@hallpass/protocol';
import { isRevoked, REVOCATIONS_OF, valuesOf } from './revocations.ts';
import { rowsOf, type Sql } from '../sql.ts';
import type { Counter, Family, SingleUseId, Rotation, RotationOutcome } from '../store.ts';

/** See `Store.findFamily`. */
export async function findFamily(sql: Sql, grantId: string): Promise<Family | undefined> {
  const [row] = await sql.all(
    `SELECT client_id, generation, rotated_at, key_id, expires_at, newest_expires_at, shown_generation, shown_in_a_row,
            suspected_generation
       FROM families WHERE grant_id = ?`,
    grantId,
  );
  if (row === undefined) return undefined;
  const { expires_at: keptUntil, newest_expires_at: newestExpiresAt } = row;
  return {
    grantId,
    clientId: String(row['client_id']),
    generation: Number(row['generation']),
    rotatedAt: Number(row['rotated_at']),
    keyId: String(row['key_id']),
    expiresAt: Number(newestExpiresAt ?? keptUntil),
    hasFixedEnd: newestExpiresAt == null,
    keptUntil: Number(keptUntil),
    shownGeneration: Number(row['shown_generation']),
    shownInARow: Number(row['shown_in_a_row']),
    suspectedGeneration: Number(row['suspected_generation']),
  };
}

/** See `Store.countGrants`. */
export async function countGrants(sql: Sql, now: NumericDate, clientId?: string): Promise<number> {
  const all = 'SELECT COUNT(*) AS grants FROM families WHERE COALESCE(newest_expires_at, expires_at) > ?';
  const [row] =
    clientId === undefined ? await sql.all(all, now) : await sql.all(`${all} AND client_id = ?`, now, clientId);
  return Number(row?.['grants']);
}

/**
 * See `Store.rotate`. One statement checks and writes; needs no transaction. The row is kept until the last of all
 * generations expires. That need not be the newest one, if a lifetime setting was lowered in between.
 */
export async function rotate(sql: Sql, rotation: Rotation): Promise<RotationOutcome> {
  const { grantId, clientId, from, issuedAt, presentedExpiresAt, rotatedAt, keyId, expiresAt } = rotation;
  const subject = { grantId, clientId, issuedAt };
  const written =
    from === 0
      ? await sql.run(
          `INSERT INTO families (grant_id, client_id, generation, rotated_at, key_id, expires_at, newest_expires_at)
           SELECT ?, ?, 1, ?, ?, ?, ? WHERE NOT EXISTS (${REVOCATIONS_OF}) ON CONFLICT (grant_id) DO NOTHING`,
          grantId,
          clientId,
          rotatedAt,
          keyId,
          Math.max(presentedExpiresAt, expiresAt),
          expiresAt,
          ...valuesOf(subject),
        )
      : await sql.run(
          `UPDATE families SET generation = ?, rotated_at = ?, key_id = ?,
                  expires_at = CASE WHEN expires_at < ? THEN CAST(? AS BIGINT) ELSE expires_at END,
                  newest_expires_at = CASE WHEN newest_expires_at IS NULL THEN NULL ELSE CAST(? AS BIGINT) END
            WHERE grant_id = ? AND generation = ? AND NOT EXISTS (${REVOCATIONS_OF})`,
          from + 1,
          rotatedAt,
          keyId,
          expiresAt,
          expiresAt,
          expiresAt,
          grantId,
          from,
          ...valuesOf(subject),
        );
  if (written === 1) return 'rotated';
  return (await isRevoked(sql, subject)) ? 'revoked' : 'already_used';
}

/**
 * See `Store.useOnce`. The last statement writes all ids or none; needs no transaction. If two callers use the same id at
 * the same time, one of them violates the primary key, is retried, and then finds the id.
 */
export async function useOnce(sql: Sql, ids: readonly SingleUseId[]): Promise<SingleUseId | 'fresh'> {
  for (const [at, one] of ids.entries()) {
    if (ids.slice(0, at).some(({ space, id }) => space === one.space && id === one.id)) return one;
  }
  const [only] = ids;
  if (only === undefined) return 'fresh';
  const insert = `INSERT INTO used_once (space, id, expires_at) VALUES ${rowsOf(ids.length, 3)}`;
  // A fixed order avoids deadlocks.
  const values = ids
    .toSorted((one, other) => (one.space + one.id < other.space + other.id ? -1 : 1))
    .flatMap(({ space, id, expiresAt }) => [space, id, expiresAt]);
  if (ids.length === 1) {
    return (await sql.run(`${insert} ON CONFLICT (space, id) DO NOTHING`, ...values)) === 1 ? 'fresh' : only;
  }
  for (const one of ids) {
    const known = await sql.all('SELECT 1 AS found FROM used_once WHERE space = ? AND id = ?', one.space, one.id);
    if (known.length > 0) return one;
  }
  await sql.run(insert, ...values);
  return 'fresh';
}

/** See `Store.count`. One statement; needs no transaction. */
export async function count(sql: Sql, { name, period, by, expiresAt }: Counter): Promise<number> {
  const [row] = await sql.all(
    `INSERT INTO counters (name, period, used, expires_at) VALUES (?, ?, ?, ?)
     ON CONFLICT (name, period) DO UPDATE SET used = counters.used + excluded.used RETURNING used`,
    name,
    period,
    by,
    expiresAt,
  );
  return Number(row?.['used']);
}

/** More than the clocks of instances may differ: one must not forget what another still considers alive. */
const CLOCK_SKEW_SECONDS = 60;
/** Events are kept for 90 days. */
const EVENTS_KEPT_SECONDS = 90 * 86_400;

/** See `Store.forgetExpired`. Independent statements; needs no transaction. */
export async function forgetExpired(sql: Sql, now: NumericDate, limit: number): Promise<number> {
  // Without its family, a retired token would pass as valid, so the row stays until the last of its tokens expires.
  const families = await sql.run(
    'DELETE FROM families WHERE grant_id IN (SELECT grant_id FROM families WHERE expires_at < ? LIMIT ?)',
    now - CLOCK_SKEW_SECONDS,
    limit,
  );
  const revocations = await sql.run(
    // A family that rotated while it was being revoked may outlive `keep_until`, so its revocation waits for it.
    `DELETE FROM revocations WHERE position IN (
       SELECT position FROM revocations WHERE keep_until < ? AND NOT (
         kind = 'grant' AND EXISTS (SELECT 1 FROM families WHERE grant_id = revocations.subject)) LIMIT ?)`,
    now,
    Math.max(0, limit - families),
  );
  const events = await sql.run(
    'DELETE FROM events WHERE event_id IN (SELECT event_id FROM events WHERE at < ? LIMIT ?)',
    (now - EVENTS_KEPT_SECONDS) * 1000,
    Math.max(0, limit - revocations - families),
  );
  const marks = await sql.run(
    `DELETE FROM used_once WHERE (space, id) IN (SELECT space, id FROM used_once WHERE expires_at < ? LIMIT ?)`,
    now - CLOCK_SKEW_SECONDS,
    Math.max(0, limit - revocations - families - events),
  );
  const counters = await sql.run(
    `DELETE FROM counters WHERE (name, period) IN (SELECT name, period FROM counters WHERE expires_at < ? LIMIT ?)`,
    now - CLOCK_SKEW_SECONDS,
    Math.max(0, limit - revocations - families - events - marks),
  );
  const followers = await sql.run(
    `DELETE FROM followers WHERE (client_id, follower_id) IN
       (SELECT client_id, follower_id FROM followers WHERE seen_at < ? LIMIT ?)`,
    (now - CLOCK_SKEW_SECONDS) * 1000,
    Math.max(0, limit - revocations - families - events - marks - counters),
  );
  return revocations + families + events + marks + counters + followers;
}

/** The verbs about grants, and what may be used or counted once: families, marks, counters. And forgetting. */
import type { NumericDate } from '@hallpass/protocol';
import { isRevoked, REVOCATIONS_OF, valuesOf } from './revocations.ts';
import { rowsOf, type Sql } from '../sql.ts';
import type { Counter, Family, SingleUseId, Rotation, RotationOutcome } from '../store.ts';

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

export async function countGrants(sql: Sql, now: NumericDate, clientId?: string): Promise<number> {
  const all = 'SELECT COUNT(*) AS grants FROM families WHERE COALESCE(newest_expires_at, expires_at) > ?';
  const [row] =
    clientId === undefined ? await sql.all(all, now) : await sql.all(`${all} AND client_id = ?`, now, clientId);
  return Number(row?.['grants']);
}

/**
 * The one statement that writes also judges; no transaction needed. The row is kept until the last of all generations
 * has ended: a later one may end sooner, where a setting was lowered in between.
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
 * The last statement writes all marks or none; no transaction needed. Of two that are first with one mark, one fails on
 * its primary key, is tried again and finds it.
 */
export async function useOnce(sql: Sql, marks: readonly SingleUseId[]): Promise<SingleUseId | 'fresh'> {
  for (const [at, mark] of marks.entries()) {
    if (marks.slice(0, at).some(({ space, id }) => space === mark.space && id === mark.id)) return mark;
  }
  const [only] = marks;
  if (only === undefined) return 'fresh';
  const insert = `INSERT INTO used_once (space, id, expires_at) VALUES ${rowsOf(marks.length, 3)}`;
  // In one order for all, so that no two who use the same wait for each other.
  const values = marks
    .toSorted((one, other) => (one.space + one.id < other.space + other.id ? -1 : 1))
    .flatMap(({ space, id, expiresAt }) => [space, id, expiresAt]);
  if (marks.length === 1) {
    return (await sql.run(`${insert} ON CONFLICT (space, id) DO NOTHING`, ...values)) === 1 ? 'fresh' : only;
  }
  for (const mark of marks) {
    const known = await sql.all('SELECT 1 AS found FROM used_once WHERE space = ? AND id = ?', mark.space, mark.id);
    if (known.length > 0) return mark;
  }
  await sql.run(insert, ...values);
  return 'fresh';
}

/** One statement; no transaction needed. */
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

/** How far the clocks of instances may differ, and some: what one still believes alive, another must not forget. */
const CLOCK_SKEW_SECONDS = 60;
/** How long events are kept: 90 days. */
const EVENTS_KEPT_SECONDS = 90 * 86_400;

/** Each statement for itself; no transaction needed. */
export async function forgetExpired(sql: Sql, now: NumericDate, limit: number): Promise<number> {
  // A family's row is what tells a retired token from a good one: it stays until the last of its tokens has expired.
  const families = await sql.run(
    'DELETE FROM families WHERE grant_id IN (SELECT grant_id FROM families WHERE expires_at < ? LIMIT ?)',
    now - CLOCK_SKEW_SECONDS,
    limit,
  );
  const revocations = await sql.run(
    // A family that rotated while it was revoked may live longer than its revocation knows: it is not let go of first.
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

/** The operations on presented predecessors of refresh tokens: what a family remembers, and the suspicions of its client. */
import { count } from './grants.ts';
import { recordEvent } from './revocations.ts';
import type { Sql } from '../sql.ts';
import {
  SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX,
  type PredecessorOutcome,
  type PredecessorShown,
  type RefreshSuspicions,
} from '../store.ts';

const HOUR_SECONDS = 3_600;

/**
 * See `Store.recordPredecessor`. The recorded generation only grows, so each statement lets one of any number of callers
 * through. A report that arrives after the next rotation still counts, because the token was presented all the same.
 */
export async function recordPredecessor(
  sql: Sql,
  { grantId, generation, inARow, suspicion }: PredecessorShown,
): Promise<PredecessorOutcome> {
  await sql.run(
    'UPDATE families SET shown_generation = ?, shown_in_a_row = ? WHERE grant_id = ? AND shown_generation < ?',
    generation,
    inARow,
    grantId,
    generation,
  );
  if (suspicion === undefined) return 'recorded';
  const suspected = await sql.run(
    'UPDATE families SET suspected_generation = ? WHERE grant_id = ? AND suspected_generation < ?',
    generation,
    grantId,
    generation,
  );
  if (suspected === 0) return 'recorded';
  return await recordSuspicion(sql, grantId, suspicion);
}

async function recordSuspicion(
  sql: Sql,
  grantId: string,
  { reason, event }: NonNullable<PredecessorShown['suspicion']>,
): Promise<'reported' | 'counted'> {
  const { at, clientId = '' } = event;
  await sql.run(
    `INSERT INTO refresh_suspicions (client_id, suspicions, last_at, last_reason, last_grant_id)
     SELECT ?, 1, ?, ?, ? WHERE EXISTS (SELECT 1 FROM clients WHERE client_id = ?)
     ON CONFLICT (client_id) DO UPDATE SET suspicions = refresh_suspicions.suspicions + 1,
       last_at = excluded.last_at, last_reason = excluded.last_reason, last_grant_id = excluded.last_grant_id`,
    clientId,
    at,
    reason,
    grantId,
    clientId,
  );
  const hour = Math.floor(at / 1000 / HOUR_SECONDS);
  const name = `suspicion events of ${clientId}`;
  const events = await count(sql, { name, period: hour, by: 1, expiresAt: (hour + 1) * HOUR_SECONDS });
  if (events > SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX) return 'counted';
  await recordEvent(sql, event);
  return 'reported';
}

/** See `Store.findRefreshSuspicions`. */
export async function findRefreshSuspicions(sql: Sql, clientId: string): Promise<RefreshSuspicions | undefined> {
  const [row] = await sql.all(
    'SELECT suspicions, last_at, last_reason, last_grant_id FROM refresh_suspicions WHERE client_id = ?',
    clientId,
  );
  if (row === undefined) return undefined;
  return {
    count: Number(row['suspicions']),
    lastAt: Number(row['last_at']),
    lastReason: row['last_reason'] === 'successive' ? 'successive' : 'late',
    lastGrantId: String(row['last_grant_id']),
  };
}

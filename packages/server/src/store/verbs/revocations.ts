/** The operations on revocations and events. */
import { LINEAGE_MAX, lineageOf, type NumericDate } from '@hallpass/protocol';
import { inBatches, insertRows, rowsOf, type Sql, type SqlValue } from '../sql.ts';
import {
  FEED_SECONDS_MAX,
  type Consequences,
  type StoredRevocation,
  type RevocationSubject,
  type StoreEvent,
} from '../store.ts';
import { findTime } from './time.ts';

/** See `Store.findIssueNotBefore`. */
export async function findIssueNotBefore(sql: Sql, clientId: string): Promise<NumericDate> {
  const [row] = await sql.all(
    `SELECT MAX(before_date) AS issue_not_before FROM revocations
      WHERE (kind = 'client' AND subject = ?) OR (kind = 'before' AND subject = '*')`,
    clientId,
  );
  return Number(row?.['issue_not_before'] ?? 0);
}

/** See `Store.isRevoked`. */
export async function isRevoked(sql: Sql, subject: RevocationSubject): Promise<boolean> {
  const rows = await sql.all(`${REVOCATIONS_OF} LIMIT 1`, ...valuesOf(subject));
  return rows.length > 0;
}

/** Selects the revocations that apply to a token or grant. Its values come from `valuesOf`. */
export const REVOCATIONS_OF = `
  SELECT 1 AS found FROM revocations WHERE kind = 'grant' AND subject = ?
  UNION ALL SELECT 1 FROM revocations WHERE kind = 'token' AND subject IN (?, ?, ?, ?)
  UNION ALL SELECT 1 FROM revocations WHERE kind = 'client' AND subject = ? AND before_date > ?
  UNION ALL SELECT 1 FROM revocations WHERE kind = 'before' AND subject = '*' AND before_date > ?`;

/** The values of `REVOCATIONS_OF`. A token without a `jti`, or with few ancestors, fills up with empty ids, which none has. */
export function valuesOf({ jti, grantId, clientId, issuedAt }: RevocationSubject): readonly SqlValue[] {
  const lineage = jti === undefined ? [] : lineageOf(jti);
  const tokens = Array.from({ length: LINEAGE_MAX }, (_, at) => lineage[at] ?? '');
  return [grantId, ...tokens, clientId, issuedAt, issuedAt];
}

/** The arguments of one call of `Store.revoke`. */
export interface RevokeRequest {
  readonly revocations: readonly StoredRevocation[];
  readonly event?: StoreEvent | undefined;
}

/** Stores the event and the revocations of a change, in the transaction of that change. */
export async function recordConsequences(sql: Sql, { event, revocations = [] }: Consequences): Promise<void> {
  await revoke(sql, revocations, event);
}

/** See `Store.revoke`. */
export async function revoke(sql: Sql, revocations: readonly StoredRevocation[], event?: StoreEvent): Promise<void> {
  await revokeBatch(sql, [{ revocations, event }]);
}

/** Runs many calls of `revoke` with as many statements as one needs. Stores all of them or none. */
export async function revokeBatch(sql: Sql, given: readonly RevokeRequest[]): Promise<void> {
  const revocations = given.flatMap((one) => one.revocations);
  if (revocations.length > 0) await insertRevocations(sql, revocations);
  await recordEvents(
    sql,
    given.flatMap(({ event }) => event ?? []),
  );
}

async function insertRevocations(sql: Sql, revocations: readonly StoredRevocation[]): Promise<void> {
  // Every revocation locks this row first and holds it until its commit, so positions follow the order of commits, as
  // `Store.readRevocations` promises.
  const [feed] = await sql.all(
    'UPDATE feed SET last_position = last_position WHERE one = 1 RETURNING last_position AS last',
  );
  if (feed === undefined) throw new Error('The store has no feed: its set-up was not finished.');
  const known = await findKnown(sql, revocations);
  const fresh = new Map<string, StoredRevocation>();
  for (const revocation of revocations) {
    const key = `${revocation.kind} ${revocation.id}`;
    const before = fresh.get(key)?.before ?? known.get(key);
    // A token or grant is revoked only once. A bound can move forward, and then gets a new position in the feed.
    if (before === undefined && (fresh.has(key) || known.has(key))) continue;
    if (before !== undefined && (revocation.before === undefined || revocation.before <= before)) continue;
    fresh.delete(key);
    fresh.set(key, revocation);
  }
  if (fresh.size === 0) return;
  const last = Number(feed['last']);
  const commitId = sql.newCommitId();
  const end = last + fresh.size;
  await sql.run('UPDATE feed SET last_position = ?, last_commit = ? WHERE one = 1', end, `${end}-${commitId}`);
  for (const [key, revocation] of fresh) if (known.has(key)) await leavePlaceholder(sql, revocation);
  const kept = await findTime(sql);
  const ends = await findFamilyEnds(sql, [...fresh.values()]);
  const rows = [...fresh.values()].map(({ kind, id, before, expires_at, keepUntil, feedSeconds }, at) => {
    const needed = Math.min(feedSeconds ?? FEED_SECONDS_MAX, FEED_SECONDS_MAX);
    const feedUntil = kept === undefined ? null : Math.ceil(kept.trusted / 1000) + needed;
    const until = kind === 'grant' ? Math.max(keepUntil, (ends.get(id) ?? 0) + FAMILY_LEEWAY_SECONDS) : keepUntil;
    return [last + 1 + at, kind, id, before ?? null, expires_at, until, commitId, feedUntil];
  });
  const columns = 'position, kind, subject, before_date, expires_at, keep_until, commit_id, feed_until';
  await insertRows(sql, `INSERT INTO revocations (${columns}) VALUES`, rows);
}

/** How much longer than its family a revocation is kept, because clocks differ; seconds. */
const FAMILY_LEEWAY_SECONDS = 60;

/** When the last token of each family expires. The token that was presented for revocation may expire sooner. */
async function findFamilyEnds(
  sql: Sql,
  revocations: readonly StoredRevocation[],
): Promise<ReadonlyMap<string, number>> {
  const ends = new Map<string, number>();
  for (const some of inBatches(revocations.filter(({ kind }) => kind === 'grant'))) {
    const places = some.map(() => '?').join(', ');
    const rows = await sql.all(
      `SELECT grant_id, expires_at FROM families WHERE grant_id IN (${places})`,
      ...some.map(({ id }) => id),
    );
    for (const row of rows) ends.set(String(row['grant_id']), Number(row['expires_at']));
  }
  return ends;
}

/**
 * Turns an entry that moves into a placeholder, for as long as its successor is in the feed. Without it, a reader whose
 * cursor is at that entry would start over: a key that moves its entry every second would make every guard read the whole
 * feed every second.
 */
async function leavePlaceholder(sql: Sql, { kind, id, expires_at }: StoredRevocation): Promise<void> {
  await sql.run(
    `UPDATE revocations
        SET kind = 'place', subject = CAST(position AS TEXT), before_date = NULL, expires_at = 0, keep_until = ?
      WHERE kind = ? AND subject = ?`,
    expires_at,
    kind,
    id,
  );
}

/** The revocations that are already stored, with their bound; `undefined` for a token or grant, which has none. */
async function findKnown(
  sql: Sql,
  revocations: readonly StoredRevocation[],
): Promise<ReadonlyMap<string, number | undefined>> {
  const known = new Map<string, number | undefined>();
  for (const some of inBatches(revocations)) {
    const rows = await sql.all(
      `SELECT kind, subject, before_date FROM revocations WHERE (subject, kind) IN (VALUES ${rowsOf(some.length, 2)})`,
      ...some.flatMap(({ kind, id }) => [id, kind]),
    );
    for (const { kind, subject, before_date } of rows) {
      known.set(`${String(kind)} ${String(subject)}`, before_date == null ? undefined : Number(before_date));
    }
  }
  return known;
}

/** See `Store.recordEvent`. */
export async function recordEvent(sql: Sql, event: StoreEvent): Promise<void> {
  await recordEvents(sql, [event]);
}

async function recordEvents(sql: Sql, events: readonly StoreEvent[]): Promise<void> {
  const rows = events.map(({ at, kind, clientId, grantId, detail }) => {
    return [sql.nextEventId(), at, kind, clientId ?? null, grantId ?? null, detail ?? null];
  });
  await insertRows(sql, 'INSERT INTO events (event_id, at, kind, client_id, grant_id, detail) VALUES', rows);
}

/** See `Store.listEvents`. */
export async function listEvents(sql: Sql, { limit }: { readonly limit: number }): Promise<readonly StoreEvent[]> {
  const rows = await sql.all(
    'SELECT at, kind, client_id, grant_id, detail FROM events ORDER BY at DESC, event_id DESC LIMIT ?',
    limit,
  );
  return rows.map((row) => ({
    at: Number(row['at']),
    kind: String(row['kind']),
    ...(row['client_id'] == null ? {} : { clientId: String(row['client_id']) }),
    ...(row['grant_id'] == null ? {} : { grantId: String(row['grant_id']) }),
    ...(row['detail'] == null ? {} : { detail: String(row['detail']) }),
  }));
}

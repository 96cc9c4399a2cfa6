/**
 * The verbs of the store in portable SQL: no sequences, triggers or advisory locks; compare-and-set updates; ids made
 * by us. An engine brings `Sql` and a way to run a verb in a transaction of its own or in one with others.
 *
 * They hold under READ COMMITTED, where each statement sees what others have committed by then. What a verb decides
 * from something that it has read is decided by the statement that writes, or after it has taken the lock of a row that
 * all who decide the same take first. A unique row that another was first with fails the transaction, and the engine
 * tries the verb again.
 */
import { isCursor, LINEAGE_MAX, lineageOf, parseRevocationEntry, type NumericDate } from '@hallpass/protocol';
import {
  CLIENTS_MAX,
  type Accompanied,
  type Client,
  type Counter,
  type Family,
  type KeptRevocation,
  type KeyRecord,
  type OnceMark,
  type RevocationPage,
  type RevocationSubject,
  type Rotation,
  type RotationOutcome,
  type SecretUse,
  type StoreEvent,
} from './store.ts';

export type SqlValue = string | number | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

/**
 * One connection of an engine, in a transaction unless the verb says that it needs none. `?` stands for a value. No
 * statement has more than 2,000 of them.
 */
export interface Sql {
  readonly all: (text: string, ...values: readonly SqlValue[]) => Promise<readonly SqlRow[]>;
  /** Resolves with how many rows were written. */
  readonly run: (text: string, ...values: readonly SqlValue[]) => Promise<number>;
  /** See `event_id.ts`. */
  readonly nextEventId: () => number;
}

/** How far the clocks of instances may differ, and some: what one still believes alive, another must not forget. */
const CLOCK_SKEW_SECONDS = 60;
/** How long events are kept: 90 days. */
const EVENTS_KEPT_SECONDS = 90 * 86_400;

// Reading

/** Who is asked for when there is no such client: the one row of this id, which nobody can have. See `findClient`. */
export const NOBODY = '';

/** A row is read and its record parsed either way: where there is no such client, the row is nobody's. */
export async function findClient(sql: Sql, clientId: string): Promise<Client | undefined> {
  const [row] = await sql.all(
    "SELECT client_id, record FROM clients WHERE client_id IN (?, '') ORDER BY client_id DESC LIMIT 1",
    clientId,
  );
  if (row === undefined) throw new Error('The store has no row for nobody: its set-up was not finished.');
  const client = clientOf(row);
  return row['client_id'] === clientId && clientId !== NOBODY ? client : undefined;
}

export async function findIssueNotBefore(sql: Sql, clientId: string): Promise<NumericDate> {
  const [row] = await sql.all(
    `SELECT MAX(before_date) AS issue_not_before FROM revocations
      WHERE (kind = 'client' AND subject = ?) OR (kind = 'before' AND subject = '*')`,
    clientId,
  );
  return Number(row?.['issue_not_before'] ?? 0);
}

export async function listClients(
  sql: Sql,
  { after, limit }: { readonly after?: string; readonly limit: number },
): Promise<readonly Client[]> {
  const rows = await sql.all(
    'SELECT record FROM clients WHERE client_id > ? ORDER BY client_id LIMIT ?',
    after ?? '',
    limit,
  );
  return rows.map(clientOf);
}

/** A record is read by the version that wrote it or a later one; what we wrote we trust. */
function clientOf(row: SqlRow): Client {
  // oxlint-disable-next-line no-unsafe-type-assertion -- our own record, parsed back
  return JSON.parse(String(row['record'])) as Client;
}

export async function isOriginListed(sql: Sql, origin: string): Promise<boolean> {
  const rows = await sql.all('SELECT 1 AS found FROM client_origins WHERE origin = ? LIMIT 1', origin);
  return rows.length > 0;
}

export async function findSecretUses(sql: Sql, clientId: string): Promise<readonly SecretUse[]> {
  const rows = await sql.all('SELECT secret_id, used_at FROM secret_uses WHERE client_id = ?', clientId);
  return rows.map((row) => ({ clientId, secretId: String(row['secret_id']), usedAt: Number(row['used_at']) }));
}

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
  throw new Error(`The store holds a key for an unknown use: ${String(value)}`);
}

export async function findFamily(sql: Sql, grantId: string): Promise<Family | undefined> {
  const [row] = await sql.all(
    'SELECT client_id, generation, rotated_at, key_id FROM families WHERE grant_id = ?',
    grantId,
  );
  if (row === undefined) return undefined;
  return {
    grantId,
    clientId: String(row['client_id']),
    generation: Number(row['generation']),
    rotatedAt: Number(row['rotated_at']),
    keyId: String(row['key_id']),
  };
}

export async function isRevoked(sql: Sql, subject: RevocationSubject): Promise<boolean> {
  const rows = await sql.all(`${REVOCATIONS_OF} LIMIT 1`, ...valuesOf(subject));
  return rows.length > 0;
}

/** The revocations that end a token of a grant and client, made at a second. */
const REVOCATIONS_OF = `
  SELECT 1 AS found FROM revocations WHERE kind = 'grant' AND subject = ?
  UNION ALL SELECT 1 FROM revocations WHERE kind = 'token' AND subject IN (?, ?, ?, ?)
  UNION ALL SELECT 1 FROM revocations WHERE kind = 'client' AND subject = ? AND before_date > ?
  UNION ALL SELECT 1 FROM revocations WHERE kind = 'before' AND subject = '*' AND before_date > ?`;

function valuesOf({ jti, grantId, clientId, issuedAt }: RevocationSubject): readonly SqlValue[] {
  const lineage = jti === undefined ? [] : lineageOf(jti);
  const tokens = Array.from({ length: LINEAGE_MAX }, (_, at) => lineage[at] ?? '');
  return [grantId, ...tokens, clientId, issuedAt, issuedAt];
}

export async function readRevocations(
  sql: Sql,
  { after, limit, now }: { readonly after?: string; readonly limit: number; readonly now: NumericDate },
): Promise<RevocationPage> {
  const { feedId, last, calls } = await findFeedEnd(sql);
  const start = positionOf(after, feedId, last);
  const rows = await sql.all(
    `SELECT position, kind, subject, before_date, expires_at FROM revocations
      WHERE position > ? AND expires_at > ? ORDER BY position LIMIT ?`,
    start,
    now,
    limit,
  );
  const entries = rows.flatMap((row) => {
    const entry = parseRevocationEntry({
      cursor: `${feedId}-${String(row['position'])}`,
      kind: row['kind'],
      id: row['subject'],
      before: row['before_date'] ?? undefined,
      expires_at: row['expires_at'],
    });
    return entry === undefined ? [] : [entry];
  });
  const more = rows.length === limit;
  // The end was read before the rows, so a row may lie beyond it; and it may lie beyond the rows, where some expired.
  const seen = Number(rows.at(-1)?.['position'] ?? 0);
  return { entries, cursor: `${feedId}-${more ? seen : Math.max(seen, last)}`, more, calls };
}

interface FeedEnd {
  readonly feedId: string;
  readonly last: number;
  /** How often followers were asked to confirm. */
  readonly calls: number;
}

export async function findFeedEnd(sql: Sql): Promise<FeedEnd> {
  const [feed] = await sql.all(
    `SELECT feed_id, last_position, (SELECT calls FROM follower_calls WHERE one = 1) AS calls
       FROM feed WHERE one = 1`,
  );
  if (feed === undefined) throw new Error('The store has no feed: its set-up was not finished.');
  return {
    feedId: String(feed['feed_id']),
    last: Number(feed['last_position']),
    calls: Number(feed['calls'] ?? 0),
  };
}

/** Where a cursor stands; the start for one that this store never gave out, such as one from before a restore. */
export function positionOf(cursor: string | undefined, feedId: string, last: number): number {
  if (!isCursor(cursor) || !cursor.startsWith(`${feedId}-`)) return 0;
  const digits = cursor.slice(feedId.length + 1);
  const position = Number(digits);
  return /^[0-9]{1,15}$/.test(digits) && position <= last ? position : 0;
}

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

// Writing

export async function saveClient(
  sql: Sql,
  client: Client,
  accompanied: Accompanied,
): Promise<'saved' | 'changed_meanwhile' | 'too_many'> {
  if (client.version === 1) {
    await takeTurn(sql);
    if ((await countClients(sql)) >= CLIENTS_MAX) return 'too_many';
    // A mark that was being made while a client of this id was deleted.
    await sql.run('DELETE FROM secret_uses WHERE client_id = ?', client.clientId);
  }
  const record = JSON.stringify(client);
  const written =
    client.version === 1
      ? await sql.run(
          'INSERT INTO clients (client_id, version, record) VALUES (?, 1, ?) ON CONFLICT (client_id) DO NOTHING',
          client.clientId,
          record,
        )
      : await sql.run(
          'UPDATE clients SET version = ?, record = ? WHERE client_id = ? AND version = ?',
          client.version,
          record,
          client.clientId,
          client.version - 1,
        );
  if (written === 0) return 'changed_meanwhile';
  await sql.run('DELETE FROM client_origins WHERE client_id = ?', client.clientId);
  for (const origin of client.disabled ? [] : client.origins) {
    await sql.run('INSERT INTO client_origins (origin, client_id) VALUES (?, ?)', origin, client.clientId);
  }
  await accompany(sql, accompanied);
  return 'saved';
}

/**
 * Who adds what there may be only so many of waits here until the one before has committed, and then sees what it
 * added. The lock is that of nobody's row, which no other verb writes.
 */
async function takeTurn(sql: Sql): Promise<void> {
  await sql.run("UPDATE clients SET version = version WHERE client_id = ''");
}

async function countClients(sql: Sql): Promise<number> {
  const [row] = await sql.all("SELECT COUNT(*) AS clients FROM clients WHERE client_id <> ''");
  return Number(row?.['clients']);
}

export async function deleteClient(
  sql: Sql,
  clientId: string,
  accompanied: Accompanied,
): Promise<'deleted' | 'unknown'> {
  if (clientId === NOBODY) return 'unknown';
  if ((await sql.run('DELETE FROM clients WHERE client_id = ?', clientId)) === 0) return 'unknown';
  await sql.run('DELETE FROM client_origins WHERE client_id = ?', clientId);
  await sql.run('DELETE FROM secret_uses WHERE client_id = ?', clientId);
  await accompany(sql, accompanied);
  return 'deleted';
}

async function accompany(sql: Sql, { event, revocations = [] }: Accompanied): Promise<void> {
  await revoke(sql, revocations, event);
}

/**
 * Each statement for itself; no transaction needed. In one order for all, so that no two who mark the same wait for each
 * other. A mark whose client is deleted at that very moment may stay: it says nothing of a client that is made later.
 */
export async function markSecretsUsed(sql: Sql, uses: readonly SecretUse[]): Promise<void> {
  const latest = new Map<string, SecretUse>();
  for (const use of uses) {
    const key = `${use.clientId} ${use.secretId}`;
    if (use.usedAt > (latest.get(key)?.usedAt ?? -1)) latest.set(key, use);
  }
  const ordered = [...latest].toSorted(([one], [other]) => (one < other ? -1 : 1)).map(([, use]) => use);
  for (const some of inBatches(ordered)) {
    await sql.run(
      `INSERT INTO secret_uses (client_id, secret_id, used_at)
       SELECT column1, column2, CAST(column3 AS BIGINT) FROM (VALUES ${rowsOf(some.length, 3)}) AS given
        WHERE EXISTS (SELECT 1 FROM clients WHERE client_id = column1)
       ON CONFLICT (client_id, secret_id) DO UPDATE SET used_at = excluded.used_at
        WHERE secret_uses.used_at < excluded.used_at`,
      ...some.flatMap(({ clientId, secretId, usedAt }) => [clientId, secretId, usedAt]),
    );
  }
}

export async function addKey(
  sql: Sql,
  key: KeyRecord,
  unlessMadeAfter: number,
  event?: StoreEvent,
): Promise<'added' | 'exists'> {
  await takeTurn(sql);
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

export async function removeKey(sql: Sql, keyId: string, accompanied: Accompanied): Promise<'removed' | 'unknown'> {
  if ((await sql.run('DELETE FROM keys WHERE key_id = ?', keyId)) === 0) return 'unknown';
  await accompany(sql, accompanied);
  return 'removed';
}

/** One statement; no transaction needed. */
export async function rewrapKey(
  sql: Sql,
  keyId: string,
  { from, to }: { readonly from: string; readonly to: string },
): Promise<'kept' | 'changed_meanwhile'> {
  const written = await sql.run('UPDATE keys SET wrapped = ? WHERE key_id = ? AND wrapped = ?', to, keyId, from);
  return written === 1 ? 'kept' : 'changed_meanwhile';
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

/**
 * The last statement writes all marks or none; no transaction needed. Of two that are first with one mark, one fails on
 * its primary key, is tried again and finds it.
 */
export async function useOnce(sql: Sql, marks: readonly OnceMark[]): Promise<OnceMark | 'fresh'> {
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

/** `(?, ?), (?, ?)`: so many rows of so many values. */
export function rowsOf(rows: number, columns: number): string {
  return Array.from({ length: rows }, () => `(${Array.from({ length: columns }, () => '?').join(', ')})`).join(', ');
}

/** The one statement that writes also judges; no transaction needed. */
export async function rotate(sql: Sql, rotation: Rotation): Promise<RotationOutcome> {
  const { grantId, clientId, from, issuedAt, rotatedAt, keyId, expiresAt } = rotation;
  const subject = { grantId, clientId, issuedAt };
  const written =
    from === 0
      ? await sql.run(
          `INSERT INTO families (grant_id, client_id, generation, rotated_at, key_id, expires_at)
           SELECT ?, ?, 1, ?, ?, ? WHERE NOT EXISTS (${REVOCATIONS_OF}) ON CONFLICT (grant_id) DO NOTHING`,
          grantId,
          clientId,
          rotatedAt,
          keyId,
          expiresAt,
          ...valuesOf(subject),
        )
      : await sql.run(
          `UPDATE families SET generation = ?, rotated_at = ?, key_id = ?
            WHERE grant_id = ? AND generation = ? AND NOT EXISTS (${REVOCATIONS_OF})`,
          from + 1,
          rotatedAt,
          keyId,
          grantId,
          from,
          ...valuesOf(subject),
        );
  if (written === 1) return 'rotated';
  return (await isRevoked(sql, subject)) ? 'revoked' : 'already_used';
}

/** What a caller of `revoke` gave. */
export interface Revoking {
  readonly revocations: readonly KeptRevocation[];
  readonly event?: StoreEvent | undefined;
}

export async function revoke(sql: Sql, revocations: readonly KeptRevocation[], event?: StoreEvent): Promise<void> {
  await revokeTogether(sql, [{ revocations, event }]);
}

/** What many callers gave, in the few statements of one: all of it or nothing. */
export async function revokeTogether(sql: Sql, given: readonly Revoking[]): Promise<void> {
  const revocations = given.flatMap((one) => one.revocations);
  if (revocations.length > 0) await keepRevocations(sql, revocations);
  await recordEvents(
    sql,
    given.flatMap(({ event }) => event ?? []),
  );
}

async function keepRevocations(sql: Sql, revocations: readonly KeptRevocation[]): Promise<void> {
  // The lock of the one row that every revocation passes through: who has it is alone with the revocations until the
  // commit, and so positions are given out in the order of commits (see the port). It is taken before anything else.
  const [feed] = await sql.all(
    'UPDATE feed SET last_position = last_position WHERE one = 1 RETURNING last_position AS last',
  );
  if (feed === undefined) throw new Error('The store has no feed: its set-up was not finished.');
  const known = await findKnown(sql, revocations);
  const fresh = new Map<string, KeptRevocation>();
  for (const revocation of revocations) {
    const key = `${revocation.kind} ${revocation.id}`;
    const before = fresh.get(key)?.before ?? known.get(key);
    // A token or a grant is dead once and for all; of two moments the later one says it all, in a new place of the feed.
    if (before === undefined && (fresh.has(key) || known.has(key))) continue;
    if (before !== undefined && (revocation.before === undefined || revocation.before <= before)) continue;
    fresh.delete(key);
    fresh.set(key, revocation);
  }
  if (fresh.size === 0) return;
  const last = Number(feed['last']);
  await sql.run('UPDATE feed SET last_position = ? WHERE one = 1', last + fresh.size);
  for (const [key, { kind, id }] of fresh) {
    if (known.has(key)) await sql.run('DELETE FROM revocations WHERE kind = ? AND subject = ?', kind, id);
  }
  const rows = [...fresh.values()].map(({ kind, id, before, expires_at, keepUntil }, at) => {
    return [last + 1 + at, kind, id, before ?? null, expires_at, keepUntil];
  });
  const columns = 'position, kind, subject, before_date, expires_at, keep_until';
  await insertRows(sql, `INSERT INTO revocations (${columns}) VALUES`, rows);
}

/** The moments of those that are kept already; `undefined` for what is dead as a whole. */
async function findKnown(
  sql: Sql,
  revocations: readonly KeptRevocation[],
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

export async function recordEvent(sql: Sql, event: StoreEvent): Promise<void> {
  await recordEvents(sql, [event]);
}

async function recordEvents(sql: Sql, events: readonly StoreEvent[]): Promise<void> {
  const rows = events.map(({ at, kind, clientId, grantId, detail }) => {
    return [sql.nextEventId(), at, kind, clientId ?? null, grantId ?? null, detail ?? null];
  });
  await insertRows(sql, 'INSERT INTO events (event_id, at, kind, client_id, grant_id, detail) VALUES', rows);
}

/** The most rows in one statement. */
const ROWS_MAX = 256;

async function insertRows(sql: Sql, insert: string, rows: readonly (readonly SqlValue[])[]): Promise<void> {
  for (const some of inBatches(rows)) {
    await sql.run(`${insert} ${rowsOf(some.length, some[0]?.length ?? 0)}`, ...some.flat());
  }
}

export function inBatches<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  return Array.from({ length: Math.ceil(items.length / ROWS_MAX) }, (_, at) =>
    items.slice(at * ROWS_MAX, (at + 1) * ROWS_MAX),
  );
}

/** Each statement for itself; no transaction needed. */
export async function forgetExpired(sql: Sql, now: NumericDate, limit: number): Promise<number> {
  const revocations = await sql.run(
    'DELETE FROM revocations WHERE position IN (SELECT position FROM revocations WHERE keep_until < ? LIMIT ?)',
    now,
    limit,
  );
  // A family's row is what tells a retired token from a good one: it stays until its last token has expired.
  const families = await sql.run(
    'DELETE FROM families WHERE grant_id IN (SELECT grant_id FROM families WHERE expires_at < ? LIMIT ?)',
    now - CLOCK_SKEW_SECONDS,
    Math.max(0, limit - revocations),
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

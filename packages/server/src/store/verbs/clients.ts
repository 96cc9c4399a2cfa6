/** The operations on API keys and their secrets. */
import { parseClient, printClient, type ParsedClients, type RowRevision } from '../parsed_clients.ts';
import { digestOf, type RecordRow } from './record_digest.ts';
import { recordConsequences } from './revocations.ts';
import { inBatches, rowsOf, type Sql, type SqlRow } from '../sql.ts';
import { CLIENTS_MAX, type Consequences, type Client, type SecretUse } from '../store.ts';

/** The id of the placeholder row, which belongs to no client. Its record is read in place of an unknown client's. */
export const PLACEHOLDER_CLIENT_ID = '';

/** The placeholder is written once, when the store is made. */
const PLACEHOLDER_REVISION = '0-nobody';

/**
 * The random part of a revision. A revision starts with the version, so that an older server, which does not write
 * revisions, leaves one that no longer fits. The random part makes every revision new, even when a client is recreated
 * under an old id or the store went back in time. (`random()` will do in both engines: it has to differ, not to be secret.)
 */
const RANDOM_PART = "random() || '-' || random()";

/**
 * See `Store.findClient`. Does the same work whether the client exists or not, and however large its record is, because
 * the time of a refusal must reveal neither. The first statement reads from an index alone and finds the row of the client
 * or of its neighbour; for a neighbour, the placeholder's record is used. A record is read and parsed only when it has
 * changed since this process last parsed it.
 */
export async function findClient(sql: Sql, clientId: string, parsed: ParsedClients): Promise<Client | undefined> {
  const [row] = await sql.all(
    'SELECT client_id, version, revision FROM clients WHERE client_id <= ? ORDER BY client_id DESC LIMIT 1',
    clientId,
  );
  if (row === undefined) throw new Error('The store has no placeholder row: its set-up did not finish.');
  const mark = row['client_id'] === clientId ? markOf(row) : PLACEHOLDER_REVISION_OF_ROW;
  const client = parsed.find(mark) ?? (await readClient(sql, mark.clientId, parsed));
  return mark.clientId === PLACEHOLDER_CLIENT_ID ? undefined : client;
}

/** Undefined when the client has just been deleted. */
async function readClient(sql: Sql, clientId: string, parsed: ParsedClients): Promise<Client | undefined> {
  const [row] = await sql.all('SELECT client_id, version, revision, record FROM clients WHERE client_id = ?', clientId);
  return row === undefined ? undefined : parsed.parse(markOf(row), String(row['record']));
}

const PLACEHOLDER_REVISION_OF_ROW: RowRevision = { clientId: PLACEHOLDER_CLIENT_ID, revision: PLACEHOLDER_REVISION };

function markOf(row: SqlRow): RowRevision {
  const clientId = String(row['client_id']);
  if (clientId === PLACEHOLDER_CLIENT_ID) return PLACEHOLDER_REVISION_OF_ROW;
  const { revision } = row;
  const isOfVersion = typeof revision === 'string' && revision.startsWith(`${row['version']}-`);
  return { clientId, revision: isOfVersion ? revision : undefined };
}

/** Gives a row that was copied or restored a new revision, and the digest of its record. */
export async function renewRevision(sql: Sql, row: RecordRow): Promise<void> {
  await sql.run(
    `UPDATE clients SET revision = version || '-' || ${RANDOM_PART}, digest = ? WHERE client_id = ?`,
    digestOf(row),
    row.clientId,
  );
}

/** See `Store.listClients`. */
export async function listClients(
  sql: Sql,
  { after, limit }: { readonly after?: string; readonly limit: number },
): Promise<readonly Client[]> {
  const rows = await sql.all(
    'SELECT record FROM clients WHERE client_id > ? ORDER BY client_id LIMIT ?',
    after ?? '',
    limit,
  );
  return rows.map((row) => parseClient(String(row['record'])));
}

/** See `Store.isOriginListed`. */
export async function isOriginListed(sql: Sql, origin: string): Promise<boolean> {
  const rows = await sql.all('SELECT 1 AS found FROM client_origins WHERE origin = ? LIMIT 1', origin);
  return rows.length > 0;
}

/** See `Store.findSecretUses`. */
export async function findSecretUses(sql: Sql, clientId: string): Promise<readonly SecretUse[]> {
  const rows = await sql.all('SELECT secret_id, used_at FROM secret_uses WHERE client_id = ?', clientId);
  return rows.map((row) => ({ clientId, secretId: String(row['secret_id']), usedAt: Number(row['used_at']) }));
}

/** See `Store.saveClient`. */
export async function saveClient(
  sql: Sql,
  client: Client,
  consequences: Consequences,
): Promise<'saved' | 'changed_meanwhile' | 'too_many'> {
  if (client.version === 1) {
    await lockForAdding(sql);
    if ((await countClients(sql)) >= CLIENTS_MAX) return 'too_many';
    // These may have been written while an earlier client with this id was being deleted.
    await sql.run('DELETE FROM secret_uses WHERE client_id = ?', client.clientId);
    await sql.run('DELETE FROM refresh_suspicions WHERE client_id = ?', client.clientId);
  }
  const record = printClient(client);
  const digest = digestOf({ clientId: client.clientId, version: client.version, record });
  const before = client.version === 1 ? undefined : await findRecordOf(sql, client);
  if (client.version > 1 && before === undefined) return 'changed_meanwhile';
  const written =
    before === undefined
      ? await sql.run(
          `INSERT INTO clients (client_id, version, record, digest, revision) VALUES (?, 1, ?, ?, '1-' || ${RANDOM_PART})
           ON CONFLICT (client_id) DO NOTHING`,
          client.clientId,
          record,
          digest,
        )
      : await sql.run(
          `UPDATE clients SET version = ?, revision = CAST(? AS TEXT) || ${RANDOM_PART}, record = ?, digest = ?
            WHERE client_id = ? AND version = ? AND record = ?`,
          client.version,
          `${client.version}-`,
          record,
          digest,
          client.clientId,
          client.version - 1,
          before,
        );
  if (written === 0) return 'changed_meanwhile';
  await sql.run('DELETE FROM client_origins WHERE client_id = ?', client.clientId);
  for (const origin of client.disabled ? [] : client.origins) {
    await sql.run('INSERT INTO client_origins (origin, client_id) VALUES (?, ?)', origin, client.clientId);
  }
  await recordConsequences(sql, consequences);
  return 'saved';
}

/**
 * The record that a change replaces. Undefined when it is no longer there: it has a later version, or the client was
 * recreated under the same id. A recreated client counts from version 1 again, and a change that started before must not
 * bring back the old client and its secrets.
 */
async function findRecordOf(sql: Sql, { clientId, version, createdAt }: Client): Promise<string | undefined> {
  const [row] = await sql.all('SELECT record FROM clients WHERE client_id = ? AND version = ?', clientId, version - 1);
  if (row === undefined) return undefined;
  const record = String(row['record']);
  return wasMadeAt(record, createdAt) ? record : undefined;
}

/** An unreadable record counts as the same client, so that a change can replace it with a good one. */
function wasMadeAt(record: string, createdAt: number): boolean {
  try {
    return parseClient(record).createdAt === createdAt;
  } catch {
    return true;
  }
}

/**
 * Serializes additions that are limited in number: each waits until the one before has committed, and then sees it. It
 * locks the placeholder row, which no other operation writes.
 */
export async function lockForAdding(sql: Sql): Promise<void> {
  await sql.run("UPDATE clients SET version = version WHERE client_id = ''");
}

async function countClients(sql: Sql): Promise<number> {
  const [row] = await sql.all("SELECT COUNT(*) AS clients FROM clients WHERE client_id <> ''");
  return Number(row?.['clients']);
}

/** See `Store.deleteClient`. */
export async function deleteClient(
  sql: Sql,
  clientId: string,
  consequences: Consequences,
): Promise<'deleted' | 'unknown'> {
  if (clientId === PLACEHOLDER_CLIENT_ID) return 'unknown';
  if ((await sql.run('DELETE FROM clients WHERE client_id = ?', clientId)) === 0) return 'unknown';
  await sql.run('DELETE FROM client_origins WHERE client_id = ?', clientId);
  await sql.run('DELETE FROM secret_uses WHERE client_id = ?', clientId);
  await sql.run('DELETE FROM refresh_suspicions WHERE client_id = ?', clientId);
  await recordConsequences(sql, consequences);
  return 'deleted';
}

/**
 * See `Store.markSecretsUsed`. Rows are written in a fixed order, which avoids deadlocks. A use whose client is deleted at
 * this very moment may remain; `saveClient` clears it when a client is recreated. Needs no transaction.
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

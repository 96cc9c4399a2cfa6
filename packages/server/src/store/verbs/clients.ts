/** The verbs about API keys and their secrets. */
import { parseClient, printClient, type ParsedClients, type RowRevision } from '../parsed_clients.ts';
import { digestOf, type RecordRow } from './record_digest.ts';
import { recordConsequences } from './revocations.ts';
import { inBatches, rowsOf, type Sql, type SqlRow } from '../sql.ts';
import { CLIENTS_MAX, type Consequences, type Client, type SecretUse } from '../store.ts';

/** The id of the one row that is no client's. Its record stands in for that of a client that does not exist. */
export const PLACEHOLDER_CLIENT_ID = '';

/** Nobody's record is written once, when the store is made. */
const PLACEHOLDER_REVISION = '0-nobody';

/**
 * What makes the revision of a row: its version, so that a server of an older schema, which does not write revisions,
 * leaves one behind that no longer fits; and chance, so that a client made anew under an old id, or a store that went
 * back in time, never has a revision that was there before. (`random()` is good enough in both engines: it is to differ,
 * not to be unguessable.)
 */
const CHANCE = "random() || '-' || random()";

/**
 * The same work whether the client exists or not, and however large its record is: the time of a refusal must not tell.
 * The index holds all that the first statement reads. It finds the client's row, or its neighbour's; then nobody's record
 * is taken instead. Only a record that has changed since it was last parsed here is read and parsed.
 */
export async function findClient(sql: Sql, clientId: string, parsed: ParsedClients): Promise<Client | undefined> {
  const [row] = await sql.all(
    'SELECT client_id, version, revision FROM clients WHERE client_id <= ? ORDER BY client_id DESC LIMIT 1',
    clientId,
  );
  if (row === undefined) throw new Error('The store has no row for nobody: its set-up was not finished.');
  const mark = row['client_id'] === clientId ? markOf(row) : PLACEHOLDER_REVISION_OF_ROW;
  const client = parsed.find(mark) ?? (await readClient(sql, mark.clientId, parsed));
  return mark.clientId === PLACEHOLDER_CLIENT_ID ? undefined : client;
}

/** Undefined when the client was deleted a moment ago. */
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

/** Gives a row that was written as a whole, such as by a restore, a revision of its own, and the digest of its record. */
export async function renewRevision(sql: Sql, row: RecordRow): Promise<void> {
  await sql.run(
    `UPDATE clients SET revision = version || '-' || ${CHANCE}, digest = ? WHERE client_id = ?`,
    digestOf(row),
    row.clientId,
  );
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
  return rows.map((row) => parseClient(String(row['record'])));
}

export async function isOriginListed(sql: Sql, origin: string): Promise<boolean> {
  const rows = await sql.all('SELECT 1 AS found FROM client_origins WHERE origin = ? LIMIT 1', origin);
  return rows.length > 0;
}

export async function findSecretUses(sql: Sql, clientId: string): Promise<readonly SecretUse[]> {
  const rows = await sql.all('SELECT secret_id, used_at FROM secret_uses WHERE client_id = ?', clientId);
  return rows.map((row) => ({ clientId, secretId: String(row['secret_id']), usedAt: Number(row['used_at']) }));
}

export async function saveClient(
  sql: Sql,
  client: Client,
  consequences: Consequences,
): Promise<'saved' | 'changed_meanwhile' | 'too_many'> {
  if (client.version === 1) {
    await lockForAdding(sql);
    if ((await countClients(sql)) >= CLIENTS_MAX) return 'too_many';
    // Marks that were being made while a client of this id was deleted.
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
          `INSERT INTO clients (client_id, version, record, digest, revision) VALUES (?, 1, ?, ?, '1-' || ${CHANCE})
           ON CONFLICT (client_id) DO NOTHING`,
          client.clientId,
          record,
          digest,
        )
      : await sql.run(
          `UPDATE clients SET version = ?, revision = CAST(? AS TEXT) || ${CHANCE}, record = ?, digest = ?
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
 * The record that a change replaces. Undefined when there is another one by now: of a later version, or of a client that
 * was made anew under the same id. That one counts from version 1 again, and a change that was begun before must not bring
 * the old one back, with its secrets.
 */
async function findRecordOf(sql: Sql, { clientId, version, createdAt }: Client): Promise<string | undefined> {
  const [row] = await sql.all('SELECT record FROM clients WHERE client_id = ? AND version = ?', clientId, version - 1);
  if (row === undefined) return undefined;
  const record = String(row['record']);
  return wasMadeAt(record, createdAt) ? record : undefined;
}

/** A record that cannot be read tells nothing: a change may put a good one in its place. */
function wasMadeAt(record: string, createdAt: number): boolean {
  try {
    return parseClient(record).createdAt === createdAt;
  } catch {
    return true;
  }
}

/**
 * Who adds what there may be only so many of waits here until the one before has committed, and then sees what it
 * added. The lock is that of nobody's row, which no other verb writes.
 */
export async function lockForAdding(sql: Sql): Promise<void> {
  await sql.run("UPDATE clients SET version = version WHERE client_id = ''");
}

async function countClients(sql: Sql): Promise<number> {
  const [row] = await sql.all("SELECT COUNT(*) AS clients FROM clients WHERE client_id <> ''");
  return Number(row?.['clients']);
}

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

/** The verbs about API keys and their secrets. */
import { accompany } from './revocation_verbs.ts';
import { inBatches, rowsOf, type Sql, type SqlRow } from './sql.ts';
import { CLIENTS_MAX, type Accompanied, type Client, type SecretUse } from './store.ts';

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
export async function takeTurn(sql: Sql): Promise<void> {
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

/**
 * Restores over a store in use. The API keys and issuer keys of the backup replace those of the store. Whatever the store
 * has revoked, retired, removed or used once stays so, because the backup may be older and nothing acknowledged is lost.
 */
import { recordEvent, revoke } from '../verbs/revocations.ts';
import type { Sql, SqlRow } from '../sql.ts';
import type { StoredRevocation, StoreEvent } from '../store.ts';
import { columnsOf, listOf, PAGE_ROWS, TABLES, TransferRefusal, type Table } from './tables.ts';

/** What a restore over a store would replace. */
export interface Replaced {
  readonly apiKeys: number;
  /** Refreshed grants. Those of an API key in the backup continue. Grants that were never refreshed have no rows to count. */
  readonly grants: number;
}

/** Counts what a restore would replace, to ask the operator first. */
export async function countReplaced(sql: Sql): Promise<Replaced> {
  const [row] = await sql.all(
    `SELECT (SELECT COUNT(*) FROM clients WHERE client_id <> '') AS clients, (SELECT COUNT(*) FROM families) AS grants`,
  );
  return { apiKeys: Number(row?.['clients']), grants: Number(row?.['grants']) };
}

/** Tables whose rows stay; the backup only adds to them. */
const KEPT: ReadonlySet<string> = new Set(['feed', 'revocations', 'families', 'used_once', 'events']);
/** Prefixes the kind of a revocation that is set aside, so that the backup can hold one with the same subject. */
const ASIDE = 'aside ';

/**
 * Makes room for the rows of a backup, in the transaction that writes them. `agreed`: what the operator has agreed to
 * replace. Throws `TransferRefusal` if the store holds more API keys by now.
 */
export async function clearForRestore(sql: Sql, agreed: Replaced): Promise<void> {
  if ((await countReplaced(sql)).apiKeys > agreed.apiKeys)
    throw new TransferRefusal(
      'An API key was created in the store in the meantime. Nothing was restored. Run the command again.',
    );
  for (const { name } of TABLES) if (!KEPT.has(name)) await sql.run(`DELETE FROM ${name}`);
  // No entry of the backup has a negative position, and no reader asks for one.
  await sql.run(`UPDATE revocations SET position = -position, kind = '${ASIDE}' || kind WHERE position > 0`);
}

/**
 * Writes the row of a grant unless the store has a later generation of it. Going back would make refresh tokens valid again
 * that were retired since the backup. The row stays until the last of all its tokens expires.
 */
export async function putFamilyUnlessNewer(sql: Sql, table: Table, row: SqlRow): Promise<void> {
  const { name, values } = table;
  const columns = columnsOf(table);
  const later = (column: string): string => {
    const by = column === 'expires_at' ? column : 'generation';
    return `${column} = CASE WHEN excluded.${by} > families.${by} THEN excluded.${column} ELSE families.${column} END`;
  };
  await sql.run(
    `INSERT INTO ${name} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})
     ON CONFLICT (grant_id) DO UPDATE SET ${values.map(later).join(', ')}`,
    ...listOf(table, row),
  );
}

/** Removes the issuer keys that operators removed since the backup: someone else may have them. */
async function removeAgain(sql: Sql): Promise<void> {
  await sql.run(`DELETE FROM keys WHERE key_id IN (SELECT detail FROM events WHERE kind LIKE '%_key_removed')`);
}

/**
 * Revokes again what was set aside, behind the revocations of the backup, removes again the issuer keys that had been
 * removed, and records the event.
 */
export async function reapplyRevocations(sql: Sql, event: StoreEvent): Promise<void> {
  for (;;) {
    const rows = await sql.all(
      `SELECT position, kind, subject, before_date, expires_at, keep_until FROM revocations
        WHERE position < 0 ORDER BY position DESC LIMIT ${PAGE_ROWS}`,
    );
    const last = rows.at(-1);
    if (last === undefined) break;
    await sql.run('DELETE FROM revocations WHERE position < 0 AND position >= ?', Number(last['position']));
    await revoke(sql, rows.flatMap(revocationOf));
  }
  await removeAgain(sql);
  await recordEvent(sql, event);
}

const KINDS = ['token', 'grant', 'client', 'before'] as const;

function revocationOf(row: SqlRow): readonly StoredRevocation[] {
  const kind = KINDS.find((known) => `${ASIDE}${known}` === row['kind']);
  // Placeholders in the feed are no longer needed.
  if (kind === undefined) return [];
  const before = row['before_date'];
  return [
    {
      kind,
      id: String(row['subject']),
      ...(before == null ? {} : { before: Number(before) }),
      expires_at: Number(row['expires_at']),
      keepUntil: Number(row['keep_until']),
    },
  ];
}

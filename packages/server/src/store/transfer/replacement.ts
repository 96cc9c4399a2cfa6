/**
 * Restoring over a store that is in use: its API keys and issuer keys make way for those of the backup. What it has revoked,
 * retired or removed stays so, as does what may be used once: the backup may be older, and nothing acknowledged is forgotten.
 */
import { recordEvent, revoke } from '../verbs/revocations.ts';
import type { Sql, SqlRow } from '../sql.ts';
import type { StoredRevocation, StoreEvent } from '../store.ts';
import { columnsOf, listOf, PAGE_ROWS, TABLES, TransferRefusal, type Table } from './transfer.ts';

/** What a restore over a store would end. */
export interface Replaced {
  readonly apiKeys: number;
  /** Refreshed grants, of which those of an API key that the backup has go on; others have no rows. */
  readonly grants: number;
}

export async function countReplaced(sql: Sql): Promise<Replaced> {
  const [row] = await sql.all(
    `SELECT (SELECT COUNT(*) FROM clients WHERE client_id <> '') AS clients, (SELECT COUNT(*) FROM families) AS grants`,
  );
  return { apiKeys: Number(row?.['clients']), grants: Number(row?.['grants']) };
}

/** Tables whose rows a backup adds to, and does not take the place of. */
const KEPT: ReadonlySet<string> = new Set(['feed', 'revocations', 'families', 'used_once', 'events']);
/** Before the kind of a revocation that is put aside, so that one of the backup may have the same subject. */
const ASIDE = 'aside ';

/** Makes room for the rows of a backup, in the transaction that writes them. `found`: what its owner has agreed to lose. */
export async function clearForRestore(sql: Sql, found: Replaced): Promise<void> {
  if ((await countReplaced(sql)).apiKeys > found.apiKeys)
    throw new TransferRefusal(
      'An API key was made in the store meanwhile. Nothing was restored. Run the command again.',
    );
  for (const { name } of TABLES) if (!KEPT.has(name)) await sql.run(`DELETE FROM ${name}`);
  // A position below zero is in nobody's way, and no reader ever asks for one.
  await sql.run(`UPDATE revocations SET position = -position, kind = '${ASIDE}' || kind WHERE position > 0`);
}

/**
 * Keeps the row of a grant, unless the store has seen a later generation of it: with an earlier one, or none, a refresh
 * token that was retired since the backup would be good again. The row stays until the last of all its tokens has ended.
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

/** Takes out the issuer keys that this store's operators have taken out since the backup: someone else may have them. */
async function removeAgain(sql: Sql): Promise<void> {
  await sql.run(`DELETE FROM keys WHERE key_id IN (SELECT detail FROM events WHERE kind LIKE '%_key_removed')`);
}

/** Revokes once more what was put aside, behind what the backup has revoked; keys that were taken out are so again. */
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
  // What was only a place in the feed is one no more.
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

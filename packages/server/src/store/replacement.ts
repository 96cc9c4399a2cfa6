/**
 * Restoring over a store that is in use: its keys, grants and clients make way for those of the backup. What it has revoked
 * stays revoked, as does what may be used once, for the backup may be older than that: nothing acknowledged is forgotten.
 */
import { recordEvent, revoke } from './revocation_verbs.ts';
import type { Sql, SqlRow } from './sql.ts';
import type { KeptRevocation, StoreEvent } from './store.ts';
import { PAGE_ROWS, TABLES, TransferRefusal } from './transfer.ts';

/** What a restore over a store would end. */
export interface Replaced {
  readonly apiKeys: number;
  /** Refreshed grants; others have no rows. */
  readonly grants: number;
}

export async function countReplaced(sql: Sql): Promise<Replaced> {
  const [row] = await sql.all(
    `SELECT (SELECT COUNT(*) FROM clients WHERE client_id <> '') AS clients, (SELECT COUNT(*) FROM families) AS grants`,
  );
  return { apiKeys: Number(row?.['clients']), grants: Number(row?.['grants']) };
}

/** Tables whose rows a backup adds to, and does not take the place of. */
const KEPT: ReadonlySet<string> = new Set(['feed', 'revocations', 'used_once', 'events']);
/** Before the kind of a revocation that is put aside, so that one of the backup may have the same subject. */
const ASIDE = 'aside ';

/** Makes room for the rows of a backup, in the transaction that writes them. `found`: what its owner has agreed to lose. */
export async function makeWay(sql: Sql, found: Replaced): Promise<void> {
  if ((await countReplaced(sql)).apiKeys > found.apiKeys)
    throw new TransferRefusal(
      'An API key was made in the store meanwhile. Nothing was restored. Run the command again.',
    );
  for (const { name } of TABLES) if (!KEPT.has(name)) await sql.run(`DELETE FROM ${name}`);
  // A position below zero is in nobody's way, and no reader ever asks for one.
  await sql.run(`UPDATE revocations SET position = -position, kind = '${ASIDE}' || kind WHERE position > 0`);
}

/** Revokes once more what was put aside, behind what the backup has revoked. */
export async function bringBack(sql: Sql, event: StoreEvent): Promise<void> {
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
  await recordEvent(sql, event);
}

const KINDS = ['token', 'grant', 'client', 'before'] as const;

function revocationOf(row: SqlRow): readonly KeptRevocation[] {
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

/** Copies a store into another one, row by row. */
import { createHash } from 'node:crypto';
import { findFeedEnd, type FeedEnd } from '../verbs/feed.ts';
import type { Sql, SqlRow } from '../sql.ts';
import { findTime } from '../verbs/time.ts';
import {
  addTo,
  compareKeys,
  PAGE_ROWS,
  put,
  readPage,
  readPages,
  readTable,
  TABLES,
  TransferRefusal,
  valueOf,
  type Progress,
  type Table,
  type TableReport,
  type Tables,
} from './tables.ts';

/**
 * Makes one store a copy of another by comparing them row by row and writing the differences. It can run while the source
 * serves, can be interrupted and repeated, and is fast when little has changed. With `dryRun` it writes nothing. Throws
 * `TransferRefusal` when the target must not be overwritten.
 */
export async function copyTables({
  from,
  to,
  dryRun,
  progress,
}: {
  readonly from: Tables;
  readonly to: Tables;
  readonly dryRun: boolean;
  readonly progress: Progress;
}): Promise<readonly TableReport[]> {
  return await from.snapshot(async (source) => {
    const target = await assertMayOverwrite(source, to);
    // Cleared before the first row is copied: if a server runs there, its next entry tells the next copy.
    if (target === 'another' && !dryRun) await to.transact((sql) => sql.run('DELETE FROM store_time'));
    const reports: TableReport[] = [];
    for (const table of TABLES) reports.push(await copyTable(table, { source, to, dryRun, progress }));
    return reports;
  });
}

/**
 * Refuses a target that has API keys of another store, or that has been served since it was copied: rotations and changes
 * made there would be undone, and retired tokens would be valid again. Returns whether the target is already a copy.
 */
async function assertMayOverwrite(source: Sql, to: Tables): Promise<'copy' | 'another'> {
  const [theirs, clients, ours] = await Promise.all([
    to.snapshot(findFeedEnd),
    to.snapshot((sql) => sql.all("SELECT client_id FROM clients WHERE client_id <> '' LIMIT 1")),
    findFeedEnd(source),
  ]);
  if (theirs.feedId !== ours.feedId && clients.length > 0) {
    throw new TransferRefusal('The other store has its own API keys. Copy to an empty store.');
  }
  if (theirs.feedId === ours.feedId && theirs.last > 0 && !(await isPrefixOf(source, ours, theirs))) {
    throw new TransferRefusal(
      'The other store has revoked tokens of its own since it was copied, so servers already run on it. Copying would lose those revocations.',
    );
  }
  if (theirs.feedId !== ours.feedId) return 'another';
  // Only servers write the time, every few seconds.
  if ((await to.snapshot(findTime)) !== undefined) {
    throw new TransferRefusal(
      'A server has run on the other store since it was copied. Copying would undo what it did. Empty that database to start over.',
    );
  }
  return 'copy';
}

/** Whether the history that ends at `theirs` is part of ours. If our entry is already forgotten, it is taken to be. */
async function isPrefixOf(source: Sql, ours: FeedEnd, theirs: FeedEnd): Promise<boolean> {
  if (theirs.last > ours.last) return false;
  if (theirs.last === ours.last) return theirs.commitId === ours.commitId;
  const [row] = await source.all('SELECT commit_id FROM revocations WHERE position = ?', theirs.last);
  return row === undefined || String(row['commit_id'] ?? '') === theirs.commitId;
}

type Change = { readonly put: SqlRow } | { readonly remove: SqlRow };

async function copyTable(
  table: Table,
  {
    source,
    to,
    dryRun,
    progress,
  }: { readonly source: Sql; readonly to: Tables; readonly dryRun: boolean; readonly progress: Progress },
): Promise<TableReport> {
  const digest = createHash('sha256');
  const counts = { rows: 0, inserted: 0, updated: 0, deleted: 0 };
  let changes: Change[] = [];
  const write = async (): Promise<void> => {
    const batch = changes;
    changes = [];
    if (!dryRun && batch.length > 0) await to.transact((sql) => apply(sql, table, batch));
    progress(table.name, counts.rows);
  };
  for await (const [ours, theirs] of pairs(
    table,
    readTable(source, table),
    readPages((after) => to.snapshot((sql) => readPage(sql, table, after))),
  )) {
    if (ours === undefined) {
      counts.deleted += 1;
      if (theirs !== undefined) changes.push({ remove: theirs });
    } else {
      counts.rows += 1;
      addTo(digest, table, ours);
      if (theirs === undefined) counts.inserted += 1;
      else if (isSame(table, ours, theirs)) continue;
      else counts.updated += 1;
      changes.push({ put: ours });
    }
    if (changes.length >= PAGE_ROWS) await write();
  }
  await write();
  return { table: table.name, ...counts, checksum: digest.digest('hex') };
}

/** Merges two ordered streams of rows into pairs with equal keys; a missing row is undefined. */
async function* pairs(
  table: Table,
  ours: AsyncGenerator<SqlRow>,
  theirs: AsyncGenerator<SqlRow>,
): AsyncGenerator<readonly [SqlRow | undefined, SqlRow | undefined]> {
  let [a, b] = [await nextOf(ours), await nextOf(theirs)];
  while (a !== undefined || b !== undefined) {
    const order = a === undefined ? 1 : b === undefined ? -1 : compareKeys(table, a, b);
    yield [order <= 0 ? a : undefined, order >= 0 ? b : undefined];
    if (order <= 0) a = await nextOf(ours);
    if (order >= 0) b = await nextOf(theirs);
  }
}

async function nextOf(rows: AsyncGenerator<SqlRow>): Promise<SqlRow | undefined> {
  const { value, done } = await rows.next();
  return done === true ? undefined : value;
}

function isSame(table: Table, a: SqlRow, b: SqlRow): boolean {
  return table.values.every((column) => valueOf(a, column) === valueOf(b, column));
}

async function apply(sql: Sql, table: Table, changes: readonly Change[]): Promise<void> {
  const where = table.key.map((column) => `${column} = ?`).join(' AND ');
  for (const change of changes) {
    // Removals come first: a new row may reuse a unique value of a removed one.
    if ('remove' in change) {
      await sql.run(
        `DELETE FROM ${table.name} WHERE ${where}`,
        ...table.key.map((column) => valueOf(change.remove, column)),
      );
    }
  }
  for (const change of changes) if ('put' in change) await put(sql, table, change.put);
}

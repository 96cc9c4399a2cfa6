/** Backups: a store as lines of JSON with a checksum, the same for both engines. */
import { createHash } from 'node:crypto';
import { escapeControlsInLines, parseJson } from '@hallpass/protocol';
import { findFeedEnd } from '../verbs/feed.ts';
import { MIGRATIONS } from '../migrations.ts';
import { reapplyRevocations, clearForRestore, putFamilyUnlessNewer, type Replaced } from './replacement.ts';
import type { Sql, SqlRow, SqlValue } from '../sql.ts';
import type { StoreEvent } from '../store.ts';
import {
  columnsOf,
  listOf,
  PAGE_ROWS,
  put,
  readTable,
  TABLES,
  TransferRefusal,
  type Progress,
  type Table,
  type Tables,
} from './tables.ts';

/** The first line of a backup; `Tail` is the last. Each line between holds a row: its table and its values. */
interface Head {
  readonly hallpass_backup: 1;
  readonly schema: number;
  readonly madeAt: string;
}

interface Tail {
  readonly rows: number;
  /** SHA-256 over all lines before this one, in hexadecimal. */
  readonly sha256: string;
}

/**
 * Writes a store as lines of JSON. Tokens revoked in the meantime are added at the end, so that no revocation acknowledged
 * before the last lines is missing from a restored store.
 */
export async function writeBackup(
  from: Tables,
  {
    schema,
    madeAt,
    write,
    progress,
  }: {
    readonly schema: number;
    readonly madeAt: string;
    readonly write: (line: string) => Promise<void>;
    readonly progress: Progress;
  },
): Promise<Tail> {
  const digest = createHash('sha256');
  let rows = 0;
  const writeLine = async (value: unknown): Promise<void> => {
    // A backup may be printed to a terminal, and the names in it may hold control characters.
    const line = escapeControlsInLines(`${JSON.stringify(value)}\n`);
    digest.update(line);
    await write(line);
  };
  const writeRow = async (table: Table, row: SqlRow): Promise<void> => {
    await writeLine([table.name, ...listOf(table, row)]);
    rows += 1;
    if (rows % PAGE_ROWS === 0) progress(table.name, rows);
  };
  await writeLine({ hallpass_backup: 1, schema, madeAt } satisfies Head);
  const end = await from.snapshot(async (sql) => {
    for (const table of TABLES) for await (const row of readTable(sql, table)) await writeRow(table, row);
    return (await findFeedEnd(sql)).last;
  });
  await from.snapshot(async (sql) => {
    for (const table of TABLES.filter(({ name }) => name === 'feed' || name === 'revocations')) {
      const after = table.name === 'feed' ? undefined : { position: end };
      for await (const row of readTable(sql, table, after)) await writeRow(table, row);
    }
  });
  const tail = { rows, sha256: digest.digest('hex') };
  await write(`${JSON.stringify(tail)}\n`);
  return tail;
}

/**
 * Reads a backup to its end and returns when it was made and the rows per table. Throws `TransferRefusal` when it is damaged,
 * truncated or from a newer version.
 */
export async function verifyBackup(
  lines: AsyncIterable<string>,
  schemaMax: number,
): Promise<{ readonly madeAt: string; readonly byTable: ReadonlyMap<string, number> }> {
  const digest = createHash('sha256');
  const byTable = new Map<string, number>();
  let head: Head | undefined;
  let tail: Tail | undefined;
  let rows = 0;
  for await (const line of lines) {
    if (tail !== undefined) throw damaged('it goes on after its end');
    const value = head === undefined ? parseJson(line) : parseLine(line);
    if (head === undefined) {
      head = headOf(value, schemaMax);
    } else if (Array.isArray(value)) {
      const [{ name }] = rowOf(value, head.schema);
      byTable.set(name, (byTable.get(name) ?? 0) + 1);
      rows += 1;
    } else {
      tail = tailOf(value);
      continue;
    }
    digest.update(`${line}\n`);
  }
  if (head === undefined || tail === undefined) throw damaged('it has no end');
  if (tail.rows !== rows || tail.sha256 !== digest.digest('hex')) throw damaged('its checksum does not match');
  return { madeAt: head.madeAt, byTable };
}

/**
 * Fills a store from a verified backup, in one transaction, because a half-filled store could be served without its
 * revocations. The feed gets a new id, so that guards which have read further than the backup start over and miss nothing.
 * Returns the number of rows. Throws `TransferRefusal` when the store is not empty and `over` is absent.
 */
export async function restoreBackup(
  lines: AsyncIterable<string>,
  {
    to,
    feedId,
    progress,
    over,
  }: {
    readonly to: Tables;
    readonly feedId: string;
    readonly progress: Progress;
    /** Replaces what is in the store, which the operator has agreed to. Absent: a store that is not empty is refused. */
    readonly over?: { readonly replaced: Replaced; readonly event: StoreEvent };
  },
): Promise<number> {
  return await to.transact(async (sql) => {
    if (over === undefined) await assertEmpty(sql);
    else await clearForRestore(sql, over.replaced);
    let rows = 0;
    let head: Head | undefined;
    for await (const line of lines) {
      const value = parseLine(line);
      head ??= headOf(value, MIGRATIONS.length);
      if (!Array.isArray(value)) continue;
      const [table, row] = rowOf(value, head.schema);
      // An entry that moved while the backup was written is in it twice; the later one counts.
      if (table.name === 'revocations') {
        await sql.run(
          'DELETE FROM revocations WHERE kind = ? AND subject = ?',
          row['kind'] ?? null,
          row['subject'] ?? null,
        );
      }
      if (table.name === 'families') await putFamilyUnlessNewer(sql, table, row);
      else await put(sql, table, table.name === 'feed' ? { ...row, feed_id: feedId } : row);
      rows += 1;
      if (rows % PAGE_ROWS === 0) progress(table.name, rows);
    }
    if (over !== undefined) await reapplyRevocations(sql, over.event);
    return rows;
  });
}

async function assertEmpty(sql: Sql): Promise<void> {
  const found = await sql.all(
    "SELECT 1 AS found FROM clients WHERE client_id <> '' UNION ALL SELECT 1 FROM keys LIMIT 1",
  );
  if (found.length > 0) {
    throw new TransferRefusal('The store is not empty. Restore into a new data folder, or an empty database.');
  }
}

function damaged(how: string): TransferRefusal {
  return new TransferRefusal(`The backup is damaged: ${how}. Nothing was restored from it.`);
}

function parseLine(line: string): unknown {
  const value = parseJson(line);
  if (value === undefined) throw damaged('a line is not JSON');
  return value;
}

function headOf(value: unknown, schemaMax: number): Head {
  if (typeof value !== 'object' || value === null || !('hallpass_backup' in value) || value.hallpass_backup !== 1) {
    throw new TransferRefusal('This file is not a backup of a Hallpass store.');
  }
  const schema = 'schema' in value ? value.schema : undefined;
  const madeAt = 'madeAt' in value ? value.madeAt : undefined;
  if (typeof schema !== 'number' || typeof madeAt !== 'string') throw damaged('its head is not complete');
  if (schema > schemaMax) {
    throw new TransferRefusal(
      `The backup was made by a newer Hallpass (schema ${schema}; this one knows ${schemaMax}). Restore it with that version.`,
    );
  }
  return { hallpass_backup: 1, schema, madeAt };
}

function tailOf(value: unknown): Tail {
  if (typeof value === 'object' && value !== null && 'rows' in value && 'sha256' in value) {
    const { rows, sha256 } = value;
    if (typeof rows === 'number' && typeof sha256 === 'string') return { rows, sha256 };
  }
  throw damaged('a line is neither a row nor its end');
}

function rowOf(list: readonly unknown[], schema: number): readonly [Table, SqlRow] {
  const [name, ...values] = list;
  const table = TABLES.find((known) => known.name === name);
  if (table === undefined) throw damaged('it has an unknown table');
  const columns = columnsOf(table);
  // An older version wrote fewer columns.
  const isWhole = values.length === columns.length || (schema < MIGRATIONS.length && values.length < columns.length);
  if (!isWhole || values.length < table.key.length) throw damaged('a row is not complete');
  const valueOf = (at: number): SqlValue => (at < values.length ? cellOf(values[at]) : defaultOf(table, at));
  const cells = columns.map((column, at) => [column, valueOf(at)] as const);
  return [table, Object.fromEntries(cells)];
}

/** The value of a column that was added after the row was written. */
function defaultOf(table: Table, at: number): SqlValue {
  const { added = [] } = table;
  return added[at - (columnsOf(table).length - added.length)] ?? null;
}

function cellOf(value: unknown): SqlValue {
  if (typeof value === 'string' || typeof value === 'number' || value === null) return value;
  throw damaged('a value is neither text nor a number');
}

/** The embedded engine, opened read-only for `store verify`, so that a broken store stays as it was found. */
import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { FAULTS_MAX, type Checkable, type Findings } from '../verify/findings.ts';
import { eventIds } from '../event_id.ts';
import { MIGRATIONS, newerSchema, olderSchema } from '../migrations.ts';
import { sqlOf } from './connection.ts';
import { faultOf, outageOf, whyNotOpened } from './faults.ts';
import { assertWholeFile, isLogEmpty, TornCopy } from './generation.ts';
import { findSchemaFaults } from './schema.ts';
import { StoreUnusable } from '../store.ts';
import type { Progress } from '../transfer/tables.ts';

/** How long a read waits for another process that opens or closes the store, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;

/** Opens a store for a check. Throws `StoreUnusable` when the file holds no store, or none that can be read at all. */
export function openSqliteCheck({ file }: { readonly file: string }): Checkable {
  assertStoreIsThere(file);
  const logWas = isLogEmpty(file) ? 'empty' : 'in use';
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
    // From here on one snapshot is read, whatever others write.
    database.exec('BEGIN');
    assertSchema(Number(database.prepare('PRAGMA user_version').get()?.['user_version']), file);
  } catch (error) {
    database?.close();
    if (error instanceof StoreUnusable) throw error;
    throw new StoreUnusable(whyNotOpened(faultOf(error), file), { cause: error });
  }
  const opened = database;
  const sql = sqlOf(opened, eventIds());
  return {
    read: async (work) => {
      try {
        return await work(sql);
      } catch (error) {
        throw outageOf(faultOf(error), 'read');
      }
    },
    checkEngine: async (findings, progress) => {
      await findings.attempt('The generation marks', async () => {
        try {
          // Reads outside the snapshot, because a server may start a new log generation in the meantime.
          assertWholeFile(file, logWas);
        } catch (error) {
          if (!(error instanceof TornCopy)) throw error;
          findings.add(error.message);
        }
      });
      await checkStructure(opened, findings, progress);
    },
    close: async () => opened.close(),
  };
}

/** Throws `StoreUnusable` when this file cannot be a store, for commands that only read. */
export function assertStoreIsThere(file: string): void {
  let found;
  try {
    found = statSync(file, { throwIfNoEntry: false });
  } catch (cause) {
    throw new StoreUnusable(whyNotOpened(faultOf(cause), file), { cause });
  }
  if (found === undefined) throw new StoreUnusable(`There is no store: ${file}. Is HALLPASS_DATA_DIR right?`);
  if (!found.isFile()) throw new StoreUnusable(`The store is not a file: ${file}. Is HALLPASS_DATA_DIR right?`);
  // A new store may still be entirely in its log.
  if (found.size === 0 && isLogEmpty(file)) {
    throw new StoreUnusable(
      `The store is empty: ${file} has no bytes. If it held API keys, restore the newest backup into a new data folder (hallpass store restore).`,
    );
  }
}

function assertSchema(version: number, file: string): void {
  if (version > MIGRATIONS.length) throw new StoreUnusable(newerSchema(version));
  if (version < MIGRATIONS.length) throw new StoreUnusable(olderSchema(version, file));
}

/** Checks each table with its indexes, and then the pages that belong to no table. */
async function checkStructure(database: DatabaseSync, findings: Findings, progress: Progress): Promise<void> {
  const tables = await findings.attempt('The schema', async () => {
    for (const name of findSchemaFaults(database))
      findings.add(`The schema is damaged: ${name} differs from the original.`);
    return database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all();
  });
  for (const { name } of tables ?? []) {
    progress(`pages and indexes of ${String(name)}`, 0);
    await findings.attempt(`The table ${String(name)}`, async () => {
      const rows = database.prepare(`PRAGMA integrity_check("${String(name).replaceAll('"', '""')}")`).all();
      addAll(rows, { name: String(name), findings });
    });
  }
  progress('free pages', 0);
  await findings.attempt('The file', async () =>
    addAll(database.prepare(`PRAGMA quick_check(${FAULTS_MAX})`).all(), { name: 'the file', findings }),
  );
}

function addAll(
  rows: readonly Readonly<Record<string, unknown>>[],
  { name, findings }: { readonly name: string; readonly findings: Findings },
): void {
  for (const row of rows) {
    const message = String(Object.values(row)[0]);
    if (message !== 'ok') findings.add(`${name}: ${message.replaceAll('\n', ' ')}`);
  }
}

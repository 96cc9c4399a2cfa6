/**
 * `store verify`: whether a store is what it was when it was written (ADR 35). The engine compares its tables with its
 * indexes, which together hold each value that an answer rests on; what only Hallpass knows of its rows is compared here.
 * Nothing is written, and whatever is broken, the rest is still looked at.
 */
import { Findings, type Checkable } from './findings.ts';
import { findRowFaults } from './row_faults.ts';
import type { Sql } from '../sql.ts';
import type { KeyRecord } from '../store.ts';
import { checkTable, TABLES, type Progress, type TableReport } from '../transfer/transfer.ts';
import { loadKeys } from '../verbs/verbs.ts';

/** Throws for a key that the master key does not open; or why there is no master key to try, in a sentence. */
export type KeyOpener = ((key: KeyRecord) => void) | string;

/** Resolves with what was found, and closes the store. */
export async function checkStore(
  store: Checkable,
  { openKey, progress }: { readonly openKey: KeyOpener; readonly progress: Progress },
): Promise<{ readonly findings: Findings; readonly tables: readonly TableReport[] }> {
  const findings = new Findings();
  const tables: TableReport[] = [];
  try {
    await store.checkEngine(findings, progress);
    for (const table of TABLES) {
      const report = await findings.attempt(`The table ${table.name}`, () =>
        store.read((sql) => checkTable(sql, table, progress)),
      );
      if (report !== undefined) tables.push(report);
    }
    await findRowFaults(store.read, findings);
    if (typeof openKey === 'string') findings.skip(`The keys of the issuer were not opened: ${openKey}`);
    else await findings.attempt('The table keys', () => store.read((sql) => openKeys(sql, { openKey, findings })));
  } finally {
    await store.close();
  }
  return { findings, tables };
}

async function openKeys(
  sql: Sql,
  { openKey, findings }: { readonly openKey: (key: KeyRecord) => void; readonly findings: Findings },
): Promise<void> {
  for (const key of await loadKeys(sql)) {
    try {
      openKey(key);
    } catch (error) {
      findings.add(error instanceof Error ? error.message : String(error));
    }
  }
}

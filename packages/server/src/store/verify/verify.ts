/**
 * `store verify`: whether a store still holds what was written (ADR 35). The engine compares its tables with their indexes,
 * which together hold every value that decides an answer; rules that only Hallpass knows are checked here. Nothing is
 * written, and a broken part does not stop the check of the rest.
 */
import { Findings, type Checkable } from './findings.ts';
import { findRowFaults } from './row_faults.ts';
import type { Sql } from '../sql.ts';
import type { KeyRecord } from '../store.ts';
import { checkTable, TABLES, type Progress, type TableReport } from '../transfer/tables.ts';
import { loadKeys } from '../verbs/verbs.ts';

/** Throws when the master key does not decrypt a key. A string instead: why there is no master key to try, as a sentence. */
export type KeyOpener = ((key: KeyRecord) => void) | string;

/** Checks a store, closes it, and returns the findings with the counts and checksums of the readable tables. */
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
    if (typeof openKey === 'string') findings.skip(`The issuer keys were not decrypted: ${openKey}`);
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

/** How commands reach the store: with warnings printed, and the name of the store on standard error. */
import { systemClock, systemRandom } from '../serving/system.ts';
import type { System } from '../serving/instance.ts';
import type { Settings } from '../serving/settings/settings.ts';
import { describeStore, openTables, type OpeningOptions } from '../serving/stores.ts';
import type { Tables } from '../store/transfer/tables.ts';
import { printRemark, printWarning } from './output.ts';

/** The real clock and real chance, with warnings on standard error. */
export const commandSystem: System = { clock: systemClock, random: systemRandom, warn: printWarning };

/** Prints which store a command works on, so that you notice when it runs with other settings than the server. */
export function printStore(settings: Settings): void {
  printRemark(`Store: ${describeStore(settings)}`);
}

/**
 * Opens the tables of an existing store, prints which store it is, runs `work` on them, and closes them. Pass `open` to
 * open them differently. Throws `StoreMissing` or `StoreUnusable`.
 */
export async function withTables<Result>(
  settings: Settings,
  work: (tables: Tables) => Promise<Result>,
  open: (settings: Settings, options: OpeningOptions) => Promise<Tables> = (from, options) =>
    openTables(from, { ...options, ifMissing: 'refuse' }),
): Promise<Result> {
  const tables = await open(settings, { warn: printWarning });
  printStore(settings);
  try {
    return await work(tables);
  } finally {
    await tables.close();
  }
}

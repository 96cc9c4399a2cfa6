/** `hallpass store init`: creates a store. In production nothing else does. */
import type { Command } from 'commander';
import { openExistingInstance, openInstance } from '../../serving/instance.ts';
import { commandSystem } from '../opened_store.ts';
import { good, printJson, printLine, strong } from '../output.ts';
import type { Settings } from '../../serving/settings/settings.ts';
import { describeStore, isStore } from '../../serving/stores.ts';

/** Adds the command to `hallpass store`. */
export function addInitCommand(store: Command, read: () => Settings): void {
  store
    .command('init')
    .description('create a new store with the keys of the issuer; an existing store stays as it is')
    .option('--json', 'print JSON')
    .action(async ({ json }: { readonly json?: boolean }) => {
      const settings = read();
      const existed = await isStore(settings);
      // Opened with its keys in either case: a wrong master key shows now, and an interrupted creation is completed.
      const instance = await (existed ? openExistingInstance : openInstance)(settings, commandSystem);
      await instance.store.close();
      const name = describeStore(settings);
      if (json === true) printJson({ store: name, made: !existed });
      else if (existed) printLine(`This store already exists: ${strong(name)}. It stays as it is.`);
      else printLine(`${good('Created')} a new store: ${strong(name)}.`);
    });
}

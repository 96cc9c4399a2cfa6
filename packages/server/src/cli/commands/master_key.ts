/** `hallpass master-key ...`: which master key the store's keys are encrypted under, and moving them to another. */
import { Command } from 'commander';
import { listMasterKeys, rewrapKeys, type MasterKeyUse } from '../../operator/master_key.ts';
import type { WithInstance } from '../with_instance.ts';
import { good, printJson, printLine, printTable, strong } from '../output.ts';

interface Json {
  readonly json?: boolean;
}

/** The command `master-key`. */
export function masterKeyCommand(withInstance: WithInstance): Command {
  const command = new Command('master-key').description("show and replace the key that encrypts the store's keys");

  command
    .command('list')
    .description('list the master keys in use by their ids, with the number of keys under each')
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const uses = await withInstance(listMasterKeys);
      if (json === true) printJson(uses);
      else printUses(uses);
    });

  command
    .command('rewrap')
    .description(
      'encrypt every key of the store under the first master key in the settings, while instances keep serving',
    )
    .option('--dry-run', 'say how many keys that would be, and change nothing')
    .option('--json', 'print JSON')
    .action(async ({ dryRun, json }: Json & { readonly dryRun?: boolean }) => {
      if (dryRun === true) {
        const uses = await withInstance(listMasterKeys);
        const count = uses.filter(({ current }) => !current).reduce((sum, { keys }) => sum + keys, 0);
        if (json === true) return printJson({ keys: count, rewrapped: false });
        printUses(uses);
        return printLine(`Would put ${count} keys under ${currentOf(uses)}.`);
      }
      const [count, uses] = await withInstance(
        async (instance) => [await rewrapKeys(instance), await listMasterKeys(instance)] as const,
      );
      if (json === true) return printJson({ keys: count, rewrapped: true });
      if (count === 0)
        return printLine(
          `Nothing to do: all keys are under ${strong(currentOf(uses))}, the first master key in the settings. The others in the settings are no longer needed. To replace this one, put a new one before it.`,
        );
      printLine(`${good('Put')} ${count} keys under ${strong(currentOf(uses))}.`);
      printLine('Every instance needs this master key from now on; the previous one can be taken out of the settings.');
    });

  return command;
}

function currentOf(uses: readonly MasterKeyUse[]): string {
  return uses.find(({ current }) => current)?.id ?? '';
}

function printUses(uses: readonly MasterKeyUse[]): void {
  printTable(
    ['master key', 'keys', ''],
    uses.map(({ id, keys, current }) => [id, String(keys), current ? 'first in the settings' : '']),
  );
}

/** `hallpass master-key ...`: which master key the store's keys are under, and moving them to another. */
import { Command } from 'commander';
import { listMasterKeys, rewrapKeys, type MasterKeyUse } from '../../operator/master_key.ts';
import type { WithInstance } from './keys.ts';
import { good, printJson, printLine, printTable, strong } from '../output.ts';

interface Json {
  readonly json?: boolean;
}

export function masterKeyCommand(withInstance: WithInstance): Command {
  const command = new Command('master-key').description("show and replace what the store's keys are encrypted under");

  command
    .command('list')
    .description('list the master keys in use by their ids, and how many keys of the store are under each')
    .option('--json', 'print JSON')
    .action(async ({ json }: Json) => {
      const uses = await withInstance(listMasterKeys);
      if (json === true) printJson(uses);
      else printUses(uses);
    });

  command
    .command('rewrap')
    .description('put every key of the store under the first master key of the settings; instances serve on meanwhile')
    .option('--dry-run', 'say how many keys that would be, and do nothing')
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
          `Nothing to do: all keys are under ${strong(currentOf(uses))}, the first master key in the settings. Others there are not needed any more; to replace it, put a new one before it.`,
        );
      printLine(`${good('Put')} ${count} keys under ${strong(currentOf(uses))}.`);
      printLine(
        'Every instance needs this master key from now on; the one before it can be taken out of the settings.',
      );
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

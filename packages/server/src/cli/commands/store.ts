/** `hallpass store ...`: the whole store, to a file and back, and to another database, while servers keep running. */
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  openSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { Command } from 'commander';
import { printBase64url } from '@hallpass/protocol';
import { CommandRefusal } from '../command_refusal.ts';
import { restoreBackup, verifyBackup, writeBackup } from '../../store/transfer/backup.ts';
import { copyTables } from '../../store/transfer/copy.ts';
import { checkStore } from '../../store/verify/verify.ts';
import { MIGRATIONS } from '../../store/migrations.ts';
import { countReplaced, type Replaced } from '../../store/transfer/replacement.ts';
import { hasPassword } from '../../store/postgres/password.ts';
import { RESTORE } from '../../store/store.ts';
import {
  checkTables,
  TransferRefusal,
  type Progress,
  type TableReport,
  type Tables,
} from '../../store/transfer/tables.ts';
import { commandProcess } from '../command_process.ts';
import { countOf } from '../command_values.ts';
import { confirm, yesOption, type Confirmed } from '../confirmation.ts';
import { findKeyOpener } from '../../serving/master_keys.ts';
import { printStore, withTables } from '../opened_store.ts';
import {
  clearProgress,
  good,
  printError,
  printFields,
  printJson,
  printLine,
  printProgress,
  printRemark,
  printTable,
  printWarning,
  ReaderGone,
  strong,
  warn,
  written,
} from '../output.ts';
import { DATABASE_URL_MUST, parseDatabaseUrl } from '../../serving/settings/values.ts';
import { BadSetting, type Settings } from '../../serving/settings/settings.ts';
import { readStandardInput } from '../standard_input.ts';
import { addInitCommand } from './store_init.ts';
import { describeStore, isStore, openCheck, openTables, openTablesToRead } from '../../serving/stores.ts';
import { systemClock, systemRandom } from '../../serving/system.ts';
import { onStopSignal } from '../../serving/stop_signals.ts';

interface Json {
  readonly json?: boolean;
}

/** The command `store`. `read` gives the settings when a subcommand runs. */
export function storeCommand(read: () => Settings): Command {
  const command = new Command('store').description('create, back up, restore, check and move the whole store');

  addInitCommand(command, read);

  command
    .command('backup')
    .description(
      'write the store to a file while servers keep running; it has everything that was acknowledged before it ends',
    )
    .argument('<file>', 'the file to write, or - for standard output')
    .option('--json', 'print JSON')
    .action(async (file: string, { json }: Json) => {
      const target = file === '-' ? standardOutput() : newFile(file);
      const tail = await withTables(
        read(),
        (from) =>
          writeBackup(from, {
            schema: MIGRATIONS.length,
            madeAt: new Date(systemClock.now()).toISOString(),
            write: target.write,
            progress: progressOf('backing up'),
          }),
        openTablesToRead,
      ).catch((error: unknown) => {
        target.abandon();
        throw error;
      });
      await target.finish();
      if (file === '-') return;
      if (json === true) return printJson({ file, ...tail });
      printLine(`${good('Backed up')} ${tail.rows} rows to ${strong(file)}.`);
      printLine('It is useless without the master key. Keep that somewhere else.');
    });

  command
    .command('restore')
    .description(
      'fill a store from a backup, which is checked completely before anything is written; a store in use is replaced',
    )
    .argument('<file>')
    .option('--dry-run', 'check the backup, count what it would replace, and write nothing')
    .addOption(yesOption())
    .option('--json', 'print JSON')
    .action(async (file: string, options: Json & Confirmed & { readonly dryRun?: boolean }) => {
      const { json } = options;
      const { madeAt, byTable } = await refusing(() => verifyBackup(linesOf(file), MIGRATIONS.length));
      const rows = [...byTable.values()].reduce((sum, count) => sum + count, 0);
      const settings = read();
      const replaced = await findReplaced(settings);
      if (options.dryRun === true) {
        const counts = { api_keys: replaced?.apiKeys ?? 0, refreshed_grants: replaced?.grants ?? 0 };
        if (json === true) return printJson({ file, madeAt, rows, restored: false, replaced: counts });
        printStore(settings);
        printLine(`Would restore ${rows} rows from a backup of ${madeAt}. It is whole.`);
        if (replaced !== undefined && isInUse(replaced))
          printLine(`${warn('Would replace')} ${printReplaced(replaced)}.`);
        return;
      }
      if (replaced !== undefined && isInUse(replaced)) {
        const question = {
          does: `replaces ${printReplaced(replaced)} with a backup of ${madeAt}`,
          costs: [
            'API keys and secrets that are not in the backup are lost, with their grants. What was revoked, retired or removed stays so.',
          ],
        };
        await confirm(async () => question, options, settings);
      }
      // Lower-case letters and digits, like a store's own.
      const feedId = Buffer.from(systemRandom(8)).toString('hex');
      const event = { at: systemClock.now(), kind: 'store_restored', detail: `a backup of ${madeAt}` };
      const restored = await refusing(() =>
        withTables(
          settings,
          (to) =>
            restoreBackup(linesOf(file), {
              to,
              feedId,
              progress: progressOf('restoring'),
              ...(replaced === undefined ? {} : { over: { replaced, event } }),
            }),
          openTables,
        ),
      );
      if (json === true) return printJson({ file, madeAt, rows: restored, restored: true });
      printLine(`${good('Restored')} ${restored} rows from a backup of ${madeAt}.`);
      printLine(
        replaced === undefined || !isInUse(replaced)
          ? 'What was revoked after that is not in it. To end every token: hallpass revoke-everything'
          : 'What this store had revoked, retired or removed stays so.',
      );
    });

  command
    .command('verify')
    .description(
      'read the store, or a backup, from end to end; report what is in it and whether it is damaged; change nothing',
    )
    .argument('[file]', 'a backup (default: the store itself)')
    .option('--json', 'print JSON')
    .action(async (file: string | undefined, { json }: Json) => {
      if (file !== undefined) {
        const { madeAt, byTable } = await refusing(() => verifyBackup(linesOf(file), MIGRATIONS.length));
        if (json === true) return printJson({ file, madeAt, tables: Object.fromEntries(byTable) });
        printLine(`${good('Whole')}: a backup of ${madeAt}.`);
        return printFields([...byTable].map(([table, rows]) => [table, String(rows)] as const));
      }
      await verifyStore(read(), json === true ? 'json' : 'text');
    });

  command
    .command('copy')
    .description('make another database a copy of this store; run it again to copy what has changed since')
    .option(
      '--to <address>',
      'the address of the other database, or - to read it from standard input (default: HALLPASS_COPY_TO)',
    )
    .option('--dry-run', 'count what is different, and write nothing')
    .option('--json', 'print JSON')
    .action(async ({ to, dryRun = false, json }: Json & { readonly to?: string; readonly dryRun?: boolean }) => {
      const settings = read();
      const url = await findTarget(to, settings);
      if (settings.databaseUrl === url) throw new CommandRefusal('A store cannot be copied to itself.');
      const began = systemClock.now();
      const reports = await refusing(() =>
        withTables(
          settings,
          async (from) => {
            const target = { ...settings, databaseUrl: url };
            const progress = progressOf(dryRun ? 'comparing' : 'copying');
            printRemark(`Copy: ${describeStore(target)}`);
            if (dryRun && !(await isStore(target))) return await wholeAsNew(from, progress);
            const copy = await openTables(target, { warn: printWarning });
            try {
              const copied = await copyTables({ from, to: copy, dryRun, progress });
              if (!dryRun) assertAlike(copied, await checkTables(copy, progressOf('checking')));
              return copied;
            } finally {
              await copy.close();
            }
          },
          openTablesToRead,
        ),
      );
      const seconds = (systemClock.now() - began) / 1000;
      if (json === true) return printJson({ copied: !dryRun, seconds, tables: reports });
      printTable(
        ['table', 'rows', 'new', 'changed', 'gone'],
        reports.map(({ table, rows, inserted, updated, deleted }) => [
          table,
          ...[rows, inserted, updated, deleted].map(String),
        ]),
      );
      const changes = reports.reduce((sum, { inserted, updated, deleted }) => sum + inserted + updated + deleted, 0);
      if (dryRun) return printLine(`${warn('Would write')} ${changes} rows. Nothing was written.`);
      printLine(
        `${good('Copied')}: ${changes} rows written in ${seconds.toFixed(1)} s, and read back with equal counts and checksums.`,
      );
    });

  return command;
}

/** Prints what is in the store and what was found. Throws `CommandRefusal` when something is damaged. */
async function verifyStore(settings: Settings, as: 'json' | 'text'): Promise<void> {
  const store = await openCheck(settings);
  printStore(settings);
  const openKey = findKeyOpener(settings, systemRandom);
  const { findings, tables } = await checkStore(store, { openKey, progress: progressOf('checking') });
  clearProgress();
  const { faults, notChecked } = findings;
  const counts = tables.map(({ table, rows, checksum }) => ({ table, rows, checksum }));
  if (as === 'json') {
    printJson({ whole: faults.length === 0, faults, notChecked, tables: counts });
  } else {
    printTable(
      ['table', 'rows', 'checksum'],
      counts.map(({ table, rows, checksum }) => [table, String(rows), checksum.slice(0, 16)]),
    );
    for (const sentence of notChecked) printWarning(`not checked: ${sentence}`);
    for (const fault of faults) printError(fault);
  }
  if (faults.length > 0) throw new CommandRefusal(`The store is damaged. ${RESTORE}`);
  if (as === 'text')
    printLine(
      `${good('Whole')}: nothing in the store is damaged${notChecked.length === 0 ? '.' : ', as far as it was checked.'}`,
    );
}

/** Where to copy to. A password may only come from where no other user of this machine sees it. */
async function findTarget(to: string | undefined, { copyTo }: Settings): Promise<string> {
  if (to === undefined) {
    if (copyTo !== undefined) return copyTo;
    throw new BadSetting(
      'Name the database to copy to: set HALLPASS_COPY_TO, or use --to - and give the address on standard input.',
    );
  }
  const [line = ''] = to === '-' ? (await readStandardInput()).trim().split('\n') : [to];
  const url = parseDatabaseUrl(line.trim());
  // Not the text itself: it may hold a password.
  if (url === undefined)
    throw new BadSetting(`${to === '-' ? 'The address on standard input' : '--to'} must be ${DATABASE_URL_MUST}.`);
  if (to !== '-' && hasPassword(url)) {
    throw new BadSetting(
      'There is a password in --to, and every user of this machine can read a command line. Set HALLPASS_COPY_TO, or use --to - and give the address on standard input.',
    );
  }
  return url;
}

/** What a restore would replace; undefined where there is no store. */
async function findReplaced(settings: Settings): Promise<Replaced | undefined> {
  if (!(await isStore(settings))) return undefined;
  const tables = await openTables(settings, { ifMissing: 'refuse', warn: printWarning });
  try {
    return await tables.snapshot(countReplaced);
  } finally {
    await tables.close();
  }
}

function isInUse({ apiKeys, grants }: Replaced): boolean {
  return apiKeys + grants > 0;
}

function printReplaced({ apiKeys, grants }: Replaced): string {
  return `${countOf(apiKeys, 'API key')} and ${countOf(grants, 'refreshed grant')}`;
}

/** What a copy to a database without a store would write: a dry run must not make one to compare with. */
async function wholeAsNew(from: Tables, progress: Progress): Promise<readonly TableReport[]> {
  return (await checkTables(from, progress)).map((report) => ({ ...report, inserted: report.rows }));
}

/** Throws when the copy is not what was read, as when someone else writes to it. */
function assertAlike(source: readonly TableReport[], copy: readonly TableReport[]): void {
  for (const { table, rows, checksum } of source) {
    const other = copy.find((report) => report.table === table);
    if (other?.checksum === checksum) continue;
    throw new TransferRefusal(
      `The copy differs in ${table}: ${rows} rows here, ${other?.rows ?? 0} there. Does a server write to it already? Run the command again.`,
    );
  }
}

async function refusing<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof TransferRefusal) throw new CommandRefusal(error.message);
    throw error;
  }
}

function progressOf(verb: string): Progress {
  return (table, rows) => printProgress(`${verb} ${table}: ${rows} rows`);
}

interface Target {
  readonly write: (text: string) => Promise<void>;
  readonly finish: () => Promise<void>;
  readonly abandon: () => void;
}

function standardOutput(): Target {
  const { stdout } = commandProcess();
  return {
    write: async (text) => {
      if (!stdout.write(text) || stdout.errored !== null) await untilRead();
    },
    finish: untilRead,
    abandon: () => undefined,
  };
}

async function untilRead(): Promise<void> {
  try {
    await written(() => undefined);
  } catch (error) {
    if (!(error instanceof ReaderGone)) throw error;
    throw new CommandRefusal('Standard output was closed before the backup was whole. Do not keep what was read.');
  }
}

/** A file that is written completely or not at all, for its owner alone, and is on disk before it gets its name. */
function newFile(file: string): Target {
  if (existsSync(file)) throw new CommandRefusal(`The file ${file} already exists. Name another, or remove it.`);
  const draft = `${file}.${printBase64url(systemRandom(6))}.partial`;
  let descriptor: number;
  try {
    descriptor = openSync(draft, 'wx', 0o600);
  } catch {
    throw new CommandRefusal(`The file ${file} cannot be written. Name one in a folder that you can write to.`);
  }
  const abandon = (): void => {
    closeSync(descriptor);
    unlinkSync(draft);
  };
  const goOn = onStopSignal(abandon);
  return {
    write: async (text) => {
      writeFileSync(descriptor, text);
    },
    finish: async () => {
      goOn();
      fsyncSync(descriptor);
      closeSync(descriptor);
      renameSync(draft, file);
    },
    abandon: () => {
      goOn();
      abandon();
    },
  };
}

/** The lines of a file, split only at line feeds: readline would also split at characters that names may contain. */
async function* linesOf(file: string): AsyncGenerator<string> {
  if (!existsSync(file)) throw new CommandRefusal(`There is no file ${file}.`);
  let rest = '';
  for await (const chunk of createReadStream(file, 'utf8')) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}

/** `hallpass keys import FILE`: existing keys from a file of another system, or of another Hallpass. */
import { createReadStream, statSync } from 'node:fs';
import { Command, Option } from 'commander';
import { manageApiKeys } from '../../operator/api_keys.ts';
import { OperatorRefusal } from '../../operator/operator_refusal.ts';
import { basicReadingOf } from '../../operator/import/basic.ts';
import { IMPORT_BYTES_MAX, readImportFile } from '../../operator/import/files.ts';
import { IMPORT_FORMATS, type ImportFormat } from '../../operator/import/rows.ts';
import {
  keepImport,
  ON_CONFLICT,
  planImport,
  type ImportCounts,
  type ImportPlan,
  type OnConflict,
  type PlannedKey,
} from '../../operator/import/import_keys.ts';
import { StoreUnavailable } from '../../store/store.ts';
import { isAccessibleToOthers } from '../../serving/file_permissions.ts';
import { commandProcess } from '../command_process.ts';
import { countOf, given } from '../command_values.ts';
import type { WithInstance } from '../with_instance.ts';
import { CommandRefusal } from '../command_refusal.ts';
import { FILE_REMARKS, remarksOnBasic } from '../import_remarks.ts';
import { keyFieldsOf, withKeyOptions, type KeyOptions } from '../key_options.ts';
import { sentenceOf } from '../refusal_sentences.ts';
import {
  clearProgress,
  good,
  printError,
  printJson,
  printLine,
  printProgress,
  printRemark,
  printTable,
  printWarning,
  warn,
} from '../output.ts';
import { watchStopSignals } from '../../serving/stop_signals.ts';

interface ImportOptions {
  readonly format?: ImportFormat;
  readonly dryRun?: boolean;
  readonly allowWeakSecret?: boolean;
  readonly onConflict: OnConflict;
  readonly json?: boolean;
}

/** Adds the command to `hallpass keys`. */
export function addImportCommand(keys: Command, withInstance: WithInstance): void {
  withKeyOptions(
    keys
      .command('import')
      .description('import existing credentials as API keys: every row of a file or, if anything in it is wrong, none')
      .argument('<file>', 'the file, or - to read standard input'),
    { except: ['name', 'publicKeys'] },
  )
    .addOption(
      new Option('--format <format>', 'the format of the file (default: guessed from how it begins)').choices(
        IMPORT_FORMATS,
      ),
    )
    .addOption(
      new Option('--on-conflict <what>', 'what to do with a key whose client_id exists already')
        .choices(ON_CONFLICT)
        .default('refuse'),
    )
    .option('--dry-run', 'say what would be imported and what is wrong, and change nothing')
    .option('--allow-weak-secret', 'import secrets that could be guessed')
    .option('--json', 'print JSON')
    .action(async (file: string, options: ImportOptions & KeyOptions) => {
      const bytes = await readFile(file);
      const policy = keyFieldsOf(options);
      const allowWeak = options.allowWeakSecret === true;
      const { format, rows, remarks } = readImportFile(bytes, {
        policy,
        allowWeak,
        ...given({ format: options.format }),
      });
      if (options.format === undefined)
        printRemark(`The file is read as ${FORMAT_NAMES[format]} (--format ${format}).`);
      for (const remark of remarks) printRemark(warn(FILE_REMARKS[remark]));
      await withInstance(async (instance) => {
        const { store } = instance;
        const api = manageApiKeys(instance);
        const plan = await planImport({ store, api }, rows, options.onConflict);
        if (plan.bad.length > 0) return refuseAll(plan, { format, options });
        if (options.dryRun === true) return printPlan(plan.planned, { format, options });
        const counts = await keep(plan.planned, (done) =>
          keepImport(api, plan.planned, { onConflict: options.onConflict, done }),
        );
        if (options.json === true) return printJson({ ...summaryOf(format, plan, counts), keys: keysOf(plan.planned) });
        printLine(`${good('Imported')} ${countOf(counts.made, 'API key')}; ${counts.skipped} existed already.`);
      });
    });
}

const FORMAT_NAMES: Record<ImportFormat, string> = {
  csv: 'CSV',
  json: 'JSON',
  hydra: "Ory Hydra's client export",
};

async function readFile(file: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    if (file !== '-' && isAccessibleToOthers(statSync(file))) {
      printWarning(`Others on this machine can read the secrets in this file. Close it to them: chmod 600 ${file}`);
    }
    const source: AsyncIterable<Uint8Array> = file === '-' ? commandProcess().stdin : createReadStream(file);
    for await (const chunk of source) {
      chunks.push(chunk);
      size += chunk.length;
      // One byte too many is enough: the reader refuses the file.
      if (size > IMPORT_BYTES_MAX) break;
    }
  } catch {
    throw new CommandRefusal(`This file cannot be read: ${file}.`);
  }
  return Buffer.concat(chunks);
}

interface Shown {
  readonly format: ImportFormat;
  readonly options: ImportOptions;
}

/** Prints every bad row. Throws `CommandRefusal`, except that for JSON it only sets the exit code. */
function refuseAll(plan: ImportPlan, { format, options }: Shown): void {
  const { planned, bad } = plan;
  if (options.json === true) {
    printJson({ ...summaryOf(format, plan, { made: 0, skipped: 0 }), keys: keysOf(planned) });
    commandProcess().exitCode = 1;
    return;
  }
  for (const { at, fault } of bad) printError(`${at}: ${sentenceOf(fault)}`);
  const all = planned.length + bad.length;
  throw new CommandRefusal(`${bad.length} of ${countOf(all, 'key')} cannot be imported, and nothing was kept.`);
}

function summaryOf(format: ImportFormat, { planned, bad }: ImportPlan, counts: ImportCounts): object {
  const faults = bad.map(({ at, fault }) => ({ at, fault: sentenceOf(fault) }));
  return { format, rows: planned.length + bad.length, ...counts, bad: faults };
}

function keysOf(planned: readonly PlannedKey[]): readonly object[] {
  return planned.map((key) => ({
    at: key.at,
    client_id: key.drafted.clientId,
    name: key.drafted.name,
    scopes: key.drafted.scopes,
    credential: credentialOf(key),
    basic: basicReadingOf(key.wanted),
    disabled: key.drafted.disabled,
    exists: key.exists,
  }));
}

function credentialOf({ wanted }: PlannedKey): 'secret' | 'hash' | 'public_keys' {
  if (wanted.imported.clientSecretHash !== undefined) return 'hash';
  return wanted.imported.clientSecret === undefined ? 'public_keys' : 'secret';
}

function printPlan(planned: readonly PlannedKey[], { format, options }: Shown): void {
  if (options.json === true) {
    const counts = { made: 0, skipped: 0 };
    return printJson({ ...summaryOf(format, { planned, bad: [] }, counts), dry_run: true, keys: keysOf(planned) });
  }
  const fresh = planned.filter(({ exists }) => !exists).length;
  if (planned.length > 0) {
    printTable(
      ['where', 'client_id', 'name', 'credential', 'state', 'scopes'],
      planned.map((key) => [
        key.at,
        key.drafted.clientId,
        key.drafted.name,
        credentialOf(key).replace('_', ' '),
        key.exists ? 'exists: skipped' : key.drafted.disabled ? 'disabled' : 'enabled',
        key.drafted.scopes.join(' '),
      ]),
    );
  }
  for (const sentence of remarksOnBasic(planned.filter(({ exists }) => !exists))) printRemark(sentence);
  printLine(`${warn('Would import')} ${countOf(fresh, 'API key')}; ${planned.length - fresh} exist already.`);
}

/** Stores the keys, shows the progress on a terminal, and stops between two keys on a signal. */
async function keep(
  planned: readonly PlannedKey[],
  work: (done: (counts: ImportCounts) => 'go_on' | 'stop') => Promise<ImportCounts>,
): Promise<ImportCounts> {
  let counts: ImportCounts = { made: 0, skipped: 0 };
  let isStopped = false;
  const watch = watchStopSignals();
  void watch.stopped.then(() => (isStopped = true));
  const rest = (): string =>
    `${countOf(counts.made, 'key')} of ${planned.length} were imported, and are kept. Import the rest with --on-conflict skip.`;
  try {
    await work((now) => {
      counts = now;
      const through = counts.made + counts.skipped;
      if (through % PROGRESS_KEYS === 0) printProgress(`${through} of ${planned.length} keys`);
      return isStopped ? 'stop' : 'go_on';
    });
  } catch (error) {
    clearProgress();
    if (error instanceof StoreUnavailable || error instanceof OperatorRefusal) printRemark(rest());
    throw error;
  } finally {
    watch.release();
  }
  clearProgress();
  if (counts.made + counts.skipped < planned.length) throw new CommandRefusal(`Stopped by a signal. ${rest()}`);
  return counts;
}

/** After how many keys the progress is shown again. */
const PROGRESS_KEYS = 500;

/** The command line, put together: one command, from its arguments to its exit code. */
import { Command, CommanderError } from 'commander';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import { StoreBroken, StoreUnavailable, StoreUnusable } from '../store/store.ts';
import { inProcess, type CommandProcess } from './command_process.ts';
import { eventsCommand } from './commands/events.ts';
import { explainCommand } from './commands/explain.ts';
import { guardCommand } from './commands/guard.ts';
import { readGuardEnvironment } from './guard_settings.ts';
import { openExistingInstance, openInstanceToServe } from '../serving/instance.ts';
import { issuerKeysCommands } from './commands/issuer_keys.ts';
import { keysCommand } from './commands/keys.ts';
import type { WithInstance } from './with_instance.ts';
import { CommandRefusal } from './command_refusal.ts';
import { sentenceOf } from './refusal_sentences.ts';
import { masterKeyCommand } from './commands/master_key.ts';
import { goOnWithoutReaders, printBug, printDocument, printError, printErrorText, ReaderGone } from './output.ts';
import { policyCommand } from './commands/policy.ts';
import { revokeEverythingCommand } from './commands/revoke_everything.ts';
import { serveCommand } from './commands/serve.ts';
import { BadSetting, readSettings } from '../serving/settings/settings.ts';
import { listSettings } from '../serving/settings/list.ts';
import { storeCommand } from './commands/store.ts';
import { commandSystem, printStore } from './opened_store.ts';
import { tokenCommand } from './commands/token.ts';
import { readVersion } from '../serving/version.ts';

/**
 * Runs one command and returns its exit code. What goes wrong is printed on the command's standard error, so this rejects
 * for nothing.
 */
export function runCommand(args: readonly string[], command: CommandProcess): Promise<number> {
  return inProcess(command, async () => {
    try {
      await programOf(command.environment).parseAsync(args, { from: 'user' });
    } catch (error) {
      command.exitCode = exitCodeOf(error);
    }
  });
}

/** Commands that go on serving when nobody reads their output any more. */
const SERVING = new Set(['serve', 'guard']);

function programOf(environment: NodeJS.ProcessEnv): Command {
  const program = new Command('hallpass')
    .description('Short-lived, scoped, revocable access tokens for your API.')
    .version(readVersion(), '-V, --version', 'print the version')
    .addHelpText(
      'after',
      () =>
        `\nSettings, by environment:\n${listSettings()
          .map(({ variable, otherwise }) => `  ${variable}${otherwise === '' ? '' : ` (${otherwise})`}`)
          .join('\n')}\n`,
    );
  for (const command of commandsOf(environment)) program.addCommand(command);
  for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
    command.exitOverride().showHelpAfterError('(--help says more)').configureOutput({
      writeOut: printDocument,
      // It repeats what was on the command line.
      writeErr: printErrorText,
    });
  }
  return program.hook('preAction', (_program, command) => {
    if (SERVING.has(command.name())) goOnWithoutReaders();
  });
}

function commandsOf(environment: NodeJS.ProcessEnv): readonly Command[] {
  const withInstance: WithInstance = async (work) => {
    const instance = await openExistingInstance(readSettings(environment), commandSystem);
    try {
      printStore(instance.settings);
      return await work(instance);
    } finally {
      await instance.store.close();
    }
  };
  return [
    serveCommand(() => openInstanceToServe(readSettings(environment), commandSystem)),
    keysCommand(withInstance),
    tokenCommand(withInstance),
    ...issuerKeysCommands(withInstance),
    masterKeyCommand(withInstance),
    storeCommand(() => readSettings(environment)),
    revokeEverythingCommand(withInstance),
    eventsCommand(withInstance),
    guardCommand(() => readGuardEnvironment(environment)),
    explainCommand(() => readGuardEnvironment(environment)),
    policyCommand(),
  ];
}

/** 1: it could not be done. 2: the command or a setting is wrong, so trying again unchanged is no use. */
function exitCodeOf(error: unknown): number {
  // commander has printed its own sentence already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ReaderGone) return error.exitCode;
  if (error instanceof BadSetting || error instanceof StoreUnusable) {
    printError(error.message);
    return 2;
  }
  if (error instanceof OperatorRefusal || error instanceof CommandRefusal) {
    printError(error instanceof OperatorRefusal ? sentenceOf(error) : error.message);
    return 1;
  }
  if (error instanceof StoreUnavailable) {
    const cause = error.cause instanceof Error ? error.cause.message : '';
    // Only where that helps: until an operator has acted, a broken store stays so.
    const advice = error instanceof StoreBroken ? '' : ' Try again.';
    printError(`${error.message}${error.message.includes(cause) ? '' : ` (${cause})`}${advice}`);
    return 1;
  }
  printBug(error);
  return 1;
}

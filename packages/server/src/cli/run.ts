/** The command line, put together: one command, from its arguments to its exit code. */
import { Command, CommanderError } from 'commander';
import { KEY_USES, USES } from '../oauth/keys/key_uses.ts';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import { StoreBroken, StoreUnavailable, StoreUnusable } from '../store/store.ts';
import { inProcess, type CommandProcess } from './command_process.ts';
import type { WithInstance } from './with_instance.ts';
import { CommandRefusal } from './command_refusal.ts';
import { sentenceOf } from './refusal_sentences.ts';
import { goOnWithoutReaders, printBug, printDocument, printError, printErrorText, ReaderGone } from './output.ts';
import { BadSetting, readSettings } from '../serving/settings/settings.ts';
import { listSettings } from '../serving/settings/list.ts';
import { readVersion } from '../serving/version.ts';

/**
 * Runs one command and returns its exit code. What goes wrong is printed on the command's standard error, so this rejects
 * for nothing.
 */
export function runCommand(args: readonly string[], command: CommandProcess): Promise<number> {
  return inProcess(command, async () => {
    try {
      const program = programOf(await loadCommands(args[0], command.environment));
      await program.parseAsync(args, { from: 'user' });
    } catch (error) {
      command.exitCode = exitCodeOf(error);
    }
  });
}

/** Commands that go on serving when nobody reads their output any more. */
const SERVING = new Set(['serve', 'guard']);

function programOf(loaded: readonly Command[]): Command {
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
  for (const command of loaded) program.addCommand(command);
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

/** Loads the command of this name. Any other word needs them all, for the help and for the advice on a misspelt name. */
async function loadCommands(name: string | undefined, environment: NodeJS.ProcessEnv): Promise<readonly Command[]> {
  const named = COMMANDS.filter(({ names }) => names.some((known) => known === name));
  const loaded = await Promise.all((named.length === 0 ? COMMANDS : named).map(({ load }) => load(environment)));
  return loaded.flat();
}

interface LoadedCommands {
  readonly names: readonly string[];
  readonly load: (environment: NodeJS.ProcessEnv) => Promise<Command | readonly Command[]>;
}

/**
 * Every command, in the order of the help. Each is loaded only when it is needed: loading them all takes several times as
 * long as most commands do.
 */
const COMMANDS: readonly LoadedCommands[] = [
  {
    names: ['serve'],
    load: async (environment) => {
      const { serveCommand } = await import('./commands/serve.ts');
      const { openInstanceToServe } = await import('../serving/instance.ts');
      const { commandSystem } = await import('./opened_store.ts');
      return serveCommand(() => openInstanceToServe(readSettings(environment), commandSystem));
    },
  },
  {
    names: ['keys'],
    load: async (environment) => (await import('./commands/keys.ts')).keysCommand(withInstanceOf(environment)),
  },
  {
    names: ['token'],
    load: async (environment) => (await import('./commands/token.ts')).tokenCommand(withInstanceOf(environment)),
  },
  {
    names: USES.map((use) => `${KEY_USES[use].name}-keys`),
    load: async (environment) =>
      (await import('./commands/issuer_keys.ts')).issuerKeysCommands(withInstanceOf(environment)),
  },
  {
    names: ['master-key'],
    load: async (environment) =>
      (await import('./commands/master_key.ts')).masterKeyCommand(withInstanceOf(environment)),
  },
  {
    names: ['store'],
    load: async (environment) => (await import('./commands/store.ts')).storeCommand(() => readSettings(environment)),
  },
  {
    names: ['revoke-everything'],
    load: async (environment) =>
      (await import('./commands/revoke_everything.ts')).revokeEverythingCommand(withInstanceOf(environment)),
  },
  {
    names: ['events'],
    load: async (environment) => (await import('./commands/events.ts')).eventsCommand(withInstanceOf(environment)),
  },
  {
    names: ['guard'],
    load: async (environment) => {
      const { readGuardEnvironment } = await import('./guard_settings.ts');
      return (await import('./commands/guard.ts')).guardCommand(() => readGuardEnvironment(environment));
    },
  },
  {
    names: ['explain'],
    load: async (environment) => {
      const { readGuardEnvironment } = await import('./guard_settings.ts');
      return (await import('./commands/explain.ts')).explainCommand(() => readGuardEnvironment(environment));
    },
  },
  {
    names: ['policy'],
    load: async () => (await import('./commands/policy.ts')).policyCommand(),
  },
];

function withInstanceOf(environment: NodeJS.ProcessEnv): WithInstance {
  return async (work) => {
    const { openExistingInstance } = await import('../serving/instance.ts');
    const { commandSystem, printStore } = await import('./opened_store.ts');
    const instance = await openExistingInstance(readSettings(environment), commandSystem);
    try {
      printStore(instance.settings);
      return await work(instance);
    } finally {
      await instance.store.close();
    }
  };
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

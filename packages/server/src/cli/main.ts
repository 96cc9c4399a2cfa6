/** The command line: the only reader of the environment, and the place where everything is put together. */
import { Command, CommanderError } from 'commander';
import { escapeControlsInLines } from '@hallpass/protocol';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import { StoreBroken, StoreUnavailable, StoreUnusable } from '../store/store.ts';
import { eventsCommand } from './commands/events.ts';
import { explainCommand } from './commands/explain.ts';
import { guardCommand } from './commands/guard.ts';
import { readGuardEnvironment } from './guard_settings.ts';
import { openExistingInstance, openInstanceToServe, type Instance } from '../serving/instance.ts';
import { issuerKeysCommands } from './commands/issuer_keys.ts';
import { keysCommand, type WithInstance } from './commands/keys.ts';
import { masterKeyCommand } from './commands/master_key.ts';
import { endWithNpm } from './npm_parent.ts';
import { goOnWithoutReaders, printBug, printError, ReaderGone, watchReaders } from './output.ts';
import { policyCommand } from './commands/policy.ts';
import { revokeEverythingCommand } from './commands/revoke_everything.ts';
import { serveCommand } from './commands/serve.ts';
import { BadSetting, readSettings } from '../serving/settings/settings.ts';
import { listSettings } from '../serving/settings/list.ts';
import { storeCommand } from './commands/store.ts';
import { commandSystem, printStore } from './opened_store.ts';
import { tokenCommand } from './commands/token.ts';
import { readVersion } from '../serving/version.ts';

const openForServing = (): Promise<Instance> => openInstanceToServe(readSettings(process.env), commandSystem);

const withInstance: WithInstance = async (work) => {
  const instance = await openExistingInstance(readSettings(process.env), commandSystem);
  try {
    printStore(instance.settings);
    return await work(instance);
  } finally {
    await instance.store.close();
  }
};

const allCommands = [
  serveCommand(openForServing),
  keysCommand(withInstance),
  tokenCommand(withInstance),
  ...issuerKeysCommands(withInstance),
  masterKeyCommand(withInstance),
  storeCommand(() => readSettings(process.env)),
  revokeEverythingCommand(withInstance),
  eventsCommand(withInstance),
  guardCommand(() => readGuardEnvironment(process.env)),
  explainCommand(() => readGuardEnvironment(process.env)),
  policyCommand(),
];
const program = new Command('hallpass')
  .description('Short-lived, scoped, revocable access tokens for your API.')
  .version(readVersion(), '-V, --version', 'print the version')
  .addHelpText(
    'after',
    () =>
      `\nSettings, by environment:\n${listSettings()
        .map(({ variable, otherwise }) => `  ${variable}${otherwise === '' ? '' : ` (${otherwise})`}`)
        .join('\n')}\n`,
  )
  .exitOverride();
for (const command of allCommands) program.addCommand(command);
for (const command of [program, ...program.commands, ...program.commands.flatMap(({ commands }) => commands)]) {
  command
    .exitOverride()
    .showHelpAfterError('(--help says more)')
    // It repeats what was on the command line.
    .configureOutput({ outputError: (text, write) => write(escapeControlsInLines(text)) });
}

/** Those that go on serving when whoever reads their output leaves. */
const SERVING = new Set(['serve', 'guard']);

watchReaders();
endWithNpm(process.env);
program.hook('preAction', (_program, command) => {
  if (SERVING.has(command.name())) goOnWithoutReaders();
});
try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

/** 1: it could not be done. 2: it was not said right, so that trying again unchanged is of no use. */
function exitCodeOf(error: unknown): number {
  // commander has printed its own sentence already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ReaderGone) return error.exitCode;
  if (error instanceof BadSetting || error instanceof StoreUnusable) {
    printError(error.message);
    return 2;
  }
  if (error instanceof OperatorRefusal) {
    printError(error.message);
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

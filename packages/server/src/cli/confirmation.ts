/** Asks before something that cannot be undone: with a question on a terminal, with `--yes` elsewhere (ADR 33). */
import { createInterface } from 'node:readline/promises';
import { Option } from 'commander';
import { CommandRefusal } from './command_refusal.ts';
import { commandProcess } from './command_process.ts';
import { printRemark } from './output.ts';
import { BadSetting, type Settings } from '../serving/settings/settings.ts';
import { describeStore } from '../serving/stores.ts';

/** What commander makes of the option. */
export interface Confirmed {
  readonly yes?: boolean;
}

/** The option. */
export function yesOption(): Option {
  return new Option('--yes', 'do it without asking; required where nobody can be asked, such as in a script');
}

/** What a person is asked to confirm. */
export interface Question {
  /** What happens, to follow `this`: `deletes the API key X`. */
  readonly does: string;
  /** What it costs, in sentences. */
  readonly costs: readonly string[];
}

/**
 * Resolves once the operator has confirmed. Throws `CommandRefusal` when the answer is not yes, `BadSetting` when there is
 * nobody to ask. With `--yes` the question is not even composed: counting what ends takes time, and an emergency has none.
 */
export async function confirm(
  question: () => Promise<Question>,
  { yes }: Confirmed,
  settings: Settings,
): Promise<void> {
  if (yes === true) return;
  const { does, costs } = await question();
  const sentences = [`In the store ${describeStore(settings)}, this ${does}.`, ...costs];
  const { stdin, stderr } = commandProcess();
  if (stdin.isTTY !== true || stderr.isTTY !== true) {
    throw new BadSetting(
      `${sentences.join(' ')} There is no terminal to ask on: repeat it with --yes, or see what it would end with --dry-run. Nothing was changed.`,
    );
  }
  for (const sentence of sentences) printRemark(sentence);
  if ((await ask('Type yes to go on: ')).trim().toLowerCase() !== 'yes')
    throw new CommandRefusal('It was not confirmed, so nothing was changed.');
}

/** The answer; empty when the terminal is closed, or at Control-C and Control-D. */
async function ask(question: string): Promise<string> {
  const { stdin, stderr } = commandProcess();
  const terminal = createInterface({ input: stdin, output: stderr });
  try {
    return await Promise.race([
      terminal.question(question),
      new Promise<string>((resolve) => {
        terminal.once('close', () => resolve(''));
      }),
    ]);
  } finally {
    terminal.close();
  }
}

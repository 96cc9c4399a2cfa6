/** Asking before what cannot be undone: on a terminal by a question, elsewhere by `--yes` (ADR 33). */
import { createInterface } from 'node:readline/promises';
import { Option } from 'commander';
import { OperatorRefusal } from '../operator/operator_refusal.ts';
import { printRemark } from './output.ts';
import { BadSetting, type Settings } from '../serving/settings/settings.ts';
import { describeStore } from '../serving/stores.ts';

export interface Confirmed {
  readonly yes?: boolean;
}

export function yesOption(): Option {
  return new Option('--yes', 'do it without a question; needed where nobody can be asked, as in a script');
}

/** What a person is asked about. */
export interface Question {
  /** What is done, to follow `this`: `deletes the API key X`. */
  readonly does: string;
  /** What it costs, in sentences. */
  readonly costs: readonly string[];
}

/**
 * Resolves when the operator wants it. Throws `OperatorRefusal` when the answer is not yes, `BadSetting` when there is
 * nobody to ask. With `--yes` the question is not even made: to count what ends takes time, on the day when none is left.
 */
export async function confirm(
  question: () => Promise<Question>,
  { yes }: Confirmed,
  settings: Settings,
): Promise<void> {
  if (yes === true) return;
  const { does, costs } = await question();
  const sentences = [`In the store ${describeStore(settings)}, this ${does}.`, ...costs];
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new BadSetting(
      `${sentences.join(' ')} There is no terminal to ask on: repeat it with --yes, or see what it would end with --dry-run. Nothing was changed.`,
    );
  }
  for (const sentence of sentences) printRemark(sentence);
  if ((await ask('Type yes to go on: ')).trim().toLowerCase() !== 'yes')
    throw new OperatorRefusal('It was not confirmed, so nothing was changed.');
}

/** The answer; empty when the terminal is closed, or at Control-C and Control-D. */
async function ask(question: string): Promise<string> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
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

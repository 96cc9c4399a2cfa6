/** What the rigs have in common: their options, their progress on standard error, and how they end. */
import { parseArgs } from 'node:util';

/** The options of a rig: `--rounds N --seed N --json --planted-defect`, and a choice or two of its own. */
export interface RigOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly json: boolean;
  readonly plantedDefect: boolean;
  /** The value of one more option, one of these; the first by default. */
  readonly choose: <Choice extends string>(name: string, choices: readonly [Choice, ...Choice[]]) => Choice;
}

/** Reads the command line. Throws a sentence for what is not good. */
export function rigOptions({
  rounds: otherwise,
  roundsMax,
}: {
  readonly rounds: number;
  readonly roundsMax: number;
}): RigOptions {
  const { values } = parseArgs({
    strict: false,
    options: {
      rounds: { type: 'string', default: String(otherwise) },
      seed: { type: 'string', default: String(process.pid) },
      json: { type: 'boolean', default: false },
      'planted-defect': { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values['rounds']);
  const seed = Number(values['seed']);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > roundsMax)
    throw new RangeError(`--rounds is 1 to ${roundsMax}`);
  if (!Number.isInteger(seed)) throw new RangeError('--seed is a whole number');
  return {
    rounds,
    seed,
    json: values['json'] === true,
    plantedDefect: values['planted-defect'] === true,
    choose: (name, choices) => {
      const { values: given } = parseArgs({ strict: false, options: { [name]: { type: 'string' } } });
      const value = given[name] ?? choices[0];
      const choice = choices.find((known) => known === value);
      if (choice === undefined) throw new RangeError(`--${name} is one of ${choices.join(', ')}`);
      return choice;
    },
  };
}

/** How often there is a line where it does not replace the one before, in milliseconds. */
const PROGRESS_MS = 20_000;
let progressAt = performance.now();

/** How far it is, on standard error: a line that the next one replaces, or now and then one where nobody watches. */
export function printProgress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${line}`);
  else if (performance.now() - progressAt > PROGRESS_MS) {
    progressAt = performance.now();
    process.stderr.write(`${line}\n`);
  }
}

/** How many findings are told one by one. */
const TOLD_MAX = 20;

/** The figures on standard output, the findings on standard error, and exit code 1 when there are any. */
export function endRig(
  figures: Readonly<Record<string, string | number>>,
  { findings, json }: { readonly findings: readonly string[]; readonly json: boolean },
): void {
  if (process.stderr.isTTY) process.stderr.write('\n');
  const words = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
  process.stdout.write(`${json ? JSON.stringify(figures) : words.join(', ')}\n`);
  for (const finding of findings.slice(0, TOLD_MAX)) process.stderr.write(`found: ${finding}\n`);
  if (findings.length > 0) process.exitCode = 1;
}

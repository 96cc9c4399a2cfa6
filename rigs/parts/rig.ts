/** What all rigs share: options, progress on standard error, and how they report. */
import { parseArgs } from 'node:util';

/** The options of a rig: `--rounds N --seed N --json --planted-defect`, and a few choices. */
export interface RigOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly json: boolean;
  readonly plantedDefect: boolean;
  /** The value of another option, one of `choices`; the first is the default. */
  readonly choose: <Choice extends string>(name: string, choices: readonly [Choice, ...Choice[]]) => Choice;
}

/** Reads the command line. Throws a `RangeError` that names the option that is wrong. */
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

/** How often progress is printed where no terminal is attached, in milliseconds. */
const PROGRESS_MS = 20_000;
let progressAt = performance.now();

/** Prints progress on standard error: a line that the next one replaces, or a line now and then without a terminal. */
export function printProgress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${line}`);
  else if (performance.now() - progressAt > PROGRESS_MS) {
    progressAt = performance.now();
    process.stderr.write(`${line}\n`);
  }
}

/** How many findings are printed. */
const PRINTED_MAX = 20;

/** Prints the figures on standard output and the findings on standard error. Sets exit code 1 if there are any. */
export function endRig(
  figures: Readonly<Record<string, string | number>>,
  { findings, json }: { readonly findings: readonly string[]; readonly json: boolean },
): void {
  if (process.stderr.isTTY) process.stderr.write('\n');
  const words = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
  process.stdout.write(`${json ? JSON.stringify(figures) : words.join(', ')}\n`);
  for (const finding of findings.slice(0, PRINTED_MAX)) process.stderr.write(`found: ${finding}\n`);
  if (findings.length > 0) process.exitCode = 1;
}

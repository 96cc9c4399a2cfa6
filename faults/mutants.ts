/**
 * The rig of mutants: whether the tests of the scope and guard modules notice a small change to the code. Each mutant
 * lives in a copy of the tree, one at a time, with the tests of its module; what no test notices survives.
 *
 *   node --conditions=hallpass-source faults/mutants.ts [--module NAME]... [--sample N] [--seed N] [--workers 1|2]
 *        [--fresh] [--json]
 *
 * Survivors are printed with their line. `equivalent_mutants.json` names those that change nothing that anybody could
 * see, each with a reason; an entry that fits no mutant any more is an error. Results are kept in `.cache/mutants` by
 * the content of the module and its tests, so that a run that was broken off goes on where it was; `--fresh` forgets
 * them. The exit code is 1 when a module has less than 95 % of its mutants killed.
 */
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chanceOf } from './chance.ts';
import { MODULES, type MutatedModule } from './mutant_modules.ts';
import { MutantTree, type Fate } from './mutant_tree.ts';
import { mutantsOf, type Mutant } from './mutators.ts';
import { printProgress } from './rig.ts';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const KEPT = join(ROOT, '.cache/mutants');
/** The part of its mutants that has to be killed, of those that are not equivalent. */
const KILLED_MIN = 0.95;

/** A mutant that nobody could tell from the source, found by its line and its change wherever the line moves. */
export interface Equivalent extends Pick<Mutant, 'context' | 'from' | 'to' | 'nth'> {
  readonly module: string;
  readonly because: string;
}

export function readEquivalents(): readonly Equivalent[] {
  const entries: readonly Equivalent[] = JSON.parse(
    readFileSync(new URL('equivalent_mutants.json', import.meta.url), 'utf8'),
  );
  return entries;
}

export function sourceOf({ file }: MutatedModule): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

function fits(entry: Equivalent, mutant: Mutant): boolean {
  return (['context', 'from', 'to', 'nth'] as const).every((name) => entry[name] === mutant[name]);
}

/** The entries of a module that fit no mutant any more. */
export function staleEquivalents(name: string, mutants: readonly Mutant[]): readonly Equivalent[] {
  return readEquivalents().filter((entry) => entry.module === name && !mutants.some((mutant) => fits(entry, mutant)));
}

export interface Outcome {
  readonly module: string;
  readonly mutants: number;
  readonly killed: number;
  readonly timeout: number;
  readonly equivalent: number;
  readonly survivors: readonly Mutant[];
  /** Killed, or never done, of all that are not equivalent: 0 to 1. */
  readonly score: number;
}

/** The mutants of a module, or a sample of them, against its tests. Results that are kept are not run again. */
export async function runMutants(
  name: string,
  module: MutatedModule,
  options: { readonly sample?: number; readonly seed: number; readonly workers: number; readonly kept?: string },
): Promise<Outcome> {
  const source = sourceOf(module);
  const entries = readEquivalents().filter((entry) => entry.module === name);
  const all = mutantsOf(source);
  const real = all.filter((mutant) => !entries.some((entry) => fits(entry, mutant)));
  const chosen = options.sample === undefined ? real : chanceOf(options.seed).sample(real, options.sample);
  const results = new Results(options.kept, [source, ...module.tests.map((file) => sourceOf({ file, tests: [] }))]);
  const left = chosen.filter((mutant) => results.find(mutant) === undefined);
  const work = left.values();
  const workers = Math.min(options.workers, left.length);
  await Promise.all(
    Array.from({ length: workers }, async () => {
      const tree = new MutantTree(ROOT, module);
      try {
        await tree.measure();
        for (const mutant of work) {
          results.add(mutant, await tree.judge(mutant));
          printProgress(`${name}: ${results.size} of ${chosen.length}`);
        }
      } finally {
        tree.remove();
      }
    }),
  );
  const withFate = (fate: Fate): readonly Mutant[] => chosen.filter((mutant) => results.find(mutant) === fate);
  const survivors = withFate('survived');
  return {
    module: name,
    mutants: chosen.length,
    killed: withFate('killed').length,
    timeout: withFate('timeout').length,
    equivalent: all.length - real.length,
    survivors,
    score: chosen.length === 0 ? 1 : (chosen.length - survivors.length) / chosen.length,
  };
}

/** Fates by mutant, in a file where there is one. */
class Results {
  readonly #fates = new Map<string, Fate>();
  readonly #file: string | undefined;

  constructor(folder: string | undefined, contents: readonly string[]) {
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    const digest = createHash('sha256').update(contents.join('\0')).digest('hex').slice(0, 32);
    this.#file = join(folder, `${digest}.jsonl`);
    for (const line of readLines(this.#file)) {
      const { key, fate }: { readonly key: string; readonly fate: Fate } = JSON.parse(line);
      this.#fates.set(key, fate);
    }
  }

  get size(): number {
    return this.#fates.size;
  }

  find(mutant: Mutant): Fate | undefined {
    return this.#fates.get(keyOf(mutant));
  }

  add(mutant: Mutant, fate: Fate): void {
    this.#fates.set(keyOf(mutant), fate);
    if (this.#file !== undefined) appendFileSync(this.#file, `${JSON.stringify({ key: keyOf(mutant), fate })}\n`);
  }
}

function keyOf({ start, end, to }: Mutant): string {
  return `${start} ${end} ${to}`;
}

function readLines(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  } catch {
    return [];
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      module: { type: 'string', multiple: true, default: Object.keys(MODULES) },
      sample: { type: 'string' },
      seed: { type: 'string', default: '1' },
      workers: { type: 'string', default: '2' },
      fresh: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const [seed, workers] = [Number(values.seed), Number(values.workers)];
  const sample = values.sample === undefined ? undefined : Number(values.sample);
  if (!Number.isInteger(seed)) throw new RangeError('--seed is a whole number');
  if (workers !== 1 && workers !== 2) throw new RangeError('--workers is 1 or 2');
  if (sample !== undefined && !(Number.isInteger(sample) && sample > 0)) throw new RangeError('--sample is 1 or more');
  if (values.fresh) rmSync(KEPT, { recursive: true, force: true });
  for (const name of values.module) {
    const module = MODULES[name];
    if (module === undefined) throw new RangeError(`--module is one of ${Object.keys(MODULES).join(', ')}`);
    const stale = staleEquivalents(name, mutantsOf(sourceOf(module)));
    for (const { context, from, to, nth } of stale) {
      process.stderr.write(`${name}: no mutant is '${from}' to '${to}' (${nth}) in '${context}' any more\n`);
    }
    const outcome = await runMutants(name, module, {
      seed,
      workers,
      kept: KEPT,
      ...(sample === undefined ? {} : { sample }),
    });
    const { survivors, score, ...figures } = outcome;
    const percent = Math.floor(score * 1000) / 10;
    const told = { ...figures, survived: survivors.length, percent };
    const words = Object.entries(told).map(([word, value]) => `${word} ${value}`);
    process.stdout.write(`${values.json ? JSON.stringify({ ...told, survivors }) : words.join(', ')}\n`);
    for (const { line, context, from, to, nth, operator } of survivors) {
      process.stderr.write(`${module.file}:${line} ${operator}: ${from} -> ${to} (${nth})\n    ${context}\n`);
    }
    if (stale.length > 0 || score < KILLED_MIN) process.exitCode = 1;
  }
}

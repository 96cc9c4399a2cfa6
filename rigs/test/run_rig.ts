/** Runs a rig in a process of its own, as it is run by hand. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EXIT_NOT_HERE } from '../parts/strace.ts';

export interface RigEnded {
  readonly code: number | null;
  readonly figures: Readonly<Record<string, number>>;
  /** What it said on standard error. */
  readonly complaints: string;
}

/** `rig` is the name of its file. */
export async function runRig(rig: string, ...options: readonly string[]): Promise<RigEnded> {
  const ended = await runToItsEnd(rig, options);
  assert.ok(ended.figures !== undefined, ended.complaints);
  return { ...ended, figures: ended.figures };
}

/** Undefined where the rig cannot run, for want of root or a tool of the machine's own; the test then says why. */
export async function runRigWhereItCan(
  t: TestContext,
  rig: string,
  ...options: readonly string[]
): Promise<RigEnded | undefined> {
  const { code, figures, complaints } = await runToItsEnd(rig, options);
  if (code === EXIT_NOT_HERE) {
    t.skip(complaints.trim());
    return undefined;
  }
  assert.ok(figures !== undefined, complaints);
  return { code, figures, complaints };
}

/** How often a rig looks for a planted defect at the most, each time by another seed. */
export const PLANTED_RUNS_MAX = 5;

/**
 * Runs a rig with its planted defect until it has found what the figures name. A rig is chance: there is a round now and
 * then in which nothing happened to be lost, and one that finds nothing once is not blind. One that never does is.
 */
export async function assertCaught(
  t: TestContext,
  rig: string,
  options: readonly string[],
  ...figures: readonly string[]
): Promise<void> {
  const seed = (run: number): readonly string[] => ['--seed', `${run}`];
  await runUntilCaught((run) => runRigWhereItCan(t, rig, ...options, ...seed(run), '--planted-defect'), figures);
}

/** The same for any run; one that cannot be made here ends it. Counts the figures of all runs together. */
export async function runUntilCaught(
  makeRun: (run: number) => Promise<RigEnded | undefined>,
  figures: readonly string[],
): Promise<void> {
  const missing = new Set(figures);
  for (let run = 1; run <= PLANTED_RUNS_MAX; run++) {
    const ended = await makeRun(run);
    if (ended === undefined) return;
    for (const name of figures) if ((ended.figures[name] ?? 0) > 0) missing.delete(name);
    const found = figures.some((name) => (ended.figures[name] ?? 0) > 0);
    assert.ok(ended.code === 1 || (ended.code === 0 && !found), `${ended.code}: ${ended.complaints}`);
    if (missing.size === 0) return;
  }
  assert.fail(`In ${PLANTED_RUNS_MAX} runs the planted defect was not seen in: ${[...missing].join(', ')}`);
}

async function runToItsEnd(
  rig: string,
  options: readonly string[],
): Promise<Omit<RigEnded, 'figures'> & { readonly figures: RigEnded['figures'] | undefined }> {
  const file = fileURLToPath(new URL(`../${rig}.ts`, import.meta.url));
  const child = spawn(process.execPath, ['--conditions=hallpass-source', file, '--json', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  await once(child, 'close');
  const figures: RigEnded['figures'] | undefined = out === '' ? undefined : JSON.parse(out);
  return { code: child.exitCode, figures, complaints };
}

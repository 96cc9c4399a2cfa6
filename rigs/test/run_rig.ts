/** Runs a rig in its own process, as you would by hand. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EXIT_NOT_HERE } from '../parts/strace.ts';

export interface RigEnded {
  readonly code: number | null;
  readonly figures: Readonly<Record<string, number>>;
  /** What it printed on standard error. */
  readonly complaints: string;
}

/** Runs the rig of this file name to its end. Fails if it printed no figures. */
export async function runRig(rig: string, ...options: readonly string[]): Promise<RigEnded> {
  const ended = await runToItsEnd(rig, options);
  assert.ok(ended.figures !== undefined, ended.complaints);
  return { ...ended, figures: ended.figures };
}

/** Like `runRig`. Skips the test, and returns undefined, if this machine lacks root or a tool that the rig needs. */
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

/**
 * Runs a rig with its planted defect. It must end with exit code 1, and each of these figures must count something: a rig
 * that does not notice a defect proves nothing.
 */
export async function assertCaught(
  t: TestContext,
  rig: string,
  options: readonly string[],
  ...figures: readonly string[]
): Promise<void> {
  const ended = await runRigWhereItCan(t, rig, ...options, '--seed', '1', '--planted-defect');
  if (ended === undefined) return;
  assert.equal(ended.code, 1, ended.complaints);
  for (const name of figures) assert.ok((ended.figures[name] ?? 0) > 0, `the planted defect was not seen in: ${name}`);
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

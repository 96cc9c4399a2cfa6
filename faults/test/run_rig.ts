/** Runs a rig in a process of its own, as it is run by hand. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { EXIT_NOT_HERE } from '../strace.ts';

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

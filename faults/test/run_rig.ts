/** Runs a rig in a process of its own, as it is run by hand. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface RigEnded {
  readonly code: number | null;
  readonly figures: Readonly<Record<string, number>>;
  /** What it said on standard error. */
  readonly complaints: string;
}

/** `rig` is the name of its file. */
export async function runRig(rig: string, ...options: readonly string[]): Promise<RigEnded> {
  const file = fileURLToPath(new URL(`../${rig}.ts`, import.meta.url));
  const child = spawn(process.execPath, ['--conditions=hallpass-source', file, '--json', ...options], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let complaints = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  await once(child, 'close');
  assert.notEqual(out, '', complaints);
  const figures: RigEnded['figures'] = JSON.parse(out);
  return { code: child.exitCode, figures, complaints };
}

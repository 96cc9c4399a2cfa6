/** The start and the end of every bench: a data folder that is removed afterwards, and one line of JSON. */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

/** Runs something in a fresh folder and prints its figures with the machine that they were measured on. */
export async function printFigures(
  bench: string,
  measure: (folder: string) => Promise<Readonly<Record<string, unknown>>>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-bench-'));
  try {
    const figures = await measure(folder);
    const machine = `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores, Node ${process.versions.node}`;
    process.stdout.write(`${JSON.stringify({ bench, ...figures, machine })}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A whole number from the command line, within bounds. */
export function numberOption(
  name: string,
  { otherwise, min, max }: { readonly otherwise: number; readonly min: number; readonly max: number },
): number {
  const { values } = parseArgs({ options: { [name]: { type: 'string' } }, strict: false });
  const text = values[name];
  const value = typeof text === 'string' ? Number(text) : otherwise;
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new RangeError(`--${name} is a whole number, ${min} to ${max}`);
}

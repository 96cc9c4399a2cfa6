/** What the commands print: colour for people, JSON for scripts. Results on standard output, everything else on the other. */
import { styleText } from 'node:util';

/** One JSON document on standard output. */
export function printJson(document: unknown): void {
  process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
}

export function printLine(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** Names and values in two columns; a value that is undefined or empty is left out. */
export function printFields(fields: readonly (readonly [name: string, value: string | undefined])[]): void {
  const present = fields.filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(...present.map(([name]) => name.length));
  for (const [name, value] of present) printLine(`  ${styleText('dim', name.padEnd(width))}  ${value}`);
}

/** A table with a head; columns as wide as they need. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => (row[at] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  printLine(styleText('dim', line(head)));
  for (const row of rows) printLine(line(row));
}

export const strong = (text: string): string => styleText('bold', text);
export const good = (text: string): string => styleText('green', text);
export const warn = (text: string): string => styleText('yellow', text);

/** A moment in milliseconds, in UTC, to the second. */
export function printMoment(milliseconds: number): string {
  return new Date(milliseconds)
    .toISOString()
    .replace(/\.\d{3}Z$/, 'Z')
    .replace('T', ' ');
}

/** How far long work has come, on one line that is written over; for people at a terminal alone. */
export function printProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${styleText('dim', text, { stream: process.stderr })}\r`);
}

/** A sentence on standard error, for something that worked and should not stay as it is. */
export function printWarning(sentence: string): void {
  process.stderr.write(`${styleText('yellow', 'warning:', { stream: process.stderr })} ${sentence}\n`);
}

/** A sentence on standard error, for something that did not work. */
export function printError(sentence: string): void {
  process.stderr.write(`${styleText('red', 'error:', { stream: process.stderr })} ${sentence}\n`);
}

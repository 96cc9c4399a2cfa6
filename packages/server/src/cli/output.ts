/**
 * What the commands print: colour for people, JSON for scripts. Results on standard output, everything else on the other.
 * Names, claims, files and answers of servers come from outside, and may hold what a terminal obeys. Everything passes
 * one door, `write`, where all of it is escaped but the styles that were put in here.
 */
import { constants } from 'node:os';
import { inspect, styleText } from 'node:util';
import { escapeControls, escapeControlsInLines, printBase64url } from '@hallpass/protocol';
import { systemRandom } from '../serving/system.ts';

/** Standard output can no longer be written: its reader has left, as `head` does, or the disk is full. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
  /** As the shell reports a process that SIGPIPE has ended; 1 for any other failure. */
  readonly exitCode: number;

  constructor(cause: Error) {
    super('Standard output can no longer be written.', { cause });
    this.exitCode = isReaderGone(cause) ? 128 + constants.signals.SIGPIPE : 1;
  }
}

function isReaderGone(error: Error): boolean {
  return 'code' in error && (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED');
}

/**
 * Lets a command finish its work when whoever reads its output leaves, and end with the code for that, without a stack.
 * Standard error that nobody reads is no reason for anything.
 */
export function watchReaders(): void {
  process.stdout.on('error', (error) => {
    if (goesOn) return;
    if (lost === undefined && !isReaderGone(error)) printError(`Standard output cannot be written: ${error.message}.`);
    lost ??= new ReaderGone(error);
  });
  process.stderr.on('error', () => undefined);
  process.once('exit', (code) => {
    if (code === 0 && lost !== undefined) process.exitCode = lost.exitCode;
  });
}

/** For a server: what it prints is not what it is run for. */
export function goOnWithoutReaders(): void {
  goesOn = true;
}

/** Ends a server that has stopped, when its reader has stopped reading: Node would wait for that one to go on. */
export function endUnread(): void {
  if (process.stdout.writableLength > 0) process.exit();
}

let lost: ReaderGone | undefined;
let goesOn = false;

/** Runs what prints on standard output, and resolves when all of it is out of this process. Rejects with `ReaderGone`. */
export async function written(print: () => void): Promise<void> {
  print();
  await new Promise<void>((resolve, reject) => {
    process.stdout.write('', (error) => {
      const failure = error ?? process.stdout.errored;
      if (failure) reject(new ReaderGone(failure));
      else resolve();
    });
  });
}

/** One JSON document on standard output. */
export function printJson(document: unknown): void {
  printDocument(`${JSON.stringify(document, undefined, 2)}\n`);
}

/** A text of several lines on standard output, to be read by another program: JSON, YAML, a module, a configuration. */
export function printDocument(text: string): void {
  process.stdout.write(escapeControlsInLines(text));
}

export function printLine(text = ''): void {
  write(process.stdout, text);
}

/** A sentence on standard error that is neither a result nor an error, so that a script can read the results. */
export function printRemark(sentence: string): void {
  write(process.stderr, sentence);
}

/** Names and values in two columns; a value that is undefined or empty is left out. */
export function printFields(fields: readonly (readonly [name: string, value: string | undefined])[]): void {
  const present = fields.flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[escapeControls(name), value] as const],
  );
  const width = Math.max(...present.map(([name]) => name.length));
  for (const [name, value] of present) printLine(`  ${dim(name.padEnd(width))}  ${value}`);
}

/** A table with a head; columns as wide as they need. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  // Before they are measured: an escape is longer than what it stands for.
  const shown = rows.map((row) => row.map(escapeControls));
  const widths = head.map((title, at) => Math.max(title.length, ...shown.map((row) => (row[at] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd();
  printLine(dim(line(head)));
  for (const row of shown) printLine(line(row));
}

export const strong = styled('bold');
export const good = styled('green');
export const warn = styled('yellow');
const dim = styled('dim');
const bad = styled('red');

/** A moment in milliseconds, in UTC, to the second. What a stranger's token says may be no date of the calendar. */
export function printMoment(milliseconds: number): string {
  const date = new Date(milliseconds);
  if (Number.isNaN(date.getTime())) return `${milliseconds / 1000} seconds after 1970`;
  return date
    .toISOString()
    .replace(/\.\d{3}Z$/, 'Z')
    .replace('T', ' ');
}

/** How far long work has come, on one line that is written over; for people at a terminal alone. */
export function printProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${CLEAR_LINE}${rendered(process.stderr, dim(text))}\r`);
}

/** A sentence on standard error, for something that worked and should not stay as it is. */
export function printWarning(sentence: string): void {
  write(process.stderr, `${warn('warning:')} ${sentence}`);
}

/** Takes the line of `printProgress` away. */
export function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write(CLEAR_LINE);
}

const CLEAR_LINE = '\r\u001b[K';

/** A sentence on standard error, for something that did not work. */
export function printError(sentence: string): void {
  write(process.stderr, `${bad('error:')} ${sentence}`);
}

/** Something that nobody expected, with its stack. That holds its message, and the message may hold anything. */
export function printBug(error: unknown): void {
  process.stderr.write(`${escapeControlsInLines(inspect(error))}\n`);
}

type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow';

/** Stands before and behind what has a style, until it is written. No text from outside can hold it: nobody knows it. */
const MARK = `\u0001${printBase64url(systemRandom(12))}`;
const MARKED = new RegExp(`${MARK}(begin|end) ([a-z]+)\u0002`);

function styled(style: Style): (text: string) => string {
  return (text) => `${MARK}begin ${style}\u0002${text}${MARK}end ${style}\u0002`;
}

function write(stream: NodeJS.WriteStream, line: string): void {
  stream.write(`${rendered(stream, line)}\n`);
}

/** A line with everything escaped, and the marks replaced by their styles where the stream takes them. */
function rendered(stream: NodeJS.WriteStream, line: string): string {
  const pieces = line.split(MARKED);
  let text = '';
  // Between the pieces that were marked are, by turns, which end of the mark it was and its style.
  for (let at = 0; at < pieces.length; at += 3) {
    text += escapeControls(pieces[at] ?? '');
    const style = STYLES.find((known) => known === pieces[at + 2]);
    if (style === undefined) continue;
    const [begin = '', end = ''] = styleText(style, '|', { stream }).split('|');
    text += pieces[at + 1] === 'begin' ? begin : end;
  }
  return text;
}

const STYLES: readonly Style[] = ['bold', 'dim', 'green', 'red', 'yellow'];

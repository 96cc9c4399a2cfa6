/**
 * What the commands print: colour for people, JSON for scripts; results on standard output, everything else on standard
 * error. Names, claims, files and answers of servers come from outside, and may contain control sequences for the terminal.
 * Everything passes one function, `write`, which escapes all of it except the styles added here.
 */
import { constants } from 'node:os';
import type { Writable } from 'node:stream';
import { inspect, styleText } from 'node:util';
import { escapeControls, escapeControlsInLines, printBase64url } from '@hallpass/protocol';
import { commandProcess } from './command_process.ts';
import { systemRandom } from '../serving/system.ts';

/** Standard output can no longer be written: its reader has closed it, as `head` does, or the disk is full. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
  /** What a shell reports for a process ended by SIGPIPE; 1 for any other failure. */
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
 * Lets a command finish its work when the reader of its output leaves, and then end with the code for that, without a
 * stack. A closed standard error changes nothing.
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

/** For a server: its output is not its purpose, so it keeps running when nobody reads that. */
export function goOnWithoutReaders(): void {
  goesOn = true;
}

/** Ends a stopped server whose output is not being read. Node would wait for the reader. */
export function endUnread(): void {
  if (process.stdout.writableLength > 0) process.exit();
}

let lost: ReaderGone | undefined;
let goesOn = false;

/** Prints something on standard output, and resolves when all of it has left this process. Rejects with `ReaderGone`. */
export async function written(print: () => void): Promise<void> {
  print();
  const { stdout } = commandProcess();
  await new Promise<void>((resolve, reject) => {
    stdout.write('', (error) => {
      const failure = error ?? stdout.errored;
      if (failure) reject(new ReaderGone(failure));
      else resolve();
    });
  });
}

/** One JSON document on standard output. */
export function printJson(document: unknown): void {
  printDocument(`${JSON.stringify(document, undefined, 2)}\n`);
}

/** A text of several lines on standard output for another program: JSON, YAML, a module, a configuration. */
export function printDocument(text: string): void {
  commandProcess().stdout.write(escapeControlsInLines(text));
}

/** A text of several lines on standard error, such as the help that follows an error. */
export function printErrorText(text: string): void {
  commandProcess().stderr.write(escapeControlsInLines(text));
}

/** One line on standard output. */
export function printLine(text = ''): void {
  write(commandProcess().stdout, text);
}

/** A sentence on standard error that is neither a result nor an error. Standard output stays for results. */
export function printRemark(sentence: string): void {
  write(commandProcess().stderr, sentence);
}

/** Names and values in two columns; a value that is undefined or empty is left out. */
export function printFields(fields: readonly (readonly [name: string, value: string | undefined])[]): void {
  const present = fields.flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [[escapeControls(name), value] as const],
  );
  const width = Math.max(...present.map(([name]) => name.length));
  for (const [name, value] of present) printLine(`  ${dim(name.padEnd(width))}  ${value}`);
}

/** A table with a head. Columns are as wide as they need to be. */
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

/** Something important. The styles are for parts of a line that is then printed here. */
export const strong = styled('bold');
/** Something that went well. */
export const good = styled('green');
/** Something to notice. */
export const warn = styled('yellow');
const dim = styled('dim');
const bad = styled('red');

/** A moment in milliseconds, in UTC, to the second. A stranger's token may hold a number outside the calendar. */
export function printMoment(milliseconds: number): string {
  const date = new Date(milliseconds);
  if (Number.isNaN(date.getTime())) return `${milliseconds / 1000} seconds after 1970`;
  return date
    .toISOString()
    .replace(/\.\d{3}Z$/, 'Z')
    .replace('T', ' ');
}

/** The progress of long work, on one line that is overwritten. Only on a terminal. */
export function printProgress(text: string): void {
  const { stderr } = commandProcess();
  if (stderr.isTTY === true) stderr.write(`${CLEAR_LINE}${rendered(stderr, dim(text))}\r`);
}

/** A sentence on standard error about something that worked but should be changed. */
export function printWarning(sentence: string): void {
  write(commandProcess().stderr, `${warn('warning:')} ${sentence}`);
}

/** Clears the line of `printProgress`. */
export function clearProgress(): void {
  const { stderr } = commandProcess();
  if (stderr.isTTY === true) stderr.write(CLEAR_LINE);
}

const CLEAR_LINE = '\r\u001b[K';

/** A sentence on standard error about something that did not work. */
export function printError(sentence: string): void {
  write(commandProcess().stderr, `${bad('error:')} ${sentence}`);
}

/** An unexpected error with its stack. The stack contains the message, which may contain anything. */
export function printBug(error: unknown): void {
  commandProcess().stderr.write(`${escapeControlsInLines(inspect(error))}\n`);
}

type Style = 'bold' | 'dim' | 'green' | 'red' | 'yellow';

/** Marks where a style begins and ends, until it is written. It is random, so no text from outside can contain it. */
const MARK = `\u0001${printBase64url(systemRandom(12))}`;
const MARKED = new RegExp(`${MARK}(begin|end) ([a-z]+)\u0002`);

function styled(style: Style): (text: string) => string {
  return (text) => `${MARK}begin ${style}\u0002${text}${MARK}end ${style}\u0002`;
}

function write(stream: Writable, line: string): void {
  stream.write(`${rendered(stream, line)}\n`);
}

/** A line with everything escaped, and the marks replaced by styles if the stream supports them. */
function rendered(stream: Writable, line: string): string {
  const pieces = line.split(MARKED);
  let text = '';
  // Between the pieces of text, in turn: which end of the mark it was, and its style.
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

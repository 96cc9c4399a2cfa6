/** Where lines of the log go: standard error, which may be read by something that stops reading, or leaves. */
import { writeSync } from 'node:fs';
import { escapeControlsInLines } from '@hallpass/protocol';
import type { DestinationStream } from 'pino';
import { printLogLine } from './log_lines.ts';

export const LOG_FORMATS = ['auto', 'json', 'text'] as const;
/** `auto`: short lines on a terminal, JSON for files and pipes. */
export type LogFormat = (typeof LOG_FORMATS)[number];

/** How long a line waits for a reader that is behind, in milliseconds. Meanwhile no request is served. */
export const LOG_WAIT_MS_MAX = 100;
const PAUSE_MS = 5;
const STANDARD_ERROR = 2;

export interface LogDestinationOptions {
  readonly format?: LogFormat;
  /** Called for each line that could not be written. */
  readonly lineDropped?: () => void;
  /** A file descriptor. */
  readonly to?: number;
}

/**
 * Writes each line at once, since the line before a crash is the one that is needed. A line that cannot be written is
 * dropped and counted: a server must not end, or wait, because nobody reads its log.
 */
export function standardError({
  format = 'auto',
  lineDropped = () => undefined,
  to = STANDARD_ERROR,
}: LogDestinationOptions = {}): DestinationStream {
  const asText = format === 'text' || (format === 'auto' && process.stderr.isTTY);
  // After a line that was dropped nobody waits again, until a line can be written at once.
  let patience = LOG_WAIT_MS_MAX;
  let isCut = false;
  return {
    write: (line) => {
      // JSON itself escapes no more than the first 32 of the characters that a terminal obeys.
      const text = asText ? printLogLine(line) : escapeControlsInLines(line);
      // A line that was cut off must not run into the next one.
      const bytes = Buffer.from(isCut ? `\n${text}` : text);
      const length = writeWithin(to, bytes, patience);
      const isWhole = length === bytes.length;
      if (length > 0) isCut = !isWhole;
      patience = isWhole ? LOG_WAIT_MS_MAX : 0;
      if (!isWhole) lineDropped();
    },
  };
}

/** Writes what can be written within some milliseconds, and gives how many bytes that were. */
function writeWithin(descriptor: number, bytes: Buffer, patienceMs: number): number {
  let length = 0;
  let waitedMs = 0;
  while (length < bytes.length) {
    try {
      length += writeSync(descriptor, bytes, length);
    } catch (error) {
      const isBehind = error instanceof Error && 'code' in error && error.code === 'EAGAIN';
      if (!isBehind || waitedMs >= patienceMs) break;
      Atomics.wait(SLEEPING, 0, 0, PAUSE_MS);
      waitedMs += PAUSE_MS;
    }
  }
  return length;
}

const SLEEPING = new Int32Array(new SharedArrayBuffer(4));

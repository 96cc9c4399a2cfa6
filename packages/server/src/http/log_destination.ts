/** Writes log lines to standard error, whose reader may fall behind or go away. */
import { writeSync } from 'node:fs';
import { escapeControlsInLines } from '@hallpass/protocol';
import type { DestinationStream } from 'pino';
import { printLogLine } from './log_lines.ts';

/** From the quietest to the most verbose. */
export const LOG_LEVELS = ['silent', 'error', 'warn', 'info'] as const;
/** The lowest level that is written. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The formats that HALLPASS_LOG_FORMAT takes. */
export const LOG_FORMATS = ['auto', 'json', 'text'] as const;
/** `auto` means short lines on a terminal, JSON in files and pipes. */
export type LogFormat = (typeof LOG_FORMATS)[number];

/** How long a line waits for a slow reader, in milliseconds. No request is served meanwhile. */
export const LOG_WAIT_MS_MAX = 100;
const PAUSE_MS = 5;
const STANDARD_ERROR = 2;

/** How and where the log is written. */
export interface LogDestinationOptions {
  readonly format?: LogFormat;
  /** Called for each line that could not be written. */
  readonly lineDropped?: () => void;
  /** A file descriptor. */
  readonly to?: number;
}

/**
 * Writes each line immediately, because the last line before a crash is the one you need. A line that cannot be written is
 * dropped and counted: a server must not stop or hang because nobody reads its log.
 */
export function standardError({
  format = 'auto',
  lineDropped = () => undefined,
  to = STANDARD_ERROR,
}: LogDestinationOptions = {}): DestinationStream {
  const asText = format === 'text' || (format === 'auto' && process.stderr.isTTY);
  // After a dropped line, don't wait again until a line can be written at once.
  let patience = LOG_WAIT_MS_MAX;
  let isCut = false;
  return {
    write: (line) => {
      // JSON escapes only the first 32 of the control characters that a terminal obeys.
      const text = asText ? printLogLine(line) : escapeControlsInLines(line);
      // Keep a line that was cut off from running into the next one.
      const bytes = Buffer.from(isCut ? `\n${text}` : text);
      const length = writeWithin(to, bytes, patience);
      const isWhole = length === bytes.length;
      if (length > 0) isCut = !isWhole;
      patience = isWhole ? LOG_WAIT_MS_MAX : 0;
      if (!isWhole) lineDropped();
    },
  };
}

/** Writes as many bytes as possible within `patienceMs`, and returns their number. */
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

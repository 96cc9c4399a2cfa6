/**
 * What a failure of the embedded engine means for an operator: whether it passes by itself, and what to do. The writer
 * thread sends failures as plain data.
 */
import { RESTORE, StoreBroken, StoreUnavailable } from '../store.ts';

/** A failure as plain data. */
export type SqliteFault =
  /** The message and primary result code of SQLite (sqlite.org/rescode.html). `code` is undefined for other failures. */
  | { readonly kind: 'sqlite'; readonly message: string; readonly code: number | undefined }
  /** A file of the store is no longer the one that is open. */
  | { readonly kind: 'replaced'; readonly message: string };

/** Result codes for which we have a more helpful message than SQLite. */
const BUSY = 5;
const READ_ONLY = 8;
const INPUT_OUTPUT = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

/** Describes an error of SQLite, or any other error. */
export function faultOf(error: unknown): SqliteFault {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  const code =
    cause instanceof Error && 'errcode' in cause && typeof cause.errcode === 'number'
      ? cause.errcode & 0xff
      : undefined;
  return { kind: 'sqlite', message, code };
}

/** Whether another process held the lock for too long. That is a reason to wait, not to give up. */
export function isBusy(fault: SqliteFault): boolean {
  return fault.kind === 'sqlite' && fault.code === BUSY;
}

/** Whether the connection had to write and may not. */
export function isReadOnly(fault: SqliteFault): boolean {
  return fault.kind === 'sqlite' && fault.code === READ_ONLY;
}

/** Whether the database is damaged. SQLite may answer wrongly from then on, so it must not be used any more. */
export function isDamage(fault: SqliteFault): boolean {
  return fault.kind === 'sqlite' && (fault.code === CORRUPT || fault.code === NOT_A_DATABASE);
}

/** The exception for an operation that failed. `to`: what it tried to do with the store. */
export function outageOf(fault: SqliteFault, to: 'read' | 'written'): StoreUnavailable {
  if (fault.kind === 'replaced') return new StoreBroken(fault.message);
  const cause = new Error(fault.message);
  if (isDamage(fault)) {
    return new StoreBroken(
      `The store is damaged, so Hallpass no longer uses it. ${RESTORE} To see the damage, run: hallpass store verify`,
      { cause },
    );
  }
  const sentence = fault.code === undefined ? undefined : SENTENCES[fault.code];
  if (sentence !== undefined) return new StoreBroken(sentence, { cause });
  return new StoreUnavailable(`The store could not be ${to}.`, { cause });
}

/** Each of these passes once an operator has acted. Retrying before that is useless. */
const SENTENCES: Readonly<Record<number, string>> = {
  [FULL]: 'The disk of the store is full. Free some space; Hallpass then continues by itself.',
  [READ_ONLY]: 'The store cannot be written: its disk, folder or files are read-only for this user.',
  [CANNOT_OPEN]: 'The files of the store cannot be opened. Do they still exist, and may this user read and write them?',
  [INPUT_OUTPUT]: 'The disk of the store fails to read or write. Check the disk and the system log.',
};

/** Why a store cannot be opened, as a sentence that names its file. */
export function whyNotOpened(fault: SqliteFault, file: string): string {
  if (fault.kind === 'replaced') return fault.message;
  const { code, message } = fault;
  if (code === CORRUPT || code === NOT_A_DATABASE) {
    return `The store is damaged (${message}): ${file}. ${RESTORE}`;
  }
  const sentence = code === undefined ? undefined : SENTENCES[code];
  return sentence === undefined
    ? `The store cannot be opened (${message}): ${file}. Is HALLPASS_DATA_DIR right?`
    : `The store cannot be opened (${message}): ${file}. ${sentence} Is HALLPASS_DATA_DIR right?`;
}

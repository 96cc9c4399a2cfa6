/**
 * What a failure of the embedded engine means for an operator: whether it passes by itself, and what to do. It crosses
 * from the writing thread as plain data.
 */
import { RESTORE, StoreBroken, StoreUnavailable } from '../store.ts';

export type SqliteFault =
  /** What SQLite said, with its primary result code (sqlite.org/rescode.html); undefined: it was not SQLite that failed. */
  | { readonly kind: 'sqlite'; readonly said: string; readonly code: number | undefined }
  /** A file of the store is no longer the one that is open here. */
  | { readonly kind: 'replaced'; readonly said: string };

/** The result codes that say more to an operator than the sentence of SQLite does. */
const BUSY = 5;
const READ_ONLY = 8;
const INPUT_OUTPUT = 10;
const CORRUPT = 11;
const FULL = 13;
const CANNOT_OPEN = 14;
const NOT_A_DATABASE = 26;

export function faultOf(error: unknown): SqliteFault {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const said = cause instanceof Error ? cause.message : String(cause);
  const code =
    cause instanceof Error && 'errcode' in cause && typeof cause.errcode === 'number'
      ? cause.errcode & 0xff
      : undefined;
  return { kind: 'sqlite', said, code };
}

/** Whether another process held the store for too long: a reason to wait, not to give up. */
export function isBusy(fault: SqliteFault): boolean {
  return fault.kind === 'sqlite' && fault.code === BUSY;
}

/** Whether something has to be written that this connection may not write. */
export function isReadOnly(fault: SqliteFault): boolean {
  return fault.kind === 'sqlite' && fault.code === READ_ONLY;
}

/** Whether what SQLite read is no sound database. It can answer wrongly from then on, so nothing else is asked of it. */
export function isDamage(fault: SqliteFault): boolean {
  return fault.kind === 'sqlite' && (fault.code === CORRUPT || fault.code === NOT_A_DATABASE);
}

/** The exception for a verb that failed. `to`: what it wanted to do with the store. */
export function outageOf(fault: SqliteFault, to: 'read' | 'written'): StoreUnavailable {
  if (fault.kind === 'replaced') return new StoreBroken(fault.said);
  const cause = new Error(fault.said);
  if (isDamage(fault)) {
    return new StoreBroken(
      `The store is damaged, so Hallpass no longer uses it. ${RESTORE} What is wrong with it: hallpass store verify.`,
      { cause },
    );
  }
  const sentence = fault.code === undefined ? undefined : SENTENCES[fault.code];
  if (sentence !== undefined) return new StoreBroken(sentence, { cause });
  return new StoreUnavailable(`The store could not be ${to}.`, { cause });
}

/** Each of these ends by itself once an operator has acted; to repeat a command before that is of no use. */
const SENTENCES: Readonly<Record<number, string>> = {
  [FULL]: 'The disk of the store is full. Make room on it; Hallpass then goes on by itself.',
  [READ_ONLY]: 'The store cannot be written: its disk, its folder or its files are read-only for this user.',
  [CANNOT_OPEN]:
    'The files of the store cannot be opened. Are they still there, and may this user read and write them?',
  [INPUT_OUTPUT]: 'The disk of the store does not read or write as it should. Look at the disk and at the system log.',
};

/** Why a store cannot be opened at all, in a sentence that names its file. */
export function whyNotOpened(fault: SqliteFault, file: string): string {
  if (fault.kind === 'replaced') return fault.said;
  const { code, said } = fault;
  if (code === CORRUPT || code === NOT_A_DATABASE) {
    return `The store is damaged (${said}): ${file}. ${RESTORE}`;
  }
  const sentence = code === undefined ? undefined : SENTENCES[code];
  return sentence === undefined
    ? `The store cannot be opened (${said}): ${file}. Is HALLPASS_DATA_DIR right?`
    : `The store cannot be opened (${said}): ${file}. ${sentence} Is HALLPASS_DATA_DIR right?`;
}

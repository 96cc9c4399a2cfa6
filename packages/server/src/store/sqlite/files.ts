/**
 * Checks that the files of the store are still the ones that are open. If a data folder is deleted, moved or replaced under
 * a running server, SQLite keeps writing to the open files, which no restart will ever find. Nothing may be acknowledged
 * then.
 */
import { realpathSync, statSync } from 'node:fs';

/** The database, its write-ahead log, and the log's index, through which processes see each other's commits. */
const SUFFIXES = ['', '-wal', '-shm'];

/** The file that a link points to. SQLite keeps the log and its index next to that file, not next to the link. */
export function findRealFile(file: string): string {
  try {
    return realpathSync.native(file);
  } catch {
    return file;
  }
}

/** The identity of the files that this process has open. */
export class OpenFiles {
  readonly #file: string;
  readonly #opened: readonly (string | undefined)[];

  /** Create this after the database has been opened and read, because only then do all its files exist. */
  constructor(file: string) {
    this.#file = file;
    this.#opened = namesOf(file).map(identityOf);
  }

  /**
   * Why nothing may be acknowledged, as a sentence; undefined while all is well. The inode of an open file is never reused,
   * so comparing device and inode is proof enough. Takes four file system calls, about 20 µs.
   */
  whyReplaced(): string | undefined {
    const name = namesOf(this.#file).find((opened, index) => identityOf(opened) !== this.#opened[index]);
    if (name === undefined) return undefined;
    const how = identityOf(name) === undefined ? 'is gone' : 'has been replaced';
    return `A file of the store ${how}: ${name}. Hallpass stores nothing in files that a restart would not find. Put the data folder back, or restart Hallpass on the store that it should use.`;
  }
}

/** The paths that a restart would open now. */
function namesOf(file: string): readonly string[] {
  const real = findRealFile(file);
  return SUFFIXES.map((suffix) => real + suffix);
}

function identityOf(file: string): string | undefined {
  try {
    const { dev, ino } = statSync(file, { bigint: true });
    return `${dev} ${ino}`;
  } catch {
    // Gone, or in a folder that this process may no longer read; for this process that is the same.
    return undefined;
  }
}

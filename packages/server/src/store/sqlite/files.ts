/**
 * Whether the files of the store are still the ones that are open here. A data folder can be deleted, moved away or
 * replaced under a running server. SQLite goes on writing into the files it has open, which nobody will ever find again, so
 * nothing may be acknowledged then.
 */
import { realpathSync, statSync } from 'node:fs';

/** The database, its write-ahead log, and the index of that log, by which processes see each other's commits. */
const SUFFIXES = ['', '-wal', '-shm'];

/** The file that a link leads to: beside that one, and not beside the link, SQLite keeps the other two. */
export function findRealFile(file: string): string {
  try {
    return realpathSync.native(file);
  } catch {
    return file;
  }
}

export class OpenFiles {
  readonly #file: string;
  readonly #opened: readonly (string | undefined)[];

  /** To be made when the database has been opened and read, so that all of its files are there. */
  constructor(file: string) {
    this.#file = file;
    this.#opened = namesOf(file).map(identityOf);
  }

  /**
   * Why nothing may be acknowledged, in a sentence; undefined while all is well. While a file is open here its inode is
   * not given to another file, so to compare device and inode is proof enough. Costs four calls of the file system, about 20 µs.
   */
  whyReplaced(): string | undefined {
    const name = namesOf(this.#file).find((opened, index) => identityOf(opened) !== this.#opened[index]);
    if (name === undefined) return undefined;
    const how = identityOf(name) === undefined ? 'is gone' : 'is another file now';
    return `A file of the store ${how}: ${name}. Hallpass keeps nothing in files that a restart would not find. Put the data folder back where it was, or restart Hallpass on the store it is to use.`;
  }
}

/** As a restart would find them now. */
function namesOf(file: string): readonly string[] {
  const real = findRealFile(file);
  return SUFFIXES.map((suffix) => real + suffix);
}

function identityOf(file: string): string | undefined {
  try {
    const { dev, ino } = statSync(file, { bigint: true });
    return `${dev} ${ino}`;
  } catch {
    // Gone, or in a folder that this process may no longer look into: it is not there for it either way.
    return undefined;
  }
}

/**
 * Tells a whole store from a torn copy (ADR 34). If someone copies the files of a running server one after the other, the
 * database and its write-ahead log are from different moments. SQLite opens such a pair without complaint, and tokens that
 * were revoked in between are valid in it.
 *
 * The life of a log between two resets is called a generation. Its name is a random number, stored in two places:
 *
 *   mark      in the header of the database file (`application_id`): the generation that builds on its pages;
 *   witness   in a row that the first commit of the log writes.
 *
 * Only `#end` resets a log: it checkpoints all pages, gives the mark a new name and checkpoints that alone; then the first
 * commit of the new log writes the witness. So in any state that a crash can leave, the mark in the file equals the witness,
 * or is a newer name that the log holds as its mark too. In a torn copy neither is true.
 */
import { statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { DatabaseSync } from 'node:sqlite';
import { newGenerationName } from '../commit_id.ts';
import { faultOf, isReadOnly } from './faults.ts';
import { findRealFile } from './files.ts';
import { RESTORE } from '../store.ts';

/** The log size at which a generation ends, in bytes: about SQLite's own default of a thousand pages. */
const LOG_BYTES_MAX = 4 * 1024 * 1024;
/** How long the end of a generation waits for another writer, in milliseconds. It is tried again later. */
const BUSY_TIMEOUT_MS = 250;
/** How long opening waits for another process that opens or closes the store, in milliseconds. */
const OPEN_TIMEOUT_MS = 5_000;
/** How many times the marks are read while another process is changing them. */
const READS_MAX = 20;
/** The witness is a row of `counters` that is never forgotten. */
const NAME = 'store generation';
const NEVER = 253_402_300_799;

interface Marks {
  /** 0 before the first generation. */
  readonly mark: number;
  readonly witness: number;
}

/** The files of a store are from different moments. The message says what to do. */
export class TornCopy extends Error {}

/**
 * Throws `TornCopy` when the files of this store are from different moments. Call it before opening the store for writing: a
 * connection that can write merges the log into the database when it closes, and the torn copy would then look whole. This
 * function only reads.
 */
export function assertWholeFile(file: string, logWas: 'empty' | 'in use'): void {
  const database = new DatabaseSync(file, { readOnly: true, timeout: OPEN_TIMEOUT_MS });
  try {
    assertWhole(database, file, logWas);
  } catch (error) {
    // A store whose first start was killed has a rollback journal, which only a writing connection can replay.
    if (!isReadOnly(faultOf(error))) throw error;
  } finally {
    database.close();
  }
}

function assertWhole(database: DatabaseSync, file: string, logWas: 'empty' | 'in use'): void {
  // This is a new store, or one of the oldest version.
  if (!hasWitness(database)) return;
  for (let read = 1; read <= READS_MAX; read++) {
    const inFile = readMarkInFile(file);
    const { mark, witness } = readMarks(database);
    if (inFile === undefined || inFile !== readMarkInFile(file)) continue;
    if (inFile === witness) return;
    if (inFile === mark && (logWas === 'in use' || !isLogEmpty(file))) return;
    const how =
      inFile === mark
        ? 'its newest changes are missing; they were in a file whose name ends in -wal'
        : 'its files are from different moments';
    throw new TornCopy(
      `The store is a torn copy: ${how}. Revoked tokens would be valid again, so it is not opened: ${file}. To copy a store, use hallpass store backup. ${RESTORE}`,
    );
  }
}

/** The size of the shortest log with a page in it, in bytes: its header, a frame header, and the page. */
const LOG_BYTES_MIN = 32 + 24 + 4_096;

/** Whether the store has no log with a page in it. Call it before SQLite opens the database, which creates a log. */
export function isLogEmpty(file: string): boolean {
  return findLogBytes(`${findRealFile(file)}-wal`) < LOG_BYTES_MIN;
}

function findLogBytes(log: string): number {
  return statSync(log, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * For every connection that writes. SQLite must not checkpoint by itself, because it would reset the log without a new name.
 * And a reset log is truncated, so that the file size is the size of the log.
 */
const LOG_PRAGMAS = 'PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 0';

/** Takes a writing connection from one log generation to the next. */
export class Generations {
  readonly #database: DatabaseSync;
  readonly #file: string;
  readonly #log: string;
  /** A second connection. It holds the write lock while the first one checkpoints. */
  readonly #lock: DatabaseSync;
  /** SQLite started a new log when the last process closed the store; it has no witness yet. */
  #isDue: boolean;

  constructor(database: DatabaseSync, file: string, logWas: 'empty' | 'in use') {
    this.#database = database;
    this.#file = file;
    this.#log = `${findRealFile(file)}-wal`;
    this.#isDue = logWas === 'empty';
    database.exec(LOG_PRAGMAS);
    this.#lock = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    this.#lock.exec(`PRAGMA synchronous = FULL; ${LOG_PRAGMAS}`);
  }

  /** Ends the generation when its log is long. Call it after commits, when nobody waits for an answer. */
  maintain(): void {
    try {
      // Uses the file size, because before SQLite 3.51 (Node 24.0) every query for the log size also checkpoints.
      if (this.#isDue || findLogBytes(this.#log) >= LOG_BYTES_MAX) this.#end();
    } catch {
      // The disk is full or another process writes. The log continues, and the next call tries again.
    }
  }

  /** Call this before the connection closes: the last one to close deletes the log, and must leave a witness. */
  close(): void {
    try {
      if (!isSettled(readMarks(this.#database))) this.#settle();
    } catch {
      // The log then stays, with everything in it.
    }
    if (this.#lock.isOpen) this.#lock.close();
  }

  #end(): void {
    if (!isSettled(readMarks(this.#database))) this.#settle();
    if (!this.#rename()) return;
    this.#isDue = true;
    this.#settle();
    this.#isDue = false;
  }

  /**
   * Checkpoints everything and gives the mark a new name, while nobody else writes. The mark is on the first page of the
   * file, which a copy reads first, so a copy with the new name has read all other pages later.
   */
  #rename(): boolean {
    return transact(this.#lock, () => {
      if (!isSettled(readMarks(this.#lock)) || !this.#checkpoint()) return false;
      this.#lock.exec(`PRAGMA application_id = ${newGenerationName()}`);
      return true;
    });
  }

  /** Writes the new mark to the file, and then the witness to the log. */
  #settle(): void {
    if (!this.#checkpoint()) return;
    transact(this.#database, () => {
      const { mark } = readMarks(this.#database);
      if (readMarkInFile(this.#file) !== mark) return false;
      this.#database
        .prepare(
          `INSERT INTO counters (name, period, used, expires_at) VALUES (?, 0, ?, ?)
           ON CONFLICT (name, period) DO UPDATE SET used = excluded.used`,
        )
        .run(NAME, mark, NEVER);
      // Every log has to hold the mark; one without it would match any database.
      this.#database.exec(`PRAGMA application_id = ${mark}`);
      return true;
    });
  }

  /** Whether the whole log is now in the database file and on disk. */
  #checkpoint(): boolean {
    const { busy, log, checkpointed } = this.#database.prepare('PRAGMA wal_checkpoint(PASSIVE)').get() ?? {};
    return busy === 0 && log === checkpointed;
  }
}

function hasWitness(database: DatabaseSync): boolean {
  return database.prepare("SELECT 1 AS found FROM sqlite_schema WHERE name = 'counters'").get() !== undefined;
}

function isSettled({ mark, witness }: Marks): boolean {
  return mark === witness;
}

function readMarks(database: DatabaseSync): Marks {
  const row = database
    .prepare(
      'SELECT application_id AS mark, (SELECT used FROM counters WHERE name = ? AND period = 0) AS witness FROM pragma_application_id',
    )
    .get(NAME);
  return { mark: Number(row?.['mark']), witness: Number(row?.['witness'] ?? 0) };
}

/**
 * The mark in the database file itself, whatever the log holds; undefined when it cannot be read. Read through SQLite, not
 * through `open`, because closing a file of a database drops this process's locks on it. The file size in the header is
 * ignored, because a crash may come between writing the header and the pages.
 */
function readMarkInFile(file: string): number | undefined {
  const url = pathToFileURL(file);
  url.search = '?immutable=1';
  const database = new DatabaseSync(url, { readOnly: true, defensive: false });
  try {
    database.exec('PRAGMA writable_schema = ON');
    return Number(database.prepare('PRAGMA application_id').get()?.['application_id']);
  } catch {
    return undefined;
  } finally {
    database.close();
  }
}

/** Commits if the work returns true, and rolls back otherwise. */
function transact(database: DatabaseSync, work: () => boolean): boolean {
  database.exec('BEGIN IMMEDIATE');
  try {
    const isDone = work();
    database.exec(isDone ? 'COMMIT' : 'ROLLBACK');
    return isDone;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

/**
 * Tells a whole store from a torn copy (ADR 34). Someone who copies the files of a running server one after the other gets
 * a database from one moment and a write-ahead log from another. SQLite opens such a pair without complaint, and what was
 * revoked in between is not revoked in it.
 *
 * The life of the log between two resets is a generation, with a random number for a name:
 *
 *   mark      the name in the header of the database file (`application_id`), which says which generation its pages
 *             are the base of;
 *   witness   the name in a row, written into a log by its first commit.
 *
 * A log is reset by `end` alone: all pages are checkpointed, then the mark gets a new name, which is checkpointed by itself,
 * and then the first commit of the new log writes the witness. So in every state that a crash can leave behind, the mark in
 * the file is the witness's name, or a newer one that the log, too, holds as the mark. In a torn copy neither is true.
 */
import { statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { DatabaseSync } from 'node:sqlite';
import { newGenerationName } from '../commit_id.ts';
import { faultOf, isReadOnly } from './faults.ts';
import { findRealFile } from './files.ts';
import { RESTORE } from '../store.ts';

/** When a log is checkpointed, in bytes: SQLite's own default of a thousand pages, about. */
const LOG_BYTES_MAX = 4 * 1024 * 1024;
/** How long the end of a generation waits for another process that is writing, in milliseconds; it is tried again later. */
const BUSY_TIMEOUT_MS = 250;
/** How long a start waits for another process that opens or closes the store, in milliseconds. */
const OPEN_TIMEOUT_MS = 5_000;
/** How often the marks are read while another process is changing them. */
const LOOKS_MAX = 20;
/** The row of the witness is one of the counters, and is never forgotten. */
const NAME = 'store generation';
const NEVER = 253_402_300_799;

interface Marks {
  /** 0: none yet. */
  readonly mark: number;
  readonly witness: number;
}

/** The files of a store are not of one moment. Says what to do. */
export class TornCopy extends Error {}

/**
 * Throws `TornCopy` when the files of this store are not of one moment. To be asked before the store is opened to be
 * written: a connection that may write carries the log over into the database when it closes, and a torn copy would look
 * whole the next time. This one only reads.
 */
export function assertWholeFile(file: string, logWas: 'empty' | 'in use'): void {
  const database = new DatabaseSync(file, { readOnly: true, timeout: OPEN_TIMEOUT_MS });
  try {
    assertWhole(database, file, logWas);
  } catch (error) {
    // A store whose very first start was killed has a rollback journal, which only one that may write can play back.
    if (!isReadOnly(faultOf(error))) throw error;
  } finally {
    database.close();
  }
}

function assertWhole(database: DatabaseSync, file: string, logWas: 'empty' | 'in use'): void {
  // A new store, and one of the oldest version.
  if (!hasWitness(database)) return;
  for (let look = 1; look <= LOOKS_MAX; look++) {
    const inFile = readMarkInFile(file);
    const { mark, witness } = readMarks(database);
    if (inFile === undefined || inFile !== readMarkInFile(file)) continue;
    if (inFile === witness) return;
    if (inFile === mark && (logWas === 'in use' || !isLogEmpty(file))) return;
    const how =
      inFile === mark
        ? 'the end of it, which was in a file ending in -wal, is missing'
        : 'its files are from different moments';
    throw new TornCopy(
      `The store is a torn copy: ${how}. Tokens that were revoked would be good again, so it is not opened: ${file}. Copy a store with hallpass store backup. ${RESTORE}`,
    );
  }
}

/** The shortest log with a page in it, in bytes: its head, the head of a frame, and the page. */
const LOG_BYTES_MIN = 32 + 24 + 4_096;

/** Whether there is no log, or none with a page in it. To be asked before SQLite opens the database, which makes one. */
export function isLogEmpty(file: string): boolean {
  return findLogBytes(`${findRealFile(file)}-wal`) < LOG_BYTES_MIN;
}

function findLogBytes(log: string): number {
  return statSync(log, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * For each connection that writes. SQLite would checkpoint at a moment of its own choice, and reset the log without a new
 * name. And a log that is reset is cut to what is in it, so that the size of the file is the size of the log.
 */
const LOG_PRAGMAS = 'PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 0';

/** The generations of a store, as a connection that writes to it goes through them. */
export class Generations {
  readonly #database: DatabaseSync;
  readonly #file: string;
  readonly #log: string;
  /** A second connection: it holds the lock of all who write while the first one checkpoints. */
  readonly #lock: DatabaseSync;
  /** A log that was begun anew by SQLite, when the last process closed the store, has no witness yet. */
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

  /** To be called after commits, when nobody waits for an answer: ends the generation when its log is long. */
  tend(): void {
    try {
      // By the size of the file: an SQLite before 3.51 (Node 24.0) knows no way to ask that does not checkpoint as well.
      if (this.#isDue || findLogBytes(this.#log) >= LOG_BYTES_MAX) this.#end();
    } catch {
      // A full disk, or another process that writes: the log goes on, and the next call tries again.
    }
  }

  /** To be called before the connection closes: the last one to close takes the log away, and must leave a witness. */
  close(): void {
    try {
      if (!isSettled(readMarks(this.#database))) this.#settle();
    } catch {
      // Then the log stays, with all that is in it.
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
   * Checkpoints everything and gives the mark a new name, at a moment when nobody else writes. The page of the mark is the
   * first of the file, and the first that a copy reads: a copy with the new name has read all other pages later.
   */
  #rename(): boolean {
    return transact(this.#lock, () => {
      if (!isSettled(readMarks(this.#lock)) || !this.#checkpoint()) return false;
      this.#lock.exec(`PRAGMA application_id = ${newGenerationName()}`);
      return true;
    });
  }

  /** Puts the new mark into the file, and then the witness into the log. */
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
      // So that each log holds the mark: a log without it would be read together with any database.
      this.#database.exec(`PRAGMA application_id = ${mark}`);
      return true;
    });
  }

  /** Whether all of the log is in the database file now, and on disk. */
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
 * The mark in the database file itself, whatever the log says; undefined when it cannot be read. By SQLite and not by
 * `open`: to close a file of a database drops the locks that this process has on it. What the header says of the size of
 * the file is passed over, since a crash may come when the checkpoint has written one and not yet the other.
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

/** Commits what the work answers with true, and rolls back otherwise. */
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

/**
 * The writing thread of the embedded engine: group commit. Whatever has arrived by the time a commit ends goes into the
 * next one together, and every caller is answered after the fsync of its batch.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { eventIds } from './event_id.ts';
import { firstRows, MIGRATIONS, newerSchema } from './migrations.ts';
import type { Sql } from './sql.ts';
import { sqlOf } from './sqlite_connection.ts';
import type { IfMissing } from './store.ts';
import * as verbs from './verbs.ts';

export interface WriterOptions {
  readonly file: string;
  readonly ifMissing: IfMissing;
}

/** What a caller may ask of the writer: the writing verbs without the connection. */
export type WriteVerb = {
  [Name in keyof typeof WRITES]: (typeof WRITES)[Name] extends (sql: Sql, ...values: infer Values) => infer Result
    ? (...values: Values) => Result
    : never;
};

export interface WriteRequest {
  readonly id: number;
  readonly verb: keyof typeof WRITES;
  readonly values: readonly unknown[];
}

export type WriterMessage =
  | { readonly ready: true }
  | { readonly unusable: string }
  | { readonly missing: true }
  | { readonly busy: string }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failed: string };

const WRITES = {
  saveClient: verbs.saveClient,
  deleteClient: verbs.deleteClient,
  markSecretsUsed: verbs.markSecretsUsed,
  addKey: verbs.addKey,
  removeKey: verbs.removeKey,
  rewrapKey: verbs.rewrapKey,
  count: verbs.count,
  useOnce: verbs.useOnce,
  rotate: verbs.rotate,
  recordPredecessor: verbs.recordPredecessor,
  revoke: verbs.revoke,
  askFollowers: verbs.askFollowers,
  noteFollowers: verbs.noteFollowers,
  recordEvent: verbs.recordEvent,
  keepTime: verbs.keepTime,
  forgetExpired: verbs.forgetExpired,
} as const;

/** The most writes in one commit: bounds how long the first of them waits. */
const BATCH_MAX = 256;
/** How long a commit waits for another process that is writing, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;
/** What SQLite takes for a database in memory: no file, and refused as not durable. */
const IN_MEMORY = ':memory:';

if (parentPort !== null) start(parentPort, workerData);

function start(port: MessagePort, options: WriterOptions): void {
  let database: DatabaseSync;
  try {
    const opened = openForWriting(options);
    if (opened === 'missing') {
      port.postMessage({ missing: true } satisfies WriterMessage);
      port.close();
      return;
    }
    database = opened;
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    port.postMessage((isBusy(error) ? { busy: said } : { unusable: said }) satisfies WriterMessage);
    port.close();
    return;
  }
  const sql = sqlOf(database, eventIds());
  const queue: WriteRequest[] = [];
  let closing = false;
  let flushing = false;

  const flush = async (): Promise<void> => {
    while (queue.length > 0) port.postMessage(await commit(database, sql, queue.splice(0, BATCH_MAX)));
    flushing = false;
    if (closing) {
      database.close();
      port.close();
    }
  };
  port.on('message', (message: WriteRequest | 'close') => {
    if (message === 'close') closing = true;
    else queue.push(message);
    if (flushing) return;
    flushing = true;
    // After everything else that has already arrived, so that it shares the commit.
    setImmediate(() => void flush());
  });
  port.postMessage({ ready: true } satisfies WriterMessage);
}

/** One batch in one transaction. If a write in it fails, each is tried alone, so that one of them cannot fail the others. */
async function commit(database: DatabaseSync, sql: Sql, batch: readonly WriteRequest[]): Promise<WriterMessage[]> {
  let begun = false;
  let performed = false;
  try {
    database.exec('BEGIN IMMEDIATE');
    begun = true;
    const answers: WriterMessage[] = [];
    for (const request of batch) answers.push({ id: request.id, result: await perform(sql, request) });
    performed = true;
    database.exec('COMMIT');
    return answers;
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    // A store that is locked or full is so for each of them: to try one by one would only make them wait one by one.
    if (begun && !performed && batch.length > 1) {
      const alone: WriterMessage[] = [];
      for (const request of batch) alone.push(...(await commit(database, sql, [request])));
      return alone;
    }
    const failed = error instanceof Error ? error.message : String(error);
    return batch.map(({ id }) => ({ id, failed }));
  }
}

function perform(sql: Sql, { verb, values }: WriteRequest): Promise<unknown> {
  // oxlint-disable-next-line no-unsafe-type-assertion -- `Writer.write` has checked the values against the verb's type
  const write = WRITES[verb] as (sql: Sql, ...values: readonly unknown[]) => Promise<unknown>;
  return write(sql, ...values);
}

/** Whether another process held the store for too long (SQLITE_BUSY): a reason to wait, and not to give up. */
function isBusy(error: unknown): boolean {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return (
    cause instanceof Error && 'errcode' in cause && typeof cause.errcode === 'number' && (cause.errcode & 0xff) === 5
  );
}

/** SQLite would make the file for as many as the umask lets in, and gives its log the mode of the file. */
function makeForOwner(file: string): void {
  if (file === IN_MEMORY) return;
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function openForWriting({ file, ifMissing }: WriterOptions): DatabaseSync | 'missing' {
  let database: DatabaseSync;
  try {
    if (ifMissing === 'make') makeForOwner(file);
    database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    // Before the first pragma that writes: a file that no Hallpass has begun stays as it is.
    if (ifMissing === 'refuse' && schemaVersionOf(database) === 0) {
      database.close();
      return 'missing';
    }
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`The store cannot be opened (${said}): ${file}. Is HALLPASS_DATA_DIR right?`, { cause });
  }
  try {
    assertDurable(database);
    migrate(database);
  } catch (error) {
    // Or whoever looks at what is wrong with it would find it locked until this thread is gone.
    database.close();
    throw error;
  }
  // The file's own entry in its folder has to survive a power cut as well. (Windows has no such call for folders.)
  if (process.platform === 'win32') return database;
  const folder = openSync(dirname(file), 'r');
  fsyncSync(folder);
  closeSync(folder);
  return database;
}

/** With less than this an acknowledged commit can be lost in a power cut; SQLite's default in WAL mode is less. */
function assertDurable(database: DatabaseSync): void {
  const journal = database.prepare('PRAGMA journal_mode').get()?.['journal_mode'];
  const synchronous = database.prepare('PRAGMA synchronous').get()?.['synchronous'];
  if (journal !== 'wal' || synchronous !== 2) {
    throw new Error(
      `The store cannot promise that what it has acknowledged is on disk (journal_mode=${String(journal)}, ` +
        `synchronous=${String(synchronous)}). Keep the data folder on a local file system.`,
    );
  }
}

function migrate(database: DatabaseSync): void {
  // Most starts find nothing to do, and need not wait for whoever is writing.
  if (schemaVersionOf(database) === MIGRATIONS.length) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = schemaVersionOf(database);
    if (version > MIGRATIONS.length) throw new Error(newerSchema(version));
    for (const statements of MIGRATIONS.slice(version)) {
      // In SQLite only INTEGER makes a primary key the row's own place; its INTEGER is 64 bits wide.
      for (const statement of statements) database.exec(statement.replaceAll('BIGINT', 'INTEGER'));
    }
    if (version === 0) {
      for (const { text, values } of firstRows(randomBytes(6).toString('hex'))) database.prepare(text).run(...values);
    }
    database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function schemaVersionOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
}

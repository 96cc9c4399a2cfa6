/**
 * The writer thread of the embedded engine, with group commit: requests that arrive during a commit go into the next one
 * together, and each caller is answered after the fsync of its batch.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { eventIds } from '../event_id.ts';
import { firstRows, MIGRATIONS, newerSchema } from '../migrations.ts';
import type { Sql } from '../sql.ts';
import { sqlOf } from './connection.ts';
import { faultOf, isBusy, isDamage, whyNotOpened, type SqliteFault } from './faults.ts';
import { OpenFiles } from './files.ts';
import { assertWholeFile, Generations, isLogEmpty } from './generation.ts';
import { toSqlite } from './schema.ts';
import type { IfMissing } from '../store.ts';
import * as verbs from '../verbs/verbs.ts';

/** What the writer thread starts with. */
export interface WriterOptions {
  readonly file: string;
  readonly ifMissing: IfMissing;
}

/** The operations of the writer, as their caller sees them: without the connection. */
export type WriteVerb = {
  [Name in keyof typeof WRITES]: (typeof WRITES)[Name] extends (sql: Sql, ...values: infer Values) => infer Result
    ? (...values: Values) => Result
    : never;
};

/** A message to the writer thread: an operation and its arguments. */
export interface WriteRequest {
  readonly id: number;
  readonly verb: keyof typeof WRITES;
  readonly values: readonly unknown[];
}

/** A message from the writer thread: how opening ended, or the outcome of a request. */
export type WriterMessage =
  | { readonly ready: true }
  | { readonly unusable: string }
  | { readonly missing: true }
  | { readonly busy: string }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failed: SqliteFault };

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
  saveFollowers: verbs.saveFollowers,
  recordEvent: verbs.recordEvent,
  saveTime: verbs.saveTime,
  probe: verbs.probe,
  forgetExpired: verbs.forgetExpired,
} as const;

/** The most requests per commit. It limits how long the first of them waits. */
const BATCH_MAX = 256;
/** How long a commit waits for another process that is writing, in milliseconds. */
const BUSY_TIMEOUT_MS = 5_000;
/** SQLite's name for a database in memory. It has no file, and is refused because it is not durable. */
const IN_MEMORY = ':memory:';

if (parentPort !== null) start(parentPort, workerData);

function start(port: MessagePort, options: WriterOptions): void {
  let opened: Opened;
  try {
    const found = openForWriting(options);
    if (found === 'missing') {
      port.postMessage({ missing: true } satisfies WriterMessage);
      port.close();
      return;
    }
    opened = found;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage((isBusy(faultOf(error)) ? { busy: message } : { unusable: message }) satisfies WriterMessage);
    port.close();
    return;
  }
  const { database, generations } = opened;
  const queue: WriteRequest[] = [];
  let closing = false;
  let flushing = false;

  const flush = async (): Promise<void> => {
    while (queue.length > 0) port.postMessage(await commit(opened, queue.splice(0, BATCH_MAX)));
    flushing = false;
    if (!closing) return generations?.maintain();
    generations?.close();
    database.close();
    port.close();
  };
  port.on('message', (message: WriteRequest | 'close') => {
    if (message === 'close') closing = true;
    else queue.push(message);
    if (flushing) return;
    flushing = true;
    // Lets everything that has already arrived join this commit.
    setImmediate(() => void flush());
  });
  port.postMessage({ ready: true } satisfies WriterMessage);
}

/** A store that is open for writing. */
interface Opened {
  readonly database: DatabaseSync;
  readonly sql: Sql;
  readonly files: OpenFiles;
  readonly generations: Generations | undefined;
}

/** Commits one batch in one transaction. If a request fails, each is tried alone, so that it cannot fail the others. */
async function commit(opened: Opened, batch: readonly WriteRequest[]): Promise<WriterMessage[]> {
  const { database, sql, files } = opened;
  let begun = false;
  let performed = false;
  try {
    database.exec('BEGIN IMMEDIATE');
    begun = true;
    const answers: WriterMessage[] = [];
    for (const request of batch) answers.push({ id: request.id, result: await perform(sql, request) });
    performed = true;
    database.exec('COMMIT');
    // Checked between the commit and the answers, so that whatever is acknowledged is where a restart finds it.
    const replaced = files.whyReplaced();
    return replaced === undefined ? answers : failAll(batch, { kind: 'replaced', message: replaced });
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    const fault = faultOf(error);
    // A locked, full or damaged store fails every request, and trying them one by one would only make them wait.
    if (begun && !performed && batch.length > 1 && !isDamage(fault)) {
      const alone: WriterMessage[] = [];
      for (const request of batch) alone.push(...(await commit(opened, [request])));
      return alone;
    }
    return failAll(batch, fault);
  }
}

function failAll(batch: readonly WriteRequest[], failed: SqliteFault): WriterMessage[] {
  return batch.map(({ id }) => ({ id, failed }));
}

function perform(sql: Sql, { verb, values }: WriteRequest): Promise<unknown> {
  // oxlint-disable-next-line no-unsafe-type-assertion -- `Writer.write` has checked the values against the verb's type
  const write = WRITES[verb] as (sql: Sql, ...values: readonly unknown[]) => Promise<unknown>;
  return write(sql, ...values);
}

/** Creates the file for its owner alone. SQLite would follow the umask. The log gets the mode of the file. */
function makeForOwner(file: string): void {
  if (file === IN_MEMORY) return;
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}

function openForWriting({ file, ifMissing }: WriterOptions): Opened | 'missing' {
  const logWas = isLogEmpty(file) ? 'empty' : 'in use';
  let database: DatabaseSync | undefined;
  try {
    if (ifMissing === 'make') makeForOwner(file);
    if (file !== IN_MEMORY) assertWholeFile(file, logWas);
    database = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
    // Before the first pragma that writes, so that a foreign file stays unchanged.
    if (ifMissing === 'refuse' && schemaVersionOf(database) === 0) {
      database.close();
      return 'missing';
    }
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    assertDurable(database);
    migrate(database);
    syncFolder(dirname(file));
    const generations = file === IN_MEMORY ? undefined : new Generations(database, file, logWas);
    return { database, sql: sqlOf(database, eventIds()), files: new OpenFiles(file), generations };
  } catch (cause) {
    // Otherwise the file stays locked until this thread ends, and nobody can examine it.
    if (database?.isOpen === true) database.close();
    const fault = faultOf(cause);
    // This is already our own message.
    if (fault.kind === 'sqlite' && fault.code === undefined && !isSystemError(cause)) throw cause;
    throw new Error(whyNotOpened(fault, file), { cause });
  }
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}

/** Makes the file's entry in its folder survive a power cut as well. (Windows cannot sync folders.) */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return;
  const descriptor = openSync(folder, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

/** With weaker settings, such as SQLite's defaults in WAL mode, a power cut can lose an acknowledged commit. */
function assertDurable(database: DatabaseSync): void {
  const journal = database.prepare('PRAGMA journal_mode').get()?.['journal_mode'];
  const synchronous = database.prepare('PRAGMA synchronous').get()?.['synchronous'];
  if (journal !== 'wal' || synchronous !== 2) {
    throw new Error(
      `The store cannot promise that what it acknowledges is on disk (journal_mode=${String(journal)}, ` +
        `synchronous=${String(synchronous)}). Keep the data folder on a local file system.`,
    );
  }
}

function migrate(database: DatabaseSync): void {
  // Usually there is nothing to do, and no need to wait for another writer.
  if (schemaVersionOf(database) === MIGRATIONS.length) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    const version = schemaVersionOf(database);
    if (version > MIGRATIONS.length) throw new Error(newerSchema(version));
    for (const statements of MIGRATIONS.slice(version)) {
      for (const statement of statements) database.exec(toSqlite(statement));
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

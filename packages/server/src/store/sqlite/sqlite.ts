/**
 * The embedded engine: one SQLite file in WAL mode. Reads run on this thread, on a connection that cannot write and sees
 * only committed state. Writes run on a worker thread, many callers per commit, so that no fsync blocks the event loop and
 * its cost is shared.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { ParsedClients } from '../parsed_clients.ts';
import { readsThrough } from '../reads.ts';
import type { Sql } from '../sql.ts';
import { sqlOf } from './connection.ts';
import { faultOf, isDamage, outageOf, type SqliteFault } from './faults.ts';
import { OpenFiles } from './files.ts';
import { StoreMissing, StoreUnavailable, StoreUnusable, type IfMissing, type Store } from '../store.ts';
import type { WriteVerb, WriterMessage, WriterOptions } from './writer.ts';
import * as verbs from '../verbs/verbs.ts';
import { Watchers } from '../watchers.ts';

/** How long a caller waits for its commit before the effect counts as unknown, in milliseconds. */
const WRITE_TIMEOUT_MS = 8_000;

/**
 * Opens the store in this file and brings its schema up to date. Throws `StoreUnusable` when an operator has to act,
 * `StoreUnavailable` when another process blocks it, and with `ifMissing: 'refuse'` `StoreMissing`.
 */
export async function openSqliteStore({
  file,
  ifMissing = 'make',
}: {
  readonly file: string;
  readonly ifMissing?: IfMissing;
}): Promise<Store> {
  if (ifMissing === 'refuse' && !existsSync(file)) throw new StoreMissing(missingIn(file));
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new StoreUnusable(`The folder of the store cannot be made: ${dirname(file)}.`, { cause });
  }
  const state = new StoreState();
  const writer = await Writer.start({ file, ifMissing }, state);
  const reader = openReader(file);
  const files = new OpenFiles(file);
  const read = async <Result>(verb: (sql: Sql) => Promise<Result>): Promise<Result> => {
    state.assertUsable();
    return await verb(reader.sql).catch((error: unknown) => {
      throw state.record(faultOf(error), 'read');
    });
  };
  /** Replaced files are not read either: other processes may have revoked tokens in the new ones. */
  const checkFiles = (): void => state.recordReplaced(files.whyReplaced());
  const reads = readsThrough(read, new ParsedClients());
  const watchers = new Watchers(() => read(verbs.findFeedEnd));

  return {
    ...reads,
    saveClient: (client, consequences) => watchers.after(writer.write('saveClient', client, consequences)),
    deleteClient: (clientId, consequences) => watchers.after(writer.write('deleteClient', clientId, consequences)),
    markSecretsUsed: (uses) => writer.write('markSecretsUsed', uses),
    loadKeys: () => {
      // Every server calls this twice a second, so replaced files are read for half a second at most.
      checkFiles();
      return reads.loadKeys();
    },
    addKey: (key, unlessMadeAfter, event) => writer.write('addKey', key, unlessMadeAfter, event),
    removeKey: (keyId, consequences) => watchers.after(writer.write('removeKey', keyId, consequences)),
    rewrapKey: (keyId, wrapped) => writer.write('rewrapKey', keyId, wrapped),
    count: (counter) => writer.write('count', counter),
    useOnce: (marks) => writer.write('useOnce', marks),
    rotate: (rotation) => writer.write('rotate', rotation),
    recordPredecessor: (shown) => writer.write('recordPredecessor', shown),
    revoke: (revocations, event) => watchers.after(writer.write('revoke', revocations, event)),
    watchRevocations: (changed) => watchers.add(changed),
    askFollowers: () => watchers.after(writer.write('askFollowers')),
    saveFollowers: (followers, aliveAfter) => writer.write('saveFollowers', followers, aliveAfter),
    recordEvent: (event) => writer.write('recordEvent', event),
    readClock: async () => undefined,
    saveTime: (time) => writer.write('saveTime', time),
    forgetExpired: (now, limit) => writer.write('forgetExpired', now, limit),
    check: async () => {
      checkFiles();
      await writer.write('probe');
      await read(verbs.findFeedEnd);
    },
    close: async () => {
      watchers.close();
      reader.close();
      await writer.close();
    },
  };
}

function missingIn(file: string): string {
  return `There is no store in the folder ${dirname(file)}.`;
}

/** Whether this process may still use the store. */
class StoreState {
  /** SQLite found damage. This is final, because later answers may be wrong. */
  #damaged: StoreUnavailable | undefined;
  /** The files are no longer the ones that are open. They may be put back. */
  #replaced: StoreUnavailable | undefined;

  /** Throws if the store may not be used. */
  assertUsable(): void {
    const why = this.#damaged ?? this.#replaced;
    if (why !== undefined) throw why;
  }

  /** Records a failure and returns the exception for it. */
  record(fault: SqliteFault, to: 'read' | 'written'): StoreUnavailable {
    const outage = outageOf(fault, to);
    if (fault.kind === 'replaced') this.#replaced = outage;
    if (isDamage(fault)) this.#damaged ??= outage;
    return outage;
  }

  recordReplaced(why: string | undefined): void {
    this.#replaced = why === undefined ? undefined : outageOf({ kind: 'replaced', message: why }, 'written');
  }
}

function readsOnly(): never {
  throw new Error('This connection is read-only.');
}

function openReader(file: string): { readonly sql: Sql; readonly close: () => void } {
  const database = new DatabaseSync(file, { timeout: 1_000 });
  database.exec('PRAGMA query_only = ON');
  return { sql: sqlOf(database, readsOnly), close: () => (database.isOpen ? database.close() : undefined) };
}

/** The writer thread, seen from this one. */
class Writer {
  readonly #worker: Worker;
  readonly #state: StoreState;
  readonly #waiting = new Map<number, (message: Extract<WriterMessage, { id: number }>) => void>();
  #nextId = 1;
  #lost: Error | undefined;
  #closed: Promise<void> | undefined;

  static async start(options: WriterOptions, state: StoreState): Promise<Writer> {
    // The same file name beside this one, as source (.ts) or built (.js).
    const url = new URL(import.meta.url.replace(/sqlite\.([jt]s)$/, 'writer.$1'));
    // A thread does not inherit the condition by which this process finds the sources of the other packages.
    const execArgv = url.pathname.endsWith('.ts') ? ['--conditions=hallpass-source'] : [];
    const worker = new Worker(url, { workerData: options, execArgv });
    const first = await new Promise<WriterMessage>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
    if ('missing' in first) throw new StoreMissing(missingIn(options.file));
    if ('unusable' in first) throw new StoreUnusable(first.unusable);
    if ('busy' in first)
      throw new StoreUnavailable('Another process is writing to the store.', { cause: new Error(first.busy) });
    return new Writer(worker, state);
  }

  constructor(worker: Worker, state: StoreState) {
    this.#worker = worker;
    this.#state = state;
    worker.on('message', (messages: readonly Extract<WriterMessage, { id: number }>[]) => {
      for (const message of messages) this.#waiting.get(message.id)?.(message);
    });
    worker.on('error', (error: Error) => this.#lose(error));
    worker.on('exit', () => this.#lose(new Error('The writer thread has ended.')));
  }

  write<Name extends keyof WriteVerb>(
    verb: Name,
    ...values: Parameters<WriteVerb[Name]>
  ): Promise<Awaited<ReturnType<WriteVerb[Name]>>> {
    return new Promise((resolve, reject) => {
      this.#state.assertUsable();
      if (this.#lost !== undefined) {
        reject(new StoreUnavailable('The store can no longer be written.', { cause: this.#lost }));
        return;
      }
      const id = this.#nextId++;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new StoreUnavailable(`The store did not commit within ${WRITE_TIMEOUT_MS} ms.`));
      }, WRITE_TIMEOUT_MS);
      this.#waiting.set(id, (message) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        if ('failed' in message) {
          reject(this.#state.record(message.failed, 'written'));
        } else {
          // oxlint-disable-next-line no-unsafe-type-assertion -- the writer answers with the result of this very operation
          resolve(message.result as Awaited<ReturnType<WriteVerb[Name]>>);
        }
      });
      this.#worker.postMessage({ id, verb, values });
    });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#worker.once('exit', () => resolve());
      this.#worker.postMessage('close');
    });
    return this.#closed;
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    for (const [id, answer] of this.#waiting) answer({ id, failed: faultOf(error) });
  }
}

/**
 * The embedded engine: one SQLite file in WAL mode. Reading happens here, on a connection that cannot write and sees
 * committed state only. Writing happens on a worker thread, many callers to a commit, so that no fsync ever holds up
 * the event loop and the price of one is shared.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { ParsedClients } from '../parsed_clients.ts';
import type { Sql } from '../sql.ts';
import { sqlOf } from './connection.ts';
import { faultOf, isDamage, outageOf, type SqliteFault } from './faults.ts';
import { OpenFiles } from './files.ts';
import { StoreMissing, StoreUnavailable, StoreUnusable, type IfMissing, type Store } from '../store.ts';
import type { WriteVerb, WriterMessage, WriterOptions } from './writer.ts';
import * as verbs from '../verbs/verbs.ts';
import { Watchers } from '../watchers.ts';

/** How long a caller waits for its commit before the effect is called unknown, in milliseconds. */
const WRITE_TIMEOUT_MS = 8_000;

/** Opens the store in this file, its schema brought up to date. Throws `StoreUnusable`, or `StoreMissing` if asked to. */
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
  const state = new State();
  const writer = await Writer.start({ file, ifMissing }, state);
  const reader = openReader(file);
  const files = new OpenFiles(file);
  const read = async <Result>(verb: (sql: Sql) => Promise<Result>): Promise<Result> => {
    state.assertUsable();
    return await verb(reader.sql).catch((error: unknown) => {
      throw state.note(faultOf(error), 'read');
    });
  };
  /** Nothing is read either from files that were replaced: others may have revoked in those that took their place. */
  const look = (): void => state.noteReplaced(files.whyReplaced());
  const parsed = new ParsedClients();
  const watchers = new Watchers(() => read(verbs.findFeedEnd));

  const revoking = async <Result>(written: Promise<Result>): Promise<Result> => {
    const result = await written;
    watchers.look();
    return result;
  };

  return {
    findClient: (clientId) => read((sql) => verbs.findClient(sql, clientId, parsed)),
    findIssueNotBefore: (clientId) => read((sql) => verbs.findIssueNotBefore(sql, clientId)),
    listClients: (page) => read((sql) => verbs.listClients(sql, page)),
    saveClient: (client, consequences) => revoking(writer.write('saveClient', client, consequences)),
    deleteClient: (clientId, consequences) => revoking(writer.write('deleteClient', clientId, consequences)),
    isOriginListed: (origin) => read((sql) => verbs.isOriginListed(sql, origin)),
    markSecretsUsed: (uses) => writer.write('markSecretsUsed', uses),
    findSecretUses: (clientId) => read((sql) => verbs.findSecretUses(sql, clientId)),
    loadKeys: () => {
      // Each process that serves asks this twice a second: so long after the files were replaced, nothing is read of them.
      look();
      return read(verbs.loadKeys);
    },
    addKey: (key, unlessMadeAfter, event) => writer.write('addKey', key, unlessMadeAfter, event),
    removeKey: (keyId, consequences) => revoking(writer.write('removeKey', keyId, consequences)),
    rewrapKey: (keyId, wrapped) => writer.write('rewrapKey', keyId, wrapped),
    countGrants: (now, clientId) => read((sql) => verbs.countGrants(sql, now, clientId)),
    countGrantsSealedBy: (keyId, now) => read((sql) => verbs.countGrantsSealedBy(sql, keyId, now)),
    count: (counter) => writer.write('count', counter),
    useOnce: (marks) => writer.write('useOnce', marks),
    findFamily: (grantId) => read((sql) => verbs.findFamily(sql, grantId)),
    rotate: (rotation) => writer.write('rotate', rotation),
    recordPredecessor: (shown) => writer.write('recordPredecessor', shown),
    findRefreshSuspicions: (clientId) => read((sql) => verbs.findRefreshSuspicions(sql, clientId)),
    revoke: (revocations, event) => revoking(writer.write('revoke', revocations, event)),
    isRevoked: (subject) => read((sql) => verbs.isRevoked(sql, subject)),
    readRevocations: (from) => read((sql) => verbs.readRevocations(sql, from)),
    watchRevocations: (changed) => watchers.add(changed),
    askFollowers: () => revoking(writer.write('askFollowers')),
    saveFollowers: (followers, aliveAfter) => writer.write('saveFollowers', followers, aliveAfter),
    countFollowers: (to) => read((sql) => verbs.countFollowers(sql, to)),
    recordEvent: (event) => writer.write('recordEvent', event),
    listEvents: (page) => read((sql) => verbs.listEvents(sql, page)),
    readClock: async () => undefined,
    findTime: () => read(verbs.findTime),
    saveTime: (time) => writer.write('saveTime', time),
    forgetExpired: (now, limit) => writer.write('forgetExpired', now, limit),
    check: async () => {
      look();
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

/** Whether the store may be used, as far as this process has seen. */
class State {
  /** SQLite has found it damaged. That is for good: what it answers after that may be wrong. */
  #damaged: StoreUnavailable | undefined;
  /** Its files are no longer the ones that are open here; they may be put back. */
  #replaced: StoreUnavailable | undefined;

  /** Throws why the store may not be used. */
  assertUsable(): void {
    const why = this.#damaged ?? this.#replaced;
    if (why !== undefined) throw why;
  }

  /** The exception for what a verb failed with. */
  note(fault: SqliteFault, to: 'read' | 'written'): StoreUnavailable {
    const outage = outageOf(fault, to);
    if (fault.kind === 'replaced') this.#replaced = outage;
    if (isDamage(fault)) this.#damaged ??= outage;
    return outage;
  }

  noteReplaced(why: string | undefined): void {
    this.#replaced = why === undefined ? undefined : outageOf({ kind: 'replaced', said: why }, 'written');
  }
}

function readsOnly(): never {
  throw new Error('This connection reads only.');
}

function openReader(file: string): { readonly sql: Sql; readonly close: () => void } {
  const database = new DatabaseSync(file, { timeout: 1_000 });
  database.exec('PRAGMA query_only = ON');
  return { sql: sqlOf(database, readsOnly), close: () => (database.isOpen ? database.close() : undefined) };
}

/** The writing thread, seen from this one. */
class Writer {
  readonly #worker: Worker;
  readonly #state: State;
  readonly #waiting = new Map<number, (message: Extract<WriterMessage, { id: number }>) => void>();
  #nextId = 1;
  #lost: Error | undefined;
  #closed: Promise<void> | undefined;

  static async start(options: WriterOptions, state: State): Promise<Writer> {
    // The same file name beside this one, as source (.ts) or built (.js).
    const url = new URL(import.meta.url.replace(/sqlite\.([jt]s)$/, 'writer.$1'));
    // A thread does not inherit how this process was told to find the sources of the other packages.
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

  constructor(worker: Worker, state: State) {
    this.#worker = worker;
    this.#state = state;
    worker.on('message', (messages: readonly Extract<WriterMessage, { id: number }>[]) => {
      for (const message of messages) this.#waiting.get(message.id)?.(message);
    });
    worker.on('error', (error: Error) => this.#lose(error));
    worker.on('exit', () => this.#lose(new Error('The writing thread has ended.')));
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
          reject(this.#state.note(message.failed, 'written'));
        } else {
          // oxlint-disable-next-line no-unsafe-type-assertion -- the writer answers with what this very verb returned
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

/**
 * Connections to PostgreSQL or to a pooler in front of it. Every use has a deadline, and a connection that may be broken is
 * never reused. Operations run here, in one transaction or statement by statement, and are retried after a conflict.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@hallpass/protocol';
import { Pool, TypeOverrides, type ClientBase, type PoolClient } from 'pg';
import { connectionOf, type PostgresAddress } from './address.ts';
import { openTransaction } from './opening.ts';
import { DatabaseFailure, isBroken, Session } from './session.ts';
import type { Sql } from '../sql.ts';
import { StoreUnavailable } from '../store.ts';

/** How long any call of the store may take, in milliseconds. All limits below are shorter or end with it. */
export const DEADLINE_MS = 8_000;
/** How long a read may take: less, so that a copy read just before is still fresh enough to serve from (ADR 11). */
const READ_DEADLINE_MS = 3_000;
/** How long a caller waits for a free or new connection, in milliseconds. */
const CONNECT_TIMEOUT_MS = 4_000;
/** How long a statement waits for another transaction's lock, and how long it may take; milliseconds. */
const LOCK_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 6_000;
/** After how long the server aborts a transaction whose client has silently gone, and frees its locks; milliseconds. */
const ABANDONED_TIMEOUT_MS = 8_000;
/** A connection is replaced after this many seconds, because the address may point to another server by then. */
const CONNECTION_SECONDS_MAX = 300;
const IDLE_MS_MAX = 30_000;
/** How often an operation is tried when it keeps losing conflicts. */
const ATTEMPTS_MAX = 8;
const FIRST_WAIT_MS = 2;

/** Serialization failure, deadlock, and a unique key that another transaction wrote first. */
const CONFLICTS = new Set(['40001', '40P01', '23505']);
/**
 * Errors caused by the values of one statement (data, integrity, size), which fail in any transaction. All other errors
 * affect every caller.
 */
const OWN_FAULT = /^(?:22|23|54)/;
const INT8 = 20;

/** Whether one caller's values caused a failure, rather than the state of the database. */
export function isOwnFault(error: unknown): boolean {
  return error instanceof Error && error.cause instanceof DatabaseFailure && OWN_FAULT.test(error.cause.code);
}

type Work<Result> = (sql: Sql) => Promise<Result>;

interface ConnectionsOptions extends PostgresAddress {
  /** The namespace that the tables are in. */
  readonly schema: string;
  /** The most connections. */
  readonly connections: number;
  readonly random: Random;
  readonly nextEventId: () => number;
}

/** A pool of connections, and the ways to run an operation on one of them. */
export class Connections {
  readonly #pool: Pool;
  readonly #random: Random;
  readonly #secret: string;
  readonly #schema: string;
  /** The opening statements of transactions with the usual deadline. */
  readonly #toRead: string;
  readonly #toWrite: string;
  readonly #nextEventId: () => number;
  readonly #sessions = new WeakMap<ClientBase, Session>();
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(options: ConnectionsOptions) {
    const { config, secret } = connectionOf(options);
    const types = new TypeOverrides();
    // These are positions, times and counts, all far below 2^53.
    types.setTypeParser(INT8, Number);
    this.#pool = new Pool({
      ...config,
      types,
      max: options.connections,
      application_name: 'hallpass',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      idleTimeoutMillis: IDLE_MS_MAX,
      maxLifetimeSeconds: CONNECTION_SECONDS_MAX,
      keepAlive: true,
      allowExitOnIdle: true,
      // A statement and the transaction around it are sent together.
      pipeline: true,
    });
    this.#random = options.random;
    this.#secret = secret;
    this.#nextEventId = options.nextEventId;
    this.#schema = options.schema;
    const limits = { lockMs: LOCK_TIMEOUT_MS, statementMs: STATEMENT_TIMEOUT_MS, abandonedMs: ABANDONED_TIMEOUT_MS };
    this.#toRead = openTransaction({ to: 'read', schema: options.schema, ...limits });
    this.#toWrite = openTransaction({ to: 'write', schema: options.schema, ...limits });
    // The pool has already dropped an idle connection that dies; one in use fails its own query.
    this.#pool.on('error', () => undefined);
    this.#pool.on('connect', (client) => this.#sessions.set(client, new Session(client, secret)));
  }

  /** Rejects with `StoreUnusable` if the server cannot hold a store. Checks more than each transaction does. */
  checkServer(): Promise<void> {
    return this.#perform((session) => session.checkServer(), READ_DEADLINE_MS);
  }

  /** Runs an operation that only reads, each statement in its own transaction. */
  read<Result>(verb: Work<Result>): Promise<Result> {
    return this.#perform((session) => verb(session.sqlAlone(this.#toRead, this.#nextEventId)), READ_DEADLINE_MS);
  }

  /** Runs an operation whose docstring says that it needs no transaction, each statement in its own one. */
  write<Result>(verb: Work<Result>): Promise<Result> {
    return this.#perform(async (session) => {
      const result = await verb(session.sqlAlone(this.#toWrite, this.#nextEventId));
      session.assertCommitted();
      return result;
    }, DEADLINE_MS);
  }

  /** Runs an operation in one transaction. A longer `deadline` also applies to each of its statements; milliseconds. */
  transact<Result>(verb: Work<Result>, deadline = DEADLINE_MS): Promise<Result> {
    return this.#transact(verb, {
      deadline,
      opening: deadline === DEADLINE_MS ? this.#toWrite : this.#openLong(deadline),
    });
  }

  /** Runs an operation that only reads, in one transaction that sees one state of all tables. */
  snapshot<Result>(verb: Work<Result>, deadline: number): Promise<Result> {
    const reading: Work<Result> = async (sql) => {
      await sql.run('SET TRANSACTION READ ONLY');
      return await verb(sql);
    };
    return this.#transact(reading, { deadline, opening: this.#openLong(deadline, 'REPEATABLE READ') });
  }

  #transact<Result>(
    verb: Work<Result>,
    { deadline, opening }: { readonly deadline: number; readonly opening: string },
  ): Promise<Result> {
    return this.#perform((session) => session.transact(opening, () => verb(session.sql(this.#nextEventId))), deadline);
  }

  /** Opens a transaction whose statements, and the pauses between them, may take as long as the whole. */
  #openLong(deadline: number, isolation?: 'REPEATABLE READ'): string {
    const limits = { lockMs: deadline, statementMs: deadline, abandonedMs: deadline };
    return openTransaction({
      to: 'write',
      schema: this.#schema,
      ...limits,
      ...(isolation === undefined ? {} : { isolation }),
    });
  }

  /** Refuses new work, and resolves when all work in progress has ended. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#running).then(() => this.#pool.end());
    return this.#closed;
  }

  /**
   * Rejects with `StoreUnusable` when the server cannot hold a store, with `StoreUnavailable` when it cannot do this now,
   * and with whatever the work itself throws.
   */
  async #perform<Result>(work: (session: Session) => Promise<Result>, deadlineMs: number): Promise<Result> {
    if (this.#closed !== undefined) throw new StoreUnavailable('The store is closed.');
    const deadline = new Deadline(deadlineMs);
    const performed = Promise.race([this.#attempt(work, deadline), deadline.passed]);
    this.#running.add(performed);
    try {
      return await performed;
    } catch (error) {
      if (!(error instanceof DatabaseFailure)) throw error;
      throw new StoreUnavailable('The database cannot do this now.', { cause: error });
    } finally {
      this.#running.delete(performed);
      deadline.clear();
    }
  }

  /**
   * After a conflict nothing is written, so the whole operation is retried and then sees what the other transaction wrote.
   * No other failure is retried: after a lost connection the effect is unknown, and a compare-and-set that had in fact been
   * committed would report `already_used`.
   */
  async #attempt<Result>(work: (session: Session) => Promise<Result>, deadline: Deadline): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(work, deadline);
      } catch (error) {
        const isConflict = error instanceof DatabaseFailure && CONFLICTS.has(error.code);
        if (!isConflict || attempt === ATTEMPTS_MAX || deadline.isPassed) throw error;
      }
      const [chance = 0] = this.#random(1);
      await sleep(FIRST_WAIT_MS * 2 ** attempt * (chance / 256));
    }
  }

  async #once<Result>(work: (session: Session) => Promise<Result>, deadline: Deadline): Promise<Result> {
    const client = await this.#connect();
    const session = this.#sessions.get(client);
    if (session === undefined || deadline.isPassed) {
      client.release();
      throw new StoreUnavailable('A connection became free too late.');
    }
    const giveBack = session.lendOut(client);
    deadline.whenPassed(() => giveBack('broken'));
    try {
      const result = await work(session);
      giveBack('sound');
      return result;
    } catch (error) {
      giveBack(isBroken(error) ? 'broken' : 'sound');
      throw error;
    }
  }

  async #connect(): Promise<PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw new DatabaseFailure(error, this.#secret);
    }
  }
}

/** The deadline of one caller's operation. */
class Deadline {
  readonly passed: Promise<never>;
  isPassed = false;
  readonly #timer: ReturnType<typeof setTimeout>;
  #act: () => void = () => undefined;

  constructor(milliseconds: number) {
    const { promise, reject } = Promise.withResolvers<never>();
    this.passed = promise;
    this.#timer = setTimeout(() => {
      this.isPassed = true;
      // Destroys the connection: a cut network gives no sign, and the answer would never come.
      this.#act();
      reject(new StoreUnavailable(`The database did not answer within ${milliseconds} ms.`));
    }, milliseconds);
  }

  whenPassed(act: () => void): void {
    this.#act = act;
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

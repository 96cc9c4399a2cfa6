/**
 * Connections to PostgreSQL, or to a pooler in front of it: every use has an end, and none is used again that may be
 * broken. Verbs run here, in a transaction or statement by statement, and are tried again where another was first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@hallpass/protocol';
import { Pool, TypeOverrides, type ClientBase, type PoolClient } from 'pg';
import { connectionOf, type PostgresAddress } from './address.ts';
import { openTransaction } from './opening.ts';
import { DatabaseFailure, isBroken, Session } from './session.ts';
import type { Sql } from '../sql.ts';
import { StoreUnavailable } from '../store.ts';

/** How long anything asked of the store may take, in milliseconds: everything below ends before this, or by it. */
export const DEADLINE_MS = 8_000;
/** How long a read may take: less, so that what was read a moment before is still young enough to go on with (ADR 11). */
const READ_DEADLINE_MS = 3_000;
/** How long a caller waits for a connection, a free one or a new one, in milliseconds. */
const CONNECT_TIMEOUT_MS = 4_000;
/** How long a statement waits for another transaction, and how long it may take, in milliseconds. */
const LOCK_TIMEOUT_MS = 3_000;
const STATEMENT_TIMEOUT_MS = 6_000;
/** When the server gives up a transaction whose client has gone without a word, and its locks with it, in milliseconds. */
const ABANDONED_TIMEOUT_MS = 8_000;
/** A connection is renewed after this many seconds: an address can come to lead to another server. */
const CONNECTION_SECONDS_MAX = 300;
const IDLE_MS_MAX = 30_000;
/** How often a verb is tried when others were first. */
const ATTEMPTS_MAX = 8;
const FIRST_WAIT_MS = 2;

/** Serialization failure, deadlock, and a unique row that another transaction was first with. */
const CONFLICTS = new Set(['40001', '40P01', '23505']);
/**
 * What is wrong with the values of a statement (data, integrity, size) is wrong in whatever transaction they stand.
 * Everything else is so for all who ask.
 */
const OWN_FAULT = /^(?:22|23|54)/;
const INT8 = 20;

/** Whether a failure is that of the values which one caller gave. */
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

export class Connections {
  readonly #pool: Pool;
  readonly #random: Random;
  readonly #secret: string;
  readonly #schema: string;
  /** How transactions open that may take as long as anything else. */
  readonly #toRead: string;
  readonly #toWrite: string;
  readonly #nextEventId: () => number;
  readonly #sessions = new WeakMap<ClientBase, Session>();
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(options: ConnectionsOptions) {
    const { config, secret } = connectionOf(options);
    const types = new TypeOverrides();
    // Positions, times and counts: all far below 2^53.
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
      // A statement, and the transaction around it, are sent together.
      pipeline: true,
    });
    this.#random = options.random;
    this.#secret = secret;
    this.#nextEventId = options.nextEventId;
    this.#schema = options.schema;
    const limits = { lockMs: LOCK_TIMEOUT_MS, statementMs: STATEMENT_TIMEOUT_MS, abandonedMs: ABANDONED_TIMEOUT_MS };
    this.#toRead = openTransaction({ to: 'read', schema: options.schema, ...limits });
    this.#toWrite = openTransaction({ to: 'write', schema: options.schema, ...limits });
    // A connection that dies while nobody uses it is gone from the pool already; who uses one hears of it there.
    this.#pool.on('error', () => undefined);
    this.#pool.on('connect', (client) => this.#sessions.set(client, new Session(client, secret)));
  }

  /** Whether the server does for a store: all that each transaction looks at, and more. */
  look(): Promise<void> {
    return this.#perform((session) => session.look(), READ_DEADLINE_MS);
  }

  /** Statement by statement, each for itself: a verb that only reads. */
  read<Result>(verb: Work<Result>): Promise<Result> {
    return this.#perform((session) => verb(session.sqlAlone(this.#toRead, this.#nextEventId)), READ_DEADLINE_MS);
  }

  /** Statement by statement, each its own transaction: a verb of which `sql.ts` says that it needs none. */
  write<Result>(verb: Work<Result>): Promise<Result> {
    return this.#perform(async (session) => {
      const result = await verb(session.sqlAlone(this.#toWrite, this.#nextEventId));
      session.assertCommitted();
      return result;
    }, DEADLINE_MS);
  }

  /** A verb in one transaction. One that may take longer than the deadline of all others is given its own, as a whole. */
  transact<Result>(verb: Work<Result>, deadline = DEADLINE_MS): Promise<Result> {
    return this.#transact(verb, { deadline, opening: deadline === DEADLINE_MS ? this.#toWrite : this.#long(deadline) });
  }

  /** A verb that reads, in one transaction that sees one state of everything. */
  snapshot<Result>(verb: Work<Result>, deadline: number): Promise<Result> {
    const reading: Work<Result> = async (sql) => {
      await sql.run('SET TRANSACTION READ ONLY');
      return await verb(sql);
    };
    return this.#transact(reading, { deadline, opening: this.#long(deadline, 'REPEATABLE READ') });
  }

  #transact<Result>(
    verb: Work<Result>,
    { deadline, opening }: { readonly deadline: number; readonly opening: string },
  ): Promise<Result> {
    return this.#perform((session) => session.transact(opening, () => verb(session.sql(this.#nextEventId))), deadline);
  }

  /** Of a transaction whose statements, and the pauses between them, may take as long as all of it. */
  #long(deadline: number, isolation?: 'REPEATABLE READ'): string {
    const limits = { lockMs: deadline, statementMs: deadline, abandonedMs: deadline };
    return openTransaction({
      to: 'write',
      schema: this.#schema,
      ...limits,
      ...(isolation === undefined ? {} : { isolation }),
    });
  }

  /** Resolves when everything that was asked has been answered. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#running).then(() => this.#pool.end());
    return this.#closed;
  }

  /**
   * Rejects with `StoreUnusable` where the server does not do for a store, with `StoreUnavailable` where it cannot do
   * this now, and with what the work itself threw.
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
   * A conflict is told before anything was written, so the verb is tried again as a whole, and then sees what the other
   * wrote. Nothing else is tried again: when a connection is lost the effect is unknown, and a compare-and-set that had
   * been committed would find itself as `already_used`.
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
      throw new StoreUnavailable('A connection came too late.');
    }
    const giveBack = session.lend(client);
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

/** An end for everything that is done for one caller. */
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
      // Who waits for an answer that will not come is ended with its connection: a network that was cut says nothing.
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

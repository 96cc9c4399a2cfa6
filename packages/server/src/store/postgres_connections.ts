/**
 * Connections to PostgreSQL: each is checked before its first use, every use has an end, and none is used again that may
 * be broken. Verbs run here, in a transaction or statement by statement, and are tried again where another was first.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@hallpass/protocol';
import { Pool, TypeOverrides, escapeIdentifier, type ClientBase, type PoolClient } from 'pg';
import { connectionOf, type PostgresAddress } from './postgres_address.ts';
import { DatabaseFailure, isBroken, Session } from './postgres_session.ts';
import type { Sql } from './sql.ts';
import { StoreUnavailable } from './store.ts';

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
/** A connection is renewed, and checked anew, after this many seconds: settings of the server can change. */
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
  readonly #settings: string;
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
    });
    this.#random = options.random;
    this.#secret = secret;
    this.#nextEventId = options.nextEventId;
    this.#settings = sessionSettings(options.schema);
    // A connection that dies while nobody uses it is gone from the pool already; who uses one hears of it there.
    this.#pool.on('error', () => undefined);
    this.#pool.on('connect', (client) => this.#sessions.set(client, new Session(client, secret)));
  }

  /** Statement by statement, each for itself: a verb that only reads. */
  read<Result>(verb: Work<Result>): Promise<Result> {
    return this.#perform((session) => verb(session.sql(this.#nextEventId)), READ_DEADLINE_MS);
  }

  /** Statement by statement, each its own transaction: a verb of which `sql.ts` says that it needs none. */
  write<Result>(verb: Work<Result>): Promise<Result> {
    return this.#perform(async (session) => {
      const result = await verb(session.sql(this.#nextEventId));
      session.assertCommitted();
      return result;
    }, DEADLINE_MS);
  }

  /** A verb in one transaction. One that may take longer than the deadline of all others is given its own, as a whole. */
  transact<Result>(verb: Work<Result>, deadline = DEADLINE_MS): Promise<Result> {
    const begin = deadline === DEADLINE_MS ? 'BEGIN' : beginLong(deadline);
    return this.#perform((session) => session.transact(begin, () => verb(session.sql(this.#nextEventId))), deadline);
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
      await session.prepare(this.#settings);
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

/**
 * What every connection is set to. Each bound is the server's own as well, so that what this process has given up ends
 * there too, and lets go of its locks.
 */
function sessionSettings(schema: string): string {
  return [
    `SET search_path = ${escapeIdentifier(schema)}, pg_temp`,
    "SET default_transaction_isolation = 'read committed'",
    `SET lock_timeout = ${LOCK_TIMEOUT_MS}`,
    `SET statement_timeout = ${STATEMENT_TIMEOUT_MS}`,
    `SET idle_in_transaction_session_timeout = ${ABANDONED_TIMEOUT_MS}`,
  ].join('; ');
}

/** A transaction whose statements, and the pauses between them, may take as long as all of it. */
function beginLong(milliseconds: number): string {
  const limits = ['lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout'];
  return ['BEGIN', ...limits.map((name) => `SET LOCAL ${name} = ${milliseconds}`)].join('; ');
}

/**
 * One connection to PostgreSQL or to a pooler. Behind a pooler each transaction may run in another server process, so
 * nothing is left in the session (ADR 36). Every statement is in a transaction, and every transaction starts by making its
 * settings and checking the server that it runs on.
 */
import { DatabaseError, type PoolClient, type QueryConfig, type QueryResult } from 'pg';
import { SETTINGS, settingsOf, whyUnusable, whyUnusableNow } from './durability.ts';
import { newCommitId } from '../commit_id.ts';
import type { Sql, SqlRow, SqlValue } from '../sql.ts';
import { StoreUnavailable, StoreUnusable } from '../store.ts';

/** The codes of a connection that is unusable: lost, shut down, or to a server that became read only. */
const BROKEN = /^(?:08|57P|25006)/;

/** The codes of notices that matter: warnings, and that there was no transaction. */
const WARNING = /^(?:01|25)/;

/** An error of a connection or its server: code and message, without values and without the password. */
export class DatabaseFailure extends Error {
  override readonly name = 'DatabaseFailure';
  /** The SQLSTATE, or the code of a connection failure. */
  readonly code: string;
  /** Whether the connection is unusable. An error that is not an answer of the server counts as that. */
  readonly isBroken: boolean;

  constructor(error: unknown, secret: string) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
    // If a name has several addresses and none answers, the error has a code but no message.
    const message = (error instanceof Error ? error.message : String(error)) || code;
    super(secret === '' ? message : message.replaceAll(secret, '***'));
    this.code = code;
    this.isBroken = !(error instanceof DatabaseError) || BROKEN.test(code);
  }
}

/** Whether a connection may be broken after this error. Unless it is known to be sound, it is not reused. */
export function isBroken(error: unknown): boolean {
  return !(error instanceof DatabaseFailure) || error.isBroken;
}

/** One connection over its whole life. */
export class Session {
  readonly #client: PoolClient;
  readonly #secret: string;
  #warning: string | undefined;

  constructor(client: PoolClient, secret: string) {
    this.#client = client;
    this.#secret = secret;
    // When a connection dies, its current query fails. Without this handler the process would die too.
    client.on('error', () => undefined);
    client.on('notice', ({ code, message }) => {
      if (code !== undefined && WARNING.test(code)) this.#warning = message;
    });
  }

  /** Lends the connection to one caller. Returns the function that gives it back, which works once. */
  lendOut(client: PoolClient): (state: 'sound' | 'broken') => void {
    let given = false;
    this.#warning = undefined;
    return (state) => {
      if (given) return;
      given = true;
      // Not by a polite goodbye, which a cut network would never deliver.
      if (state === 'broken') client.connection.stream.destroy();
      client.release(state === 'broken');
    };
  }

  /** Throws `StoreUnusable` if the server cannot hold a store. */
  async checkServer(): Promise<void> {
    const { rows } = await this.#ask(SETTINGS);
    const fault = whyUnusable(settingsOf(rows[0]));
    if (fault !== undefined) throw new StoreUnusable(fault);
  }

  /** Runs an operation in one transaction. `opening`: see `openTransaction`. */
  async transact<Result>(opening: string, verb: () => Promise<Result>): Promise<Result> {
    const result = await this.#orRollBack(async () => {
      assertUsable(await this.#ask(opening));
      return await verb();
    });
    // If the answer to the commit is lost, this rejects and is not retried: see `Connections.#attempt`.
    assertDone(await this.#ask('COMMIT'));
    this.assertCommitted();
    return result;
  }

  /**
   * Runs one statement in its own transaction, sent in one go so that it takes one round trip. If the check of the server
   * fails, the statement may have taken effect all the same; the caller is told that the effect is unknown.
   */
  async #alone(opening: string, query: QueryConfig): Promise<QueryResult<SqlRow>> {
    const { stream } = this.#client.connection;
    stream.cork();
    const sent = [this.#ask(opening), this.#ask(query), this.#ask('COMMIT')] as const;
    stream.uncork();
    const [opened, asked, ended] = await Promise.allSettled(sent);
    // In this order, because after a failure the next answer only says that the transaction was aborted.
    assertUsable(valueOf(opened));
    const result = valueOf(asked);
    assertDone(valueOf(ended));
    return result;
  }

  async #orRollBack<Result>(verb: () => Promise<Result>): Promise<Result> {
    try {
      return await verb();
    } catch (error) {
      if (!isBroken(error)) await this.#ask('ROLLBACK');
      throw error;
    }
  }

  /**
   * When an operator cancels the wait for synchronous standbys, the server answers "committed" with a warning that the
   * transaction may exist on this one machine only. Such a commit must not be acknowledged.
   */
  assertCommitted(): void {
    if (this.#warning === undefined) return;
    throw new StoreUnavailable(`The database committed with a warning: ${this.#warning}`);
  }

  /** The statements of an operation inside `transact`. */
  sql(nextEventId: () => number): Sql {
    return sqlOf((query) => this.#ask(query), nextEventId);
  }

  /** Statements that each run in their own transaction, which starts with `opening`. */
  sqlAlone(opening: string, nextEventId: () => number): Sql {
    return sqlOf((query) => this.#alone(opening, query), nextEventId);
  }

  async #ask(query: string | QueryConfig): Promise<QueryResult<SqlRow>> {
    try {
      return await this.#client.query<SqlRow>(query);
    } catch (error) {
      throw new DatabaseFailure(error, this.#secret);
    }
  }
}

function sqlOf(ask: (query: QueryConfig) => Promise<QueryResult<SqlRow>>, nextEventId: () => number): Sql {
  const query = (text: string, values: readonly SqlValue[]): QueryConfig => ({
    text: numbered(text),
    values: values.map(storable),
  });
  return {
    all: async (text, ...values) => (await ask(query(text, values))).rows,
    run: async (text, ...values) => (await ask(query(text, values))).rowCount ?? 0,
    nextEventId,
    newCommitId,
  };
}

/** Checks the results of an opening message. The driver returns one result per statement. */
function assertUsable(opened: QueryResult<SqlRow> | readonly QueryResult<SqlRow>[]): void {
  const rows = [opened].flat().flatMap((result) => result.rows);
  const fault = whyUnusableNow(Object.fromEntries(rows.flatMap((row) => Object.entries(row))));
  if (fault !== undefined) throw new StoreUnusable(fault);
}

function assertDone({ command }: QueryResult<SqlRow>): void {
  if (command !== 'COMMIT') throw new StoreUnavailable('The database rolled the transaction back.');
}

function valueOf<Value>(settled: PromiseSettledResult<Value>): Value {
  if (settled.status === 'rejected') throw settled.reason;
  return settled.value;
}

/**
 * PostgreSQL cannot store a zero character in text. It is replaced by the replacement character, so that input with a zero
 * is simply not found, instead of causing an outage.
 */
function storable(value: SqlValue): SqlValue {
  return typeof value === 'string' ? value.replaceAll('\0', '\u{FFFD}') : value;
}

/** The most statement texts that are kept: a statement with many rows has a text for each number of rows. */
const NUMBERED_MAX = 1_000;
const numberedTexts = new Map<string, string>();

/** Replaces each `?` by `$1`, `$2` and so on. */
function numbered(text: string): string {
  const known = numberedTexts.get(text);
  if (known !== undefined) return known;
  let at = 0;
  const made = text.replaceAll('?', () => `$${++at}`);
  if (numberedTexts.size < NUMBERED_MAX) numberedTexts.set(text, made);
  return made;
}

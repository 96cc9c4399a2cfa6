/**
 * One connection to PostgreSQL, which may be a pooler's: behind it each transaction can be on another server process. So
 * nothing is left in a session for later (ADR 36). Every statement is in a transaction, and every transaction opens with
 * its settings and a look at the server that it is on.
 */
import { DatabaseError, type PoolClient, type QueryConfig, type QueryResult } from 'pg';
import { SETTINGS, settingsOf, whyUnusable, whyUnusableNow } from './durability.ts';
import { newCommitId } from '../commit_id.ts';
import type { Sql, SqlRow, SqlValue } from '../sql.ts';
import { StoreUnavailable, StoreUnusable } from '../store.ts';

/** A connection that has said this is of no more use: lost, shut down, or to a server that may not write any more. */
const BROKEN = /^(?:08|57P|25006)/;

/** Of what a server says beside an answer, what is no mere remark: a warning, and that there was no transaction. */
const WARNING = /^(?:01|25)/;

/** What a connection, or the server on it, said: code and sentence, and nothing of values or of the address. */
export class DatabaseFailure extends Error {
  override readonly name = 'DatabaseFailure';
  /** The SQLSTATE, or the code of a failed connection. */
  readonly code: string;
  /** Whether the connection is of no more use. What is no answer of the server is taken for that. */
  readonly isBroken: boolean;

  constructor(error: unknown, secret: string) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
    // Where a name has several addresses, and none answers, there is a code alone.
    const message = (error instanceof Error ? error.message : String(error)) || code;
    super(secret === '' ? message : message.replaceAll(secret, '***'));
    this.code = code;
    this.isBroken = !(error instanceof DatabaseError) || BROKEN.test(code);
  }
}

/** Whether a connection on which this happened is of no more use; unless it is known to be, it is not used again. */
export function isBroken(error: unknown): boolean {
  return !(error instanceof DatabaseFailure) || error.isBroken;
}

/** One connection, over all of its uses. */
export class Session {
  readonly #client: PoolClient;
  readonly #secret: string;
  #warning: string | undefined;

  constructor(client: PoolClient, secret: string) {
    this.#client = client;
    this.#secret = secret;
    // One that dies in use fails what is being asked of it; without this the process would die as well.
    client.on('error', () => undefined);
    client.on('notice', ({ code, message }) => {
      if (code !== undefined && WARNING.test(code)) this.#warning = message;
    });
  }

  /** Answers with how to give it back, which has an effect once. */
  lend(client: PoolClient): (state: 'sound' | 'broken') => void {
    let given = false;
    this.#warning = undefined;
    return (state) => {
      if (given) return;
      given = true;
      // Not by a polite good-bye, which a network that was cut would never carry.
      if (state === 'broken') client.connection.stream.destroy();
      client.release(state === 'broken');
    };
  }

  /** Everything that there is to know of a server before it is a store. */
  async look(): Promise<void> {
    const { rows } = await this.#ask(SETTINGS);
    const fault = whyUnusable(settingsOf(rows[0]));
    if (fault !== undefined) throw new StoreUnusable(fault);
  }

  /** A verb in one transaction. `opening`: see `openTransaction`. */
  async transact<Result>(opening: string, verb: () => Promise<Result>): Promise<Result> {
    const result = await this.#orRollBack(async () => {
      assertUsable(await this.#ask(opening));
      return await verb();
    });
    // A commit whose answer is lost rejects, and is not repeated: see `#attempt`.
    assertDone(await this.#ask('COMMIT'));
    this.assertCommitted();
    return result;
  }

  /**
   * One statement in a transaction of its own. All of it is sent at once, so that it takes one round trip. Where the server
   * turns out not to do for a store, the statement may have had its effect: the caller hears that it is unknown.
   */
  async #alone(opening: string, query: QueryConfig): Promise<QueryResult<SqlRow>> {
    const { stream } = this.#client.connection;
    stream.cork();
    const sent = [this.#ask(opening), this.#ask(query), this.#ask('COMMIT')] as const;
    stream.uncork();
    const [opened, asked, ended] = await Promise.allSettled(sent);
    // In this order: once one has failed, the next can only say that the transaction was aborted.
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
   * A server with synchronous standbys that was told to give up waiting for them says "committed", with a warning that
   * the transaction may exist on this one machine only. That is no commit that may be acknowledged.
   */
  assertCommitted(): void {
    if (this.#warning === undefined) return;
    throw new StoreUnavailable(`The database committed with a warning: ${this.#warning}`);
  }

  /** Within `transact`. */
  sql(nextEventId: () => number): Sql {
    return sqlOf((query) => this.#ask(query), nextEventId);
  }

  /** Each statement in a transaction of its own, which begins with `opening`. */
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

/** Judges what a transaction that opens has shown. The driver has a result for each of its statements. */
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
 * PostgreSQL has no text with a zero character in it. What arrives with one from outside is looked for, and kept, with
 * the character that stands for what cannot be shown: it finds nothing, which is no outage.
 */
function storable(value: SqlValue): SqlValue {
  return typeof value === 'string' ? value.replaceAll('\0', '\u{FFFD}') : value;
}

/** The most texts that are kept. Those of statements of many rows are as many as there are counts of rows. */
const NUMBERED_MAX = 1_000;
const numberedTexts = new Map<string, string>();

/** With `$1` for the first `?`. */
function numbered(text: string): string {
  const known = numberedTexts.get(text);
  if (known !== undefined) return known;
  let at = 0;
  const made = text.replaceAll('?', () => `$${++at}`);
  if (numberedTexts.size < NUMBERED_MAX) numberedTexts.set(text, made);
  return made;
}

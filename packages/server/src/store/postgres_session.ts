/** One connection to PostgreSQL: checked before its first use, and asked in the way in which the verbs ask. */
import { DatabaseError, type ClientBase, type PoolClient, type QueryConfig, type QueryResult } from 'pg';
import { SETTINGS, settingsOf, whyUnusable } from './postgres_durability.ts';
import { newCommitId } from './commit_id.ts';
import type { Sql, SqlRow, SqlValue } from './sql.ts';
import { StoreUnavailable, StoreUnusable } from './store.ts';

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
  readonly #client: ClientBase;
  readonly #secret: string;
  #prepared = false;
  #warning: string | undefined;

  constructor(client: ClientBase, secret: string) {
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

  /** Settings can differ for a role or a database, and after a failover it is another server: each connection is asked. */
  async prepare(settings: string): Promise<void> {
    if (this.#prepared) return;
    const { rows } = await this.#ask(SETTINGS);
    const found = settingsOf(rows[0]);
    const fault = whyUnusable(found);
    if (fault !== undefined) throw new StoreUnusable(fault);
    // Kept for as long as the connection lives, so that a reload of the server's settings does not lower it under way.
    const pinned = found.synchronousCommit === 'local' ? 'on' : found.synchronousCommit;
    await this.#ask(settings + (pinned === undefined ? '' : `; SET synchronous_commit = ${pinned}`));
    this.#prepared = true;
    this.#warning = undefined;
  }

  async transact<Result>(begin: string, verb: () => Promise<Result>): Promise<Result> {
    await this.#ask(begin);
    const result = await this.#orRollBack(verb);
    // A commit whose answer is lost rejects, and is not repeated: see `#attempt`.
    const { command } = await this.#ask('COMMIT');
    if (command !== 'COMMIT') throw new StoreUnavailable('The database rolled the transaction back.');
    this.assertCommitted();
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

  sql(nextEventId: () => number): Sql {
    const ask = (text: string, values: readonly SqlValue[]) =>
      this.#ask({ ...statementOf(text, values.length), values: values.map(storable) });
    return {
      all: async (text, ...values) => (await ask(text, values)).rows,
      run: async (text, ...values) => (await ask(text, values)).rowCount ?? 0,
      nextEventId,
      newCommitId,
    };
  }

  async #ask(query: string | QueryConfig): Promise<QueryResult<SqlRow>> {
    try {
      return await this.#client.query<SqlRow>(query);
    } catch (error) {
      throw new DatabaseFailure(error, this.#secret);
    }
  }
}

/**
 * PostgreSQL has no text with a zero character in it. What arrives with one from outside is looked for, and kept, with
 * the character that stands for what cannot be shown: it finds nothing, which is no outage.
 */
function storable(value: SqlValue): SqlValue {
  return typeof value === 'string' ? value.replaceAll('\0', '\u{FFFD}') : value;
}

interface Statement {
  readonly name?: string;
  readonly text: string;
}

/** The most texts, and values in one, that a connection keeps prepared; statements of many rows are not worth it. */
const PREPARED_MAX = 100;
const PREPARED_VALUES_MAX = 16;
const prepared = new Map<string, Statement>();

/** With `$1` for the first `?`, and the name that it is prepared under. */
function statementOf(text: string, values: number): Statement {
  const known = prepared.get(text);
  if (known !== undefined) return known;
  let at = 0;
  const numbered = text.replaceAll('?', () => `$${++at}`);
  if (values > PREPARED_VALUES_MAX || prepared.size >= PREPARED_MAX) return { text: numbered };
  const statement = { name: `hallpass_${prepared.size}`, text: numbered };
  prepared.set(text, statement);
  return statement;
}

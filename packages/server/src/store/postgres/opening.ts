/**
 * The opening statements of a transaction. Settings that would otherwise belong to a connection are made for this
 * transaction alone: behind a pooler the next transaction may run in another server process, and another client in this
 * one (ADR 36).
 */
import { escapeIdentifier } from 'pg';
import { DURABLE, READABLE } from './durability.ts';

interface Opening {
  /** A transaction that writes checks and limits more. */
  readonly to: 'read' | 'write';
  /** The PostgreSQL schema that holds the tables. */
  readonly schema: string;
  /** How long a statement waits for another transaction, in milliseconds. */
  readonly lockMs: number;
  /** How long a statement may take, in milliseconds. */
  readonly statementMs: number;
  /** After how long the server aborts a transaction whose client has silently gone, in milliseconds. */
  readonly abandonedMs: number;
  /** Default `READ COMMITTED`: every statement sees what was committed before it. */
  readonly isolation?: 'READ COMMITTED' | 'REPEATABLE READ';
}

/**
 * Builds one message for the server that begins the transaction, sets its limits, and queries what `whyUnusableNow` checks.
 * The server enforces the limits too, so that whatever this process has given up on ends there and releases its locks.
 * `SET` and `SHOW` take a few microseconds each; a `SELECT` of functions would take several times as long.
 */
export function openTransaction({ to, schema, isolation = 'READ COMMITTED', ...limits }: Opening): string {
  const statements = [
    `BEGIN ISOLATION LEVEL ${isolation}`,
    // Temporary tables of others in the same session must not hide ours.
    `SET LOCAL search_path = ${escapeIdentifier(schema)}, pg_temp`,
    `SET LOCAL statement_timeout = ${limits.statementMs}`,
    READABLE,
  ];
  if (to === 'read') return statements.join('; ');
  return [
    ...statements,
    `SET LOCAL lock_timeout = ${limits.lockMs}`,
    `SET LOCAL idle_in_transaction_session_timeout = ${limits.abandonedMs}`,
    DURABLE,
  ].join('; ');
}

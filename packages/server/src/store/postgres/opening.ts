/**
 * How a transaction opens. Everything that a connection would otherwise be set to, once, is set for this transaction
 * alone: behind a pooler the next one may be on another server process, and the next client on this one (ADR 36).
 */
import { escapeIdentifier } from 'pg';
import { KEPT, READABLE } from './durability.ts';

interface Opening {
  /** What is looked at and limited is more where something may be written. */
  readonly to: 'read' | 'write';
  /** The namespace that the tables are in. */
  readonly schema: string;
  /** How long a statement waits for another transaction, in milliseconds. */
  readonly lockMs: number;
  /** How long a statement may take, in milliseconds. */
  readonly statementMs: number;
  /** When the server gives up a transaction whose client has gone without a word, in milliseconds. */
  readonly abandonedMs: number;
  /** Default: every statement sees what was committed before it. */
  readonly isolation?: 'READ COMMITTED' | 'REPEATABLE READ';
}

/**
 * One message for the server: it begins the transaction, sets its limits, and asks what `whyUnusableNow` judges. Each limit
 * is the server's own as well, so that what this process has given up ends there too, and lets go of its locks. `SET` and
 * `SHOW` cost the server a few microseconds each; the same in a `SELECT` of functions costs several times that.
 */
export function openTransaction({ to, schema, isolation = 'READ COMMITTED', ...limits }: Opening): string {
  const statements = [
    `BEGIN ISOLATION LEVEL ${isolation}`,
    // What others in the same session have as temporary tables must not stand in for ours.
    `SET LOCAL search_path = ${escapeIdentifier(schema)}, pg_temp`,
    `SET LOCAL statement_timeout = ${limits.statementMs}`,
    READABLE,
  ];
  if (to === 'read') return statements.join('; ');
  return [
    ...statements,
    `SET LOCAL lock_timeout = ${limits.lockMs}`,
    `SET LOCAL idle_in_transaction_session_timeout = ${limits.abandonedMs}`,
    KEPT,
  ].join('; ');
}

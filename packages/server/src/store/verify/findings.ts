/** What `store verify` reads, and what it finds. */
import type { Sql } from '../sql.ts';
import type { Progress } from '../transfer/tables.ts';

/** An engine, opened for a check. */
export interface Checkable {
  /** Reads a snapshot. Rejects with the engine's error for what it cannot read. */
  readonly read: <Result>(work: (sql: Sql) => Promise<Result>) => Promise<Result>;
  /** Runs the checks that only this engine can make. */
  readonly checkEngine: (findings: Findings, progress: Progress) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** The most faults that are listed; nobody reads more. */
export const FAULTS_MAX = 100;

/** Collects the results of a check. */
export class Findings {
  /** Sentences, at most `FAULTS_MAX`. */
  readonly faults: string[] = [];
  /** What could not be checked and why, as sentences. */
  readonly notChecked: string[] = [];

  add(fault: string): void {
    if (this.faults.length < FAULTS_MAX) this.faults.push(fault);
  }

  skip(sentence: string): void {
    this.notChecked.push(sentence);
  }

  /** Runs one check. If it cannot finish, that is a fault too, and the other checks still run. */
  async attempt<Result>(what: string, check: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await check();
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      this.add(`${what} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
      return undefined;
    }
  }
}

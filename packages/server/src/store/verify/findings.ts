/** What a check of a store looks at, and what it finds. */
import type { Sql } from '../sql.ts';
import type { Progress } from '../transfer/transfer.ts';

/** An engine, opened to be checked. */
export interface Checkable {
  /** Reads at one moment. Rejects with what the engine says of what it cannot read. */
  readonly read: <Result>(work: (sql: Sql) => Promise<Result>) => Promise<Result>;
  /** The checks that the engine itself can make. */
  readonly checkEngine: (findings: Findings, progress: Progress) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** The most faults that are listed: a store that has more of them is not read line by line. */
export const FAULTS_MAX = 100;

export class Findings {
  readonly faults: string[] = [];
  /** What could not be checked, and why, in sentences. */
  readonly notChecked: string[] = [];

  add(fault: string): void {
    if (this.faults.length < FAULTS_MAX) this.faults.push(fault);
  }

  skip(sentence: string): void {
    this.notChecked.push(sentence);
  }

  /** Runs a check. One that cannot be finished is a fault itself, and the others go on. */
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

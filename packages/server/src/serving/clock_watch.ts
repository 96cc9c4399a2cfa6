/** Keeps the time in the store, and logs a warning when this machine's clock cannot be right. */
import type { Log } from '../http/log.ts';
import type { Instance } from './instance.ts';

/** The difference that is worth a warning, in seconds: the most by which the clocks of instances may differ. */
const DIFFERENCE_SECONDS = 5;

/** Compares this machine's clock with the store's time. */
export class ClockWatch {
  readonly #instance: Instance;
  readonly #log: Log;
  readonly #report: (aheadSeconds: number) => void;
  #warned = false;

  constructor(
    instance: Instance,
    { log, report }: { readonly log: Log; readonly report: (aheadSeconds: number) => void },
  ) {
    this.#instance = instance;
    this.#log = log;
    this.#report = report;
  }

  /** Writes the time to the store and warns once per wrong clock. Rejects with `StoreUnavailable`. */
  async keep(): Promise<void> {
    const { time, settings } = this.#instance;
    await time.keep();
    const ahead = Math.round(time.differsBy / 1000);
    this.#report(ahead);
    const differs = Math.abs(ahead) > DIFFERENCE_SECONDS;
    if (differs && !this.#warned) {
      const how = `${Math.abs(ahead)} s ${ahead > 0 ? 'ahead of' : 'behind'}`;
      this.#log.warn(
        settings.databaseUrl === undefined
          ? `This machine's clock was set: it is now ${how} where it was. Tokens carry the new time. Nothing is deleted by it yet.`
          : `This machine's clock is ${how} the database's. Hallpass keeps using the time it had before. Correct both clocks.`,
      );
    }
    this.#warned = differs;
  }
}

/** Keeps the time in the store, and says in the log when this machine's clock cannot be right. */
import type { Log } from '../http/log.ts';
import type { Instance } from './instance.ts';

/** From which difference on it is said, in seconds: what the clocks of instances may differ by. */
const DIFFERENCE_SECONDS = 5;

export class ClockWatch {
  readonly #instance: Instance;
  readonly #log: Log;
  readonly #report: (aheadSeconds: number) => void;
  #said = false;

  constructor(
    instance: Instance,
    { log, report }: { readonly log: Log; readonly report: (aheadSeconds: number) => void },
  ) {
    this.#instance = instance;
    this.#log = log;
    this.#report = report;
  }

  async keep(): Promise<void> {
    const { time, settings } = this.#instance;
    await time.keep();
    const ahead = Math.round(time.differsBy / 1000);
    this.#report(ahead);
    const differs = Math.abs(ahead) > DIFFERENCE_SECONDS;
    if (differs && !this.#said) {
      const how = `${Math.abs(ahead)} s ${ahead > 0 ? 'ahead of' : 'behind'}`;
      this.#log.warn(
        settings.databaseUrl === undefined
          ? `This machine's clock was set: it is ${how} where it was. Tokens carry the new time. Nothing is forgotten by it yet.`
          : `This machine's clock is ${how} the database's. Hallpass keeps to the time it had before. Set both clocks right.`,
      );
    }
    this.#said = differs;
  }
}

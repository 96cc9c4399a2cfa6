/** Confirms to the issuer, on request, what this guard has taken: reading after a cursor says that you have all up to it. */
import { jittered, sleep } from '../runtime.ts';

/** How often a confirmation is tried, and the longest pause between two tries. Callers of `?wait` give up after 10 s. */
const TRIES = 10;
const RETRY_MS = 1_000;
/**
 * The pause between two confirmations, in milliseconds, however many callers wait. Revoking in a loop must not make
 * every guard send requests in a loop.
 */
export const CONFIRMATION_INTERVAL_MS = 100;

/** Sends confirmations one at a time. The feed does not depend on them. */
export class Confirmations {
  readonly #readPage: (cursor: string) => Promise<unknown>;
  readonly #closing: AbortSignal;
  #next: string | undefined;
  /** How often the next one has failed. */
  #failures = 0;
  #isRunning = false;

  constructor({
    readPage,
    closing,
  }: {
    readonly readPage: (cursor: string) => Promise<unknown>;
    readonly closing: AbortSignal;
  }) {
    this.#readPage = readPage;
    this.#closing = closing;
  }

  /** Confirms everything up to a cursor, soon. Of several that wait, only the last is sent: it covers the others. Never throws. */
  send(cursor: string): void {
    this.#next = cursor;
    this.#failures = 0;
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    while (this.#next !== undefined && this.#failures < TRIES && !this.#closing.aborted) {
      const cursor = this.#next;
      this.#next = undefined;
      try {
        // The page is not needed: the stream brings its entries too.
        await this.#readPage(cursor);
        await sleep(CONFIRMATION_INTERVAL_MS, this.#closing);
      } catch {
        // A cursor that came in meanwhile replaces this one, and has all its tries left.
        if (this.#next === undefined) {
          this.#next = cursor;
          this.#failures += 1;
        }
        await sleep(jittered(RETRY_MS), this.#closing);
      }
    }
    // In the same turn as the check above: a cursor that came in between would otherwise never be sent.
    this.#isRunning = false;
  }
}

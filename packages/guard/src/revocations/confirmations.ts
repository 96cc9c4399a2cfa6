/** Tells the issuer what was taken, when it asks: whoever wants what comes after a cursor has everything up to it. */
import { jittered, sleep } from '../runtime.ts';

/** How often one that fails is tried in all, and the longest pause between, in milliseconds: whoever waits, waits 10 s. */
const TRIES = 10;
const RETRY_MS = 1_000;
/**
 * The pause between two, in milliseconds, for all who wait together: whoever revokes in a loop must not make every guard
 * ask in a loop.
 */
export const CONFIRMATION_INTERVAL_MS = 100;

export class Confirmations {
  readonly #tell: (cursor: string) => Promise<unknown>;
  readonly #closing: AbortSignal;
  #next: string | undefined;
  /** Of the one that is next. */
  #failures = 0;
  #telling = false;

  constructor({
    readPage,
    closing,
  }: {
    readonly readPage: (cursor: string) => Promise<unknown>;
    readonly closing: AbortSignal;
  }) {
    this.#tell = readPage;
    this.#closing = closing;
  }

  /** One at a time; of several that wait the last one says it all. Never throws: the feed does not depend on it. */
  send(cursor: string): void {
    this.#next = cursor;
    this.#failures = 0;
    if (this.#telling) return;
    this.#telling = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    while (this.#next !== undefined && this.#failures < TRIES && !this.#closing.aborted) {
      const cursor = this.#next;
      this.#next = undefined;
      try {
        // What the page holds comes over the stream as well.
        await this.#tell(cursor);
        await sleep(CONFIRMATION_INTERVAL_MS, this.#closing);
      } catch {
        // One that came meanwhile has all its tries before it.
        if (this.#next === undefined) {
          this.#next = cursor;
          this.#failures += 1;
        }
        await sleep(jittered(RETRY_MS), this.#closing);
      }
    }
    // At once, and not when somebody hears that this is over: one that came in between would wait for ever.
    this.#telling = false;
  }
}

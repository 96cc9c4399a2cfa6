/** Whether a guard may begin to decide: it hears of revocations, has keys, and its issuer is the one that it was told. */
import type { IssuerCheck } from './issuer/issuer_check.ts';
import { RETRY_SECONDS, type KeySet } from './issuer/key_set.ts';
import { Misconfigured } from './misconfiguration.ts';
import { Outage } from './outage.ts';
import type { RevocationFeed } from './revocations/revocation_feed.ts';
import { sleep, keepProcessAlive } from './runtime.ts';

export interface StartUpOptions {
  readonly feed: RevocationFeed;
  readonly keySet: KeySet;
  readonly issuerCheck: IssuerCheck;
  readonly closing: AbortSignal;
}

export class StartUp {
  readonly #options: StartUpOptions;
  #begun = false;

  constructor(options: StartUpOptions) {
    this.#options = options;
  }

  /** A cold guard waits for the feed and the keys at once, and for each with the first check that needs it. */
  begin(): void {
    this.#options.feed.start();
    if (this.#begun) return;
    this.#begun = true;
    void this.#hasKeys();
  }

  /** See `Guard.ready`. */
  async ready(): Promise<void> {
    const { feed, issuerCheck, closing } = this.#options;
    let end = (): void => {};
    const closed = new Promise<void>((resolve) => {
      end = resolve;
    });
    closing.addEventListener('abort', end);
    // Somebody waits for this: until it is done the process has a reason to live, even between two attempts.
    const release = keepProcessAlive();
    try {
      if (!closing.aborted) await Promise.race([feed.answered(), closed]);
      const status = feed.refusedStatus;
      if (status !== undefined) throw new Misconfigured({ kind: 'feed_refused', status });
      if (!closing.aborted) await Promise.race([issuerCheck.compare(), closed]);
      if (issuerCheck.difference !== undefined) throw new Misconfigured(issuerCheck.difference);
      while (!closing.aborted && !(await this.#hasKeys())) await sleep(RETRY_SECONDS * 1000, closing);
    } finally {
      release();
      // A health check may ask every second for years: nothing of it may stay behind.
      closing.removeEventListener('abort', end);
    }
    if (closing.aborted) throw new Error('The guard was closed.');
  }

  async #hasKeys(): Promise<boolean> {
    try {
      await this.#options.keySet.load();
      return true;
    } catch (error) {
      if (error instanceof Outage) return false;
      throw error;
    }
  }
}

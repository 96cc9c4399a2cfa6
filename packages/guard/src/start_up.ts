/** Whether a guard is ready to decide: it has the revocations and the keys, and its issuer has the expected name. */
import type { IssuerCheck } from './issuer/issuer_check.ts';
import { RETRY_SECONDS, type KeySet } from './issuer/key_set.ts';
import { Misconfigured } from './misconfiguration.ts';
import { Outage } from './outage.ts';
import type { RevocationFeed } from './revocations/revocation_feed.ts';
import { sleep, keepProcessAlive } from './runtime.ts';

/** What a guard needs before it can decide. */
export interface StartUpOptions {
  readonly feed: RevocationFeed;
  readonly keySet: KeySet;
  readonly issuerCheck: IssuerCheck;
  readonly closing: AbortSignal;
}

/** Starts a guard, and knows when it is ready. */
export class StartUp {
  readonly #options: StartUpOptions;
  #begun = false;

  constructor(options: StartUpOptions) {
    this.#options = options;
  }

  /** Starts the feed and the key fetch in parallel. The first check that needs one of them waits for it. */
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
    // Someone is waiting, so keep the process alive until this is done, even between two attempts.
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
      // A health check may call this every second for years, so it must not leave a listener behind.
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

/** How often a process looks for revocations committed by others, in milliseconds, while it has watchers. */
const WATCH_INTERVAL_MS = 100;

/** What a look reads: the end of the feed, and how many times followers were asked to confirm. */
interface FeedEnd {
  readonly last: number;
  /** Two histories of a store can end at the same position; this tells them apart. */
  readonly commitId: string;
  readonly calls: number;
}

/**
 * Calls the watchers when the feed has grown or followers were asked to confirm. Reads the end of the feed at intervals,
 * and after each commit of this process.
 */
export class Watchers {
  readonly #callbacks = new Set<() => void>();
  readonly #findEnd: () => Promise<FeedEnd>;
  #end = '';
  #timer: ReturnType<typeof setInterval> | undefined;
  #looking = false;
  #again = false;

  constructor(findEnd: () => Promise<FeedEnd>) {
    this.#findEnd = findEnd;
  }

  /** Adds a watcher, and returns the function that removes it. */
  add(changed: () => void): () => void {
    this.#callbacks.add(changed);
    this.#timer ??= setInterval(() => this.#look({ afterCommit: false }), WATCH_INTERVAL_MS).unref();
    return () => {
      this.#callbacks.delete(changed);
      if (this.#callbacks.size === 0) this.close();
    };
  }

  /** Resolves like a write that adds to the feed or asks followers, and looks at the feed once the write is committed. */
  async after<Result>(written: Promise<Result>): Promise<Result> {
    const result = await written;
    this.#look({ afterCommit: true });
    return result;
  }

  /** Stops looking. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One look at a time, so that a slow store is not flooded with reads. */
  #look({ afterCommit }: { readonly afterCommit: boolean }): void {
    if (this.#callbacks.size === 0) return;
    if (this.#looking) {
      // The current look may have read before the commit.
      this.#again ||= afterCommit;
      return;
    }
    this.#looking = true;
    this.#again = false;
    // If the store cannot be read now, the next tick tries again. Readers of the feed get the error themselves.
    void this.#readAndNotify()
      .catch(() => undefined)
      .finally(() => {
        this.#looking = false;
        if (this.#again) this.#look({ afterCommit: true });
      });
  }

  async #readAndNotify(): Promise<void> {
    const { last, commitId, calls } = await this.#findEnd();
    const end = `${last} ${commitId} ${calls}`;
    if (end === this.#end) return;
    this.#end = end;
    for (const changed of this.#callbacks) changed();
  }
}

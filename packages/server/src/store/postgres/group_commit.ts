/**
 * Group commit in front of an engine that is elsewhere: what arrives while a commit is under way goes into the next one
 * together, one commit at a time, and every caller is answered by the commit of its own batch.
 */

/** The most that goes into one commit: bounds how long the first of them waits. */
const BATCH_MAX = 256;

interface Waiting<Item> {
  readonly item: Item;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
  /** Set when the caller has been told that it took too long. */
  readonly isGone: () => boolean;
}

export interface GroupCommitOptions<Item> {
  /** All of them, or none. */
  readonly commit: (items: readonly Item[]) => Promise<void>;
  /** Whether a failure is that of one item: the others then have to be tried without it. */
  readonly isOwnFault: (error: unknown) => boolean;
  /** How long a caller waits, in milliseconds, and what it is told then. */
  readonly waitMs: number;
  readonly tooLate: () => Error;
}

export class GroupCommit<Item> {
  readonly #options: GroupCommitOptions<Item>;
  #queue: Waiting<Item>[] = [];
  #flushing: Promise<void> | undefined;

  constructor(options: GroupCommitOptions<Item>) {
    this.#options = options;
  }

  /** Resolves when the item has been committed. */
  add(item: Item): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let gone = false;
    const timer = setTimeout(() => {
      gone = true;
      reject(this.#options.tooLate());
    }, this.#options.waitMs);
    this.#queue.push({
      item,
      done: () => {
        clearTimeout(timer);
        resolve();
      },
      failed: (error) => {
        clearTimeout(timer);
        reject(error);
      },
      isGone: () => gone,
    });
    this.#flushing ??= this.#flush();
    return promise;
  }

  /** Resolves when nothing waits any more. */
  async drained(): Promise<void> {
    await this.#flushing;
  }

  async #flush(): Promise<void> {
    // After everything else that has already arrived, so that it shares the commit.
    await new Promise(setImmediate);
    while (this.#queue.length > 0) {
      // What its caller has given up is not begun: it would only make the others wait.
      await this.#commit(this.#queue.splice(0, BATCH_MAX).filter(({ isGone }) => !isGone()));
    }
    // In the same turn in which the queue was seen to be empty, so that nothing is queued for nobody.
    this.#flushing = undefined;
  }

  async #commit(batch: readonly Waiting<Item>[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      await this.#options.commit(batch.map(({ item }) => item));
      for (const { done } of batch) done();
    } catch (error) {
      if (batch.length === 1 || !this.#options.isOwnFault(error)) for (const { failed } of batch) failed(error);
      else for (const one of batch) await this.#commit([one].filter(({ isGone }) => !isGone()));
    }
  }
}

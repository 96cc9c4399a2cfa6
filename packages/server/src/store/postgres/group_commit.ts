/**
 * Group commit for a remote engine: items that arrive during a commit go into the next one together. There is one commit at
 * a time, and each caller gets the outcome of its own batch.
 */

/** The most items per commit. It limits how long the first of them waits. */
const BATCH_MAX = 256;

interface Waiting<Item> {
  readonly item: Item;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
  /** True once the caller has been rejected because it waited too long. */
  readonly isGone: () => boolean;
}

/** How to commit, and how long a caller waits. */
export interface GroupCommitOptions<Item> {
  /** Commits all items or none. */
  readonly commit: (items: readonly Item[]) => Promise<void>;
  /** Whether one item caused a failure. The others are then committed without it. */
  readonly isOwnFault: (error: unknown) => boolean;
  /** How long a caller waits, in milliseconds, and the error that it gets then. */
  readonly waitMs: number;
  readonly tooLate: () => Error;
}

/** See the top of the file. */
export class GroupCommit<Item> {
  readonly #options: GroupCommitOptions<Item>;
  #queue: Waiting<Item>[] = [];
  #flushing: Promise<void> | undefined;

  constructor(options: GroupCommitOptions<Item>) {
    this.#options = options;
  }

  /** Resolves when the item is committed. */
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

  /** Resolves when nothing is waiting. */
  async drained(): Promise<void> {
    await this.#flushing;
  }

  async #flush(): Promise<void> {
    // Lets everything that has already arrived join this commit.
    await new Promise(setImmediate);
    while (this.#queue.length > 0) {
      // Items whose caller has given up are dropped; they would only make the others wait.
      await this.#commit(this.#queue.splice(0, BATCH_MAX).filter(({ isGone }) => !isGone()));
    }
    // In the same turn as the check of the queue, so that no item is queued with nobody to flush it.
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

/** How often a process looks for revocations that another one committed, in milliseconds, while anyone watches. */
const WATCH_INTERVAL_MS = 100;

/** What is looked at: the last position of the feed, and how often followers were asked. */
interface FeedEnd {
  readonly last: number;
  /** Another history of the store may end at the same position. */
  readonly commitId: string;
  readonly calls: number;
}

/** Tells who watches when the feed has grown or followers were asked: by a look at its end now and then, and after each commit of this process. */
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

  /** Answers with how to stop. */
  add(changed: () => void): () => void {
    this.#callbacks.add(changed);
    this.#timer ??= setInterval(() => this.#look(false), WATCH_INTERVAL_MS).unref();
    return () => {
      this.#callbacks.delete(changed);
      if (this.#callbacks.size === 0) this.close();
    };
  }

  /** To be called when this process has committed a revocation or a call. */
  look(): void {
    this.#look(true);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** One look at a time: a store that is slow must not be asked again and again meanwhile. */
  #look(committed: boolean): void {
    if (this.#callbacks.size === 0) return;
    if (this.#looking) {
      // The look that is under way may have been before the commit.
      this.#again ||= committed;
      return;
    }
    this.#looking = true;
    this.#again = false;
    // A store that cannot be read now is looked at again by the next tick; whoever reads the feed hears of it there.
    void this.#tell()
      .catch(() => undefined)
      .finally(() => {
        this.#looking = false;
        if (this.#again) this.#look(true);
      });
  }

  async #tell(): Promise<void> {
    const { last, commitId, calls } = await this.#findEnd();
    const end = `${last} ${commitId} ${calls}`;
    if (end === this.#end) return;
    this.#end = end;
    for (const changed of this.#callbacks) changed();
  }
}

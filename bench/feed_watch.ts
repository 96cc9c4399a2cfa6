/** The revoking thread's handle on the guard threads of `feed.ts`. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { GuardsMessage, GuardsOptions, Watched } from './feed_guards.ts';

export const THREADS = 4;
const GIVE_UP_MS = 20_000;

export class Watch {
  readonly #workers: readonly Worker[];
  readonly #waiting = new Map<number, Watching>();
  #nextId = 1;

  static async start(workerData: GuardsOptions): Promise<Watch> {
    const url = new URL('feed_guards.ts', import.meta.url);
    const workers = Array.from({ length: THREADS }, () => {
      return new Worker(url, { workerData, execArgv: ['--conditions=hallpass-source'] });
    });
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    return new Watch(workers);
  }

  constructor(workers: readonly Worker[]) {
    this.#workers = workers;
    for (const worker of workers) worker.on('message', (message: GuardsMessage) => this.#hear(message));
  }

  /** Resolves when all guards have let a token in; what it gives, with the moment at which the last refused it. */
  async begin(token: string): Promise<() => Promise<bigint>> {
    const id = this.#nextId++;
    const watching = new Watching();
    this.#waiting.set(id, watching);
    for (const worker of this.#workers) worker.postMessage({ id, token } satisfies Watched);
    await watching.begun;
    return async () => {
      const abort = new AbortController();
      const late = sleep(GIVE_UP_MS, undefined, { signal: abort.signal }).then(
        () => Promise.reject(new Error('a revoked token was let in for too long')),
        () => 0n,
      );
      const at = await Promise.race([watching.over, late]);
      abort.abort();
      this.#waiting.delete(id);
      return at;
    };
  }

  async close(): Promise<void> {
    for (const worker of this.#workers) worker.postMessage('close');
    await Promise.all(this.#workers.map((worker) => once(worker, 'exit')));
  }

  #hear(message: GuardsMessage): void {
    if ('watching' in message) this.#waiting.get(message.watching)?.hearBegun();
    else if ('refused' in message) this.#waiting.get(message.refused)?.hearOver(message.at);
  }
}

/** One token, as the threads tell of it. */
class Watching {
  readonly begun: Promise<void>;
  readonly over: Promise<bigint>;
  #begunAt = 0;
  #overAt = 0;
  #last = 0n;
  #onBegun = (): void => {};
  #onOver = (_at: bigint): void => {};

  constructor() {
    this.begun = new Promise((resolve) => (this.#onBegun = resolve));
    this.over = new Promise((resolve) => (this.#onOver = resolve));
  }

  hearBegun(): void {
    this.#begunAt += 1;
    if (this.#begunAt === THREADS) this.#onBegun();
  }

  hearOver(at: bigint): void {
    this.#overAt += 1;
    if (at > this.#last) this.#last = at;
    if (this.#overAt === THREADS) this.#onOver(this.#last);
  }
}

/** Does work once for all the callers that want it at the same time. */
export class SingleFlight<Outcome> {
  readonly #running = new Map<string, Promise<Outcome>>();

  /** Joins the work under this key, or starts it. Once it is done, failed or not, the next caller starts it again. */
  async run(key: string, start: () => Promise<Outcome>): Promise<Outcome> {
    const joined = this.#running.get(key);
    if (joined !== undefined) return await joined;
    const started = start();
    this.#running.set(key, started);
    try {
      return await started;
    } finally {
      this.#running.delete(key);
    }
  }
}

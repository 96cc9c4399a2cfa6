/** Work that several callers want at once, done once (SDK-02). */
export class SingleFlight<Outcome> {
  readonly #underWay = new Map<string, Promise<Outcome>>();

  /** Joins the work under this key, or starts it. Nothing is remembered once it is done, failed or not. */
  async run(key: string, start: () => Promise<Outcome>): Promise<Outcome> {
    const joined = this.#underWay.get(key);
    if (joined !== undefined) return await joined;
    const started = start();
    this.#underWay.set(key, started);
    try {
      return await started;
    } finally {
      this.#underWay.delete(key);
    }
  }
}

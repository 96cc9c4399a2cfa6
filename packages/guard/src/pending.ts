/** Work under way, by name: who asks for the same meanwhile waits for the same answer, and there is a bound on it all. */
const PENDING_MAX = 64;

export class Pending<Value> {
  readonly #underWay = new Map<string, Promise<Value>>();

  /** `too_many`: so many other things are under way that this one was not begun. Rejects as the work does. */
  async join(name: string, work: () => Promise<Value>): Promise<Value | 'too_many'> {
    const underWay = this.#underWay.get(name);
    if (underWay !== undefined) return await underWay;
    if (this.#underWay.size >= PENDING_MAX) return 'too_many';
    const begun = work().finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, begun);
    return await begun;
  }
}

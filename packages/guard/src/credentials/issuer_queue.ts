/**
 * Questions to the issuer that are under way, by name: a caller that needs the same answer meanwhile waits for it. There
 * is a bound on how many are asked at once. Those that wait for their turn are bounded too, in all and for each caller.
 */
import { startTimer } from '../runtime.ts';

/** How many questions are under way at once. */
export const ISSUER_REQUESTS_MAX = 64;
/** How many more may wait for their turn, and how many of them for one caller. */
export const ISSUER_REQUESTS_QUEUED_MAX = 1_000;
export const ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX = 250;
/** How long one waits at the most, in seconds. */
export const ISSUER_QUEUE_SECONDS_MAX = 5;

interface Waiting {
  readonly caller: string;
  readonly start: () => void;
}

export class IssuerQueue<Value> {
  readonly #named = new Map<string, Promise<Value | 'too_many'>>();
  readonly #waiting = new Set<Waiting>();
  #underWay = 0;

  /** `too_many`: so much else is under way that this was not begun. Rejects as the work does. */
  async join(name: string, work: () => Promise<Value>, caller = ''): Promise<Value | 'too_many'> {
    const known = this.#named.get(name);
    if (known !== undefined) return await known;
    if (this.#underWay >= ISSUER_REQUESTS_MAX && !this.#mayWait(caller)) return 'too_many';
    const begun = this.#run(work, caller).finally(() => this.#named.delete(name));
    this.#named.set(name, begun);
    return await begun;
  }

  async #run(work: () => Promise<Value>, caller: string): Promise<Value | 'too_many'> {
    if (this.#underWay < ISSUER_REQUESTS_MAX) this.#underWay += 1;
    else if (!(await this.#wait(caller))) return 'too_many';
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#underWay -= 1;
      // Takes this place over.
      else next.start();
    }
  }

  #mayWait(caller: string): boolean {
    if (this.#waiting.size >= ISSUER_REQUESTS_QUEUED_MAX) return false;
    let ofCaller = 0;
    for (const waiting of this.#waiting) if (waiting.caller === caller) ofCaller += 1;
    return ofCaller < ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX;
  }

  /** Whether its turn came. */
  #wait(caller: string): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (started: boolean): void => {
        cancel();
        this.#waiting.delete(waiting);
        resolve(started);
      };
      const cancel = startTimer(ISSUER_QUEUE_SECONDS_MAX * 1000, () => end(false));
      const waiting = { caller, start: () => end(true) };
      this.#waiting.add(waiting);
    });
  }
}

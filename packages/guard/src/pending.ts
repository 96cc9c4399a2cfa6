/**
 * Work under way, by name: a caller that asks for the same meanwhile waits for the same answer. There is a bound on how
 * much is done at once. What waits for its turn is bounded too, in all and for each caller.
 */
import { alarm } from './surroundings.ts';

/** How many pieces of work are under way at once. */
const PENDING_MAX = 64;

export interface PendingOptions {
  /** How many may wait for their turn. Default: none. */
  readonly waitingMax?: number;
  /** How many of them may be of one caller. */
  readonly waitingPerCallerMax?: number;
  /** How long one waits at the most, in seconds. */
  readonly waitingSecondsMax?: number;
}

interface Waiting {
  readonly caller: string;
  readonly start: () => void;
}

export class Pending<Value> {
  readonly #options: Required<PendingOptions>;
  readonly #named = new Map<string, Promise<Value | 'too_many'>>();
  readonly #waiting = new Set<Waiting>();
  #underWay = 0;

  constructor({ waitingMax = 0, waitingPerCallerMax = waitingMax, waitingSecondsMax = 0 }: PendingOptions = {}) {
    this.#options = { waitingMax, waitingPerCallerMax, waitingSecondsMax };
  }

  /** `too_many`: so much else is under way that this was not begun. Rejects as the work does. */
  async join(name: string, work: () => Promise<Value>, caller = ''): Promise<Value | 'too_many'> {
    const known = this.#named.get(name);
    if (known !== undefined) return await known;
    if (this.#underWay >= PENDING_MAX && !this.#mayWait(caller)) return 'too_many';
    const begun = this.#run(work, caller).finally(() => this.#named.delete(name));
    this.#named.set(name, begun);
    return await begun;
  }

  async #run(work: () => Promise<Value>, caller: string): Promise<Value | 'too_many'> {
    if (this.#underWay < PENDING_MAX) this.#underWay += 1;
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
    const { waitingMax, waitingPerCallerMax } = this.#options;
    if (this.#waiting.size >= waitingMax) return false;
    let ofCaller = 0;
    for (const waiting of this.#waiting) if (waiting.caller === caller) ofCaller += 1;
    return ofCaller < waitingPerCallerMax;
  }

  /** Whether its turn came. */
  #wait(caller: string): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (started: boolean): void => {
        cancel();
        this.#waiting.delete(waiting);
        resolve(started);
      };
      const cancel = alarm(this.#options.waitingSecondsMax * 1000, () => end(false));
      const waiting = { caller, start: () => end(true) };
      this.#waiting.add(waiting);
    });
  }
}

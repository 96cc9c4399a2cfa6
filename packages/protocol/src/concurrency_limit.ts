interface ConcurrencyLimits {
  /** How many pieces of work run at once. */
  readonly runningMax: number;
  /** How many more may wait. */
  readonly waitingMax: number;
  /** How many of those may be of one caller, so that no caller fills the queue alone. */
  readonly waitingPerCallerMax: number;
  /** How long each may wait; without it there is no limit. */
  readonly patience?:
    | {
        readonly milliseconds: number;
        /** Calls `onEnd` once after that time, unless the function it returns is called first. */
        readonly startTimer: (milliseconds: number, onEnd: () => void) => () => void;
      }
    | undefined;
}

interface Waiting {
  readonly caller: string;
  readonly start: () => void;
}

/** Limits how much work runs at once, and how much waits for its turn, in all and for each caller. */
export class ConcurrencyLimit {
  readonly #limits: ConcurrencyLimits;
  /** In order of arrival. */
  readonly #waiting = new Set<Waiting>();
  #running = 0;

  constructor(limits: ConcurrencyLimits) {
    this.#limits = limits;
  }

  /** Runs the work when there is room for it; `too_many` when the queue is full or patience ran out. Rejects as the work does. */
  async run<Value>(caller: string, work: () => Promise<Value>): Promise<Value | 'too_many'> {
    if (this.#running < this.#limits.runningMax) this.#running += 1;
    else if (!this.#mayWait(caller) || !(await this.#waitForTurn(caller))) return 'too_many';
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#running -= 1;
      // The next one takes over this place.
      else next.start();
    }
  }

  #mayWait(caller: string): boolean {
    if (this.#waiting.size >= this.#limits.waitingMax) return false;
    let ofCaller = 0;
    for (const waiting of this.#waiting) if (waiting.caller === caller) ofCaller += 1;
    return ofCaller < this.#limits.waitingPerCallerMax;
  }

  /** Resolves to whether there was a turn before patience ran out. */
  #waitForTurn(caller: string): Promise<boolean> {
    const { patience } = this.#limits;
    return new Promise((resolve) => {
      const end = (isTurn: boolean): void => {
        cancel?.();
        this.#waiting.delete(waiting);
        resolve(isTurn);
      };
      const cancel = patience?.startTimer(patience.milliseconds, () => end(false));
      const waiting: Waiting = { caller, start: () => end(true) };
      this.#waiting.add(waiting);
    });
  }
}

/**
 * Questions to the issuer that are under way, by name: a caller that needs the same answer meanwhile waits for it. There
 * is a bound on how many are asked at once. Those that wait for their turn are bounded too, in all and for each caller.
 */
import { ConcurrencyLimit, SingleFlight } from '@hallpass/protocol';
import { startTimer } from '../runtime.ts';

/** How many questions are under way at once. */
export const ISSUER_REQUESTS_MAX = 64;
/** How many more may wait for their turn, and how many of them for one caller. */
export const ISSUER_REQUESTS_QUEUED_MAX = 1_000;
export const ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX = 250;
/** How long one waits at the most, in seconds. */
export const ISSUER_QUEUE_SECONDS_MAX = 5;

export class IssuerQueue<Value> {
  readonly #named = new SingleFlight<Value | 'too_many'>();
  readonly #limit = new ConcurrencyLimit({
    runningMax: ISSUER_REQUESTS_MAX,
    waitingMax: ISSUER_REQUESTS_QUEUED_MAX,
    waitingPerCallerMax: ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX,
    patience: { milliseconds: ISSUER_QUEUE_SECONDS_MAX * 1000, startTimer },
  });

  /** `too_many`: so much else is under way that this was not begun. Rejects as the work does. */
  join(name: string, work: () => Promise<Value>, caller = ''): Promise<Value | 'too_many'> {
    return this.#named.run(name, () => this.#limit.run(caller, work));
  }
}

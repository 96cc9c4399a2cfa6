/**
 * Requests to the issuer about credentials. Callers that need the same answer share one request. The number of
 * concurrent requests is limited, and so is the number of waiting ones, in total and per caller.
 */
import { ConcurrencyLimit, SingleFlight } from '@hallpass/protocol';
import { startTimer } from '../runtime.ts';

/** The number of concurrent requests. */
export const ISSUER_REQUESTS_MAX = 64;
/** How many more may wait, in total and for one caller. */
export const ISSUER_REQUESTS_QUEUED_MAX = 1_000;
/** How many of the waiting requests may be of one caller. */
export const ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX = 250;
/** The longest wait, in seconds. */
export const ISSUER_QUEUE_SECONDS_MAX = 5;

/** Shares and limits requests to the issuer. */
export class IssuerQueue<Value> {
  readonly #named = new SingleFlight<Value | 'too_many'>();
  readonly #limit = new ConcurrencyLimit({
    runningMax: ISSUER_REQUESTS_MAX,
    waitingMax: ISSUER_REQUESTS_QUEUED_MAX,
    waitingPerCallerMax: ISSUER_REQUESTS_QUEUED_PER_CALLER_MAX,
    patience: { milliseconds: ISSUER_QUEUE_SECONDS_MAX * 1000, startTimer },
  });

  /** `too_many`: the queue is full or the wait was too long, so the work wasn't started. Rejects if the work does. */
  join(name: string, work: () => Promise<Value>, caller = ''): Promise<Value | 'too_many'> {
    return this.#named.run(name, () => this.#limit.run(caller, work));
  }
}

/** What time it is at the issuer, by the `Date` of its answers (RFC 9110 §6.6.1), and how far this machine's clock is off. */
import type { GuardEvent } from '../guard_event.ts';
import type { GuardClock } from '../runtime.ts';

/** How many answers are gone by: the middle one counts, so that one or two odd ones change nothing. */
const SAMPLES = 5;
/** How many are needed before the guard says that a clock is off. */
const SAMPLES_MIN = 3;
/** How often, at most, the issuer is asked for nothing but its time once there are enough answers, in seconds. */
const ASK_SECONDS = 10;
/** What a `Date` leaves open: it is cut to whole seconds, and servers print one for as long as it lasts. */
const RESOLUTION_MS = 2_000;

/** The issuer's time less this machine's `elapsed`, in milliseconds: between these two. */
interface Sample {
  readonly low: number;
  readonly high: number;
}

export interface IssuerTimeOptions {
  readonly clock: GuardClock;
  /** How far the two clocks may be apart, in seconds. */
  readonly leewaySeconds: number;
  readonly report: (event: GuardEvent) => void;
  /** Gets any fresh answer of the issuer, which is timed by `timeRequest`. May reject. */
  readonly ask: () => Promise<unknown>;
}

/**
 * The issuer's time is kept against `elapsed`, so that setting this machine's clock shows at once, without another answer.
 * Network delay widens a sample and never shifts it: a slow answer makes nobody look late.
 */
export class IssuerTime {
  readonly #options: IssuerTimeOptions;
  #samples: readonly Sample[] = [];
  /** Of all samples together. */
  #middle: Sample | undefined;
  /** How often everything was forgotten. An answer to a question from before says nothing now. */
  #era = 0;
  #differs = false;
  #asking = false;
  #askedAt = -Infinity;

  constructor(options: IssuerTimeOptions) {
    this.#options = options;
  }

  /** When a question is sent. What this gives hears the headers of its answer. */
  timeRequest(): (headers: Headers) => void {
    const sentAt = this.#options.clock.elapsed();
    const era = this.#era;
    return (headers) => {
      if (era === this.#era) this.#hear(headers, sentAt);
    };
  }

  #hear(headers: Headers, sentAt: number): void {
    const date = Date.parse(headers.get('date') ?? '');
    // A cache tells the time at which it got the answer (RFC 9111 §5.1).
    if (Number.isNaN(date) || headers.has('age')) return;
    const sample = { low: date - this.#options.clock.elapsed(), high: date + RESOLUTION_MS - sentAt };
    this.#samples = [...this.#samples, sample].slice(-SAMPLES);
    this.#middle = middleOf(this.#samples);
    const isOff = Math.abs(this.#offsetMs(sample)) > this.#options.leewaySeconds * 1000;
    if (isOff && this.#samples.length < SAMPLES_MIN) this.#ask();
    else if (isOff !== this.#differs) this.askAgain();
    this.judge();
  }

  /** After the machine may have slept: `elapsed` stood still meanwhile, and nothing measured by it holds. */
  forget(): void {
    this.#era += 1;
    this.#samples = [];
    this.#middle = undefined;
  }

  /** Something else suggests that the clocks are apart, such as a token from the future. */
  askAgain(): void {
    const { clock } = this.#options;
    if (clock.elapsed() - this.#askedAt >= ASK_SECONDS * 1000) this.#ask();
  }

  /** It is at least so late at the issuer, in milliseconds since 1970; undefined when its answers don't say. */
  earliest(): number | undefined {
    return this.#middle === undefined ? undefined : this.#middle.low + this.#options.clock.elapsed();
  }

  /**
   * How far this machine's clock is off, in seconds: positive when it is ahead of the issuer's, negative when it is
   * behind, 0 when they agree as far as can be told. Undefined when the issuer's answers don't say.
   */
  offsetSeconds(): number | undefined {
    return this.#middle === undefined ? undefined : Math.round(this.#offsetMs(this.#middle) / 100) / 10;
  }

  /** Whether the clocks are known to be further apart than is allowed for. Reports when that changes. */
  judge(): void {
    const { leewaySeconds, report } = this.#options;
    const offsetSeconds = this.offsetSeconds() ?? 0;
    if (this.#samples.length < SAMPLES_MIN) return;
    const differs = Math.abs(offsetSeconds) > leewaySeconds;
    if (differs === this.#differs) return;
    this.#differs = differs;
    report(differs ? { kind: 'clock_differs', offsetSeconds } : { kind: 'clock_agrees' });
  }

  #offsetMs({ low, high }: Sample): number {
    const { clock } = this.#options;
    const difference = clock.now() - clock.elapsed();
    if (difference < low) return difference - low;
    return Math.max(0, difference - high);
  }

  #ask(): void {
    if (this.#asking) return;
    this.#asking = true;
    this.#askedAt = this.#options.clock.elapsed();
    void this.#askOften().finally(() => (this.#asking = false));
  }

  /** One odd answer is not believed: others decide. */
  async #askOften(): Promise<void> {
    try {
      for (let asked = 0; asked === 0 || (asked < SAMPLES_MIN && this.#samples.length < SAMPLES_MIN); asked++) {
        await this.#options.ask();
      }
    } catch {
      // The next answer to whatever is asked has a date as well.
    }
  }
}

/** With few, all that any of them allows: one alone proves nothing. */
function middleOf(samples: readonly Sample[]): Sample | undefined {
  const lows = samples.map(({ low }) => low).toSorted((a, b) => a - b);
  const highs = samples.map(({ high }) => high).toSorted((a, b) => a - b);
  const isFew = samples.length < SAMPLES_MIN;
  const low = lows.at(isFew ? 0 : Math.floor((lows.length - 1) / 2));
  const high = highs.at(isFew ? -1 : Math.floor(highs.length / 2));
  return low === undefined || high === undefined ? undefined : { low, high };
}

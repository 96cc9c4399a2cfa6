/**
 * Estimates the issuer's time from the `Date` of its responses (RFC 9110 §6.6.1), and how far this machine's clock is
 * off.
 */
import type { GuardEvent } from '../guard_event.ts';
import type { GuardClock } from '../runtime.ts';

/** The number of responses used. The median counts, so one or two odd ones change nothing. */
const SAMPLES = 5;
/** The number of responses needed before the guard reports a wrong clock. */
const SAMPLES_MIN = 3;
/** The shortest time between two requests made only to learn the time, in seconds, once there are enough responses. */
const ASK_SECONDS = 10;
/** The uncertainty of a `Date`: it's cut to whole seconds, and servers reuse it for up to a second. */
const RESOLUTION_MS = 2_000;

/** Bounds for the issuer's time minus this machine's `elapsed`, in milliseconds. */
interface Sample {
  readonly low: number;
  readonly high: number;
}

/** What the estimate depends on. */
export interface IssuerTimeOptions {
  readonly clock: GuardClock;
  /** How far the two clocks may differ, in seconds. */
  readonly leewaySeconds: number;
  readonly report: (event: GuardEvent) => void;
  /** Requests any fresh response from the issuer, timed by `timeRequest`. May reject. */
  readonly ask: () => Promise<unknown>;
}

/**
 * The issuer's time is kept relative to `elapsed`, so that setting this machine's clock shows at once, without another
 * request. Network delay widens a sample but never shifts it: a slow response can't make a clock look late.
 */
export class IssuerTime {
  readonly #options: IssuerTimeOptions;
  #samples: readonly Sample[] = [];
  /** The combined bounds of all samples. */
  #middle: Sample | undefined;
  /** The number of `forget` calls. A response to a request from before the last one says nothing now. */
  #era = 0;
  #differs = false;
  #asking = false;
  #askedAt = -Infinity;

  constructor(options: IssuerTimeOptions) {
    this.#options = options;
  }

  /** Call this when sending a request, and the function it returns with the response headers. */
  timeRequest(): (headers: Headers) => void {
    const sentAt = this.#options.clock.elapsed();
    const era = this.#era;
    return (headers) => {
      if (era === this.#era) this.#addSample(headers, sentAt);
    };
  }

  #addSample(headers: Headers, sentAt: number): void {
    const date = Date.parse(headers.get('date') ?? '');
    // A response with `Age` came from a cache, and has the time when the cache got it (RFC 9111 §5.1).
    if (Number.isNaN(date) || headers.has('age')) return;
    const sample = { low: date - this.#options.clock.elapsed(), high: date + RESOLUTION_MS - sentAt };
    this.#samples = [...this.#samples, sample].slice(-SAMPLES);
    this.#middle = middleOf(this.#samples);
    const isOff = Math.abs(this.#offsetMs(sample)) > this.#options.leewaySeconds * 1000;
    if (isOff && this.#samples.length < SAMPLES_MIN) this.#ask();
    else if (isOff !== this.#differs) this.askAgain();
    this.judge();
  }

  /** The machine may have slept. `elapsed` stood still meanwhile, so nothing measured with it is valid. */
  forget(): void {
    this.#era += 1;
    this.#samples = [];
    this.#middle = undefined;
  }

  /** Call this when something else suggests that the clocks differ, such as a token from the future. */
  askAgain(): void {
    const { clock } = this.#options;
    if (clock.elapsed() - this.#askedAt >= ASK_SECONDS * 1000) this.#ask();
  }

  /** The earliest time it can be at the issuer, in milliseconds since 1970; undefined if its responses don't say. */
  earliest(): number | undefined {
    return this.#middle === undefined ? undefined : this.#middle.low + this.#options.clock.elapsed();
  }

  /**
   * This machine's clock minus the issuer's, in seconds; 0 if they agree as far as the guard can tell. Undefined if the
   * issuer's responses don't say.
   */
  offsetSeconds(): number | undefined {
    return this.#middle === undefined ? undefined : Math.round(this.#offsetMs(this.#middle) / 100) / 10;
  }

  /** Reports when the clocks begin or cease to differ by more than the leeway. */
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

  /** A single odd response isn't trusted: others decide. */
  async #askOften(): Promise<void> {
    try {
      for (let asked = 0; asked === 0 || (asked < SAMPLES_MIN && this.#samples.length < SAMPLES_MIN); asked++) {
        await this.#options.ask();
      }
    } catch {
      // The next response to any request has a date too.
    }
  }
}

/** With few samples it's the whole range they allow: one alone proves nothing. */
function middleOf(samples: readonly Sample[]): Sample | undefined {
  const lows = samples.map(({ low }) => low).toSorted((a, b) => a - b);
  const highs = samples.map(({ high }) => high).toSorted((a, b) => a - b);
  const isFew = samples.length < SAMPLES_MIN;
  const low = lows.at(isFew ? 0 : Math.floor((lows.length - 1) / 2));
  const high = highs.at(isFew ? -1 : Math.floor(highs.length / 2));
  return low === undefined || high === undefined ? undefined : { low, high };
}

/**
 * Checks that the issuer's name is exactly the one in the guard's options. Tokens carry it in `iss`, which is compared
 * byte by byte (RFC 8414 §3.3, RFC 9068 §4). With `http://127.0.0.1:8080` instead of `http://localhost:8080`, or one
 * slash too many, the guard would connect and then refuse every token as if the token were wrong.
 */
import { isObject } from '@hallpass/protocol';
import type { GuardEvent } from '../guard_event.ts';
import { secondsSince, type GuardClock } from '../runtime.ts';

/** The shortest time between two requests for the metadata, in seconds: tokens can trigger them. */
const COMPARE_SECONDS = 5;

/** What the check depends on. */
export interface IssuerCheckOptions {
  readonly issuer: string;
  /** The issuer's metadata as JSON (RFC 8414 §3.2); may reject. */
  readonly fetchMetadata: () => Promise<unknown>;
  readonly clock: Pick<GuardClock, 'elapsed'>;
  readonly report: (event: GuardEvent) => void;
}

/** Compares the issuer's name with the expected one, and reports a difference. */
export class IssuerCheck {
  readonly #options: IssuerCheckOptions;
  #difference: Extract<GuardEvent, { kind: 'issuer_differs' }> | undefined;
  #comparedAt = -Infinity;
  #underWay: Promise<void> | undefined;

  constructor(options: IssuerCheckOptions) {
    this.#options = options;
  }

  /** The difference found, if any. An issuer without metadata counts as equal; each token's `iss` is still compared. */
  get difference(): Extract<GuardEvent, { kind: 'issuer_differs' }> | undefined {
    return this.#difference;
  }

  /** Compares again, unless it did so a moment ago. Never rejects. */
  compare(): Promise<void> {
    if (secondsSince(this.#options.clock, this.#comparedAt) < COMPARE_SECONDS)
      return this.#underWay ?? Promise.resolve();
    this.#comparedAt = this.#options.clock.elapsed();
    this.#underWay ??= this.#fetchAndCompare().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #fetchAndCompare(): Promise<void> {
    const { issuer: expected, fetchMetadata, report } = this.#options;
    const metadata = await fetchMetadata().catch(() => undefined);
    const found = isObject(metadata) ? metadata['issuer'] : undefined;
    if (typeof found !== 'string') return;
    const before = this.#difference;
    if (found === expected) {
      this.#difference = undefined;
      if (before !== undefined) report({ kind: 'issuer_agrees' });
      return;
    }
    this.#difference = { kind: 'issuer_differs', expected, found };
    if (before?.found !== found) report(this.#difference);
  }
}

/** Stretches of the time of day whose proofs were remembered and are not any more. */
import type { NumericDate } from '@hallpass/protocol';

/** How many stretches are told apart. One more, and the two that lie closest together are taken for one. */
const SPANS_MAX = 16;

interface Span {
  from: NumericDate;
  to: NumericDate;
}

/**
 * A proof that was used and forgotten had ended by a clock that may have been set back since: within these stretches it
 * could be used again. Stretches that lie apart stay apart, so that an hour that a wrong clock went through closes that
 * hour, and not all between it and now.
 */
export class PurgedRanges {
  /** In order. */
  readonly #spans: Span[] = [];

  add(end: NumericDate): void {
    if (this.has(end)) return;
    const at = this.#spans.findIndex(({ from }) => from > end);
    this.#spans.splice(at < 0 ? this.#spans.length : at, 0, { from: end, to: end });
    if (this.#spans.length > SPANS_MAX) this.#joinClosest();
  }

  has(end: NumericDate): boolean {
    return this.#spans.some(({ from, to }) => from <= end && end <= to);
  }

  #joinClosest(): void {
    let closest = 1;
    let gapMin = Infinity;
    for (let at = 1; at < this.#spans.length; at++) {
      const gap = (this.#spans[at]?.from ?? Infinity) - (this.#spans[at - 1]?.to ?? Infinity);
      if (gap < gapMin) [closest, gapMin] = [at, gap];
    }
    const [joined] = this.#spans.splice(closest, 1);
    const before = this.#spans[closest - 1];
    if (joined !== undefined && before !== undefined) before.to = joined.to;
  }
}

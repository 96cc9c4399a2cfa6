/** Remembers which expiry times belong to proofs that were forgotten. */
import type { NumericDate } from '@hallpass/protocol';

/** The number of separate ranges. When there is one more, the two closest are merged. */
const SPANS_MAX = 16;

interface Span {
  from: NumericDate;
  to: NumericDate;
}

/**
 * A forgotten proof had expired by a clock that may have been set back since, so it could be replayed now. Proofs whose
 * expiry lies in one of these ranges are refused. Distant ranges stay separate: a clock that was an hour off blocks
 * that hour, not all the time between then and now.
 */
export class PurgedRanges {
  /** Sorted. */
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

/** Which proofs were used, for as long as they could be used again (RFC 9449 §11.1). */
import { numericDate, type NumericDate } from '@hallpass/protocol';
import { PurgedRanges } from './purged_ranges.ts';
import { Outage } from '../outage.ts';
import type { GuardClock } from '../runtime.ts';

/** The most proofs of one client that are held at once, unless told otherwise: for some 700 requests a second. */
export const PROOFS_PER_CLIENT_MAX = 50_000;
/** How many clients' shares are held in all. One proof more is an outage, since none may be forgotten. */
const SHARES = 10;
/** How much a client may hold, as a part of what is free: six whole shares, and from there on less and less. */
const FREE_PART_MAX = 0.25;

export interface UsedProof {
  /** Whose token it came with. Keys are no measure: a client makes as many as it likes. */
  readonly clientId: string;
  /** One text for each `jti` of each key, short whatever the `jti` is. */
  readonly id: string;
  /** From when on the proof is too old to be used at all. */
  readonly expiresAt: NumericDate;
}

export interface ProofBounds {
  readonly perClientMax: number;
  /** About 200 bytes each. Default: ten shares. */
  readonly totalMax?: number;
}

/**
 * Holds each proof for as long as it was good when it was used, by a clock that nobody sets, and no longer. Proofs lie in
 * as many heaps as there are seconds in which they end, a minute's worth, so that the dead go without a search and without
 * a timer.
 */
export class ProofMemory {
  readonly #clock: GuardClock;
  readonly #bounds: Required<ProofBounds>;
  readonly #ids = new Set<string>();
  readonly #heldBy = new Map<string, number>();
  /** By the second of `elapsed` in which they end. */
  readonly #byEnd = new Map<number, UsedProof[]>();
  readonly #forgotten = new PurgedRanges();
  #sweptAt = -Infinity;

  constructor(clock: GuardClock, { perClientMax, totalMax = perClientMax * SHARES }: ProofBounds) {
    this.#clock = clock;
    this.#bounds = { perClientMax, totalMax };
  }

  get size(): number {
    return this.#ids.size;
  }

  /**
   * Whether a proof is used for the first time; from now on it is not. A client whose share is full gets no further
   * until some of its proofs have ended. The share shrinks as the memory fills, so that dozens of clients that send as
   * much as they can leave room for whoever sends little. A proof that ended while its request was being checked comes
   * too late, as does one that had ended before the clock was set back: it could not be told from one that was used and
   * forgotten. Throws `Outage` when all is full.
   */
  use(proof: UsedProof): 'fresh' | 'replayed' | 'ended' | 'too_many' {
    const now = this.#clock.now();
    const elapsed = this.#clock.elapsed();
    this.#sweep(Math.floor(elapsed / 1000));
    const { clientId, id, expiresAt } = proof;
    if (expiresAt <= numericDate(now) || this.#forgotten.has(expiresAt)) return 'ended';
    if (this.#ids.has(id)) return 'replayed';
    const { perClientMax, totalMax } = this.#bounds;
    const held = this.#heldBy.get(clientId) ?? 0;
    const free = totalMax - this.size;
    if (free <= 0) throw new Outage('More DPoP proofs than can be remembered.');
    if (held >= Math.min(perClientMax, free * FREE_PART_MAX)) return 'too_many';
    this.#ids.add(id);
    this.#heldBy.set(clientId, held + 1);
    const endsAt = Math.ceil((elapsed + expiresAt * 1000 - now) / 1000);
    const ending = this.#byEnd.get(endsAt) ?? [];
    ending.push(proof);
    this.#byEnd.set(endsAt, ending);
    return 'fresh';
  }

  /** Forgets what has ended, once a second at most. */
  #sweep(second: number): void {
    if (second === this.#sweptAt) return;
    this.#sweptAt = second;
    for (const [end, proofs] of this.#byEnd) {
      if (end > second) continue;
      this.#byEnd.delete(end);
      for (const proof of proofs) this.#forget(proof);
    }
  }

  #forget({ clientId, id, expiresAt }: UsedProof): void {
    this.#forgotten.add(expiresAt);
    this.#ids.delete(id);
    const held = (this.#heldBy.get(clientId) ?? 0) - 1;
    if (held > 0) this.#heldBy.set(clientId, held);
    else this.#heldBy.delete(clientId);
  }
}

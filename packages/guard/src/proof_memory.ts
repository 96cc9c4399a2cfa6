/** Which proofs were used, for as long as they could be used again (RFC 9449 §11.1). */
import { numericDate, type Clock, type NumericDate } from '@hallpass/protocol';
import { Outage } from './outage.ts';

/** The most proofs of one key that are held at once: some 700 requests a second, for as long as a proof can be used. */
export const PROOFS_PER_KEY_MAX = 50_000;
/** The most proofs that are held at once; about 200 bytes each. One more is an outage, since none may be forgotten. */
const PROOFS_MAX = 500_000;

export interface UsedProof {
  /** The thumbprint of the key that signed it (RFC 7638). */
  readonly jkt: string;
  /** One text for each `jti` of each key, short whatever the `jti` is. */
  readonly id: string;
  /** From when on the proof is too old to be used at all. */
  readonly expiresAt: NumericDate;
}

export interface ProofBounds {
  readonly perKeyMax: number;
  readonly totalMax: number;
}

/**
 * Holds each proof until it has expired and no longer. Proofs lie in as many heaps as there are seconds in which they
 * end, a minute's worth, so that the dead go without a search and without a timer.
 */
export class ProofMemory {
  readonly #clock: Clock;
  readonly #bounds: ProofBounds;
  readonly #byKey = new Map<string, Set<string>>();
  readonly #byEnd = new Map<NumericDate, UsedProof[]>();
  #size = 0;
  #sweptAt: NumericDate = 0;

  constructor(clock: Clock, bounds: ProofBounds = { perKeyMax: PROOFS_PER_KEY_MAX, totalMax: PROOFS_MAX }) {
    this.#clock = clock;
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Whether a proof is used for the first time; from now on it is not. A key whose share is full gets no further, and
   * takes nothing from the others. Throws `Outage` when all that may be held is held.
   */
  use(proof: UsedProof): 'fresh' | 'replayed' | 'too_many' {
    this.#sweep();
    const { jkt, id, expiresAt } = proof;
    const ofKey = this.#byKey.get(jkt) ?? new Set();
    if (ofKey.has(id)) return 'replayed';
    if (ofKey.size >= this.#bounds.perKeyMax) return 'too_many';
    if (this.#size >= this.#bounds.totalMax) throw new Outage('More DPoP proofs than can be remembered.');
    this.#byKey.set(jkt, ofKey.add(id));
    const ending = this.#byEnd.get(expiresAt) ?? [];
    ending.push(proof);
    this.#byEnd.set(expiresAt, ending);
    this.#size += 1;
    return 'fresh';
  }

  /** Forgets what has ended, once a second at most. */
  #sweep(): void {
    const now = numericDate(this.#clock.now());
    if (now === this.#sweptAt) return;
    this.#sweptAt = now;
    for (const [end, proofs] of this.#byEnd) {
      if (end > now) continue;
      this.#byEnd.delete(end);
      for (const proof of proofs) this.#forget(proof);
    }
  }

  #forget({ jkt, id }: UsedProof): void {
    const ofKey = this.#byKey.get(jkt);
    ofKey?.delete(id);
    if (ofKey?.size === 0) this.#byKey.delete(jkt);
    this.#size -= 1;
  }
}

/** Remembers used proofs for as long as they could be replayed (RFC 9449 §11.1). */
import { numericDate, type NumericDate } from '@hallpass/protocol';
import { PurgedRanges } from './purged_ranges.ts';
import { Outage } from '../outage.ts';
import type { GuardClock } from '../runtime.ts';

/** The default for the proofs remembered per client: enough for about 700 requests a second. */
export const PROOFS_PER_CLIENT_MAX = 50_000;
/** The capacity, in clients' shares. A proof beyond it is an outage, because none may be forgotten. */
const SHARES = 10;
/** The largest part of the free space that one client may take: six full shares, then less and less. */
const FREE_PART_MAX = 0.25;

/** A proof, as it is remembered. */
export interface UsedProof {
  /** The token's client. Counting by key would be useless: a client can make as many keys as it likes. */
  readonly clientId: string;
  /** A short text that identifies one `jti` of one key. */
  readonly id: string;
  /** The proof is too old to be accepted from this time on. */
  readonly expiresAt: NumericDate;
}

/** How many proofs are remembered. */
export interface ProofBounds {
  readonly perClientMax: number;
  /** About 200 bytes each. Default: ten shares. */
  readonly totalMax?: number;
}

/**
 * Keeps each proof until it expires, by a clock that nobody can set. Proofs are grouped by the second in which they
 * expire, about a minute's worth of groups, so removing expired ones takes no search and no timer.
 */
export class ProofMemory {
  readonly #clock: GuardClock;
  readonly #bounds: Required<ProofBounds>;
  readonly #ids = new Set<string>();
  readonly #heldBy = new Map<string, number>();
  /** By the second of `elapsed` in which they expire. */
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
   * Marks a proof as used, and says whether this was the first time. A client with a full share gets `too_many` until
   * some of its proofs expire. Shares shrink as the memory fills up, so that dozens of clients at full speed leave room
   * for the quiet ones. `ended`: the proof expired while its request was being checked, or before the clock was set
   * back, when it could no longer be told from a forgotten replay. Throws `Outage` if the memory is full.
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

  /** Forgets expired proofs, at most once a second. */
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

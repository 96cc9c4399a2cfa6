/** The revocations that a guard knows. They are only ever added to, and drop out when no token can need them any more. */
import { type AccessTokenClaims, type NumericDate, type Revocation } from '@hallpass/protocol';

/**
 * A check is four look-ups. Adding is one insertion, and now and then, each time the set has doubled since the last
 * sweep, a walk through all of it: constant time an entry in the long run, and at most twice the memory of what lives.
 */
export class RevocationSet {
  /** By `jti` or `grant_id`, both of them unique beyond their kind: when the entry may be forgotten. */
  readonly #ids = new Map<string, NumericDate>();
  readonly #clients = new Map<string, Moment>();
  #everyone: Moment = { before: 0, expiresAt: 0 };
  #sweepAt = SWEEP_SIZE_MIN;

  get size(): number {
    return this.#ids.size + this.#clients.size + (this.#everyone.before > 0 ? 1 : 0);
  }

  add({ kind, id, before = 0, expires_at }: Revocation, now: NumericDate): void {
    if (expires_at <= now) return;
    const moment = { before, expiresAt: expires_at };
    if (kind === 'token' || kind === 'grant') this.#ids.set(id, Math.max(expires_at, this.#ids.get(id) ?? 0));
    else if (kind === 'client') this.#clients.set(id, later(moment, this.#clients.get(id)));
    else this.#everyone = later(moment, this.#everyone);
    if (this.size >= this.#sweepAt) this.#sweep(now);
  }

  /** Whether a token is revoked, as far as this set knows. */
  has({ jti, grant_id, client_id, iat }: Pick<AccessTokenClaims, 'jti' | 'grant_id' | 'client_id' | 'iat'>): boolean {
    if (this.#ids.has(jti) || this.#ids.has(grant_id)) return true;
    return iat < (this.#clients.get(client_id)?.before ?? 0) || iat < this.#everyone.before;
  }

  #sweep(now: NumericDate): void {
    for (const [id, expiresAt] of this.#ids) if (expiresAt <= now) this.#ids.delete(id);
    for (const [id, { expiresAt }] of this.#clients) if (expiresAt <= now) this.#clients.delete(id);
    this.#sweepAt = Math.max(SWEEP_SIZE_MIN, 2 * this.size);
  }
}

const SWEEP_SIZE_MIN = 1024;

interface Moment {
  readonly before: NumericDate;
  readonly expiresAt: NumericDate;
}

/** Of two moments both hold: the later one, for as long as either lives. */
function later(a: Moment, b: Moment = { before: 0, expiresAt: 0 }): Moment {
  return { before: Math.max(a.before, b.before), expiresAt: Math.max(a.expiresAt, b.expiresAt) };
}

/** What is revoked, as far as the guard has heard (contract §5). */
import type { AccessTokenClaims, Clock, NumericDate, Revocation } from '@hallpass/protocol';
import { lineageOf, numericDate } from '@hallpass/protocol';
import { Outage } from './outage.ts';

/** The most revocations that are held at once; about 150 bytes each. One more is an outage, since none may be forgotten. */
const REVOCATIONS_MAX = 4_000_000;
/** How many entries are looked over for each that is added: above one, so that the dead never pile up. */
const SWEPT_PER_ADD = 2;
/** How many are looked over at a heartbeat. */
const SWEPT_PER_HEARTBEAT = 1_000;

interface Entry {
  /** Tokens issued before this are dead; Infinity for those that are meant one by one. */
  readonly before: NumericDate;
  /** Until when it matters: no token that it is about can be accepted after that. */
  readonly until: NumericDate;
}

/**
 * Adds in constant time, answers in four look-ups. Expired entries go a few at a time, whenever one is added and at
 * each heartbeat, along an iterator that runs round the map for ever; there is neither a timer nor a pause for a full
 * sweep, and the dead stay fewer than the living once the map has been gone round.
 */
export class RevocationSet {
  readonly #entries = new Map<string, Entry>();
  readonly #clock: Clock;
  readonly #leewaySeconds: number;
  readonly #entriesMax: number;
  #sweeper = this.#entries.entries();

  constructor(clock: Clock, leewaySeconds: number, entriesMax: number = REVOCATIONS_MAX) {
    this.#clock = clock;
    this.#leewaySeconds = leewaySeconds;
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Only ever refuses more: a second entry for the same thing widens the first, whatever order they come in. */
  add(revocation: Revocation): void {
    const key = keyOf(revocation.kind, revocation.id);
    const held = this.#entries.get(key);
    // Swept here as well: the feed of a full set never gets as far as a heartbeat.
    if (held === undefined && this.size >= this.#entriesMax) this.#sweep(SWEPT_PER_HEARTBEAT);
    if (held === undefined && this.size >= this.#entriesMax) throw new Outage('More revocations than can be held.');
    const before = revocation.before ?? Infinity;
    // A token is accepted for the leeway after its end, so its revocation has to outlive it by as much.
    const until = revocation.expires_at + this.#leewaySeconds;
    this.#entries.set(key, {
      before: Math.max(before, held?.before ?? 0),
      until: Math.max(until, held?.until ?? 0),
    });
    this.#sweep(SWEPT_PER_ADD);
  }

  /** Forgets some of what no longer matters. */
  sweep(): void {
    this.#sweep(SWEPT_PER_HEARTBEAT);
  }

  /** Whether a token was revoked. */
  ends({ jti, grant_id, client_id, iat }: Pick<AccessTokenClaims, 'jti' | 'grant_id' | 'client_id' | 'iat'>): boolean {
    return (
      // With those that it was cut from: a child is as dead as its parent (RFC 8693).
      lineageOf(jti).some((id) => this.#holds(keyOf('token', id), iat)) ||
      this.#holds(keyOf('grant', grant_id), iat) ||
      this.#holds(keyOf('client', client_id), iat) ||
      this.#holds(keyOf('before', '*'), iat)
    );
  }

  #holds(key: string, iat: NumericDate): boolean {
    const entry = this.#entries.get(key);
    return entry !== undefined && iat < entry.before;
  }

  #sweep(entriesMax: number): void {
    const now = numericDate(this.#clock.now());
    const looks = Math.min(entriesMax, this.size);
    for (let looked = 0; looked < looks; looked++) {
      const next = this.#sweeper.next();
      if (next.done === true) {
        this.#sweeper = this.#entries.entries();
        continue;
      }
      const [key, { until }] = next.value;
      if (until <= now) this.#entries.delete(key);
    }
  }
}

/** "Everything before" is one thing, whatever its entry's id says. */
function keyOf(kind: Revocation['kind'], id: string): string {
  return kind === 'before' ? kind : `${kind}:${id}`;
}

/** The revocations that the guard holds (contract §5). */
import type { AccessTokenClaims, Clock, NumericDate, Revocation, RevocationKind } from '@hallpass/protocol';
import { isIdentifier, isTokenIdentifier, lineageOf, numericDate } from '@hallpass/protocol';
import { IdentifierTable } from './identifier_table.ts';
import { Outage } from '../outage.ts';
import { REVOCATION_SECONDS_MAX } from '../issuer/trailing_clock.ts';
import { randomWords } from '../runtime.ts';

/**
 * The most revocations held at once. One more is an outage, since none may be dropped. A token or a grant takes 27 to
 * 54 bytes, everything else about 150.
 */
export const REVOCATIONS_MAX = 4_000_000;
/** How many entries are checked for expiry with each addition. More than one, so that expired entries never pile up. */
const SWEPT_PER_ADD = 2;
/** How many entries are checked for expiry at each heartbeat. */
const SWEPT_PER_HEARTBEAT = 1_000;

/** Kept with a token that is checked again and again: how many additions the set had when the token was last found alive. */
export interface Seen {
  additions: number;
}

/** For a token that has not been checked yet. */
export function neverSeen(): Seen {
  return { additions: -1 };
}

/**
 * Adds in constant time and answers in a few look-ups; about a token it has seen, in one comparison until something is
 * added. Expired entries are removed a few at a time, with each addition and each heartbeat: there is no timer and no
 * pause for a full sweep, and after the first round there are fewer expired entries than live ones.
 */
export class RevocationSet {
  /** Tokens and grants that are revoked as a whole, by UUID: nearly all revocations. */
  readonly #tokens = makeTable();
  readonly #grants = makeTable();
  /**
   * Tokens that were exchanged for narrower ones (RFC 8693), each by its own UUID, the last of its lineage, which is
   * unique. The lineage as text would take up to five times as much memory.
   */
  readonly #narrowedTokens = makeTable();
  readonly #tables: Readonly<Partial<Record<RevocationKind, IdentifierTable>>> = {
    token: this.#tokens,
    grant: this.#grants,
  };
  /** Everything else: clients, moments, and ids that are not UUIDs. */
  readonly #others: Readonly<Record<RevocationKind, EntryMap>> = {
    token: new EntryMap(),
    grant: new EntryMap(),
    client: new EntryMap(),
    before: new EntryMap(),
  };
  readonly #all = [this.#tokens, this.#grants, this.#narrowedTokens, ...Object.values(this.#others)];
  readonly #clock: Clock;
  readonly #leewaySeconds: number;
  readonly #entriesMax: number;
  #additions = 0;

  /** `clock` decides when an entry has expired; see `TrailingClock`. */
  constructor(clock: Clock, leewaySeconds: number, entriesMax: number = REVOCATIONS_MAX) {
    this.#clock = clock;
    this.#leewaySeconds = leewaySeconds;
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#all.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Adds a revocation. It only ever revokes more: a second entry for the same thing widens the first, in either order.
   * Throws `Outage` when the set is full.
   */
  add(revocation: Revocation): void {
    // First, so that no token counts as seen alive even if the addition fails.
    this.#additions += 1;
    const { before } = revocation;
    const { place, id } = this.#placeOf(revocation);
    const until = this.#untilOf(revocation);
    // A full set has to be swept here, because its feed never gets as far as a heartbeat.
    if (this.size >= this.#entriesMax && !place.has(id)) this.#sweep(SWEPT_PER_HEARTBEAT);
    if (this.size >= this.#entriesMax && !place.has(id)) throw new Outage('More revocations than can be held.');
    if (place instanceof IdentifierTable) place.hold(id, until);
    else place.hold(id, { before: before ?? Infinity, until });
    this.#sweep(SWEPT_PER_ADD);
  }

  #placeOf(revocation: Revocation): { readonly place: IdentifierTable | EntryMap; readonly id: string } {
    const { kind, before } = revocation;
    const id = idOf(revocation);
    const others = { place: this.#others[kind], id };
    if (before !== undefined) return others;
    if (isIdentifier(id)) return { place: this.#tables[kind] ?? others.place, id };
    return kind === 'token' && isTokenIdentifier(id) ? { place: this.#narrowedTokens, id: ownPartOf(id) } : others;
  }

  /** Removes some of the expired entries. Call it at each heartbeat. */
  sweep(): void {
    this.#sweep(SWEPT_PER_HEARTBEAT);
  }

  /**
   * The second until which an entry is held. The issuer only sends live entries, so one that has expired on arrival means
   * that a clock is wrong: then it is held for as long as any entry can matter.
   */
  #untilOf({ expires_at }: Revocation): NumericDate {
    // A token is accepted for the leeway after it expires, so its revocation has to be held for that long too.
    const until = expires_at + this.#leewaySeconds;
    const now = numericDate(this.#clock.now());
    return until > now ? until : now + REVOCATION_SECONDS_MAX;
  }

  /** Whether a token is revoked. Pass the same `seen` with the same token to make repeated checks cheap; it belongs to this set. */
  ends(claims: RevocableClaims, seen: Seen = neverSeen()): boolean {
    // Only an addition can revoke a token that was alive.
    if (seen.additions === this.#additions) return false;
    const isRevoked = this.#holds(claims);
    if (!isRevoked) seen.additions = this.#additions;
    return isRevoked;
  }

  #holds({ jti, grant_id, client_id, iat }: RevocableClaims): boolean {
    const others = this.#others;
    return (
      // With its ancestors: a token dies with the one it was exchanged from (RFC 8693).
      lineageOf(jti).some((id) => this.#endsToken(id) || others.token.ends(id, iat)) ||
      this.#grants.has(grant_id) ||
      others.grant.ends(grant_id, iat) ||
      others.client.ends(client_id, iat) ||
      others.before.ends(EVERYTHING, iat)
    );
  }

  #endsToken(id: string): boolean {
    return isNarrowed(id) ? this.#narrowedTokens.has(ownPartOf(id)) : this.#tokens.has(id);
  }

  #sweep(looks: number): void {
    const now = numericDate(this.#clock.now());
    for (const part of this.#all) part.sweep(now, looks);
  }
}

type RevocableClaims = Pick<AccessTokenClaims, 'jti' | 'grant_id' | 'client_id' | 'iat'>;

const EVERYTHING = '*';

/** "Everything before" is one entry, whatever its id says. */
function idOf({ kind, id }: Revocation): string {
  return kind === 'before' ? EVERYTHING : id;
}

/** Whether a token was exchanged for from another (RFC 8693). */
function isNarrowed(id: string): boolean {
  return id.includes(LINEAGE_SEPARATOR);
}

/** The last UUID of a lineage: the token's own. */
function ownPartOf(id: string): string {
  return id.slice(id.lastIndexOf(LINEAGE_SEPARATOR) + 1);
}

const LINEAGE_SEPARATOR = '~';

function makeTable(): IdentifierTable {
  return new IdentifierTable(randomWords(4));
}

interface Entry {
  /** Tokens issued before this are revoked; Infinity when every token it covers is. */
  readonly before: NumericDate;
  /** No token that it covers can be accepted after this second. */
  readonly until: NumericDate;
}

/** Entries by any text. The sweeper is an iterator that goes round the map forever. */
class EntryMap {
  readonly #entries = new Map<string, Entry>();
  #sweeper = this.#entries.entries();

  get size(): number {
    return this.#entries.size;
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  hold(id: string, { before, until }: Entry): void {
    const held = this.#entries.get(id);
    this.#entries.set(id, { before: Math.max(before, held?.before ?? 0), until: Math.max(until, held?.until ?? 0) });
  }

  ends(id: string, iat: NumericDate): boolean {
    if (this.#entries.size === 0) return false;
    const entry = this.#entries.get(id);
    return entry !== undefined && iat < entry.before;
  }

  sweep(now: NumericDate, looksMax: number): void {
    const looks = Math.min(looksMax, this.size);
    for (let looked = 0; looked < looks; looked++) {
      const next = this.#sweeper.next();
      if (next.done === true) {
        this.#sweeper = this.#entries.entries();
        continue;
      }
      const [id, { until }] = next.value;
      if (until <= now) this.#entries.delete(id);
    }
  }
}

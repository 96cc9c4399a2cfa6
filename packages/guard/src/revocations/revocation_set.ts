/** What is revoked, as far as the guard has heard (contract §5). */
import type { AccessTokenClaims, Clock, NumericDate, Revocation, RevocationKind } from '@hallpass/protocol';
import { isIdentifier, isTokenIdentifier, lineageOf, numericDate } from '@hallpass/protocol';
import { IdentifierTable } from './identifier_table.ts';
import { Outage } from '../outage.ts';
import { REVOCATION_SECONDS_MAX } from '../issuer/trailing_clock.ts';
import { randomWords } from '../runtime.ts';

/**
 * The most revocations that are held at once. One more is an outage, since none may be forgotten. A token or a grant takes
 * 27 to 54 bytes, all others about 150.
 */
export const REVOCATIONS_MAX = 4_000_000;
/** How many entries are looked over for each that is added: above one, so that the dead never pile up. */
const SWEPT_PER_ADD = 2;
/** How many are looked over at a heartbeat. */
const SWEPT_PER_HEARTBEAT = 1_000;

/** Where it is kept of a token that nothing had ended it, so many additions into a set's life. */
export interface Seen {
  additions: number;
}

/** Of a token that no set was asked about. */
export function neverSeen(): Seen {
  return { additions: -1 };
}

/**
 * Adds in constant time, answers in a few look-ups, and about the same token in one comparison until something is added. Expired entries go a few at a time, whenever one is added and at each
 * heartbeat; there is neither a timer nor a pause for a full sweep, and the dead stay fewer than the living once
 * everything has been gone round.
 */
export class RevocationSet {
  /** Tokens and grants that are dead as a whole, by their UUIDs: nearly all that is ever revoked. */
  readonly #tokens = makeTable();
  readonly #grants = makeTable();
  /**
   * Tokens that were cut from others, each by its own UUID, the last of its lineage: nobody else has it. As text a lineage
   * takes up to five times as much.
   */
  readonly #cutTokens = makeTable();
  readonly #tables: Readonly<Partial<Record<RevocationKind, IdentifierTable>>> = {
    token: this.#tokens,
    grant: this.#grants,
  };
  /** Everything else: clients and moments. */
  readonly #others: Readonly<Record<RevocationKind, EntryMap>> = {
    token: new EntryMap(),
    grant: new EntryMap(),
    client: new EntryMap(),
    before: new EntryMap(),
  };
  readonly #all = [this.#tokens, this.#grants, this.#cutTokens, ...Object.values(this.#others)];
  readonly #clock: Clock;
  readonly #leewaySeconds: number;
  readonly #entriesMax: number;
  #additions = 0;

  /** `clock`: what entries are forgotten by; see `TrailingClock`. */
  constructor(clock: Clock, leewaySeconds: number, entriesMax: number = REVOCATIONS_MAX) {
    this.#clock = clock;
    this.#leewaySeconds = leewaySeconds;
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#all.reduce((sum, { size }) => sum + size, 0);
  }

  /** Only ever refuses more: a second entry for the same thing widens the first, whatever order they come in. */
  add(revocation: Revocation): void {
    // First, so that whatever becomes of it, nobody goes by what was true before.
    this.#additions += 1;
    const { before } = revocation;
    const { place, id } = this.#placeOf(revocation);
    const until = this.#untilOf(revocation);
    // Swept here as well: the feed of a full set never gets as far as a heartbeat.
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
    return kind === 'token' && isTokenIdentifier(id) ? { place: this.#cutTokens, id: ownPartOf(id) } : others;
  }

  /** Forgets some of what no longer matters. */
  sweep(): void {
    this.#sweep(SWEPT_PER_HEARTBEAT);
  }

  /**
   * The second until which an entry is held. One that has ended when it arrives is alive at the issuer, or it would not be
   * sent: then a clock is wrong, and it is held for as long as any can matter.
   */
  #untilOf({ expires_at }: Revocation): NumericDate {
    // A token is accepted for the leeway after its end, so its revocation has to outlive it by as much.
    const until = expires_at + this.#leewaySeconds;
    const now = numericDate(this.#clock.now());
    return until > now ? until : now + REVOCATION_SECONDS_MAX;
  }

  /** Whether a token was revoked. `seen`: what is kept with a token that is asked about again, of this set alone. */
  ends(claims: RevocableClaims, seen: Seen = neverSeen()): boolean {
    // Only an addition ends what lives.
    if (seen.additions === this.#additions) return false;
    const ended = this.#holds(claims);
    if (!ended) seen.additions = this.#additions;
    return ended;
  }

  #holds({ jti, grant_id, client_id, iat }: RevocableClaims): boolean {
    const others = this.#others;
    return (
      // With those that it was cut from: a child is as dead as its parent (RFC 8693).
      lineageOf(jti).some((id) => this.#endsToken(id) || others.token.ends(id, iat)) ||
      this.#grants.has(grant_id) ||
      others.grant.ends(grant_id, iat) ||
      others.client.ends(client_id, iat) ||
      others.before.ends(EVERYTHING, iat)
    );
  }

  #endsToken(id: string): boolean {
    return isCut(id) ? this.#cutTokens.has(ownPartOf(id)) : this.#tokens.has(id);
  }

  #sweep(looks: number): void {
    const now = numericDate(this.#clock.now());
    for (const part of this.#all) part.sweep(now, looks);
  }
}

type RevocableClaims = Pick<AccessTokenClaims, 'jti' | 'grant_id' | 'client_id' | 'iat'>;

const EVERYTHING = '*';

/** "Everything before" is one thing, whatever its entry's id says. */
function idOf({ kind, id }: Revocation): string {
  return kind === 'before' ? EVERYTHING : id;
}

/** Whether a token was cut from another (RFC 8693). */
function isCut(id: string): boolean {
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
  /** Tokens issued before this are dead; Infinity for those that are meant one by one. */
  readonly before: NumericDate;
  /** Until when it matters: no token that it is about can be accepted after that. */
  readonly until: NumericDate;
}

/** Entries by any text, swept along an iterator that runs round the map for ever. */
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

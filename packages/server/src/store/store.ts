/**
 * The store port: everything that Hallpass remembers, as the verbs of its own rules. An engine is one file that fills
 * in `Store`; `test/store/contract.ts` is the proof that it keeps the guarantees in these comments.
 *
 * Three guarantees hold for every verb:
 *   durable     a promise that writes resolves when what it wrote survives a power cut, never before;
 *   committed   a promise that reads sees everything that resolved before it began, in any process on the same store,
 *               and nothing that is not yet durable;
 *   outage      what cannot be done now rejects with `StoreUnavailable`. After a rejected write the effect is unknown,
 *               and doing it again is safe.
 *
 * Nothing here is written for issuing a token. State grows with clients, refreshed grants and revocations.
 */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  type ClientPublicKey,
  type NumericDate,
  type Revocation,
  type RevocationEntry,
} from '@hallpass/protocol';

/** The store cannot answer now; the rim of the server makes this a 503. */
export class StoreUnavailable extends Error {
  override readonly name: string = 'StoreUnavailable';
}

/** The store cannot answer before an operator has done what the sentence says; to try again is of no use until then. */
export class StoreBroken extends StoreUnavailable {}

/** What to do about a store that is damaged. Nothing repairs it; a backup takes its place. */
export const RESTORE =
  'Stop Hallpass, keep the damaged store aside, and restore the newest backup into a new data folder, or an empty database (hallpass store restore).';

/** The store cannot be used at all, and why, in a sentence for the operator. */
export class StoreUnusable extends Error {
  override readonly name: string = 'StoreUnusable';
}

/** There is no store at this place, and the caller did not ask for one to be made. */
export class StoreMissing extends StoreUnusable {
  override readonly name = 'StoreMissing';
}

/** What to do at a place where there is no store: make one, or throw `StoreMissing` and leave everything as it is. */
export type IfMissing = 'make' | 'refuse';

/** The most clients that a store keeps: what may be listed, searched and copied has a bound. */
export const CLIENTS_MAX = 100_000;

/** A secret of a client, as far as it is kept: a keyed hash. The secret itself was shown once. */
export interface ClientSecret {
  readonly secretId: string;
  /** The key that the hash was made with. */
  readonly keyId: string;
  /** HMAC-SHA-256 as base64url; empty while there is a foreign hash in its place. */
  readonly hash: string;
  /** An imported secret that was not used yet: the hash that it came with, sealed (`oauth/foreign_secret.ts`). */
  readonly foreign?: string;
  /** An imported secret that a person may have chosen: guesses at it stay bounded after its first use (ADR 17). */
  readonly guessable?: true;
  /** Milliseconds. */
  readonly createdAt: number;
  /** Milliseconds; absent: until it is rotated. */
  readonly expiresAt?: number;
}

/** An API key: who may ask, and for what (contract §6). */
export interface Client {
  readonly clientId: string;
  readonly name: string;
  readonly mode: 'test' | 'live';
  /**
   * How the key shows that it is itself (RFC 6749 §2.3.1, RFC 7523 §2.2), and the only way in which it can (ADR 40).
   * `client_secret`: its secret, by Basic or in the body.
   */
  readonly authentication: 'client_secret' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt';
  /** At most two, the newest first. */
  readonly secrets: readonly ClientSecret[];
  /** With `private_key_jwt`: at most two, the newest first. */
  readonly publicKeys: readonly ClientPublicKey[];
  /** The allowed scopes, templates or filled. */
  readonly scopes: readonly string[];
  /** What a request without `scope` gets; empty: such a request is refused. Filled. */
  readonly defaultScopes: readonly string[];
  /** What `resource` may name; the first is used when it names nothing. Empty: the server's default audience alone. */
  readonly audiences: readonly string[];
  /** The audiences whose tokens this key may introspect; not empty: a resource server's key, which may read the feed. */
  readonly resourceServerFor: readonly string[];
  /** Serialized origins; not empty: a request from any other is refused. */
  readonly origins: readonly string[];
  /** Whether a request without Origin and Referer is refused as well. */
  readonly requireOrigin: boolean;
  readonly refresh: boolean;
  /** Whether it gets tokens bound to a key only (RFC 9449). */
  readonly requireDpop: boolean;
  readonly accessTokenFormat: 'jwt' | 'opaque';
  /** Tighter than the server's settings, in seconds; absent: as those. */
  readonly accessTtlSeconds?: number;
  readonly refreshTtlSeconds?: number;
  readonly refreshMaxTtlSeconds?: number;
  readonly refreshGraceSeconds?: number;
  /** How many requests a second it may make; absent: as the server's setting. */
  readonly requestsPerSecond?: number;
  readonly disabled: boolean;
  /** Milliseconds. */
  readonly createdAt: number;
  /** Milliseconds. */
  readonly updatedAt: number;
  /** 1 when made, one more with each change. */
  readonly version: number;
}

/** Where a refreshed grant stands. A grant that was never refreshed has none: it stands at generation 0. */
export interface Family {
  readonly grantId: string;
  readonly clientId: string;
  /** The newest generation. */
  readonly generation: number;
  /** When the newest generation was made; milliseconds. */
  readonly rotatedAt: number;
  /** The MAC key that sealed the newest generation. */
  readonly keyId: string;
  /** When the newest generation ends, as it was sealed. */
  readonly expiresAt: NumericDate;
  /** A version before idle expiry rotated it first: it keeps the end that it was given then (ADR 41). */
  readonly hasFixedEnd: boolean;
  /** When the last of all its generations ends. Its row is kept until then, or the first one would pass for fresh again. */
  readonly keptUntil: NumericDate;
  /** The last generation whose predecessor was shown while it was the newest; 0: none. */
  readonly shownGeneration: number;
  /** In how many successive generations, up to that one. */
  readonly shownInARow: number;
  /** The last generation in which that was suspicious; 0: none. */
  readonly suspectedGeneration: number;
}

/** Why the predecessor of a newest refresh token, when it is shown, is suspicious (contract §10). */
export type SuspicionReason = 'late' | 'successive';

/** The predecessor of a family's newest refresh token was shown. */
export interface PredecessorShown {
  readonly grantId: string;
  /** The newest generation then. */
  readonly generation: number;
  /** In how many successive generations, this one included. */
  readonly inARow: number;
  /** Absent: nothing is suspicious about it. */
  readonly suspicion?: { readonly reason: SuspicionReason; readonly event: StoreEvent };
}

/** `recorded`: nothing that is new is suspicious. `reported`: a new suspicion, with its event; `counted`: without. */
export type PredecessorOutcome = 'recorded' | 'reported' | 'counted';

/** The most events of suspicious refreshes that are kept of one client in an hour: a client in a loop is no flood. */
export const SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX = 10;

/** What a client is marked with after suspicious refreshes. */
export interface RefreshSuspicions {
  /** Each generation of each grant counts once. */
  readonly count: number;
  /** The last of them; milliseconds. */
  readonly lastAt: number;
  readonly lastReason: SuspicionReason;
  readonly lastGrantId: string;
}

/** What a revocation is looked up by: a token of this grant and client, made at this second. */
export interface RevocationSubject {
  /** With those of the tokens that it was cut from, if any: `lineageOf(jti)`. */
  readonly jti?: string;
  readonly grantId: string;
  readonly clientId: string;
  readonly issuedAt: NumericDate;
}

/** A step of a family from one generation to the next. */
export interface Rotation {
  readonly grantId: string;
  readonly clientId: string;
  /** The generation that was presented; the step is taken only if it is still the newest. */
  readonly from: number;
  /** When the presented generation was made. */
  readonly issuedAt: NumericDate;
  /** When the presented generation ends, as it was sealed. */
  readonly presentedExpiresAt: NumericDate;
  /** When the next one is made; milliseconds. */
  readonly rotatedAt: number;
  readonly keyId: string;
  /** When the next one ends. */
  readonly expiresAt: NumericDate;
}

export type RotationOutcome = 'rotated' | 'already_used' | 'revoked';

/** How long any guard needs an entry at the most, in seconds: the longest life of a token, and a minute of leeway. */
export const FEED_SECONDS_MAX = ACCESS_TOKEN_SECONDS_MAX + 60;

/** A revocation to be kept. */
export interface KeptRevocation extends Revocation {
  /** How long guards need it from now on, in seconds, by the earliest time that it can be; absent: `FEED_SECONDS_MAX`. */
  readonly feedSeconds?: number;
  /**
   * Until when refresh tokens could still refer to it: never before `expires_at`. That of a grant is kept for as long as
   * the row of its family besides.
   */
  readonly keepUntil: NumericDate;
}

/** Something an operator or an investigator will want to know of later. Never holds a secret or a token. */
export interface StoreEvent {
  /** Milliseconds. */
  readonly at: number;
  readonly kind: string;
  readonly clientId?: string;
  readonly grantId?: string;
  /** A sentence or a few words. */
  readonly detail?: string;
}

/** What a change of a client brings along, in the same transaction. */
export interface Accompanied {
  readonly event: StoreEvent;
  readonly revocations?: readonly KeptRevocation[];
}

/** What a key of ours is for. */
export type KeyUse = 'sign' | 'refresh_mac' | 'secret_mac' | 'access_seal';

/** A key of ours at rest: encrypted under the master key. */
export interface KeyRecord {
  readonly keyId: string;
  readonly use: KeyUse;
  readonly algorithm: string;
  /** AES-256-GCM, see `oauth/key_ring.ts`. */
  readonly wrapped: string;
  /** Milliseconds. */
  readonly createdAt: number;
  /** From when on it is used, having been published since it was made; milliseconds. */
  readonly activeFrom: number;
}

/** Something that may be used once: the `jti` of an assertion or a proof. */
export interface OnceMark {
  /** Whose it is: a `jti` is unique for who made it, and not beyond. */
  readonly space: string;
  readonly id: string;
  /** Until when it could be used again. */
  readonly expiresAt: NumericDate;
}

/** A counter of a period: how often something was done in it. */
export interface Counter {
  readonly name: string;
  /** Which period of those that the name has. */
  readonly period: number;
  /** How much is added. */
  readonly by: number;
  /** When nobody asks for this period any more. */
  readonly expiresAt: NumericDate;
}

export interface RevocationPage {
  readonly entries: readonly RevocationEntry[];
  /** Where to read on, also when there was nothing. */
  readonly cursor: string;
  readonly more: boolean;
  /** How often followers had been asked to confirm when the feed had come at least this far. */
  readonly calls: number;
}

/** The most followers of one client that are counted at a time. */
export const FOLLOWERS_PER_CLIENT_MAX = 1_000;

/** Who follows the feed, and what it has said that it has taken. */
export interface Follower {
  /** Ids are a client's own: nobody can speak for a follower of another. */
  readonly clientId: string;
  readonly followerId: string;
  /** Everything up to here; undefined, or a cursor that this store did not give out: nothing. */
  readonly cursor: string | undefined;
  /** When there was a sign of life; milliseconds. */
  readonly seenAt: number;
}

/** How many followers there are, and how many of them have confirmed. */
export interface FollowerCount {
  readonly connected: number;
  readonly confirmed: number;
}

/** The time as servers on this store have kept it. Both in milliseconds. */
export interface KeptTime {
  /** What it was when a server last kept it. */
  readonly seenAt: number;
  /**
   * Whatever ended before this may be forgotten. It runs no faster than a clock that nobody can set, across restarts too,
   * so that a clock that is wrong for a while makes nobody forget (contract §10 Clocks).
   */
  readonly trusted: number;
}

/** What a server says of the time. */
export interface TimeToKeep {
  /** Milliseconds. */
  readonly now: number;
  /** Never kept as later than `now`, and never takes what is kept back, unless `settled`. Milliseconds. */
  readonly trusted: number;
  /** The clock has run evenly for a while, so a kept time that is ahead of it was wrong, and is set back. */
  readonly settled: boolean;
}

/** When a secret was last used, as nearly as is kept. */
export interface SecretUse {
  readonly clientId: string;
  readonly secretId: string;
  /** Milliseconds. */
  readonly usedAt: number;
}

export interface Store {
  // API keys

  /**
   * Takes the same time whether the client exists or not, and however large its record is: the time of a refusal must not
   * tell. The first reading after a change takes longer. What it gives is frozen: other callers may get the same object.
   */
  findClient(clientId: string): Promise<Client | undefined>;
  /** No token of this client may carry an `iat` below this: everything earlier was revoked at one stroke. 0: nothing was. */
  findIssueNotBefore(clientId: string): Promise<NumericDate>;
  /** In order of `clientId`, those after `after`. */
  listClients(page: { readonly after?: string; readonly limit: number }): Promise<readonly Client[]>;
  /**
   * Keeps a client, if the kept version is `client.version - 1` (0: there is none) and was made when it was, with its
   * event and revocations in one transaction. A new one beyond `CLIENTS_MAX` is not kept.
   */
  saveClient(client: Client, accompanied: Accompanied): Promise<'saved' | 'changed_meanwhile' | 'too_many'>;
  deleteClient(clientId: string, accompanied: Accompanied): Promise<'deleted' | 'unknown'>;
  /** Whether a client that is not disabled lists this origin. */
  isOriginListed(origin: string): Promise<boolean>;
  /** Best effort: a crash may lose the last of them. */
  markSecretsUsed(uses: readonly SecretUse[]): Promise<void>;
  findSecretUses(clientId: string): Promise<readonly SecretUse[]>;

  // Our own keys

  loadKeys(): Promise<readonly KeyRecord[]>;
  /**
   * Adds a key unless one of the same use and algorithm was made after `unlessMadeAfter` (milliseconds; -1: unless there
   * is any): of two instances that find at once that a key is due, one adds it.
   */
  addKey(key: KeyRecord, unlessMadeAfter: number, event?: StoreEvent): Promise<'added' | 'exists'>;
  removeKey(keyId: string, accompanied: Accompanied): Promise<'removed' | 'unknown'>;
  /** Keeps a key encrypted anew, if it is still encrypted as in `from`. */
  rewrapKey(
    keyId: string,
    wrapped: { readonly from: string; readonly to: string },
  ): Promise<'kept' | 'changed_meanwhile'>;

  /** How many grants that live at `now` were refreshed last under this MAC key. Reads every refreshed grant. */
  countGrantsSealedBy(keyId: string, now: NumericDate): Promise<number>;
  /** How many refreshed grants live at `now`, of one client or of all. Reads every refreshed grant. */
  countGrants(now: NumericDate, clientId?: string): Promise<number>;

  // Grants

  findFamily(grantId: string): Promise<Family | undefined>;
  /** Compare and set, and refused when the grant is revoked: of any number of callers with one generation, one rotates. */
  rotate(rotation: Rotation): Promise<RotationOutcome>;
  /**
   * Remembers that a predecessor was shown. A suspicion counts once for a generation, whatever how many callers bring it
   * to how many processes: it marks the client, and its event is kept unless the client has had
   * `SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX` of that hour.
   */
  recordPredecessor(shown: PredecessorShown): Promise<PredecessorOutcome>;
  /** Undefined: there was nothing suspicious. */
  findRefreshSuspicions(clientId: string): Promise<RefreshSuspicions | undefined>;

  // What may be used once

  /** Marks all of them as used, or none: the answer is the first that was used before. */
  useOnce(marks: readonly OnceMark[]): Promise<OnceMark | 'fresh'>;

  // What is counted

  /**
   * Adds to a counter that all processes share and says what it holds then. Best effort: it need not survive a crash.
   */
  count(counter: Counter): Promise<number>;

  // Revocations

  /** Keeps revocations, and an event beside them. What is revoked already stays as it is. */
  revoke(revocations: readonly KeptRevocation[], event?: StoreEvent): Promise<void>;
  isRevoked(subject: RevocationSubject): Promise<boolean>;
  /**
   * Revocations that are alive at `now`, in the order in which they were committed, after a cursor. Cursors grow in
   * the order of commits and nothing is ever added behind one that was given out, so a reader misses nothing. Without
   * a cursor, or with one that this store did not give out, everything from the start: never a gap.
   */
  readRevocations(from: {
    readonly after?: string;
    readonly limit: number;
    readonly now: NumericDate;
  }): Promise<RevocationPage>;
  /**
   * Calls back within 250 ms after a revocation was committed, or followers were asked, by this process or another;
   * perhaps more often.
   */
  watchRevocations(changed: () => void): () => void;
  /** Asks all followers to confirm, and says where the feed ends: what they will say, they say of that at least. */
  askFollowers(): Promise<string>;
  /**
   * Keeps what is known of followers. A follower never goes back, whatever arrives late; more than
   * `FOLLOWERS_PER_CLIENT_MAX` of one client that are alive at `aliveAfter` (milliseconds) are not kept. Best effort: it
   * need not survive a crash.
   */
  noteFollowers(followers: readonly Follower[], aliveAfter: number): Promise<void>;
  /** Of the followers with a sign of life after an instant (milliseconds), how many have everything up to a cursor. */
  countFollowers(to: { readonly cursor: string; readonly aliveAfter: number }): Promise<FollowerCount>;

  // Events

  recordEvent(event: StoreEvent): Promise<void>;
  /** The newest first. */
  listEvents(page: { readonly limit: number }): Promise<readonly StoreEvent[]>;

  // Time

  /** The clock of the database, in milliseconds; undefined for an engine that has none but this machine's. */
  readClock(): Promise<number | undefined>;
  /** Undefined until a server has kept any. */
  findTime(): Promise<KeptTime | undefined>;
  /** Keeps the time and answers with what is kept then: see `TimeToKeep`. */
  keepTime(time: TimeToKeep): Promise<KeptTime>;

  // Care

  /**
   * Forgets what nothing can refer to any more at `now`, at most `limit` rows, and says how many those were. `now` is no
   * machine's clock but the time that the store trusts: what is forgotten cannot be had back.
   */
  forgetExpired(now: NumericDate, limit: number): Promise<number>;
  /**
   * Resolves when the store can do everything: a tiny write is durable, and is where a restart will find it. Rejects
   * like any write when it cannot. What it writes is one row, the same each time.
   */
  check(): Promise<void>;
  close(): Promise<void>;
}

/**
 * The store port: everything that Hallpass remembers, as the operations that its rules need. An engine is one
 * implementation of `Store`; `testing/store_contract/contract.ts` proves that it keeps the guarantees below.
 *
 * Three guarantees hold for every operation:
 *   durable     a write resolves only after what it wrote survives a power cut;
 *   committed   a read sees everything that resolved before it began, in any process on the same store, and nothing
 *               that is not yet durable;
 *   outage      an operation that is impossible now rejects with `StoreUnavailable`. After a rejected write the effect
 *               is unknown, and repeating it is safe.
 *
 * Issuing a token writes nothing here. State grows with clients, refreshed grants and revocations.
 */
import type { NumericDate } from '@hallpass/protocol';
import type {
  Client,
  Consequences,
  Counter,
  Family,
  Follower,
  FollowerCount,
  KeyRecord,
  PredecessorOutcome,
  PredecessorShown,
  RefreshSuspicions,
  RevocationPage,
  RevocationSubject,
  Rotation,
  RotationOutcome,
  SecretUse,
  SingleUseId,
  StoredRevocation,
  StoredTime,
  StoreEvent,
  TimeReport,
} from './records.ts';

export * from './failures.ts';
export * from './records.ts';

/** What to do where there is no store: make one, or throw `StoreMissing` and change nothing. */
export type IfMissing = 'make' | 'refuse';

/** A store, open in this process. Share it between all callers; every method may be called concurrently. */
export interface Store {
  // API keys

  /**
   * Finds a client. Takes the same time whether it exists or not, and however large its record is, so that the time of a
   * refusal tells an attacker nothing; only the first read after a change takes longer. The result is frozen, because
   * callers share it.
   */
  findClient(clientId: string): Promise<Client | undefined>;
  /** The earliest `iat` that a token of this client may carry: everything before it was revoked at once. 0: no bound. */
  findIssueNotBefore(clientId: string): Promise<NumericDate>;
  /** Clients in order of `clientId`, starting behind `after`. */
  listClients(page: { readonly after?: string; readonly limit: number }): Promise<readonly Client[]>;
  /**
   * Stores a client with its event and revocations in one transaction, provided that the stored version is
   * `client.version - 1` (0: there is none) and has the same `createdAt`. Beyond `CLIENTS_MAX` a new client is refused.
   */
  saveClient(client: Client, consequences: Consequences): Promise<'saved' | 'changed_meanwhile' | 'too_many'>;
  deleteClient(clientId: string, consequences: Consequences): Promise<'deleted' | 'unknown'>;
  /** Whether any enabled client lists this origin. */
  isOriginListed(origin: string): Promise<boolean>;
  /** Best effort: a crash may lose the latest of them. */
  markSecretsUsed(uses: readonly SecretUse[]): Promise<void>;
  findSecretUses(clientId: string): Promise<readonly SecretUse[]>;

  // The issuer's own keys

  /** All issuer keys, in the order in which they become active. */
  loadKeys(): Promise<readonly KeyRecord[]>;
  /**
   * Adds a key unless one with the same use and algorithm was made after `unlessMadeAfter` (milliseconds; -1: unless any
   * exists). When two instances find at the same time that a key is due, only one adds it.
   */
  addKey(key: KeyRecord, unlessMadeAfter: number, event?: StoreEvent): Promise<'added' | 'exists'>;
  removeKey(keyId: string, consequences: Consequences): Promise<'removed' | 'unknown'>;
  /** Replaces the encrypted form of a key, if it is still the one in `from`. */
  rewrapKey(
    keyId: string,
    wrapped: { readonly from: string; readonly to: string },
  ): Promise<'kept' | 'changed_meanwhile'>;
  /** How many grants alive at `now` were last refreshed under this MAC key. Reads every refreshed grant. */
  countGrantsSealedBy(keyId: string, now: NumericDate): Promise<number>;
  /** How many refreshed grants are alive at `now`, of one client or of all. Reads every refreshed grant. */
  countGrants(now: NumericDate, clientId?: string): Promise<number>;

  // Grants

  /** The refresh state of a grant; undefined when it was never refreshed. */
  findFamily(grantId: string): Promise<Family | undefined>;
  /** Compare and set: of any number of callers with one generation, one rotates. Refused when the grant is revoked. */
  rotate(rotation: Rotation): Promise<RotationOutcome>;
  /**
   * Records that a predecessor was presented. A suspicion counts once per generation, however many callers report it to
   * however many processes. It is added to the client's suspicions, and its event is stored unless the client has used up
   * `SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX` for that hour.
   */
  recordPredecessor(shown: PredecessorShown): Promise<PredecessorOutcome>;
  /** Undefined when the client has no suspicious refreshes. */
  findRefreshSuspicions(clientId: string): Promise<RefreshSuspicions | undefined>;

  // Single use and counters

  /** Marks all ids as used, or none. Returns `fresh`, or the first id that had been used before. */
  useOnce(ids: readonly SingleUseId[]): Promise<SingleUseId | 'fresh'>;
  /** Adds to a counter that all processes share, and returns the new total. Best effort: a crash may lose it. */
  count(counter: Counter): Promise<number>;

  // Revocations

  /** Stores revocations, and an event with them. Whatever is already revoked stays as it was. */
  revoke(revocations: readonly StoredRevocation[], event?: StoreEvent): Promise<void>;
  isRevoked(subject: RevocationSubject): Promise<boolean>;
  /**
   * Revocations alive at `now`, in commit order, after a cursor. Cursors grow in commit order and nothing is ever added
   * behind one that was issued, so a reader misses nothing. Without a cursor, or with one that this store did not issue,
   * reading starts at the beginning: entries may repeat, but none is skipped.
   */
  readRevocations(from: {
    readonly after?: string;
    readonly limit: number;
    readonly now: NumericDate;
  }): Promise<RevocationPage>;
  /**
   * Calls back within 250 ms after any process has committed a revocation or asked followers to confirm; may call back
   * more often. Returns a function that stops watching.
   */
  watchRevocations(changed: () => void): () => void;
  /** Asks all followers to confirm, and returns the end of the feed: they will confirm at least up to there. */
  askFollowers(): Promise<string>;
  /**
   * Stores the state of followers. A follower never moves back, however late a report arrives. A client with
   * `FOLLOWERS_PER_CLIENT_MAX` followers alive at `aliveAfter` (milliseconds) gets no more. Best effort: a crash may lose it.
   */
  saveFollowers(followers: readonly Follower[], aliveAfter: number): Promise<void>;
  /** Of the followers seen after `aliveAfter` (milliseconds), how many have confirmed up to a cursor. */
  countFollowers(to: { readonly cursor: string; readonly aliveAfter: number }): Promise<FollowerCount>;

  // Events

  recordEvent(event: StoreEvent): Promise<void>;
  /** The newest first. */
  listEvents(page: { readonly limit: number }): Promise<readonly StoreEvent[]>;

  // Time

  /** The clock of the database, in milliseconds; undefined when the engine only has this machine's clock. */
  readClock(): Promise<number | undefined>;
  /** Undefined until a server has saved the time. */
  findTime(): Promise<StoredTime | undefined>;
  /** Saves the time and returns what is then stored: see `TimeReport`. */
  saveTime(time: TimeReport): Promise<StoredTime>;

  // Maintenance

  /**
   * Deletes up to `limit` rows that nothing can refer to any more at `now`, and returns how many. Pass the time that the
   * store trusts, not a machine's clock: what is forgotten cannot be recovered.
   */
  forgetExpired(now: NumericDate, limit: number): Promise<number>;
  /**
   * Resolves when the store is fully usable: a tiny write is durable, and a restart will find it. Rejects like any write
   * otherwise. It always writes the same row.
   */
  check(): Promise<void>;
  /** Writes or refuses everything asked before, then releases the store. Later calls reject with `StoreUnavailable`. */
  close(): Promise<void>;
}

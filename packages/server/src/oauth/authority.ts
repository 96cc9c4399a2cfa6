/** What the endpoints share: the one issuer, its keys, its store and its settings. */
import type { Clock, Random } from '@hallpass/protocol';
import type { Client, PredecessorOutcome, PredecessorShown, Store, StoreEvent } from '../store/store.ts';
import type { BoundReached } from './limits/bounds.ts';
import type { ClientCopies } from './clients/client_copies.ts';
import type { EventAllowance } from './limits/event_allowance.ts';
import type { FeedStreams } from './followers/streams.ts';
import type { FeedMeters, Followers } from './followers/followers.ts';
import type { KeyRing } from './keys/key_ring.ts';
import type { Limits } from './limits/limits.ts';
import type { RevocationAllowance } from './limits/revocation_allowance.ts';
import type { StoreTime } from './store_time.ts';

export interface ServerClock extends Clock {
  readonly sleep: (milliseconds: number) => Promise<void>;
  /** Milliseconds of a clock that nobody can set, since whenever. */
  readonly elapsed: () => number;
}

/**
 * What a request has ended: `token` and `grant` at its owner's wish; `reused` a grant whose old refresh token was shown;
 * `newer_than_store` a grant that the store has never seen so new; `client` everything of a key, in place of too many of
 * the two before.
 */
export const REVOCATION_KINDS = ['token', 'grant', 'reused', 'newer_than_store', 'client'] as const;
export type RevocationKind = (typeof REVOCATION_KINDS)[number];

export interface Lifetimes {
  /** Of an access token, in seconds. */
  readonly accessTokenSeconds: number;
  /** Of a grant from its last rotation, or its first token where there was none, in seconds. */
  readonly refreshSeconds: number;
  /** Of a grant from its first token, however often it is refreshed, in seconds; undefined: as long as it is refreshed. */
  readonly refreshMaxSeconds: number | undefined;
  /** How long the predecessor of the newest refresh token still gets the newest one, in seconds; undefined: always. */
  readonly refreshGraceSeconds: number | undefined;
}

export interface Authority {
  /** Exactly as in `iss`. */
  readonly issuer: string;
  /** The `aud` of a token whose key has no audiences of its own. */
  readonly defaultAudience: string;
  readonly lifetimes: Lifetimes;
  readonly store: Store;
  /** Clients as they were last read, for when the store is away. */
  readonly copies: ClientCopies;
  readonly keys: KeyRing;
  readonly clock: ServerClock;
  readonly time: Pick<StoreTime, 'earliest' | 'latest'>;
  readonly random: Random;
  /** How far the clocks of those who issue on this store may be apart. */
  readonly clockSkewSeconds: number;
  readonly limits: Limits;
  readonly revocationAllowance: RevocationAllowance;
  /** Ends all that a client was given until the acknowledgement, durably, with an event beside it if there is one. */
  readonly endEverythingOf: (clientId: string, event: StoreEvent | undefined) => Promise<void>;
  readonly eventAllowance: EventAllowance;
  readonly followers: Followers;
  readonly feedStreams: FeedStreams;
  readonly feedMeters: FeedMeters;
  readonly boundReached: BoundReached;
  /** Told of each revocation that a request has led to, when it is on disk. */
  readonly noteRevocation: (kind: RevocationKind) => void;
  /** Whether proofs of possession must carry a nonce of ours (RFC 9449 §8). */
  readonly dpopNonces: boolean;
  /** Told of each secret that opened a door; best effort. */
  readonly noteSecretUse: (clientId: string, secretId: string) => void;
  /** Told once of each generation whose predecessor was shown suspiciously, when the store has it. */
  readonly noteSuspicion: (shown: PredecessorShown, as: Exclude<PredecessorOutcome, 'recorded'>) => void;
}

/** The lifetimes of one client's tokens: the server's, where the key has none that are tighter. */
export function lifetimesOf({ lifetimes }: Authority, client: Client): Lifetimes {
  const { accessTtlSeconds = Infinity, refreshTtlSeconds = Infinity } = client;
  return {
    accessTokenSeconds: Math.min(accessTtlSeconds, lifetimes.accessTokenSeconds),
    refreshSeconds: Math.min(refreshTtlSeconds, lifetimes.refreshSeconds),
    refreshMaxSeconds: tighterOf(client.refreshMaxTtlSeconds, lifetimes.refreshMaxSeconds),
    refreshGraceSeconds: tighterOf(client.refreshGraceSeconds, lifetimes.refreshGraceSeconds),
  };
}

/** Undefined: there is no limit. */
function tighterOf(one = Infinity, other = Infinity): number | undefined {
  const tighter = Math.min(one, other);
  return tighter === Infinity ? undefined : tighter;
}

/** What the endpoints share: one issuer with its keys, its store and its settings. Grants never see it (`grants/grant.ts`). */
import type { Random } from '@hallpass/protocol';
import type { PredecessorOutcome, PredecessorShown, Store, StoreEvent } from '../store/store.ts';
import type { ClientCopies } from './clients/client_copies.ts';
import type { ServerClock } from './clock.ts';
import type { FeedMeters, Followers } from './followers/followers.ts';
import type { FeedStreams } from './followers/streams.ts';
import type { KeyRing } from './keys/key_ring.ts';
import type { BoundReached } from './limits/bounds.ts';
import type { Limits } from './limits/limits.ts';
import type { RevocationLimit } from './limits/revocation_limit.ts';
import type { SecurityEventLimit } from './limits/security_event_limit.ts';
import type { Lifetimes } from './tokens/lifetimes.ts';
import type { RevocationCause } from './tokens/revocations.ts';
import type { TrustedTime } from './trusted_time.ts';

/** One issuer with its keys, store, settings, clock and limits. */
export interface Authority {
  /** Exactly as in `iss`. */
  readonly issuer: string;
  /** The `aud` of a token whose key has no audiences configured. */
  readonly defaultAudience: string;
  readonly lifetimes: Lifetimes;
  readonly store: Store;
  /** The last reading of each client, used while the store is away. */
  readonly copies: ClientCopies;
  readonly keys: KeyRing;
  /** The time to date tokens by: see `TrustedTime.now`. */
  readonly clock: ServerClock;
  readonly time: Pick<TrustedTime, 'earliest' | 'latest'>;
  readonly random: Random;
  /** How far the clocks of the instances on this store may differ. */
  readonly clockSkewSeconds: number;
  readonly limits: Limits;
  readonly revocationLimit: RevocationLimit;
  /** Durably revokes everything that a client is issued before this resolves, and records the event if there is one. */
  readonly revokeEverythingOf: (clientId: string, event: StoreEvent | undefined) => Promise<void>;
  readonly securityEventLimit: SecurityEventLimit;
  readonly followers: Followers;
  readonly feedStreams: FeedStreams;
  readonly feedMeters: FeedMeters;
  readonly boundReached: BoundReached;
  /** Called for each revocation that a request has caused, once it is durable. */
  readonly onRevocation: (cause: RevocationCause) => void;
  /** Whether proofs of possession must carry a nonce from this server (RFC 9449 §8). */
  readonly dpopNonces: boolean;
  /** Called for each secret that authenticated a client. Best effort. */
  readonly onSecretUsed: (clientId: string, secretId: string) => void;
  /** Called once for each generation whose predecessor was used suspiciously, once the store has recorded it. */
  readonly onSuspiciousRefresh: (shown: PredecessorShown, as: Exclude<PredecessorOutcome, 'recorded'>) => void;
}

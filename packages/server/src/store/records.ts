/**
 * The records that the store keeps. All are plain data. Instants are milliseconds since 1970 unless their type is
 * `NumericDate`, which counts seconds (RFC 7519 §2).
 */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  type ClientPublicKey,
  type NumericDate,
  type Revocation,
  type RevocationEntry,
} from '@hallpass/protocol';

// API keys

/** The most clients in one store. It bounds every list, search and copy. */
export const CLIENTS_MAX = 100_000;

/** A client secret at rest: a keyed hash. The secret itself is shown once, when it is made. */
export interface ClientSecret {
  readonly secretId: string;
  /** The key that made the hash. */
  readonly keyId: string;
  /** HMAC-SHA-256 as base64url; empty while `foreign` stands in for it. */
  readonly hash: string;
  /** The sealed hash of an imported secret that has not been used yet (`oauth/imported_secrets`). */
  readonly foreign?: string;
  /** An imported secret that a person may have chosen. Guesses at it stay limited after its first use (ADR 17). */
  readonly guessable?: true;
  /** Milliseconds. */
  readonly createdAt: number;
  /** Milliseconds; absent: valid until it is rotated. */
  readonly expiresAt?: number;
}

/** An API key: who may ask for tokens, and for which ones (contract §6). */
export interface Client {
  readonly clientId: string;
  readonly name: string;
  readonly mode: 'test' | 'live';
  /**
   * The one way this key authenticates (RFC 6749 §2.3.1, RFC 7523 §2.2, ADR 40). `client_secret` accepts the secret by
   * HTTP Basic or in the body.
   */
  readonly authentication: 'client_secret' | 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt';
  /** At most two, the newest first. */
  readonly secrets: readonly ClientSecret[];
  /** For `private_key_jwt`: at most two, the newest first. */
  readonly publicKeys: readonly ClientPublicKey[];
  /** The allowed scopes, templates or filled. */
  readonly scopes: readonly string[];
  /** The filled scopes of a request without `scope`. When empty, such a request is refused. */
  readonly defaultScopes: readonly string[];
  /** The audiences that `resource` may name; the first is the default. When empty, only the server's default audience. */
  readonly audiences: readonly string[];
  /** The audiences whose tokens this key may introspect. A key that has any is a resource server's, and may read the feed. */
  readonly resourceServerFor: readonly string[];
  /** Serialized origins. When there are any, a request from another origin is refused. */
  readonly origins: readonly string[];
  /** Also refuses a request with neither Origin nor Referer. */
  readonly requireOrigin: boolean;
  readonly refresh: boolean;
  /** Issues only tokens that are bound to a key (RFC 9449). */
  readonly requireDpop: boolean;
  readonly accessTokenFormat: 'jwt' | 'opaque';
  /** Lifetimes in seconds, stricter than the server's settings. An absent one follows the settings. */
  readonly accessTtlSeconds?: number;
  readonly refreshTtlSeconds?: number;
  readonly refreshMaxTtlSeconds?: number;
  readonly refreshGraceSeconds?: number;
  /** The request limit of this key; absent: the server's. */
  readonly requestsPerSecond?: number;
  readonly disabled: boolean;
  /** Milliseconds. */
  readonly createdAt: number;
  /** Milliseconds. */
  readonly updatedAt: number;
  /** 1 for a new client; each change adds one. */
  readonly version: number;
}

/** When a secret was last used, as precisely as the store keeps it. */
export interface SecretUse {
  readonly clientId: string;
  readonly secretId: string;
  /** Milliseconds. */
  readonly usedAt: number;
}

// The issuer's own keys

/** The purpose of an issuer key. */
export type KeyUse = 'sign' | 'refresh_mac' | 'secret_mac' | 'access_seal';

/** An issuer key at rest, encrypted under the master key. */
export interface KeyRecord {
  readonly keyId: string;
  readonly use: KeyUse;
  readonly algorithm: string;
  /** AES-256-GCM, see `oauth/keys/key_wrapping.ts`. */
  readonly wrapped: string;
  /** Milliseconds. The key is published from here on. */
  readonly createdAt: number;
  /** When it starts to be used, in milliseconds. */
  readonly activeFrom: number;
}

// Grants

/** The refresh state of a grant. A grant that was never refreshed has no family; its generation is 0. */
export interface Family {
  readonly grantId: string;
  readonly clientId: string;
  /** The newest generation. */
  readonly generation: number;
  /** When the newest generation was made, in milliseconds. */
  readonly rotatedAt: number;
  /** The MAC key that sealed the newest generation. */
  readonly keyId: string;
  /** When the newest generation expires, as sealed in its token. */
  readonly expiresAt: NumericDate;
  /** An older version, without idle expiry, rotated it first. It keeps the end that it was given then (ADR 41). */
  readonly hasFixedEnd: boolean;
  /** When the last of all its generations expires. Dropping the row earlier would make generation 0 valid again. */
  readonly keptUntil: NumericDate;
  /** The last generation whose predecessor was presented while that generation was the newest; 0: none. */
  readonly shownGeneration: number;
  /** In how many successive generations, up to `shownGeneration`, the predecessor was presented. */
  readonly shownInARow: number;
  /** The last generation in which that was suspicious; 0: none. */
  readonly suspectedGeneration: number;
}

/** Moves a family from one generation to the next. */
export interface Rotation {
  readonly grantId: string;
  readonly clientId: string;
  /** The presented generation. The rotation happens only while this is the newest. */
  readonly from: number;
  /** When the presented generation was made. */
  readonly issuedAt: NumericDate;
  /** When the presented generation expires, as sealed in its token. */
  readonly presentedExpiresAt: NumericDate;
  /** When the next generation is made, in milliseconds. */
  readonly rotatedAt: number;
  readonly keyId: string;
  /** When the next generation expires. */
  readonly expiresAt: NumericDate;
}

/** How a rotation ended. `already_used`: the presented generation is not the newest. */
export type RotationOutcome = 'rotated' | 'already_used' | 'revoked';

/** Why presenting the predecessor of the newest refresh token is suspicious (contract §10). */
export type SuspicionReason = 'late' | 'successive';

/** A client presented the predecessor of a family's newest refresh token. */
export interface PredecessorShown {
  readonly grantId: string;
  /** The newest generation at that moment. */
  readonly generation: number;
  /** In how many successive generations this has happened, this one included. */
  readonly inARow: number;
  /** Absent when nothing about it is suspicious. */
  readonly suspicion?: { readonly reason: SuspicionReason; readonly event: StoreEvent };
}

/**
 * `recorded`: no new suspicion. `reported`: a new suspicion, and its event is stored. `counted`: a new suspicion, whose
 * event was dropped because the client has had its share for the hour.
 */
export type PredecessorOutcome = 'recorded' | 'reported' | 'counted';

/** The most suspicion events stored per client and hour, so that a client in a loop cannot flood the log. */
export const SUSPICION_EVENTS_PER_CLIENT_HOUR_MAX = 10;

/** The suspicious refreshes of one client. */
export interface RefreshSuspicions {
  /** Each generation of each grant counts once. */
  readonly count: number;
  /** When the last one happened, in milliseconds. */
  readonly lastAt: number;
  readonly lastReason: SuspicionReason;
  readonly lastGrantId: string;
}

// Revocations and events

/** How long a guard may need a feed entry, in seconds: the longest access token lifetime plus a minute of leeway. */
export const FEED_SECONDS_MAX = ACCESS_TOKEN_SECONDS_MAX + 60;

/** A revocation to store. */
export interface StoredRevocation extends Revocation {
  /** How long guards need it, in seconds from the earliest time it can be now. Default: `FEED_SECONDS_MAX`. */
  readonly feedSeconds?: number;
  /**
   * When the last refresh token that it applies to expires; never before `expires_at`. The revocation of a grant is also
   * kept for as long as the row of its family.
   */
  readonly keepUntil: NumericDate;
}

/** A token or grant to look up among the revocations. */
export interface RevocationSubject {
  /** The token's `jti`. The tokens that it was exchanged from are looked up too: `lineageOf(jti)`. */
  readonly jti?: string;
  readonly grantId: string;
  readonly clientId: string;
  readonly issuedAt: NumericDate;
}

/** One page of the revocation feed. */
export interface RevocationPage {
  readonly entries: readonly RevocationEntry[];
  /** Where to continue, also after an empty page. */
  readonly cursor: string;
  readonly more: boolean;
  /** How many times followers had been asked to confirm when the feed was at least this long. */
  readonly calls: number;
}

/** An entry of the audit log, for operators and investigators. Never holds a secret or a token. */
export interface StoreEvent {
  /** Milliseconds. */
  readonly at: number;
  readonly kind: string;
  readonly clientId?: string;
  readonly grantId?: string;
  /** A few words or a sentence. */
  readonly detail?: string;
}

/** What a change entails: the event that records it and the revocations that it causes, in the same transaction. */
export interface Consequences {
  readonly event: StoreEvent;
  readonly revocations?: readonly StoredRevocation[];
}

// Followers of the feed

/** The most live followers counted per client. */
export const FOLLOWERS_PER_CLIENT_MAX = 1_000;

/** A guard that follows the feed, and how far it has confirmed. */
export interface Follower {
  /** Follower ids belong to their client, so that no client can confirm in the name of another's guard. */
  readonly clientId: string;
  readonly followerId: string;
  /** It has everything up to here. Undefined, or a cursor that this store did not issue: it has confirmed nothing. */
  readonly cursor: string | undefined;
  /** The last sign of life, in milliseconds. */
  readonly seenAt: number;
}

/** How many followers are connected, and how many of them have confirmed. */
export interface FollowerCount {
  readonly connected: number;
  readonly confirmed: number;
}

// Single use, counters and time

/** An id that may be used once: the `jti` of an assertion or a proof (RFC 7523 §3, RFC 9449 §11.1). */
export interface SingleUseId {
  /** The issuer of the id. A `jti` is unique for its issuer only. */
  readonly space: string;
  readonly id: string;
  /** Until when a replay would otherwise be accepted. */
  readonly expiresAt: NumericDate;
}

/** An addition to a counter, one of a row of periods. */
export interface Counter {
  readonly name: string;
  /** The number of the period. */
  readonly period: number;
  /** How much to add; 0 only reads. */
  readonly by: number;
  /** When the period no longer matters. */
  readonly expiresAt: NumericDate;
}

/** The time as the servers on this store have recorded it. Both are milliseconds. */
export interface StoredTime {
  /** The time at which a server last recorded it. */
  readonly seenAt: number;
  /**
   * Whatever ended before this may be forgotten. It never runs faster than a clock that nobody can set, across restarts
   * too, so that a clock that is wrong for a while makes no server forget (contract §10 Clocks).
   */
  readonly trusted: number;
}

/** A server's report of the time. */
export interface TimeReport {
  /** Milliseconds. */
  readonly now: number;
  /** Milliseconds. Recorded as at most `now`, and never moves the recorded time back unless `settled`. */
  readonly trusted: number;
  /** The clock has run evenly for a while, so a recorded time that is ahead of it was wrong, and is set back. */
  readonly settled: boolean;
}

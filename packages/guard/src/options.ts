/** The options of a guard and their defaults. */
import type { ClientCredentials, Clock, NumericDate, SigningAlgorithm } from '@hallpass/protocol';
import type { Override } from './ambiguous_request.ts';
import type { GuardEvent } from './guard_event.ts';
import type { GuardClock } from './runtime.ts';

/** The options of `createGuard`. Throws a TypeError there for a wrong one. */
export interface GuardOptions {
  /**
   * The issuer, exactly as tokens name it in `iss`: https, or http on this machine. All its endpoints are found below
   * it.
   */
  readonly issuer: string;
  /**
   * The issuer's address, if you don't reach it under its public name: `http://hallpass:8080` between containers.
   * Tokens, metadata and proofs still name `issuer`. https, or http on this machine; http to another machine also needs
   * `issuerPlaintext`. Default: the issuer.
   */
  readonly issuerAddress?: string;
  /**
   * Whether `issuerAddress` may be plain http to another machine. Anyone who can read and change that traffic can read
   * the guard's secret and make it accept any token, so use `allow` only on a network that is yours alone. Default:
   * `refuse`.
   */
  readonly issuerPlaintext?: 'refuse' | 'allow';
  /** This API, exactly as tokens name it in `aud`. */
  readonly audience: string;
  /** A resource-server key from the issuer. Without one the guard couldn't receive revocations. */
  readonly credentials: ClientCredentials;
  /**
   * Where clients call this API: an origin, plus the path prefix that a proxy strips, if any. A proof of possession
   * names the URL it was made for (RFC 9449 §4.2), and only this option says what that is: `Host`, and so the URL of a
   * web `Request`, is whatever the sender wrote. Default: none, and tokens that are bound to a key are refused.
   */
  readonly publicURL?: string;
  /**
   * Marks a proof as used in a store that all instances of this API share. In one atomic step, resolves to true if `id`
   * wasn't there, and keeps it until `expiresAt` (NumericDate seconds). The guard asks it after its own memory, which
   * can't detect a replay to another instance. If it rejects, the check is a 503. Default: each guard checks by itself.
   */
  readonly rememberProof?: (id: string, expiresAt: NumericDate) => Promise<boolean>;
  /**
   * How many unexpired proofs of one client are remembered: 1 to 1,000,000, default 50,000, which is about 700 requests
   * a second. One more gets a 429. All clients together get ten times as many, about 200 bytes each; as that runs out,
   * each client gets fewer.
   */
  readonly proofsPerClientMax?: number;
  /**
   * Whether proofs must carry a nonce from this guard, so that none can be made in advance (RFC 9449 §9). A client
   * without one gets it in `DPoP-Nonce`; a page can read it if the API exposes that header. Default: false.
   */
  readonly dpopNonces?: boolean;
  /**
   * The secret that nonces are derived from, 32 bytes or more. Set it if several instances of this API must accept each
   * other's nonces. Default: a random one per guard, so proofs from before a restart are refused, and a client that is
   * sent to another instance has to try twice.
   */
  readonly nonceKey?: string;
  /**
   * Whether the adapters serve this API's metadata (RFC 9728) to anyone, and challenges link to it. The audience must
   * be an https URL (http on this machine). Default: false.
   */
  readonly resourceMetadata?: boolean;
  /**
   * Overrides that this API handles itself, so the guard lets them pass: `['x-http-method-override']`. The guard
   * decides on the method and path that it's given. If something overrides them later, that request runs unchecked, so
   * list a header only if the override is applied before the guard. Default: none, and a request with any of them is
   * refused with 400.
   */
  readonly passOverrides?: readonly Override[];
  /** How old the guard's knowledge of revocations may be, in seconds: 3 to 3600, default 10. */
  readonly maxStalenessSeconds?: number;
  /**
   * What to do with tokens when it's older than that: refuse them with 503, ask the issuer about each one, or allow
   * tokens that may have been revoked since. Default: `refuse`.
   */
  readonly whenStale?: WhenStale;
  /**
   * Accepts opaque access tokens, and caches the issuer's answer about each for this long, in seconds: 0 to 60. If a
   * token is revoked, the feed ends that at once; if its whole grant is revoked, the cached answer runs out first. Each
   * token not seen before costs one request to the issuer. Default: opaque tokens are refused.
   */
  readonly opaqueTokenSeconds?: number;
  /**
   * Accepts API keys over Basic (RFC 7617) from servers, and trusts a valid key for this long, in seconds: 1 to 300. A
   * key allows what its scopes allow, just as a token with exactly the needed scope would. A disabled key is refused
   * within a second, a removed secret after this time. Default: only tokens are accepted.
   */
  readonly apiKeySeconds?: number;
  /**
   * How many verified tokens are cached by their hash, so that each signature is verified once: 0 to 1,000,000, default
   * 10,000. A token of 500 characters takes about 2 KB. The limit is 4 KiB per token on average, 40 MiB in all, for
   * each kind (signed, opaque, and exchanged for API keys). Long tokens leave room for fewer.
   */
  readonly rememberedTokensMax?: number;
  /**
   * The scopes of this API. A check or a policy with any other scope is an error, at compile time too. Default: any
   * scope.
   */
  readonly scopes?: readonly string[];
  /** How far this machine's clock and the issuer's may differ, in seconds: 0 to 60, default 5. */
  readonly leewaySeconds?: number;
  /** The accepted signature algorithms. Default: all that Hallpass offers. */
  readonly algorithms?: readonly SigningAlgorithm[];
  /** The `realm` of challenges (RFC 9110 §11.5). Default: the audience. */
  readonly realm?: string;
  /** How long checks may wait for the first read of the feed, in seconds from the first check: 0 to 60, default 5. */
  readonly startWaitSeconds?: number;
  /**
   * Receives events about the guard's health, for logs and metrics. Default: prints a warning to the console, once
   * each, for what an operator must change: refused credentials, another issuer, another audience, or an issuer that
   * can't be reached at startup.
   */
  readonly onEvent?: (event: GuardEvent) => void;
  /**
   * For tests. Default: this machine's clock. `elapsed` returns milliseconds of a clock that is never set; it measures
   * durations and reveals jumps of `now`. Without it, `now` is used for both.
   */
  readonly clock?: Clock & Partial<GuardClock>;
  /** For proxies and tests. Default: the global one. */
  readonly fetch?: typeof fetch;
}

/** What to do with tokens while the guard may have missed revocations. */
export type WhenStale = 'refuse' | 'introspect' | 'allow';

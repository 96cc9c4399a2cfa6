/** What a guard has to be told, and what it assumes otherwise. */
import {
  canonicalIssuer,
  isLoopback,
  isScope,
  isServerUrl,
  parseScope,
  SIGNING_ALGORITHMS,
  utf8,
  type ClientCredentials,
  type Clock,
  type NumericDate,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import type { GuardEvent } from './guard_event.ts';
import { warnOnce } from './misconfiguration.ts';
import { OVERRIDES, type Override } from './ambiguous_request.ts';
import { PROOFS_PER_CLIENT_MAX } from './possession/proof_memory.ts';
import { metadataURL } from './resource_metadata.ts';
import { randomBytes, SYSTEM_CLOCK, type GuardClock } from './runtime.ts';

export interface GuardOptions {
  /** Exactly as tokens have it in `iss`: https, or http on this machine. Everything else is found below it. */
  readonly issuer: string;
  /**
   * Where the issuer is reached, if not under its public name: `http://hallpass:8080` between containers. Tokens, metadata
   * and proofs go on naming `issuer`. https, or http on this machine; anywhere else http needs `issuerPlaintext`. Default:
   * the issuer.
   */
  readonly issuerAddress?: string;
  /**
   * Whether `issuerAddress` may be plain http to another machine. Then whoever can read or change what passes between this
   * guard and the issuer reads its secret, and can have it take any token: `allow` is for a network that is yours alone.
   * Default: `refuse`.
   */
  readonly issuerPlaintext?: 'refuse' | 'allow';
  /** This API, exactly as tokens have it in `aud`. */
  readonly audience: string;
  /** A resource-server key of the issuer. Without one a guard could not hear of revocations. */
  readonly credentials: ClientCredentials;
  /**
   * Where clients call this API: an origin, with the path that a proxy takes away, if one does. A proof of possession
   * names the address that it was made for (RFC 9449 §4.2), and only this option says what that is: `Host`, and with it
   * the address of a web `Request`, is whatever the sender wrote. Default: none, and tokens that are bound to a key are
   * refused.
   */
  readonly publicURL?: string;
  /**
   * Marks a proof as used, in a store that all instances of this API share: resolves to true when `id` was not there,
   * and keeps it until `expiresAt` (NumericDate seconds), both in one step. Asked after this guard's own memory, which
   * a replay to another instance would pass. When it rejects, the check is a 503. Default: each guard by itself.
   */
  readonly rememberProof?: (id: string, expiresAt: NumericDate) => Promise<boolean>;
  /**
   * How many proofs of one client are held at once, until they are too old to be used: 1 to 1,000,000, default 50,000,
   * which is some 700 requests a second. One more is a 429. Of all clients together ten times as many are held, about
   * 200 bytes each; as those run short, each client may hold fewer.
   */
  readonly proofsPerClientMax?: number;
  /**
   * Whether a proof has to carry a nonce of ours, so that none can be made ahead of its time (RFC 9449 §9). Who comes
   * without one is told it in `DPoP-Nonce`, for a page to read if the API exposes that header to it. Default: false.
   */
  readonly dpopNonces?: boolean;
  /**
   * What nonces are made with, for several instances of this API that are to take each other's: a secret of 32 bytes or
   * more. Default: a random one of each guard's own: proofs from before a restart are good no more, and a client that is
   * sent to another instance has to ask twice.
   */
  readonly nonceKey?: string;
  /**
   * Whether the adapters serve this API's metadata (RFC 9728), to anybody, and challenges say where it is. The audience
   * has to be an https address (http on this machine). Default: false.
   */
  readonly resourceMetadata?: boolean;
  /**
   * Overrides that this API reads itself, and that therefore pass: `['x-http-method-override']`. The guard decides on the
   * method and the path that it is given. Whatever overrides them after that runs undecided, so list a field only if the
   * override comes before the guard. Default: none, and a request with any of them is refused with 400.
   */
  readonly passOverrides?: readonly Override[];
  /** How old the guard's knowledge of revocations may be, in seconds: 3 to 3600, default 10. */
  readonly maxStalenessSeconds?: number;
  /**
   * What to do with a token past that age: refuse with 503, ask the issuer each time, or allow what may have been
   * revoked since. Default `refuse`.
   */
  readonly whenStale?: WhenStale;
  /**
   * Whether opaque access tokens are taken: how long what the issuer says of one is believed, in seconds, 0 to 60. Of a
   * revoked one the feed tells at once, unless its whole grant was revoked: then it is heard of after this. Each that is
   * not known costs a request to the issuer. Default: none, and opaque tokens are refused.
   */
  readonly opaqueTokenSeconds?: number;
  /**
   * Whether API keys are taken over Basic (RFC 7617), from servers: how long one that the issuer found good is believed,
   * in seconds, 1 to 300. A key opens what its scopes allow, as a token of exactly the scope that a request needs would;
   * a disabled one is refused within the second, a secret that was taken away after this. Default: none, and only
   * tokens are taken.
   */
  readonly apiKeySeconds?: number;
  /**
   * How many verified tokens are remembered, by their hash, so that a signature is verified once: 0 to 1,000,000,
   * default 10,000. One of 500 characters takes about 2 KB, and all together 4 KiB each on average at the most: 40 MiB, of
   * each kind (signed, opaque, and what API keys were exchanged for). Long tokens leave room for fewer.
   */
  readonly rememberedTokensMax?: number;
  /** The scopes of this API. A check or a policy that names another one is a mistake, for the compiler too. Default: any. */
  readonly scopes?: readonly string[];
  /** How far this machine's clock and the issuer's may be apart, in seconds: 0 to 60, default 5. */
  readonly leewaySeconds?: number;
  /** The signature algorithms that are accepted. Default: all that Hallpass offers. */
  readonly algorithms?: readonly SigningAlgorithm[];
  /** The `realm` of challenges (RFC 9110 §11.5). Default: the audience. */
  readonly realm?: string;
  /** How long, from the first check on, a check may wait for the feed to be read, in seconds: 0 to 60, default 5. */
  readonly startWaitSeconds?: number;
  /**
   * Hears of the guard's health, for logs and metrics. Default: what an operator has to change (refused credentials, another
   * issuer, another audience, an issuer that cannot be reached at the start) is printed as a warning on the console, each once.
   */
  readonly onEvent?: (event: GuardEvent) => void;
  /**
   * For tests. Default: this machine's. `elapsed` gives milliseconds of a clock that nobody sets, by which durations are
   * measured and jumps of `now` are noticed; without it, `now` is taken for such a clock.
   */
  readonly clock?: Clock & Partial<GuardClock>;
  /** For proxies and tests. Default: the global one. */
  readonly fetch?: typeof fetch;
}

export type WhenStale = 'refuse' | 'introspect' | 'allow';

type Optional = 'publicURL' | 'rememberProof' | 'opaqueTokenSeconds' | 'apiKeySeconds' | 'scopes';
type Plain = Omit<
  GuardOptions,
  Optional | 'dpopNonces' | 'nonceKey' | 'resourceMetadata' | 'passOverrides' | 'clock' | 'issuerPlaintext'
>;

export interface GuardSettings extends Required<Plain> {
  readonly publicURL: string | undefined;
  readonly rememberProof: GuardOptions['rememberProof'];
  readonly opaqueTokenSeconds: number | undefined;
  readonly apiKeySeconds: number | undefined;
  readonly scopes: readonly string[] | undefined;
  readonly clock: GuardClock;
  /** What nonces are made with; undefined where none are asked for. */
  readonly nonceKey: Uint8Array | undefined;
  /** The time that they are made by: what several guards have in common, or else a clock that nobody sets. */
  readonly nonceClock: GuardClock;
  readonly resourceMetadata: boolean;
  readonly passOverrides: ReadonlySet<Override>;
}

const WHEN_STALE: readonly WhenStale[] = ['refuse', 'introspect', 'allow'];

/** The server says every second how fresh we are: below this a beat that comes late would be an outage. In seconds. */
const MAX_STALENESS_SECONDS_MIN = 3;

/** Options to settings. Throws a TypeError that says what to change; it never repeats a credential. */
export function parseOptions(options: GuardOptions): GuardSettings {
  const { audience, credentials } = options;
  // As the server spells it.
  const issuer = canonicalIssuer(options.issuer) ?? options.issuer;
  checkAddress('issuer', issuer);
  const { issuerAddress, publicURL } = options;
  if (issuerAddress !== undefined) checkIssuerAddress(issuerAddress, options.issuerPlaintext);
  else if (options.issuerPlaintext !== undefined)
    throw new TypeError('issuerPlaintext is of no use without issuerAddress.');
  if (publicURL !== undefined) checkAddress('publicURL', publicURL);
  if (typeof audience !== 'string' || audience === '') throw new TypeError('audience must name this API.');
  if (!isText(credentials?.clientId) || !isText(credentials.clientSecret)) {
    throw new TypeError('credentials must hold the clientId and the clientSecret of a resource-server key.');
  }
  if (options.rememberProof !== undefined && typeof options.rememberProof !== 'function') {
    throw new TypeError('rememberProof must be a function.');
  }
  const whenStale = options.whenStale ?? 'refuse';
  if (!WHEN_STALE.includes(whenStale)) throw new TypeError(`whenStale must be one of ${WHEN_STALE.join(', ')}.`);
  const { opaqueTokenSeconds, apiKeySeconds, scopes } = options;
  if (opaqueTokenSeconds !== undefined) within('opaqueTokenSeconds', opaqueTokenSeconds, 0, 60);
  if (apiKeySeconds !== undefined) within('apiKeySeconds', apiKeySeconds, 1, 300);
  for (const scope of scopes ?? []) {
    if (!isScope(parseScope(scope))) throw new TypeError(`scopes: '${scope}' is not a scope.`);
  }
  const algorithms = options.algorithms ?? SIGNING_ALGORITHMS;
  if (algorithms.length === 0 || !algorithms.every((algorithm) => SIGNING_ALGORITHMS.includes(algorithm))) {
    throw new TypeError(`algorithms must be some of ${SIGNING_ALGORITHMS.join(', ')}.`);
  }
  const realm = options.realm ?? audience;
  if (!REALM.test(realm)) {
    throw new TypeError(
      'realm (the audience, if there is none) must be printable ASCII without quotes and backslashes.',
    );
  }
  const clock = parseClock(options.clock);
  const resourceMetadata = options.resourceMetadata ?? false;
  // Throws for an audience that is no address.
  if (resourceMetadata) checkAddress('audience', new URL(metadataURL(audience)).origin);
  return {
    issuer,
    issuerAddress: issuerAddress ?? issuer,
    audience,
    // Paths begin with a slash of their own.
    publicURL: publicURL?.replace(/\/$/, ''),
    rememberProof: options.rememberProof,
    opaqueTokenSeconds,
    apiKeySeconds,
    scopes,
    rememberedTokensMax: within('rememberedTokensMax', options.rememberedTokensMax ?? 10_000, 0, 1_000_000),
    proofsPerClientMax: within('proofsPerClientMax', options.proofsPerClientMax ?? PROOFS_PER_CLIENT_MAX, 1, 1_000_000),
    nonceKey: parseNonceKey(options),
    nonceClock: nonceClockOf(clock, options),
    resourceMetadata,
    passOverrides: parseOverrides(options.passOverrides ?? []),
    credentials,
    whenStale,
    algorithms,
    maxStalenessSeconds: within(
      'maxStalenessSeconds',
      options.maxStalenessSeconds ?? 10,
      MAX_STALENESS_SECONDS_MIN,
      3_600,
    ),
    leewaySeconds: within('leewaySeconds', options.leewaySeconds ?? 5, 0, 60),
    startWaitSeconds: within('startWaitSeconds', options.startWaitSeconds ?? 5, 0, 60),
    realm,
    onEvent: options.onEvent ?? warnOnce(),
    clock,
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
  };
}

function parseOverrides(names: readonly Override[]): ReadonlySet<Override> {
  if (!Array.isArray(names) || !names.every((name) => OVERRIDES.includes(name))) {
    throw new TypeError(`passOverrides must be a list of some of ${OVERRIDES.join(', ')}.`);
  }
  return new Set(names);
}

/** The shortest key that nonces are made with, in bytes: as long as what HMAC-SHA-256 gives (RFC 2104 §3). */
const NONCE_KEY_BYTES_MIN = 32;

function parseClock(clock: NonNullable<GuardOptions['clock']> = SYSTEM_CLOCK): GuardClock {
  if (isGuardClock(clock)) return clock;
  const now = (): number => clock.now();
  return { now, elapsed: now };
}

function isGuardClock(clock: NonNullable<GuardOptions['clock']>): clock is GuardClock {
  return clock.elapsed !== undefined;
}

/** Nonces of several guards go by the time that they have in common. Those of one alone go by a clock that nobody sets. */
function nonceClockOf(clock: GuardClock, { nonceKey }: GuardOptions): GuardClock {
  if (nonceKey !== undefined) return clock;
  const elapsed = (): number => clock.elapsed();
  return { now: elapsed, elapsed };
}

function parseNonceKey({ dpopNonces = false, nonceKey }: GuardOptions): Uint8Array | undefined {
  if (typeof dpopNonces !== 'boolean') throw new TypeError('dpopNonces must be true or false.');
  if (nonceKey === undefined) return dpopNonces ? randomBytes(NONCE_KEY_BYTES_MIN) : undefined;
  // Whoever gives a key believes that nonces are asked for.
  if (!dpopNonces) throw new TypeError('nonceKey is of no use without dpopNonces.');
  const key = typeof nonceKey === 'string' ? utf8(nonceKey) : new Uint8Array();
  if (key.length < NONCE_KEY_BYTES_MIN) {
    throw new TypeError(`nonceKey must be a secret text of at least ${NONCE_KEY_BYTES_MIN} bytes.`);
  }
  return key;
}

/** What a quoted string of a header holds as it is (RFC 9110 §5.6.4): with anything else no 401 could be sent. */
const REALM = /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/;

/** Over plain http whoever is in between could hand us keys of their own (RFC 9068 §4, RFC 8414 §2). */
function checkAddress(name: string, address: string): void {
  if (!isProtected(name, address)) {
    throw new TypeError(
      `${name} must begin with https://. Plain http is accepted on localhost, 127.0.0.1 and [::1] alone.`,
    );
  }
}

/** Whether nobody in between can read or change what is sent to an address. Throws for what is none. */
function isProtected(name: string, address: string): boolean {
  if (!isServerUrl(address) || !URL.canParse(address)) {
    throw new TypeError(`${name} must be like https://auth.example.com: no credentials, no query, no fragment.`);
  }
  const { protocol, hostname } = new URL(address);
  return protocol === 'https:' || isLoopback(hostname);
}

/** It carries our secret, and what is believed of tokens: so plain http is never a matter of a letter left out. */
function checkIssuerAddress(address: string, plaintext: GuardOptions['issuerPlaintext'] = 'refuse'): void {
  if (plaintext !== 'refuse' && plaintext !== 'allow') {
    throw new TypeError('issuerPlaintext must be one of refuse, allow.');
  }
  if (isProtected('issuerAddress', address) || plaintext === 'allow') return;
  throw new TypeError(
    "issuerAddress is plain http to another machine: who is in between reads this guard's secret and can have it take any " +
      "token. Where that network is yours alone, say so: issuerPlaintext 'allow'.",
  );
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function within(name: string, value: number, min: number, max: number): number {
  if (typeof value !== 'number' || !(value >= min && value <= max)) {
    throw new TypeError(`${name} must be a number from ${min} to ${max}.`);
  }
  return value;
}

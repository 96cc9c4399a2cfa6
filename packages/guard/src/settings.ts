/** Validates a guard's options and fills in the defaults. */
import {
  canonicalIssuer,
  isPlaintextTarget,
  isScope,
  isServerUrl,
  parseScope,
  SIGNING_ALGORITHMS,
  utf8,
} from '@hallpass/protocol';
import { warnOnce } from './misconfiguration.ts';
import { OVERRIDES, type Override } from './ambiguous_request.ts';
import { PROOFS_PER_CLIENT_MAX } from './possession/proof_memory.ts';
import { metadataURL } from './resource_metadata.ts';
import { randomBytes, SYSTEM_CLOCK, type GuardClock } from './runtime.ts';
import type { GuardOptions, WhenStale } from './options.ts';

type Optional = 'publicURL' | 'rememberProof' | 'opaqueTokenSeconds' | 'apiKeySeconds' | 'scopes';
type Plain = Omit<
  GuardOptions,
  Optional | 'dpopNonces' | 'nonceKey' | 'resourceMetadata' | 'passOverrides' | 'clock' | 'issuerPlaintext'
>;

/** Validated options, with all defaults filled in. */
export interface GuardSettings extends Required<Plain> {
  readonly publicURL: string | undefined;
  readonly rememberProof: GuardOptions['rememberProof'];
  readonly opaqueTokenSeconds: number | undefined;
  readonly apiKeySeconds: number | undefined;
  readonly scopes: readonly string[] | undefined;
  readonly clock: GuardClock;
  /** The secret that nonces are derived from; undefined if they aren't required. */
  readonly nonceKey: Uint8Array | undefined;
  /** The clock for nonces: the time of day if several guards share a key, otherwise a clock that is never set. */
  readonly nonceClock: GuardClock;
  readonly resourceMetadata: boolean;
  readonly passOverrides: ReadonlySet<Override>;
}

const WHEN_STALE: readonly WhenStale[] = ['refuse', 'introspect', 'allow'];

/** The server reports freshness every second: with a lower limit, one late heartbeat would be an outage. In seconds. */
const MAX_STALENESS_SECONDS_MIN = 3;

/**
 * Validates the options and fills in defaults. Throws a TypeError that says what to change and never repeats a
 * credential.
 */
export function parseOptions(options: GuardOptions): GuardSettings {
  const { audience, credentials } = options;
  // Spelled the way the server spells it.
  const issuer = canonicalIssuer(options.issuer) ?? options.issuer;
  checkAddress('issuer', issuer);
  const { issuerAddress, publicURL } = options;
  if (issuerAddress !== undefined) checkIssuerAddress(issuerAddress, options.issuerPlaintext);
  else if (options.issuerPlaintext !== undefined)
    throw new TypeError('issuerPlaintext has no effect without issuerAddress.');
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
    throw new TypeError('realm (by default the audience) must be printable ASCII without quotes and backslashes.');
  }
  const clock = parseClock(options.clock);
  const resourceMetadata = options.resourceMetadata ?? false;
  // Throws if the audience isn't a URL.
  if (resourceMetadata) checkAddress('audience', new URL(metadataURL(audience)).origin);
  return {
    issuer,
    issuerAddress: issuerAddress ?? issuer,
    audience,
    // Paths begin with their own slash.
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

/** The shortest nonce secret, in bytes: the output length of HMAC-SHA-256 (RFC 2104 §3). */
const NONCE_KEY_BYTES_MIN = 32;

function parseClock(clock: NonNullable<GuardOptions['clock']> = SYSTEM_CLOCK): GuardClock {
  if (isGuardClock(clock)) return clock;
  const now = (): number => clock.now();
  return { now, elapsed: now };
}

function isGuardClock(clock: NonNullable<GuardOptions['clock']>): clock is GuardClock {
  return clock.elapsed !== undefined;
}

/**
 * Guards with a shared key derive nonces from the time they have in common. A single guard uses a clock that is never
 * set.
 */
function nonceClockOf(clock: GuardClock, { nonceKey }: GuardOptions): GuardClock {
  if (nonceKey !== undefined) return clock;
  const elapsed = (): number => clock.elapsed();
  return { now: elapsed, elapsed };
}

function parseNonceKey({ dpopNonces = false, nonceKey }: GuardOptions): Uint8Array | undefined {
  if (typeof dpopNonces !== 'boolean') throw new TypeError('dpopNonces must be true or false.');
  if (nonceKey === undefined) return dpopNonces ? randomBytes(NONCE_KEY_BYTES_MIN) : undefined;
  // A caller who passes a key expects nonces to be required.
  if (!dpopNonces) throw new TypeError('nonceKey has no effect without dpopNonces.');
  const key = typeof nonceKey === 'string' ? utf8(nonceKey) : new Uint8Array();
  if (key.length < NONCE_KEY_BYTES_MIN) {
    throw new TypeError(`nonceKey must be a secret string of at least ${NONCE_KEY_BYTES_MIN} bytes.`);
  }
  return key;
}

/**
 * The characters that a quoted string can hold without escapes (RFC 9110 §5.6.4): with any other, no 401 could be sent.
 */
const REALM = /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/;

/** Over plain http, anyone on the path could give us their own keys (RFC 9068 §4, RFC 8414 §2). */
function checkAddress(name: string, address: string): void {
  if (!isProtected(name, address)) {
    throw new TypeError(
      `${name} must begin with https://. Plain http is accepted only on localhost, 127.0.0.1 and [::1].`,
    );
  }
}

/** Whether traffic to this address is safe from others on the network. Throws if it isn't an address. */
function isProtected(name: string, address: string): boolean {
  if (!isServerUrl(address) || !URL.canParse(address)) {
    throw new TypeError(`${name} must be like https://auth.example.com: no credentials, no query, no fragment.`);
  }
  const { protocol, hostname } = new URL(address);
  return protocol === 'https:' || isPlaintextTarget(hostname);
}

/**
 * This address gets our secret, and decides what we believe of tokens, so plain http must be an explicit choice and
 * never a typo.
 */
function checkIssuerAddress(address: string, plaintext: GuardOptions['issuerPlaintext'] = 'refuse'): void {
  if (plaintext !== 'refuse' && plaintext !== 'allow') {
    throw new TypeError('issuerPlaintext must be one of refuse, allow.');
  }
  if (isProtected('issuerAddress', address) || plaintext === 'allow') return;
  throw new TypeError(
    "issuerAddress is plain http to another machine: anyone on the path can read this guard's secret and make it accept any " +
      "token. If that network is yours alone, set issuerPlaintext to 'allow'.",
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

/** The issuer's public keys (RFC 7517), fetched when they are needed and kept while the server is away, up to a bound. */
import { importJWK, type CryptoKey, type JWK } from 'jose';
import { PATHS, SIGNING_ALGORITHMS, type SigningAlgorithm } from '@hallpass/protocol';
import type { Settings } from './options.ts';
import { messageOf, retrieveJson } from './retrieval.ts';

/** After this the keys are fetched again, while the old ones go on serving; milliseconds. */
const FRESH_MS = 300_000;
/** After this, with the server away all the while, the keys are no longer believed; milliseconds. */
const STALE_MAX_MS = 3_600_000;
/** How long after a fetch an unknown key id does not cause another: a flood of made-up ids must not become one of fetches. */
const COOLDOWN_MS = 5_000;
/** The same after a fetch that failed. */
const FAILED_COOLDOWN_MS = 500;
/** The most keys in a set. */
const KEYS_MAX = 50;

/** A key with the one algorithm it is for: a token's header never chooses (RFC 8725 §3.1). */
export interface VerificationKey {
  readonly algorithm: SigningAlgorithm;
  readonly key: CryptoKey | Uint8Array;
}

/** The keys cannot be had now. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable';
}

export class KeySet {
  readonly #settings: Settings;
  #keys: ReadonlyMap<string, VerificationKey> = new Map();
  #fetchedAt = -Infinity;
  #mayTryAt = -Infinity;
  #underWay: Promise<void> | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
  }

  /** The key of an id; undefined when the issuer has none of that id. Rejects with `KeysUnavailable`. */
  async find(keyId: string): Promise<VerificationKey | undefined> {
    const age = this.#settings.clock.now() - this.#fetchedAt;
    if (age > STALE_MAX_MS) {
      if (!this.#mayFetch()) throw new KeysUnavailable('The keys of the issuer could not be fetched a moment ago.');
      await this.refresh();
    } else if (age > FRESH_MS && this.#mayFetch()) {
      this.refresh().catch(() => undefined);
    }
    const key = this.#keys.get(keyId);
    if (key !== undefined || !this.#mayFetch()) return key;
    // A key that came into use just now, or a made-up id.
    await this.refresh();
    return this.#keys.get(keyId);
  }

  /** Fetches the keys; callers at the same time share one fetch. Rejects with `KeysUnavailable`. */
  refresh(): Promise<void> {
    this.#underWay ??= this.#fetch().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  #mayFetch(): boolean {
    return this.#underWay !== undefined || this.#settings.clock.now() >= this.#mayTryAt;
  }

  async #fetch(): Promise<void> {
    const now = this.#settings.clock.now();
    this.#mayTryAt = now + FAILED_COOLDOWN_MS;
    try {
      const keys = await importKeys(await retrieveJson(this.#settings, PATHS.jwks));
      this.#keys = keys;
      this.#fetchedAt = now;
      this.#mayTryAt = now + COOLDOWN_MS;
      this.#settings.onEvent({ event: 'keys_fetched', count: keys.size });
    } catch (error) {
      this.#settings.onEvent({ event: 'keys_not_fetched', because: messageOf(error) });
      throw new KeysUnavailable('The keys of the issuer could not be fetched.', { cause: error });
    }
  }
}

/** Keys for signatures that say which algorithm they are for; anything else in the set is passed over. */
async function importKeys(document: unknown): Promise<ReadonlyMap<string, VerificationKey>> {
  if (typeof document !== 'object' || document === null || !('keys' in document) || !Array.isArray(document.keys)) {
    throw new Error('not a JWK Set');
  }
  const keys = new Map<string, VerificationKey>();
  for (const jwk of document.keys.slice(0, KEYS_MAX)) {
    if (!isSigningJwk(jwk)) continue;
    const key = await importJWK(jwk, jwk.alg).catch(() => undefined);
    if (key !== undefined) keys.set(jwk.kid, { algorithm: jwk.alg, key });
  }
  if (keys.size === 0) throw new Error('a JWK Set without a usable key');
  return keys;
}

const KEY_TYPES: Record<SigningAlgorithm, string> = { ES256: 'EC', EdDSA: 'OKP', RS256: 'RSA' };

function isSigningJwk(value: unknown): value is JWK & { readonly kid: string; readonly alg: SigningAlgorithm } {
  if (typeof value !== 'object' || value === null) return false;
  const members = new Map<string, unknown>(Object.entries(value));
  const algorithm = SIGNING_ALGORITHMS.find((name) => name === members.get('alg'));
  const use = members.get('use');
  return (
    algorithm !== undefined &&
    members.get('kty') === KEY_TYPES[algorithm] &&
    typeof members.get('kid') === 'string' &&
    (use === undefined || use === 'sig')
  );
}

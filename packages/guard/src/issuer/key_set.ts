/** The issuer's public keys, held ready (RFC 7517). */
import type { SigningAlgorithm } from '@hallpass/protocol';
import { importJWK, type CryptoKey, type JWK } from 'jose';
import type { GuardEvent } from '../guard_event.ts';
import { nameOf, Outage } from '../outage.ts';
import { secondsSince, type GuardClock } from '../runtime.ts';

/** How old keys may be before a check has them fetched again beside its own work, in seconds. */
const KEYS_FRESH_SECONDS = 300;
/** How old keys may be and still verify while the issuer is away, in seconds; after that, checks are outages. */
const KEYS_USABLE_SECONDS = 3_600;
/** How often, at most, an unknown `kid` makes us ask the issuer: anybody can make one up. In seconds. */
const UNKNOWN_KID_COOLDOWN_SECONDS = 5;
/** How long keys are used on after the issuer published others, while those cannot be fetched; in seconds. */
const KEYS_OUTDATED_SECONDS = 30;
/** When the keys are fetched once more after a change, in seconds: another instance of the issuer may hear of it later. */
const SECOND_LOOK_SECONDS = 10;
/** How often, at most, the issuer is asked while it fails, in seconds. */
export const RETRY_SECONDS = 1;

export interface KeySetOptions {
  /** The key set as JSON; may throw. */
  readonly fetchKeySet: () => Promise<unknown>;
  readonly algorithms: readonly SigningAlgorithm[];
  readonly clock: Pick<GuardClock, 'elapsed'>;
  readonly report: (event: GuardEvent) => void;
}

interface PublishedKey {
  readonly key: CryptoKey;
  readonly alg: string;
  /** As it was published. */
  readonly text: string;
}

interface Held {
  /** By `kid`. */
  readonly keys: ReadonlyMap<string, PublishedKey>;
  /** By `elapsed`, in milliseconds. */
  readonly fetchedAt: number;
  /** The version that was published when they were asked for, as far as was known. */
  readonly version: string | undefined;
}

export class KeySet {
  readonly #options: KeySetOptions;
  #held: Held | undefined;
  /** The version that is published, as far as was heard, and since when by `elapsed`. */
  #version: string | undefined;
  #versionAt = -Infinity;
  #attemptedAt = -Infinity;
  #lastFailed = false;
  #underWay: Promise<void> | undefined;

  constructor(options: KeySetOptions) {
    this.#options = options;
  }

  /**
   * The key with this `kid`, if it is one for that algorithm; undefined when the issuer has no such key. Throws `Outage`
   * when that cannot be known. `kid` is looked up in a map and used for nothing else (RFC 8725 §3.10), and an algorithm
   * is what the issuer says of its key, never what a token says (RFC 8725 §3.1).
   */
  async find(kid: string, alg: unknown): Promise<CryptoKey | undefined> {
    if (!this.#isFresh()) await this.load();
    if (this.#held?.keys.has(kid) !== true) await this.#refresh(UNKNOWN_KID_COOLDOWN_SECONDS);
    const found = this.#held?.keys.get(kid);
    if (found !== undefined) return found.alg === alg ? found.key : undefined;
    // The token may be good and its key new: while the issuer is away nobody can tell.
    if (this.#lastFailed) throw new Outage('The key set could not be fetched, and the key of the token is not held.');
    return undefined;
  }

  /** The same without waiting: undefined also where one would have to ask. */
  findFresh(kid: string, alg: unknown): CryptoKey | undefined {
    const found = this.#isFresh() ? this.#held?.keys.get(kid) : undefined;
    return found?.alg === alg ? found?.key : undefined;
  }

  #isFresh(): boolean {
    return this.#age() <= KEYS_FRESH_SECONDS && !this.#isOutdated();
  }

  /** Waits for keys that may be used, and has them refreshed in time. Throws `Outage` when there are none. */
  async load(): Promise<void> {
    if (this.#isFresh()) return;
    const refreshed = this.#refresh(RETRY_SECONDS);
    // Keys of a few minutes' age still serve; nobody waits for their successors.
    if (this.#isUsable()) return;
    await refreshed;
    if (!this.#isUsable()) throw new Outage('The key set could not be fetched.');
  }

  /**
   * Hears which version of the keys is published. Another one than before has them fetched at once, whatever was
   * fetched when: a key that was taken out may be in the wrong hands. A fetch that failed is tried again with the next
   * heartbeat.
   */
  setPublishedVersion(version: string): void {
    const isNews = version !== this.#version;
    if (isNews) {
      this.#version = version;
      this.#versionAt = this.#options.clock.elapsed();
    }
    const held = this.#held;
    if (held?.version === version && !this.#wantsSecondLook(held)) return;
    const cooldownSeconds = isNews ? 0 : RETRY_SECONDS;
    // What is under way may have been answered before the change.
    if (this.#underWay === undefined) void this.#refresh(cooldownSeconds);
    else void this.#underWay.then(() => (this.#isOutdated() ? this.#refresh(cooldownSeconds) : undefined));
  }

  /** The machine may have slept for so long: the keys that are held, and what was heard of them, are so much older. */
  addAge(seconds: number): void {
    const held = this.#held;
    if (held !== undefined) this.#held = { ...held, fetchedAt: held.fetchedAt - seconds * 1000 };
    this.#versionAt -= seconds * 1000;
    this.#attemptedAt -= seconds * 1000;
  }

  /** Whether others were published than those that are held. */
  #isOutdated(): boolean {
    return this.#held?.version !== this.#version;
  }

  /** Whether that might be the answer of an instance that had not heard of the change. */
  #wantsSecondLook({ fetchedAt }: Held): boolean {
    const { clock } = this.#options;
    const lookAt = this.#versionAt + SECOND_LOOK_SECONDS * 1000;
    return clock.elapsed() >= lookAt && fetchedAt < lookAt;
  }

  #isUsable(): boolean {
    const { clock } = this.#options;
    return (
      this.#age() <= KEYS_USABLE_SECONDS &&
      (!this.#isOutdated() || secondsSince(clock, this.#versionAt) <= KEYS_OUTDATED_SECONDS)
    );
  }

  #age(): number {
    return this.#held === undefined ? Infinity : secondsSince(this.#options.clock, this.#held.fetchedAt);
  }

  /** Fetches, unless that was tried just now. However many ask at once, one request is made, and all wait for it. */
  #refresh(cooldownSeconds: number): Promise<void> {
    if (this.#underWay !== undefined) return this.#underWay;
    if (secondsSince(this.#options.clock, this.#attemptedAt) < cooldownSeconds) return Promise.resolve();
    this.#underWay = this.#fetch().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  /** Never rejects: the keys that are held are worth more than a failed fetch. */
  async #fetch(): Promise<void> {
    const { fetchKeySet, algorithms, clock, report } = this.#options;
    this.#attemptedAt = clock.elapsed();
    const fetchedAt = this.#attemptedAt;
    const version = this.#version;
    try {
      const keys = await importKeys(parseKeySet(await fetchKeySet(), algorithms), this.#held?.keys);
      if (keys.size === 0) throw new Outage('The key set is malformed or has no key that can be used.');
      // The new set replaces the old one whole: a key that the issuer took back is gone.
      this.#held = { keys, fetchedAt, version };
      this.#lastFailed = false;
      report({ kind: 'key_set_fetched', keys: keys.size });
    } catch (error) {
      this.#lastFailed = true;
      report({ kind: 'key_set_failed', because: nameOf(error) });
    }
  }
}

/**
 * Keys that were held before, unchanged, stay the very same: what was verified with them need not be verified again. Of
 * two with one name neither is used, and neither is one that the runtime cannot read.
 */
async function importKeys(
  usable: readonly UsableKey[],
  before: ReadonlyMap<string, PublishedKey> | undefined,
): Promise<ReadonlyMap<string, PublishedKey>> {
  const keys = new Map<string, PublishedKey>();
  for (const jwk of usable) {
    const { kid, alg } = jwk;
    if (usable.some((other) => other !== jwk && other.kid === kid)) continue;
    const text = JSON.stringify(jwk);
    const held = before?.get(kid);
    const key = held?.text === text ? held.key : await importJWK(jwk, alg).catch(() => undefined);
    if (key !== undefined && !(key instanceof Uint8Array)) keys.set(kid, { key, alg, text });
  }
  return keys;
}

type UsableKey = JWK & { readonly kid: string; readonly alg: string };

/** A JSON Web Key Set to the keys in it that may verify; none of what is no key set. */
function parseKeySet(value: unknown, algorithms: readonly SigningAlgorithm[]): readonly UsableKey[] {
  const keys = membersOf(value).get('keys');
  return Array.isArray(keys) ? keys.filter((key) => isUsable(key, algorithms)) : [];
}

const ASYMMETRIC: readonly unknown[] = ['EC', 'OKP', 'RSA'];

/**
 * A key without `alg` would let the token choose the algorithm, and a symmetric one would let every guard sign
 * (RFC 8725 §3.1). A private one is no key of an issuer in its senses.
 */
function isUsable(key: unknown, algorithms: readonly unknown[]): key is UsableKey {
  const members = membersOf(key);
  const use = members.get('use');
  return (
    typeof members.get('kid') === 'string' &&
    ASYMMETRIC.includes(members.get('kty')) &&
    algorithms.includes(members.get('alg')) &&
    (use === undefined || use === 'sig') &&
    !members.has('d') &&
    !members.has('k')
  );
}

/** The members of a JSON object; a text, a number or null has none that is looked for. */
function membersOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map<string, unknown>(Object.entries(value ?? {}));
}

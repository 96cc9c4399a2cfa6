/** The issuer's public keys, kept in memory (RFC 7517). */
import type { SigningAlgorithm } from '@hallpass/protocol';
import { importJWK, type CryptoKey, type JWK } from 'jose';
import type { GuardEvent } from '../guard_event.ts';
import { nameOf, Outage } from '../outage.ts';
import { secondsSince, type GuardClock } from '../runtime.ts';

/** Keys older than this are refreshed in the background, in seconds. */
const KEYS_FRESH_SECONDS = 300;
/** Keys up to this age still verify while the issuer is unreachable, in seconds. After that, checks are outages. */
const KEYS_USABLE_SECONDS = 3_600;
/** The shortest time between two requests caused by an unknown `kid`, in seconds: anyone can make one up. */
const UNKNOWN_KID_COOLDOWN_SECONDS = 5;
/** How long the keys stay usable after the issuer has published others and those can't be fetched, in seconds. */
const KEYS_OUTDATED_SECONDS = 30;
/**
 * The keys are fetched a second time this long after a change, in seconds: another instance of the issuer may learn of
 * it later.
 */
const SECOND_LOOK_SECONDS = 10;
/** The shortest time between two requests while the issuer fails, in seconds. */
export const RETRY_SECONDS = 1;

/** How keys are fetched and which are usable. */
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
  /** The published JSON. */
  readonly text: string;
}

interface Held {
  /** By `kid`. */
  readonly keys: ReadonlyMap<string, PublishedKey>;
  /** By `elapsed`, in milliseconds. */
  readonly fetchedAt: number;
  /** The published version known when the keys were requested. */
  readonly version: string | undefined;
}

/** Holds the issuer's keys and fetches them when needed. */
export class KeySet {
  readonly #options: KeySetOptions;
  #held: Held | undefined;
  /** The published version, if known, and when it was learned, by `elapsed`. */
  #version: string | undefined;
  #versionAt = -Infinity;
  #attemptedAt = -Infinity;
  #lastFailed = false;
  #underWay: Promise<void> | undefined;

  constructor(options: KeySetOptions) {
    this.#options = options;
  }

  /**
   * The key with this `kid`, if it's for that algorithm; undefined if the issuer has no such key. Throws `Outage` if
   * that can't be known. `kid` is used only for a map lookup (RFC 8725 §3.10), and the algorithm comes from the
   * issuer's key, never from the token (RFC 8725 §3.1).
   */
  async find(kid: string, alg: unknown): Promise<CryptoKey | undefined> {
    if (!this.#isFresh()) await this.load();
    if (this.#held?.keys.has(kid) !== true) await this.#refresh(UNKNOWN_KID_COOLDOWN_SECONDS);
    const found = this.#held?.keys.get(kid);
    if (found !== undefined) return found.alg === alg ? found.key : undefined;
    // The token may be valid and its key new. While the issuer is unreachable, nobody can tell.
    if (this.#lastFailed) throw new Outage('The key set could not be fetched, and the key of the token is not held.');
    return undefined;
  }

  /** The same without waiting; also undefined if the issuer would have to be asked. */
  findFresh(kid: string, alg: unknown): CryptoKey | undefined {
    const found = this.#isFresh() ? this.#held?.keys.get(kid) : undefined;
    return found?.alg === alg ? found?.key : undefined;
  }

  #isFresh(): boolean {
    return this.#age() <= KEYS_FRESH_SECONDS && !this.#isOutdated();
  }

  /** Waits until there are usable keys, and refreshes them in time. Throws `Outage` if there are none. */
  async load(): Promise<void> {
    if (this.#isFresh()) return;
    const refreshed = this.#refresh(RETRY_SECONDS);
    // Keys that are a few minutes old still work, so nobody waits for new ones.
    if (this.#isUsable()) return;
    await refreshed;
    if (!this.#isUsable()) throw new Outage('The key set could not be fetched.');
  }

  /**
   * Call this with each published version. A new version triggers a fetch right away, however recent the last one was:
   * a removed key may be in the wrong hands. A failed fetch is tried again with the next heartbeat.
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
    // The running request may have been answered before the change.
    if (this.#underWay === undefined) void this.#refresh(cooldownSeconds);
    else void this.#underWay.then(() => (this.#isOutdated() ? this.#refresh(cooldownSeconds) : undefined));
  }

  /** The machine may have slept this long, so the keys and the known version are that much older. */
  addAge(seconds: number): void {
    const held = this.#held;
    if (held !== undefined) this.#held = { ...held, fetchedAt: held.fetchedAt - seconds * 1000 };
    this.#versionAt -= seconds * 1000;
    this.#attemptedAt -= seconds * 1000;
  }

  /** Whether other keys than these were published. */
  #isOutdated(): boolean {
    return this.#held?.version !== this.#version;
  }

  /** Whether these keys may come from an instance of the issuer that didn't know of the change yet. */
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

  /** Fetches the keys, unless that was tried within the cooldown. Concurrent callers share one request. */
  #refresh(cooldownSeconds: number): Promise<void> {
    if (this.#underWay !== undefined) return this.#underWay;
    if (secondsSince(this.#options.clock, this.#attemptedAt) < cooldownSeconds) return Promise.resolve();
    this.#underWay = this.#fetch().finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  /** Never rejects: the keys in memory are worth more than a failed fetch. */
  async #fetch(): Promise<void> {
    const { fetchKeySet, algorithms, clock, report } = this.#options;
    this.#attemptedAt = clock.elapsed();
    const fetchedAt = this.#attemptedAt;
    const version = this.#version;
    try {
      const keys = await importKeys(parseKeySet(await fetchKeySet(), algorithms), this.#held?.keys);
      if (keys.size === 0) throw new Outage('The key set is malformed or has no key that can be used.');
      // The new set replaces the old one completely, so a key that the issuer withdrew is gone.
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
 * Unchanged keys keep their object identity, so tokens verified with them needn't be verified again. If two keys share
 * a `kid`, neither is used. Keys that the runtime can't import are skipped.
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

/** The usable keys of a JSON Web Key Set; empty if the value isn't one. */
function parseKeySet(value: unknown, algorithms: readonly SigningAlgorithm[]): readonly UsableKey[] {
  const keys = membersOf(value).get('keys');
  return Array.isArray(keys) ? keys.filter((key) => isUsable(key, algorithms)) : [];
}

const ASYMMETRIC: readonly unknown[] = ['EC', 'OKP', 'RSA'];

/**
 * A key without `alg` would let the token choose the algorithm, and with a symmetric key every guard could sign (RFC
 * 8725 §3.1). A private key in a key set is a mistake that must not be used.
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

/** The members of a JSON object. Other values have none that matter here. */
function membersOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map<string, unknown>(Object.entries(value ?? {}));
}

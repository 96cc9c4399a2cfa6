/**
 * The issuer's own keys: they sign access tokens, seal refresh tokens and opaque tokens, and hash client secrets. Each is
 * stored encrypted under the master key, which is kept elsewhere: a copy of the database alone lets nobody in.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import {
  printBase64url,
  REFRESH_KEY_ID_BYTES,
  SIGNING_ALGORITHMS,
  type Clock,
  type Random,
  type RefreshKey,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { KEY_USES, USES, type InUse } from './key_uses.ts';
import { masterKeyIdOf, Wrapping, type OpenedKey } from './key_wrapping.ts';
import { generateSigningKey, openSigningKey, type PublicJwk, type SigningKey } from './signing_key.ts';
import { StoreUnavailable, type KeyRecord, type KeyUse, type Store, type StoreEvent } from '../../store/store.ts';

/** The length of the master key, in bytes. */
export const MASTER_KEY_BYTES = 32;

/** A key that hashes client secrets: HMAC-SHA-256. */
interface SecretKey {
  readonly keyId: string;
  readonly mac: (text: string) => Buffer;
}

/** A key that seals opaque access tokens: AES-256-GCM, 32 bytes. */
interface SealKey {
  readonly keyId: string;
  readonly bytes: Uint8Array;
}

/** The keys that the endpoints use. A `find` returns undefined for an unknown id. */
export interface KeyRing {
  /** The key that signs now. */
  readonly signing: SigningKey;
  readonly findSigning: (keyId: string) => SigningKey | undefined;
  /** A new array after each change of the keys, and only then. */
  readonly publicJwks: readonly PublicJwk[];
  readonly publishedVersion: string;
  /** The key that seals refresh tokens now. */
  readonly refresh: RefreshKey;
  readonly findRefresh: (keyId: string) => RefreshKey | undefined;
  /** The key that hashes new secrets. */
  readonly secret: SecretKey;
  readonly findSecret: (keyId: string) => SecretKey | undefined;
  /** All keys that hash secrets, in the order in which they come into use. */
  readonly secretKeys: readonly SecretKey[];
  /** The key that seals opaque access tokens now. */
  readonly seal: SealKey;
  readonly findSeal: (keyId: string) => SealKey | undefined;
}

/** A key of the issuer, as commands list it: without the key itself. */
export interface ListedKey {
  readonly keyId: string;
  readonly use: KeyUse;
  readonly algorithm: string;
  /** Milliseconds. */
  readonly createdAt: number;
  readonly activeFrom: number;
  readonly state: 'next' | InUse | 'retired';
}

/** What a key ring is opened with. */
interface KeyRingSource {
  readonly store: Store;
  /** The current one first, then those that the store may still hold keys under. */
  readonly masterKeys: readonly Uint8Array[];
  readonly algorithm: SigningAlgorithm;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Opens the keys of a store, and makes those that are missing. Throws `StoreUnusable` if the store's keys were encrypted
 * under another master key.
 */
export async function openKeyRing(source: KeyRingSource): Promise<LiveKeyRing> {
  const { store, algorithm, clock, random } = source;
  const wrapping = new Wrapping(source.masterKeys, random);
  const records = await store.loadKeys();
  // Before anything is added: this server must be able to read every key that the store holds.
  wrapping.follow(records);
  for (const record of records) wrapping.unwrap(record);
  for (const use of USES) {
    const name = KEY_USES[use].algorithm ?? algorithm;
    if (records.some((key) => key.use === use && key.algorithm === name)) continue;
    const now = clock.now();
    await store.addKey(makeKey({ use, algorithm: name, now, activeFrom: now, random, wrapping }), -1);
  }
  // Another instance may have added any of them first, so read what the store holds now.
  const ring = new LiveKeyRing(source, wrapping);
  await ring.reload();
  return ring;
}

function makeKey(of: {
  readonly use: KeyUse;
  readonly algorithm: string;
  readonly now: number;
  readonly activeFrom: number;
  readonly random: Random;
  readonly wrapping: Wrapping;
}): KeyRecord {
  const { use, algorithm, now, activeFrom, random, wrapping } = of;
  const plain = { keyId: makeKeyId(random), use, algorithm, createdAt: now, activeFrom };
  const signing = SIGNING_ALGORITHMS.find((name) => use === 'sign' && name === algorithm);
  return { ...plain, wrapped: wrapping.wrap(plain, signing === undefined ? random(32) : generateSigningKey(signing)) };
}

/** An id that a command line never mistakes for an option: an operator may have to type it in an emergency. */
function makeKeyId(random: Random): string {
  for (;;) {
    const keyId = printBase64url(random(REFRESH_KEY_ID_BYTES));
    if (!keyId.startsWith('-')) return keyId;
  }
}

/** The key ring of a running server: keys come and go by schedule or by an operator's command. */
export class LiveKeyRing implements KeyRing {
  readonly #source: KeyRingSource;
  readonly #wrapping: Wrapping;
  #loaded = '';
  #published = publish([]);
  #byUse: Readonly<Record<KeyUse, readonly OpenedKey[]>> = {
    sign: [],
    refresh_mac: [],
    secret_mac: [],
    access_seal: [],
  };
  #signing: readonly SigningKey[] = [];
  #secrets: readonly SecretKey[] = [];
  #findSigning: KeyRing['findSigning'] = () => undefined;
  #findRefresh: KeyRing['findRefresh'] = () => undefined;
  #findSecret: KeyRing['findSecret'] = () => undefined;
  #findSeal: KeyRing['findSeal'] = () => undefined;

  constructor(source: KeyRingSource, wrapping: Wrapping) {
    this.#source = source;
    this.#wrapping = wrapping;
  }

  /** Reads the keys that the store holds now. Cheap if nothing has changed. */
  async reload(): Promise<void> {
    await this.#load();
    const { store, clock, random } = this.#source;
    const missing = USES.filter((use) => this.#candidates(use).length === 0);
    if (missing.length === 0) return;
    // The last key of a use was removed, perhaps under settings that name another signing algorithm. Without a key there are
    // no tokens.
    for (const use of missing) {
      const now = clock.now();
      const key = makeKey({
        use,
        algorithm: this.#algorithmOf(use),
        now,
        activeFrom: now,
        random,
        wrapping: this.#wrapping,
      });
      await store.addKey(key, -1, { at: now, kind: `${KEY_USES[use].name}_key_added` });
    }
    await this.#load();
  }

  async #load(): Promise<void> {
    const records = await this.#source.store.loadKeys();
    const loaded = records.map((record) => `${record.keyId} ${masterKeyIdOf(record)}`).join(' ');
    if (loaded === this.#loaded) return;
    this.#wrapping.follow(records);
    try {
      this.#take(records.map((record) => this.#wrapping.unwrap(record)));
    } catch (unusable) {
      // One is under a master key that this server does not have. Removed keys must go nevertheless: otherwise a server that
      // was forgotten at a change of the master key would keep honouring stolen keys.
      const still = new Set(records.map(({ keyId }) => keyId));
      this.#take(USES.flatMap((use) => this.#byUse[use].filter(({ keyId }) => still.has(keyId))));
      throw unusable;
    }
    this.#loaded = loaded;
  }

  #take(keys: readonly OpenedKey[]): void {
    const of = (use: KeyUse): readonly OpenedKey[] => keys.filter((key) => key.use === use);
    const byUse = {
      sign: of('sign'),
      refresh_mac: of('refresh_mac'),
      secret_mac: of('secret_mac'),
      access_seal: of('access_seal'),
    };
    this.#signing = byUse.sign.map(openSigningKey);
    this.#secrets = byUse.secret_mac.map(openSecretKey);
    this.#published = publish(this.#signing);
    this.#findSigning = finder(this.#signing);
    this.#findRefresh = finder(byUse.refresh_mac.map(openRefreshKey));
    this.#findSecret = finder(this.#secrets);
    this.#findSeal = finder(byUse.access_seal.map(openSealKey));
    this.#byUse = byUse;
  }

  #algorithmOf(use: KeyUse): string {
    return KEY_USES[use].algorithm ?? this.#source.algorithm;
  }

  /** The keys that the settings allow to be in use. */
  #candidates(use: KeyUse): readonly OpenedKey[] {
    const algorithm = this.#algorithmOf(use);
    return this.#byUse[use].filter((key) => key.algorithm === algorithm);
  }

  /** The newest active key of a use: every instance knows a key for a while before any instance uses it. */
  #inUse(use: KeyUse): string {
    const now = this.#source.clock.now();
    const keys = this.#candidates(use);
    return present(keys.findLast(({ activeFrom }) => activeFrom <= now) ?? keys.at(0)).keyId;
  }

  get signing(): SigningKey {
    return present(this.#findSigning(this.#inUse('sign')));
  }

  get publicJwks(): readonly PublicJwk[] {
    return this.#published.jwks;
  }

  /** Changes with every change of the published keys. Each heartbeat tells guards about it. */
  get publishedVersion(): string {
    return this.#published.version;
  }

  get refresh(): RefreshKey {
    return present(this.#findRefresh(this.#inUse('refresh_mac')));
  }

  get secret(): SecretKey {
    return present(this.#findSecret(this.#inUse('secret_mac')));
  }

  get secretKeys(): readonly SecretKey[] {
    return this.#secrets;
  }

  get seal(): SealKey {
    return present(this.#findSeal(this.#inUse('access_seal')));
  }

  readonly findSigning = (keyId: string): SigningKey | undefined => this.#findSigning(keyId);
  readonly findRefresh = (keyId: string): RefreshKey | undefined => this.#findRefresh(keyId);
  readonly findSecret = (keyId: string): SecretKey | undefined => this.#findSecret(keyId);
  readonly findSeal = (keyId: string): SealKey | undefined => this.#findSeal(keyId);

  /** How many of the store's keys are under each master key, by its id, and which master key is current. */
  async countWrapped(): Promise<{ readonly current: string; readonly byMasterKey: ReadonlyMap<string, number> }> {
    const byMasterKey = new Map<string, number>();
    for (const record of await this.#source.store.loadKeys()) {
      const id = masterKeyIdOf(record);
      byMasterKey.set(id, (byMasterKey.get(id) ?? 0) + 1);
    }
    return { current: this.#wrapping.current, byMasterKey };
  }

  /** Encrypts every key of the store under the current master key, and returns how many it changed. */
  async rewrap(): Promise<number> {
    const { store } = this.#source;
    let count = 0;
    for (const record of await store.loadKeys()) {
      if (masterKeyIdOf(record) === this.#wrapping.current) continue;
      const to = this.#wrapping.wrap(record, this.#wrapping.unwrap(record).bytes, this.#wrapping.current);
      if ((await store.rewrapKey(record.keyId, { from: record.wrapped, to })) === 'kept') count += 1;
    }
    await this.reload();
    return count;
  }

  /** The keys of a use with their times, in the order in which they come into use. */
  list(use: KeyUse): readonly ListedKey[] {
    const current = this.#inUse(use);
    const now = this.#source.clock.now();
    return this.#byUse[use].map(({ keyId, algorithm, createdAt, activeFrom }) => {
      const state = keyId === current ? KEY_USES[use].inUse : activeFrom > now ? 'next' : 'retired';
      return { keyId, use, algorithm, createdAt, activeFrom, state };
    });
  }

  /**
   * Adds the next key of a use, made at `event.at`, unless one was already made after `unlessMadeAfter`. A signing key has
   * the configured algorithm. All times in milliseconds.
   */
  async add(
    use: KeyUse,
    { activeFrom, unlessMadeAfter }: { readonly activeFrom: number; readonly unlessMadeAfter: number },
    event: StoreEvent,
  ): Promise<'added' | 'exists'> {
    const { store, random } = this.#source;
    const algorithm = this.#algorithmOf(use);
    const key = makeKey({ use, algorithm, now: event.at, activeFrom, random, wrapping: this.#wrapping });
    const outcome = await store.addKey(key, unlessMadeAfter, event);
    await this.reload();
    return outcome;
  }
}

function publish(signing: readonly SigningKey[]): { readonly jwks: readonly PublicJwk[]; readonly version: string } {
  const jwks = signing.map(({ publicJwk }) => publicJwk);
  return { jwks, version: createHash('sha256').update(JSON.stringify(jwks)).digest('base64url').slice(0, 16) };
}

function present<Key>(key: Key | undefined): Key {
  if (key !== undefined) return key;
  throw new StoreUnavailable(
    'This server has no usable key left. Does it have the same master key as the other instances?',
  );
}

/** A key id is only ever looked up in this map, never in a file or a query (RFC 8725 §3.10). */
function finder<Key extends { readonly keyId: string }>(keys: readonly Key[]): (keyId: string) => Key | undefined {
  const byId = new Map(keys.map((key) => [key.keyId, key]));
  return (keyId) => byId.get(keyId);
}

// MAC keys

function openRefreshKey({ keyId, bytes }: OpenedKey): RefreshKey & { readonly keyId: string } {
  return { keyId, mac: (input) => createHmac('sha256', bytes).update(input).digest() };
}

function openSecretKey({ keyId, bytes }: OpenedKey): SecretKey {
  return { keyId, mac: (text) => createHmac('sha256', bytes).update(text).digest() };
}

function openSealKey({ keyId, bytes }: OpenedKey): SealKey {
  return { keyId, bytes };
}

/** Whether two byte arrays are equal, in constant time for equal lengths. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/**
 * The server's own keys: signing keys, the MAC keys of refresh tokens and of client secrets. They live in the store,
 * each encrypted under the master key, which does not: a copy of the database alone lets nobody in.
 */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto';
import {
  printAccessTokenHeader,
  printBase64url,
  REFRESH_KEY_ID_BYTES,
  SIGNING_ALGORITHMS,
  type Clock,
  type Random,
  type RefreshKey,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { masterKeyIdOf, Wrapping, type OpenedKey } from './key_wrapping.ts';
import { StoreUnusable, type KeyRecord, type KeyUse, type Store, type StoreEvent } from '../store/store.ts';

/** The length of the master key, in bytes. */
export const MASTER_KEY_BYTES = 32;

/** A public key as the key set shows it (RFC 7517 §4). */
type PublicJwk = Readonly<Record<string, string>>;

interface SigningKey {
  readonly keyId: string;
  readonly algorithm: SigningAlgorithm;
  /** The first segment of every token that this key signs. */
  readonly header: string;
  readonly publicJwk: PublicJwk;
  readonly sign: (input: string) => Uint8Array;
  readonly verify: (input: string, signature: Uint8Array) => boolean;
}

/** A key for hashing client secrets. */
interface SecretKey {
  readonly keyId: string;
  readonly mac: (text: string) => Buffer;
}

/** A key for sealing opaque access tokens: AES-256-GCM, 32 bytes. */
interface SealKey {
  readonly keyId: string;
  readonly bytes: Uint8Array;
}

/** The keys as every endpoint uses them. */
export interface KeyRing {
  /** The key that signs now. */
  readonly signing: SigningKey;
  readonly findSigning: (keyId: string) => SigningKey | undefined;
  /** Another array with every change of the keys, and only then. */
  readonly publicJwks: readonly PublicJwk[];
  readonly publishedVersion: string;
  /** The key that seals refresh tokens now. */
  readonly refresh: RefreshKey;
  readonly findRefresh: (keyId: string) => RefreshKey | undefined;
  /** The key that hashes new secrets. */
  readonly secret: SecretKey;
  readonly findSecret: (keyId: string) => SecretKey | undefined;
  /** The key that seals opaque access tokens now. */
  readonly seal: SealKey;
  readonly findSeal: (keyId: string) => SealKey | undefined;
}

/** A signing key as it is shown. */
export interface ListedSigningKey {
  readonly keyId: string;
  readonly algorithm: SigningAlgorithm;
  /** Milliseconds. */
  readonly createdAt: number;
  readonly activeFrom: number;
  readonly state: 'next' | 'signing' | 'retired';
}

/** What a key ring is opened with. */
interface KeyRingSource {
  readonly store: Store;
  /** The current one first; with it all those that the store may still hold keys under. */
  readonly masterKeys: readonly Uint8Array[];
  readonly algorithm: SigningAlgorithm;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * The keys of a store, the missing ones made first. Throws `StoreUnusable` when the master key is not the one that the
 * store's keys were encrypted under.
 */
export async function openKeyRing(source: KeyRingSource): Promise<LiveKeyRing> {
  const { store, algorithm, clock, random } = source;
  const wrapping = new Wrapping(source.masterKeys, random);
  const records = await store.loadKeys();
  // Before anything is added: a store must never hold a key that this server cannot read.
  wrapping.follow(records);
  for (const record of records) wrapping.unwrap(record);
  const wanted: readonly (readonly [KeyUse, string])[] = [
    ['sign', algorithm],
    ['refresh_mac', 'HS256'],
    ['secret_mac', 'HS256'],
    ['access_seal', 'A256GCM'],
  ];
  const missing = wanted.filter(([use, name]) => !records.some((key) => key.use === use && key.algorithm === name));
  for (const [use, name] of missing) {
    const now = clock.now();
    await store.addKey(makeKey({ use, algorithm: name, now, activeFrom: now, random, wrapping }), -1);
  }
  // Another instance may have been first with any of them, so what counts is what the store holds now.
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

/** An id that no command line takes for an option: on the day that a key is lost, it has to be named at once. */
function makeKeyId(random: Random): string {
  for (;;) {
    const keyId = printBase64url(random(REFRESH_KEY_ID_BYTES));
    if (!keyId.startsWith('-')) return keyId;
  }
}

/** The ring as it is now: keys come and go while the server runs, by its own schedule or by an operator's command. */
export class LiveKeyRing implements KeyRing {
  readonly #source: KeyRingSource;
  readonly #wrapping: Wrapping;
  #loaded = '';
  #signing: readonly (SigningKey & OpenedKey)[] = [];
  #published = publish([]);
  #byUse: Record<'refresh_mac' | 'secret_mac' | 'access_seal', readonly OpenedKey[]> = {
    refresh_mac: [],
    secret_mac: [],
    access_seal: [],
  };
  #findSigning: KeyRing['findSigning'] = () => undefined;
  #findRefresh: KeyRing['findRefresh'] = () => undefined;
  #findSecret: KeyRing['findSecret'] = () => undefined;
  #findSeal: KeyRing['findSeal'] = () => undefined;

  constructor(source: KeyRingSource, wrapping: Wrapping) {
    this.#source = source;
    this.#wrapping = wrapping;
  }

  /** Takes over what the store holds now. Cheap when nothing has changed. */
  async reload(): Promise<void> {
    await this.#load();
    const { store, algorithm, clock, random } = this.#source;
    if (this.#signing.some((key) => key.algorithm === algorithm)) return;
    // The last key of our algorithm was taken out under settings that name another one: without a key nobody gets tokens.
    const now = clock.now();
    const key = makeKey({ use: 'sign', algorithm, now, activeFrom: now, random, wrapping: this.#wrapping });
    await store.addKey(key, -1, { at: now, kind: 'signing_key_added' });
    await this.#load();
  }

  async #load(): Promise<void> {
    const records = await this.#source.store.loadKeys();
    const loaded = records.map((record) => `${record.keyId} ${masterKeyIdOf(record)}`).join(' ');
    if (loaded === this.#loaded) return;
    this.#wrapping.follow(records);
    const keys = records.map((record) => this.#wrapping.unwrap(record));
    const of = (use: KeyUse): readonly OpenedKey[] => keys.filter((key) => key.use === use);
    this.#signing = of('sign').map((key) => ({ ...key, ...openSigningKey(key) }));
    this.#byUse = { refresh_mac: of('refresh_mac'), secret_mac: of('secret_mac'), access_seal: of('access_seal') };
    this.#published = publish(this.#signing);
    this.#findSigning = finder(this.#signing);
    this.#findRefresh = finder(this.#byUse.refresh_mac.map(openRefreshKey));
    this.#findSecret = finder(this.#byUse.secret_mac.map(openSecretKey));
    this.#findSeal = finder(this.#byUse.access_seal.map(openSealKey));
    this.#loaded = loaded;
  }

  /** The newest key of the configured algorithm whose time has come; a new one is published for a while before it signs. */
  get signing(): SigningKey {
    const { algorithm, clock } = this.#source;
    const now = clock.now();
    const ours = this.#signing.filter((key) => key.algorithm === algorithm);
    return present(ours.findLast(({ activeFrom }) => activeFrom <= now) ?? ours.at(0));
  }

  get publicJwks(): readonly PublicJwk[] {
    return this.#published.jwks;
  }

  /** Changes with every change of the published keys; guards hear it with each heartbeat. */
  get publishedVersion(): string {
    return this.#published.version;
  }

  get refresh(): RefreshKey {
    return present(this.#findRefresh(present(this.#byUse.refresh_mac.at(-1)).keyId));
  }

  get secret(): SecretKey {
    return present(this.#findSecret(present(this.#byUse.secret_mac.at(-1)).keyId));
  }

  get seal(): SealKey {
    return present(this.#findSeal(present(this.#byUse.access_seal.at(-1)).keyId));
  }

  readonly findSigning = (keyId: string): SigningKey | undefined => this.#findSigning(keyId);
  readonly findRefresh = (keyId: string): RefreshKey | undefined => this.#findRefresh(keyId);
  readonly findSecret = (keyId: string): SecretKey | undefined => this.#findSecret(keyId);
  readonly findSeal = (keyId: string): SealKey | undefined => this.#findSeal(keyId);

  /** How many keys of the store are under each master key, by its id; and which of them is the current one. */
  async countWrapped(): Promise<{ readonly current: string; readonly byMasterKey: ReadonlyMap<string, number> }> {
    const byMasterKey = new Map<string, number>();
    for (const record of await this.#source.store.loadKeys()) {
      const id = masterKeyIdOf(record);
      byMasterKey.set(id, (byMasterKey.get(id) ?? 0) + 1);
    }
    return { current: this.#wrapping.current, byMasterKey };
  }

  /** Encrypts every key of the store under the current master key, and says how many were not so before. */
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

  /** The signing keys with their times, in the order in which they sign. */
  listSigning(): readonly ListedSigningKey[] {
    const { keyId: current } = this.signing;
    const now = this.#source.clock.now();
    return this.#signing.map(({ keyId, algorithm, createdAt, activeFrom }) => {
      const state = keyId === current ? 'signing' : activeFrom > now ? 'next' : 'retired';
      return { keyId, algorithm, createdAt, activeFrom, state };
    });
  }

  /**
   * Adds the next signing key of the configured algorithm, made at `event.at`, unless one was made after
   * `unlessMadeAfter` already. `activeFrom` and all times in milliseconds.
   */
  async addSigning(
    { activeFrom, unlessMadeAfter }: { readonly activeFrom: number; readonly unlessMadeAfter: number },
    event: StoreEvent,
  ): Promise<'added' | 'exists'> {
    const { store, algorithm, random } = this.#source;
    const key = makeKey({ use: 'sign', algorithm, now: event.at, activeFrom, random, wrapping: this.#wrapping });
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
  if (key === undefined) throw new StoreUnusable('The store has lost a key that this server cannot do without.');
  return key;
}

/** A key id is only ever a look-up in this map: no file, no query (RFC 8725 §3.10). */
function finder<Key extends { readonly keyId: string }>(keys: readonly Key[]): (keyId: string) => Key | undefined {
  const byId = new Map(keys.map((key) => [key.keyId, key]));
  return (keyId) => byId.get(keyId);
}

// Signing keys

const SIGNING = {
  ES256: {
    generate: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    digest: 'sha256',
    options: { dsaEncoding: 'ieee-p1363' },
  },
  EdDSA: { generate: () => generateKeyPairSync('ed25519').privateKey, digest: null, options: {} },
  RS256: {
    generate: () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
    digest: 'sha256',
    options: {},
  },
} as const satisfies Record<SigningAlgorithm, unknown>;

function generateSigningKey(algorithm: SigningAlgorithm): Uint8Array {
  return SIGNING[algorithm].generate().export({ type: 'pkcs8', format: 'der' });
}

function openSigningKey({ keyId, algorithm: name, bytes }: OpenedKey): SigningKey {
  const algorithm = SIGNING_ALGORITHMS.find((candidate) => candidate === name);
  if (algorithm === undefined)
    throw new StoreUnusable(`The store holds a signing key for ${name}, which is not known.`);
  const privateKey = createPrivateKey({ key: Buffer.from(bytes), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  const { digest, options } = SIGNING[algorithm];
  return {
    keyId,
    algorithm,
    header: printAccessTokenHeader({ alg: algorithm, kid: keyId }),
    publicJwk: publicJwkOf(publicKey, { keyId, algorithm }),
    sign: (input) => sign(digest, Buffer.from(input), { key: privateKey, ...options }),
    verify: (input, signature) => verify(digest, Buffer.from(input), { key: publicKey, ...options }, signature),
  };
}

/** Public members by name, so that no private one can slip out (RFC 7517 §9.3). */
function publicJwkOf(
  key: KeyObject,
  { keyId, algorithm }: { readonly keyId: string; readonly algorithm: SigningAlgorithm },
): PublicJwk {
  const { kty, crv, x, y, n, e } = key.export({ format: 'jwk' });
  const members = Object.entries({ kty, crv, x, y, n, e }).flatMap(([name, value]) =>
    typeof value === 'string' ? [[name, value] as const] : [],
  );
  return { ...Object.fromEntries(members), kid: keyId, alg: algorithm, use: 'sig' };
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

/** Whether two runs of bytes are equal, in a time that does not tell how far. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

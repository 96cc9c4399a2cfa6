/**
 * The server's own keys: signing keys, the MAC keys of refresh tokens and of client secrets. They live in the store,
 * each encrypted under the master key, which does not: a copy of the database alone lets nobody in.
 */
import {
  createCipheriv,
  createDecipheriv,
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
  parseBase64url,
  printAccessTokenHeader,
  printBase64url,
  REFRESH_KEY_ID_BYTES,
  SIGNING_ALGORITHMS,
  type Clock,
  type Random,
  type RefreshKey,
  type SigningAlgorithm,
} from '@hallpass/protocol';
import { StoreUnusable, type KeyRecord, type KeyUse, type Store } from '../store/store.ts';

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

export interface KeyRing {
  /** The key that signs now. */
  readonly signing: SigningKey;
  readonly findSigning: (keyId: string) => SigningKey | undefined;
  readonly publicJwks: readonly PublicJwk[];
  /** The key that seals refresh tokens now. */
  readonly refresh: RefreshKey;
  readonly findRefresh: (keyId: string) => RefreshKey | undefined;
  /** The key that hashes new secrets. */
  readonly secret: SecretKey;
  readonly findSecret: (keyId: string) => SecretKey | undefined;
}

/**
 * The keys of a store, the missing ones made first. Throws `StoreUnusable` when the master key is not the one that the
 * store's keys were encrypted under.
 */
export async function loadKeyRing(from: {
  readonly store: Store;
  readonly masterKey: Uint8Array;
  readonly algorithm: SigningAlgorithm;
  readonly clock: Clock;
  readonly random: Random;
}): Promise<KeyRing> {
  const { store, masterKey, algorithm, clock, random } = from;
  const wrapping = new Wrapping(masterKey, random);
  const records = await store.loadKeys();
  // Before anything is added: a store must never hold keys under two master keys.
  const opened = records.map((record) => wrapping.unwrap(record));
  const wanted: readonly (readonly [KeyUse, string, () => Uint8Array])[] = [
    ['sign', algorithm, () => generateSigningKey(algorithm)],
    ['refresh_mac', 'HS256', () => random(32)],
    ['secret_mac', 'HS256', () => random(32)],
  ];
  const missing = wanted.filter(([use, name]) => !records.some((key) => key.use === use && key.algorithm === name));
  for (const [use, name, make] of missing) {
    const keyId = printBase64url(random(REFRESH_KEY_ID_BYTES));
    const plain = { keyId, use, algorithm: name, createdAt: clock.now() };
    await store.addFirstKey({ ...plain, wrapped: wrapping.wrap(plain, make()) });
  }
  // Another instance may have been first with any of them, so what counts is what the store holds now.
  const all = missing.length === 0 ? opened : (await store.loadKeys()).map((record) => wrapping.unwrap(record));
  return ringOf(all, algorithm);
}

interface OpenedKey {
  readonly keyId: string;
  readonly use: KeyUse;
  readonly algorithm: string;
  readonly bytes: Uint8Array;
}

function ringOf(keys: readonly OpenedKey[], algorithm: SigningAlgorithm): KeyRing {
  const signing = keys.filter(({ use }) => use === 'sign').map(openSigningKey);
  const refresh = keys.filter(({ use }) => use === 'refresh_mac').map(openRefreshKey);
  const secret = keys.filter(({ use }) => use === 'secret_mac').map(openSecretKey);
  return {
    signing: newest(signing.filter((key) => key.algorithm === algorithm)),
    findSigning: finder(signing),
    publicJwks: signing.map(({ publicJwk }) => publicJwk),
    refresh: newest(refresh),
    findRefresh: finder(refresh),
    secret: newest(secret),
    findSecret: finder(secret),
  };
}

function newest<Key>(keys: readonly Key[]): Key {
  const key = keys.at(-1);
  if (key === undefined) throw new StoreUnusable('The store lost a key that was just put there.');
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

/** Whether two runs of bytes are equal, in a time that does not tell how far. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

// At rest

/** AES-256-GCM under the master key: `v1.MASTER_KEY_ID.NONCE.CIPHERTEXT_AND_TAG`, bound to the key's id and use. */
class Wrapping {
  readonly #masterKey: Uint8Array;
  readonly #masterKeyId: string;
  readonly #random: Random;

  constructor(masterKey: Uint8Array, random: Random) {
    this.#masterKey = masterKey;
    this.#masterKeyId = printBase64url(
      createHash('sha256').update('hallpass master key id').update(masterKey).digest().subarray(0, 8),
    );
    this.#random = random;
  }

  wrap(key: Omit<KeyRecord, 'wrapped'>, bytes: Uint8Array): string {
    const nonce = this.#random(12);
    const cipher = createCipheriv('aes-256-gcm', this.#masterKey, nonce).setAAD(aad(key));
    const sealed = Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    return ['v1', this.#masterKeyId, printBase64url(nonce), printBase64url(sealed)].join('.');
  }

  unwrap(record: KeyRecord): OpenedKey {
    const [version, masterKeyId, nonceText = '', sealedText = ''] = record.wrapped.split('.');
    const nonce = parseBase64url(nonceText);
    const sealed = parseBase64url(sealedText);
    if (version !== 'v1' || nonce?.length !== 12 || sealed === undefined || sealed.length < 16) {
      throw new StoreUnusable(`The key ${record.keyId} in the store is damaged, or from a newer Hallpass.`);
    }
    if (masterKeyId !== this.#masterKeyId) {
      throw new StoreUnusable(
        'The master key is not the one that this store was set up with. Set HALLPASS_MASTER_KEY or HALLPASS_MASTER_KEY_FILE to that one.',
      );
    }
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#masterKey, nonce).setAAD(aad(record));
      decipher.setAuthTag(sealed.subarray(-16));
      const bytes = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
      return { keyId: record.keyId, use: record.use, algorithm: record.algorithm, bytes };
    } catch (cause) {
      throw new StoreUnusable(`The key ${record.keyId} in the store was changed.`, { cause });
    }
  }
}

/** A wrapped key moved to another id or use does not open. */
function aad({ keyId, use, algorithm }: Pick<KeyRecord, 'keyId' | 'use' | 'algorithm'>): Buffer {
  return Buffer.from(JSON.stringify(['hallpass', use, algorithm, keyId]));
}

/** The server's own keys at rest: each encrypted under the master key, which is kept elsewhere. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { parseBase64url, printBase64url, type Random } from '@hallpass/protocol';
import { StoreUnusable, type KeyRecord, type KeyUse } from '../../store/store.ts';
import { NONCE_BYTES, openBytes, sealBytes } from './aes_gcm.ts';

/** A key, decrypted. */
export interface OpenedKey {
  readonly keyId: string;
  readonly use: KeyUse;
  readonly algorithm: string;
  readonly bytes: Uint8Array;
  readonly createdAt: number;
  readonly activeFrom: number;
}

/**
 * Encrypts keys under a master key: `v1.MASTER_KEY_ID.NONCE.CIPHERTEXT_AND_TAG`, bound to the key's id and use. A new key
 * goes under the master key that the store's keys are already under: some instances may know only that one, and a key
 * under another would stop them. `LiveKeyRing.rewrap` moves them all.
 */
export class Wrapping {
  readonly #masterKeys: ReadonlyMap<string, Uint8Array>;
  /** The id of the first master key given: the one to move to. */
  readonly current: string;
  #inUse: string;
  readonly #random: Random;

  constructor(masterKeys: readonly Uint8Array[], random: Random) {
    this.#masterKeys = new Map(masterKeys.map((key) => [idOf(key), key]));
    const [current] = this.#masterKeys.keys();
    assert(current !== undefined, 'there is a master key');
    this.current = current;
    this.#inUse = current;
    this.#random = random;
  }

  /** Uses the master key that these records are under. */
  follow(records: readonly KeyRecord[]): void {
    const before = records.map(masterKeyIdOf).find((id) => id !== this.current && this.#masterKeys.has(id));
    this.#inUse = before ?? this.current;
  }

  /** A key's `wrapped` text, under the master key in use or the one with this id. */
  wrap(key: Omit<KeyRecord, 'wrapped'>, bytes: Uint8Array, under = this.#inUse): string {
    const nonce = this.#random(NONCE_BYTES);
    const sealed = sealBytes(bytes, { key: this.#find(under), nonce, additionalData: dataOf(key) });
    return ['v1', under, printBase64url(nonce), printBase64url(sealed)].join('.');
  }

  #find(masterKeyId: string): Uint8Array {
    const masterKey = this.#masterKeys.get(masterKeyId);
    if (masterKey !== undefined) return masterKey;
    throw new StoreUnusable(
      `The master key is not the one that this store was set up with: its keys are under the one with the id ${masterKeyId}. Set HALLPASS_MASTER_KEY, its file or its command to that one.`,
    );
  }

  /** A record's key. Throws `StoreUnusable` if it is damaged, was changed, or is under an unknown master key. */
  unwrap(record: KeyRecord): OpenedKey {
    const [version, masterKeyId = '', nonceText = '', sealedText = ''] = record.wrapped.split('.');
    const nonce = parseBase64url(nonceText);
    const sealed = parseBase64url(sealedText);
    if (version !== 'v1' || nonce?.length !== NONCE_BYTES || sealed === undefined) {
      throw new StoreUnusable(`The key ${record.keyId} in the store is damaged, or from a newer Hallpass.`);
    }
    const bytes = openBytes(sealed, { key: this.#find(masterKeyId), nonce, additionalData: dataOf(record) });
    if (bytes === undefined) throw new StoreUnusable(`The key ${record.keyId} in the store was changed.`);
    const { keyId, use, algorithm, createdAt, activeFrom } = record;
    return { keyId, use, algorithm, createdAt, activeFrom, bytes };
  }
}

/** Identifies a master key and reveals nothing about it. */
function idOf(masterKey: Uint8Array): string {
  return printBase64url(
    createHash('sha256').update('hallpass master key id').update(masterKey).digest().subarray(0, 8),
  );
}

/** The id of the master key that a key is under. */
export function masterKeyIdOf({ wrapped }: KeyRecord): string {
  return wrapped.split('.')[1] ?? '';
}

/** The additional data of a key: moved to another id or use, it does not open. */
function dataOf({ keyId, use, algorithm }: Pick<KeyRecord, 'keyId' | 'use' | 'algorithm'>): Buffer {
  return Buffer.from(JSON.stringify(['hallpass', use, algorithm, keyId]));
}

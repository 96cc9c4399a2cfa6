/** The server's own keys at rest: each encrypted under the master key, which is not where they are. */
import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { parseBase64url, printBase64url, type Random } from '@hallpass/protocol';
import { StoreUnusable, type KeyRecord, type KeyUse } from '../../store/store.ts';

/** A key as it is in memory. */
export interface OpenedKey {
  readonly keyId: string;
  readonly use: KeyUse;
  readonly algorithm: string;
  readonly bytes: Uint8Array;
  readonly createdAt: number;
  readonly activeFrom: number;
}

/**
 * AES-256-GCM under a master key: `v1.MASTER_KEY_ID.NONCE.CIPHERTEXT_AND_TAG`, bound to the key's id and use. New keys are
 * put under the master key that the store's keys are under already: while some instances know only that one, a key
 * under another would stop them. `rewrap` is what moves them all.
 */
export class Wrapping {
  readonly #masterKeys: ReadonlyMap<string, Uint8Array>;
  /** The id of the first that was given: the one to move to. */
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

  /** Takes over which master key is in use. */
  follow(records: readonly KeyRecord[]): void {
    const before = records.map(masterKeyIdOf).find((id) => id !== this.current && this.#masterKeys.has(id));
    this.#inUse = before ?? this.current;
  }

  wrap(key: Omit<KeyRecord, 'wrapped'>, bytes: Uint8Array, under = this.#inUse): string {
    const nonce = this.#random(12);
    const cipher = createCipheriv('aes-256-gcm', this.#find(under), nonce).setAAD(aad(key));
    const sealed = Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    return ['v1', under, printBase64url(nonce), printBase64url(sealed)].join('.');
  }

  #find(masterKeyId: string): Uint8Array {
    const masterKey = this.#masterKeys.get(masterKeyId);
    if (masterKey !== undefined) return masterKey;
    throw new StoreUnusable(
      `The master key is not the one that this store was set up with: its keys are under the one with the id ${masterKeyId}. Set HALLPASS_MASTER_KEY, its file or its command to that one.`,
    );
  }

  unwrap(record: KeyRecord): OpenedKey {
    const [version, masterKeyId = '', nonceText = '', sealedText = ''] = record.wrapped.split('.');
    const nonce = parseBase64url(nonceText);
    const sealed = parseBase64url(sealedText);
    if (version !== 'v1' || nonce?.length !== 12 || sealed === undefined || sealed.length < 16) {
      throw new StoreUnusable(`The key ${record.keyId} in the store is damaged, or from a newer Hallpass.`);
    }
    const masterKey = this.#find(masterKeyId);
    try {
      const decipher = createDecipheriv('aes-256-gcm', masterKey, nonce).setAAD(aad(record));
      decipher.setAuthTag(sealed.subarray(-16));
      const bytes = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
      const { keyId, use, algorithm, createdAt, activeFrom } = record;
      return { keyId, use, algorithm, createdAt, activeFrom, bytes };
    } catch (cause) {
      throw new StoreUnusable(`The key ${record.keyId} in the store was changed.`, { cause });
    }
  }
}

/** Says which master key, and nothing about it. */
function idOf(masterKey: Uint8Array): string {
  return printBase64url(
    createHash('sha256').update('hallpass master key id').update(masterKey).digest().subarray(0, 8),
  );
}

/** Under which master key a key is. */
export function masterKeyIdOf({ wrapped }: KeyRecord): string {
  return wrapped.split('.')[1] ?? '';
}

/** A wrapped key moved to another id or use does not open. */
function aad({ keyId, use, algorithm }: Pick<KeyRecord, 'keyId' | 'use' | 'algorithm'>): Buffer {
  return Buffer.from(JSON.stringify(['hallpass', use, algorithm, keyId]));
}

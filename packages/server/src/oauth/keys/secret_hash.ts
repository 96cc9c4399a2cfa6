/**
 * The keyed hash of a secret, and its renewal. A secret that was hashed by another system, or with a key that was replaced
 * since, is hashed again when it is used: only then do we know it.
 */
import { StoreUnavailable, type Client, type ClientSecret } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import type { KeyRing } from './key_ring.ts';

/** Whether a secret is weak enough to be guessed. A keyed hash protects only those that are not. */
export function couldBeGuessed(clientSecret: string): boolean {
  return clientSecret.length < 22 || new Set(clientSecret).size < 10;
}

/** The record of a secret, hashed with one of our keys. */
export function hashSecret(
  { secretId, createdAt, expiresAt }: Pick<ClientSecret, 'secretId' | 'createdAt' | 'expiresAt'>,
  clientSecret: string,
  key: KeyRing['secret'],
): ClientSecret {
  return {
    secretId,
    keyId: key.keyId,
    hash: key.mac(clientSecret).toString('base64url'),
    ...(couldBeGuessed(clientSecret) ? { guessable: true } : {}),
    createdAt,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

/** A secret that has just been verified, and what its hash was made with. */
interface Renewal {
  readonly client: Client;
  readonly secret: ClientSecret;
  readonly clientSecret: string;
  readonly was: string;
}

/** Replaces a hash by one with the key in use. During an outage nothing happens, and the next use tries again. */
export function keepHash(
  { store, keys, clock }: Authority,
  { client, secret, clientSecret, was }: Renewal,
): Promise<void> {
  const { clientId, version } = client;
  const at = clock.now();
  // Before anything is awaited: the secret itself is not held for longer than this.
  const own = hashSecret(secret, clientSecret, keys.secret);
  const secrets = client.secrets.map((kept) => (kept.secretId === secret.secretId ? own : kept));
  const weak = couldBeGuessed(clientSecret);
  const keep = async (): Promise<void> => {
    // Before the change, because the secret is not looked at again after it: a crash must not lose the event.
    if (weak) {
      const detail = 'this imported secret could be guessed: give the key a new one with hallpass keys rotate-secret';
      await store.recordEvent({ at, kind: 'key_secret_weak', clientId, detail });
    }
    // If the client was changed meanwhile, by another request or an operator, the next use renews the hash.
    const event = { at, kind: 'key_secret_rehashed', clientId, detail: `was ${was}` };
    await store.saveClient({ ...client, secrets, updatedAt: at, version: version + 1 }, { event });
  };
  return keep().catch((outage: unknown) => {
    if (!(outage instanceof StoreUnavailable)) throw outage;
  });
}

/** How many hashes a process renews at a time. After a rotation all keys come at once; the rest are renewed at a later use. */
export const HASH_RENEWALS_MAX = 32;

/** The secrets that this process is hashing again right now. */
const underWay = new Set<string>();

/**
 * Hashes a secret again if its hash was made with a key that was replaced since. Nothing waits for it: a client's token must
 * not depend on a write. If the store cannot write now, the next use tries again.
 */
export function renewHash(authority: Authority, { client, secret, clientSecret }: Omit<Renewal, 'was'>): void {
  const { secretId, keyId } = secret;
  if (!isOlder(authority.keys, keyId) || underWay.has(secretId) || underWay.size >= HASH_RENEWALS_MAX) return;
  underWay.add(secretId);
  void keepHash(authority, { client, secret, clientSecret, was: `the key ${keyId}` })
    .catch(() => undefined)
    .finally(() => underWay.delete(secretId));
}

/** Compares by order: an instance whose clock is behind must not undo what one that is ahead has done. */
function isOlder({ secret, secretKeys }: KeyRing, keyId: string): boolean {
  if (keyId === secret.keyId) return false;
  const placeOf = (id: string): number => secretKeys.findIndex((key) => key.keyId === id);
  return placeOf(keyId) < placeOf(secret.keyId);
}

/**
 * The keyed hash of a secret, and its renewal: a secret that is hashed in an older way, by another system or with a key
 * that was replaced, is hashed anew when it is used, for only then is it known.
 */
import { StoreUnavailable, type Client, type ClientSecret } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import type { KeyRing } from './key_ring.ts';

/** Whether a secret could be guessed. A keyed hash is enough for one that nobody can guess, and only for such a one. */
export function couldBeGuessed(clientSecret: string): boolean {
  return clientSecret.length < 22 || new Set(clientSecret).size < 10;
}

/** Our own record of a secret, in place of whatever was kept of it before. */
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

/** A secret that was just found to be right, and what its hash was made with. */
interface Renewal {
  readonly client: Client;
  readonly secret: ClientSecret;
  readonly clientSecret: string;
  readonly was: string;
}

/** Keeps a hash by the key that is in use, in place of an older one. What cannot be kept now is tried at the next use. */
export function keepHash(
  { store, keys, clock }: Authority,
  { client, secret, clientSecret, was }: Renewal,
): Promise<void> {
  const { clientId, version } = client;
  const at = clock.now();
  // Before anything is awaited: the secret itself is not kept for longer than this.
  const own = hashSecret(secret, clientSecret, keys.secret);
  const secrets = client.secrets.map((kept) => (kept.secretId === secret.secretId ? own : kept));
  const weak = couldBeGuessed(clientSecret);
  const keep = async (): Promise<void> => {
    // Before the change, after which nobody looks at the secret again: the event must not be what a crash loses.
    if (weak) {
      const detail = 'this imported secret could be guessed: give the key a new one with hallpass keys rotate-secret';
      await store.recordEvent({ at, kind: 'key_secret_weak', clientId, detail });
    }
    // When it was changed meanwhile, another request was first, or an operator, and then the next use does it.
    const event = { at, kind: 'key_secret_rehashed', clientId, detail: `was ${was}` };
    await store.saveClient({ ...client, secrets, updatedAt: at, version: version + 1 }, { event });
  };
  return keep().catch((outage: unknown) => {
    if (!(outage instanceof StoreUnavailable)) throw outage;
  });
}

/** How many hashes a process renews at a time. After a rotation every key comes at once; the others come again. */
export const HASH_RENEWALS_MAX = 32;

/** The secrets that are being hashed anew by this process. */
const underWay = new Set<string>();

/**
 * Hashes a secret anew when its hash was made with a key that was replaced since. Nobody waits for it: the token of a
 * client must not depend on a write, and a store that cannot write now gets the next chance at the next use.
 */
export function renewHash(authority: Authority, { client, secret, clientSecret }: Omit<Renewal, 'was'>): void {
  const { secretId, keyId } = secret;
  if (!isOlder(authority.keys, keyId) || underWay.has(secretId) || underWay.size >= HASH_RENEWALS_MAX) return;
  underWay.add(secretId);
  void keepHash(authority, { client, secret, clientSecret, was: `the key ${keyId}` })
    .catch(() => undefined)
    .finally(() => underWay.delete(secretId));
}

/** By their order, not by their being another: an instance whose clock is behind must not undo what one ahead has done. */
function isOlder({ secret, secretKeys }: KeyRing, keyId: string): boolean {
  if (keyId === secret.keyId) return false;
  const placeOf = (id: string): number => secretKeys.findIndex((key) => key.keyId === id);
  return placeOf(keyId) < placeOf(secret.keyId);
}

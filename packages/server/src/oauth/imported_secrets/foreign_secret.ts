/**
 * Imported secrets that are known only by the hash of another system. That hash is stored sealed until the secret is first
 * used. Then the secret is hashed again with our own key, and the foreign hash is gone.
 */
import {
  ConcurrencyLimit,
  isRefusal,
  parseBase64url,
  printBase64url,
  refuse,
  SingleFlight,
  type Random,
  type Refusal,
} from '@hallpass/protocol';
import type { Client, ClientSecret } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { hasForeignHash, parseForeignHash, type ForeignHash } from './foreign_hash.ts';
import type { KeyRing } from '../keys/key_ring.ts';
import { keepHash } from '../keys/secret_hash.ts';
import { NONCE_BYTES, openBytes, sealBytes, type Sealing } from '../keys/aes_gcm.ts';

/** How many foreign hashes a process checks at a time. Each may take one core for a second, and 256 MiB. */
const CHECKS_MAX = 2;
/** How many more may wait, in all and for one client: a client under attack leaves room for the others. */
const WAITING_MAX = 64;
const WAITING_PER_CLIENT_MAX = 8;

/** One per process, because it bounds the process's cores and memory. */
const limit = new ConcurrencyLimit({
  runningMax: CHECKS_MAX,
  waitingMax: WAITING_MAX,
  waitingPerCallerMax: WAITING_PER_CLIENT_MAX,
});
/** Any number of simultaneous first uses of a secret cost as much as one. */
const checks = new SingleFlight<boolean | Refusal>();

/**
 * The secret of a client that has a foreign hash and matches, hashed again with our own key on the way; undefined if none
 * does. A refusal when too many are being checked: the same request works a moment later.
 */
export async function findForeignSecret(
  authority: Authority,
  client: Client,
  clientSecret: string,
): Promise<ClientSecret | undefined | Refusal> {
  for (const secret of client.secrets) {
    const expired = (secret.expiresAt ?? Infinity) <= authority.clock.now();
    const foreign = expired ? undefined : openForeignHash(authority.keys, client.clientId, secret);
    if (foreign === undefined) continue;
    const id = JSON.stringify([secret.secretId, authority.keys.secret.mac(clientSecret).toString('base64url')]);
    const equal = await checks.run(id, async () => {
      const checked = await limit.run(client.clientId, () => hasForeignHash(clientSecret, foreign));
      if (checked === 'too_many') {
        return refuse('temporarily_unavailable', { because: 'too many foreign hashes are being checked' });
      }
      if (checked) await keepHash(authority, { client, secret, clientSecret, was: foreign.scheme });
      return checked;
    });
    if (isRefusal(equal)) return equal;
    if (equal) return secret;
  }
  return undefined;
}

/** A record of a secret that is known only by a foreign hash, which `parseForeignHash` must be able to read. */
export function keepForeignHash(
  {
    clientId,
    secretId,
    createdAt,
  }: { readonly clientId: string; readonly secretId: string; readonly createdAt: number },
  foreignHash: string,
  { key, random }: { readonly key: KeyRing['secret']; readonly random: Random },
): ClientSecret {
  const nonce = random(NONCE_BYTES);
  const sealed = sealBytes(Buffer.from(foreignHash), { nonce, ...sealingOf(key, clientId, secretId) });
  const foreign = `${printBase64url(nonce)}.${printBase64url(sealed)}`;
  return { secretId, keyId: key.keyId, hash: '', foreign, createdAt };
}

/** Undefined if there is none, or it does not open: then the secret matches nothing. */
function openForeignHash(keys: KeyRing, clientId: string, secret: ClientSecret): ForeignHash | undefined {
  const key = keys.findSecret(secret.keyId);
  if (secret.foreign === undefined || key === undefined) return undefined;
  const [nonceText = '', sealedText = ''] = secret.foreign.split('.');
  const nonce = parseBase64url(nonceText);
  const sealed = parseBase64url(sealedText);
  if (nonce === undefined || sealed === undefined) return undefined;
  const text = openBytes(sealed, { nonce, ...sealingOf(key, clientId, secret.secretId) });
  const foreign = text === undefined ? undefined : parseForeignHash(text.toString('utf8'));
  return typeof foreign === 'string' ? undefined : foreign;
}

/**
 * A fast hash of a guessable secret must not be readable in a copy of the database. Each secret has its own sealing key,
 * derived from the key that hashes secrets. For a secret to equal that derivation's input, its owner would have to know
 * the `secretId` before it exists.
 */
function sealingOf(key: KeyRing['secret'], clientId: string, secretId: string): Omit<Sealing, 'nonce'> {
  return {
    key: key.mac(`hallpass foreign hash ${secretId}`),
    additionalData: Buffer.from(JSON.stringify(['hallpass foreign hash', clientId, secretId])),
  };
}

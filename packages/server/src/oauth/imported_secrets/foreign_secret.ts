/**
 * Imported secrets of which only another system's hash is known. The hash is kept sealed until the secret is first used;
 * then it is hashed anew with our own key, and the foreign hash is gone.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
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

/** How many foreign hashes a process checks at a time. Each may take a core for a second, and 256 MiB. */
const CHECKS_MAX = 2;
/** How many more may wait for their turn, and how many of them for one client: one that is attacked leaves room for others. */
const WAITING_MAX = 64;
const WAITING_PER_CLIENT_MAX = 8;

/** One for the process, whatever runs in it: what it bounds is the process's cores and memory. */
const limit = new ConcurrencyLimit({
  runningMax: CHECKS_MAX,
  waitingMax: WAITING_MAX,
  waitingPerCallerMax: WAITING_PER_CLIENT_MAX,
});
/** Any number of first uses of a secret at once cost as much as one. */
const checks = new SingleFlight<boolean | Refusal>();

/**
 * The secret of a client among those that have a foreign hash, if it is one of them: checked, and hashed anew on the
 * way. A refusal when too many are being checked: the same request works a moment later.
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

/** A secret that is known by a foreign hash alone. The hash must be one that `parseForeignHash` reads. */
export function keepForeignHash(
  {
    clientId,
    secretId,
    createdAt,
  }: { readonly clientId: string; readonly secretId: string; readonly createdAt: number },
  foreignHash: string,
  { key, random }: { readonly key: KeyRing['secret']; readonly random: Random },
): ClientSecret {
  const nonce = random(12);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(key, secretId), nonce).setAAD(aad(clientId, secretId));
  const sealed = Buffer.concat([cipher.update(foreignHash, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  const foreign = `${printBase64url(nonce)}.${printBase64url(sealed)}`;
  return { secretId, keyId: key.keyId, hash: '', foreign, createdAt };
}

/** Undefined when there is none, or none that opens: then the secret matches nothing. */
function openForeignHash(keys: KeyRing, clientId: string, secret: ClientSecret): ForeignHash | undefined {
  const key = keys.findSecret(secret.keyId);
  if (secret.foreign === undefined || key === undefined) return undefined;
  const [nonceText = '', sealedText = ''] = secret.foreign.split('.');
  const nonce = parseBase64url(nonceText);
  const sealed = parseBase64url(sealedText);
  if (nonce?.length !== 12 || sealed === undefined || sealed.length < 16) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(key, secret.secretId), nonce);
  decipher.setAAD(aad(clientId, secret.secretId)).setAuthTag(sealed.subarray(-16));
  try {
    const text = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]).toString('utf8');
    const foreign = parseForeignHash(text);
    return typeof foreign === 'string' ? undefined : foreign;
  } catch {
    return undefined;
  }
}

/**
 * A fast hash of a secret that could be guessed must not lie open in a copy of the database. The key is one for each
 * secret, from the key that hashes secrets; a secret with this very text would have to know a `secretId` before it is made.
 */
function sealingKey(key: KeyRing['secret'], secretId: string): Buffer {
  return key.mac(`hallpass foreign hash ${secretId}`);
}

function aad(clientId: string, secretId: string): Buffer {
  return Buffer.from(JSON.stringify(['hallpass foreign hash', clientId, secretId]));
}

/** The first API key of a development server: created once, so that your first token takes one paste. */
import { printBase64url } from '@hallpass/protocol';
import { manageApiKeys, type PendingApiKey } from '../operator/api_keys.ts';
import { isRefusedFor } from '../operator/operator_refusal.ts';
import type { Instance } from './instance.ts';

/** Enough scopes to try everything. */
const FIRST_SCOPES = [
  '/accounts.write',
  '/accounts.read',
  '/accounts/{accountID}/transfers.read',
  '/accounts/{accountID}/transfers.write',
  '/ping.read',
];
const SECRET_BYTES = 32;

/**
 * Prepares the key if the store has no keys at all; nothing is stored until its secret has been shown. Servers that start
 * together on one store derive the same id from a key they share, so only one of them can store it. The others get
 * undefined.
 */
export async function prepareFirstKey(instance: Instance): Promise<PendingApiKey | undefined> {
  const { store, keys, random } = instance;
  if ((await store.listClients({ limit: 1 })).length > 0) return undefined;
  const id = keys.secret.mac('the id of the first API key').subarray(0, 12);
  try {
    return await manageApiKeys(instance).prepare({
      name: 'first key',
      mode: 'test',
      scopes: FIRST_SCOPES,
      imported: {
        clientId: printBase64url(id).replace(/^[-_]/, 'k'),
        clientSecret: printBase64url(random(SECRET_BYTES)),
        allowWeak: false,
      },
    });
  } catch (error) {
    if (isRefusedFor(error, 'key_exists')) return undefined;
    throw error;
  }
}

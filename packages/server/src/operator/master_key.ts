/** Replacing the master key: every key of the store is encrypted again, while all instances keep serving. */
import type { Clock } from '@hallpass/protocol';
import type { LiveKeyRing } from '../oauth/keys/key_ring.ts';
import type { Store } from '../store/store.ts';

/** How many keys of the store are under a master key. Its id reveals nothing about it. */
export interface MasterKeyUse {
  readonly id: string;
  readonly keys: number;
  /** Whether it is the first in the settings, which every key should be under. */
  readonly current: boolean;
}

/** The master keys in use, with the first one in the settings even if nothing is under it yet. */
export async function listMasterKeys({ keys }: { readonly keys: LiveKeyRing }): Promise<readonly MasterKeyUse[]> {
  const { current, byMasterKey } = await keys.countWrapped();
  const ids = new Set([current, ...byMasterKey.keys()]);
  return [...ids].map((id) => ({ id, keys: byMasterKey.get(id) ?? 0, current: id === current }));
}

/** Encrypts every key under the current master key. Returns how many were under another one. Safe to repeat. */
export async function rewrapKeys(on: {
  readonly store: Store;
  readonly keys: LiveKeyRing;
  readonly clock: Clock;
}): Promise<number> {
  const count = await on.keys.rewrap();
  if (count > 0) await on.store.recordEvent({ at: on.clock.now(), kind: 'keys_rewrapped', detail: `${count} keys` });
  return count;
}

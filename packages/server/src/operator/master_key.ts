/** The master key, replaced: every key of the store is encrypted anew, while all instances go on serving. */
import type { Clock } from '@hallpass/protocol';
import type { LiveKeyRing } from '../oauth/keys/key_ring.ts';
import type { Store } from '../store/store.ts';

/** How many keys of the store are under which master key, each named by an id that says nothing about it. */
export interface MasterKeyUse {
  readonly id: string;
  readonly keys: number;
  /** Whether it is the one that the settings name first, and that keys are to be under. */
  readonly current: boolean;
}

export async function listMasterKeys({ keys }: { readonly keys: LiveKeyRing }): Promise<readonly MasterKeyUse[]> {
  const { current, byMasterKey } = await keys.countWrapped();
  const ids = new Set([current, ...byMasterKey.keys()]);
  return [...ids].map((id) => ({ id, keys: byMasterKey.get(id) ?? 0, current: id === current }));
}

/** Encrypts every key under the current master key; how many were under another one before. May be repeated. */
export async function rewrapKeys(on: {
  readonly store: Store;
  readonly keys: LiveKeyRing;
  readonly clock: Clock;
}): Promise<number> {
  const count = await on.keys.rewrap();
  if (count > 0) await on.store.recordEvent({ at: on.clock.now(), kind: 'keys_rewrapped', detail: `${count} keys` });
  return count;
}

/** One Hallpass on its store: what the server and every command open first. */
import type { Random } from '@hallpass/protocol';
import type { ServerClock } from '../oauth/clock.ts';
import { openKeyRing, type LiveKeyRing } from '../oauth/keys/key_ring.ts';
import { TrustedTime } from '../oauth/trusted_time.ts';
import type { Store } from '../store/store.ts';
import { findMasterKeys } from './master_keys.ts';
import { isDevelopmentIssuer, type Settings } from './settings/settings.ts';
import { assertStoreFile, openStore, type OpeningOptions } from './stores.ts';

/** What a Hallpass needs from its surroundings. */
export interface System extends Pick<OpeningOptions, 'warn'> {
  readonly clock: ServerClock;
  readonly random: Random;
}

/** A store that is open, with its keys. Date things by its `clock`, which may differ from this machine's: see `TrustedTime.now`. */
export interface Instance extends System {
  readonly settings: Settings;
  readonly store: Store;
  readonly time: TrustedTime;
  readonly keys: LiveKeyRing;
  /** How far apart the clocks of the issuers on this store may be. 0 on one machine, which has only one clock. */
  readonly clockSkewSeconds: number;
}

/** By how much the clocks of instances may differ (contract, Many instances). */
const CLOCK_SKEW_SECONDS = 5;

/**
 * Opens the store and its keys for a server. Only a development server may create them: in production, a mistyped folder
 * must not pass for a new store. Throws `BadSetting` or `StoreUnusable`, each with a sentence for the operator.
 */
export function openInstanceToServe(settings: Settings, system: System): Promise<Instance> {
  const open = isDevelopmentIssuer(settings.issuer) ? openInstance : openExistingInstance;
  return open(settings, system);
}

/** Opens the store and its keys, and creates what is missing. Throws `BadSetting` or `StoreUnusable`. */
export async function openInstance(
  settings: Settings,
  system: System,
  open: (settings: Settings) => Promise<Store> = (from) => openStore(from, { warn: system.warn }),
): Promise<Instance> {
  return await openWith(settings, system, { open, mayMakeMasterKey: isDevelopmentIssuer(settings.issuer) });
}

/** Opens an existing store and creates nothing: no folder, no store, no master key. Throws `StoreMissing` as well. */
export async function openExistingInstance(settings: Settings, system: System): Promise<Instance> {
  assertStoreFile(settings);
  const open = (from: Settings): Promise<Store> => openStore(from, { ifMissing: 'refuse', warn: system.warn });
  return await openWith(settings, system, { open, mayMakeMasterKey: false });
}

async function openWith(
  settings: Settings,
  system: System,
  {
    open,
    mayMakeMasterKey,
  }: { readonly open: (settings: Settings) => Promise<Store>; readonly mayMakeMasterKey: boolean },
): Promise<Instance> {
  const masterKeys = findMasterKeys(settings, mayMakeMasterKey ? system.random : undefined);
  const store = await open(settings);
  try {
    const { random, warn } = system;
    const time = await TrustedTime.open(store, system.clock);
    const clock = { ...system.clock, now: () => time.now() };
    const keys = await openKeyRing({ store, masterKeys, algorithm: settings.signingAlgorithm, clock, random });
    const clockSkewSeconds = settings.databaseUrl === undefined ? 0 : CLOCK_SKEW_SECONDS;
    return { settings, store, time, clock, random, warn, keys, clockSkewSeconds };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/**
 * The life of the issuer's own keys, the same for every use. A key is published before it is used, so that nobody meets an
 * unknown one, and kept as long as anything can refer to it. It is replaced on a schedule or by command, and removed at
 * once when someone else may have it (contract §10).
 */
import { ACCESS_TOKEN_SECONDS_MAX } from '@hallpass/protocol';
import type { ServerClock } from '../oauth/clock.ts';
import type { LiveKeyRing, ListedKey } from '../oauth/keys/key_ring.ts';
import { KEY_USES, USES } from '../oauth/keys/key_uses.ts';
import {
  REFRESH_TOKEN_SECONDS_MAX,
  revocationOfEverything,
  type RevocationMoment,
} from '../oauth/tokens/revocations.ts';
import type { TrustedTime } from '../oauth/trusted_time.ts';
import type { StoredRevocation, KeyUse, Store } from '../store/store.ts';
import { findKeyPrice, findNamedSecretKeys, type KeyPrice } from './key_price.ts';
import { operatorRefusal } from './operator_refusal.ts';
import { revokeUntilAcknowledged, type ClockChoice, type Dating } from './revocation_moment.ts';

/**
 * How long a key exists before it is used, in milliseconds: twice as long as anyone may cache the key set, and far
 * longer than an instance needs, which looks twice a second, or once its store is back.
 */
const AHEAD_MS = 600_000;
/** For clocks that differ, in seconds. */
const SLACK_SECONDS = 120;
/**
 * How long a retired key stays, in milliseconds: as long as anything made with it can live under any settings. A key that
 * hashes secrets also stays while any secret is hashed with it.
 */
const KEPT_MS: Readonly<Record<KeyUse, number>> = {
  sign: (ACCESS_TOKEN_SECONDS_MAX + SLACK_SECONDS) * 1000,
  refresh_mac: (REFRESH_TOKEN_SECONDS_MAX + SLACK_SECONDS) * 1000,
  secret_mac: (ACCESS_TOKEN_SECONDS_MAX + SLACK_SECONDS) * 1000,
  access_seal: (ACCESS_TOKEN_SECONDS_MAX + SLACK_SECONDS) * 1000,
};
const DAY_MS = 86_400_000;

interface On {
  readonly store: Store;
  readonly keys: LiveKeyRing;
  readonly clock: ServerClock;
  /** Keys are forgotten by a time that no wrong clock can set forward. */
  readonly time: TrustedTime;
}

/** The keys of a use, in the order in which they are used. */
export async function listIssuerKeys({ keys }: On, use: KeyUse): Promise<readonly ListedKey[]> {
  await keys.reload();
  return keys.list(use);
}

/** One key. Throws the refusal `issuer_key_unknown` when no key has this id. */
export async function showIssuerKey(on: On, use: KeyUse, keyId: string): Promise<ListedKey> {
  const key = (await listIssuerKeys(on, use)).find((listed) => listed.keyId === keyId);
  if (key !== undefined) return key;
  throw operatorRefusal('issuer_key_unknown', { keys: KEY_USES[use].name, keyId });
}

/** Adds a new key now. It is used once everyone has had time to hear of it. Throws while another one is waiting. */
export async function rotateIssuerKey(on: On, use: KeyUse): Promise<ListedKey> {
  const { keys, clock } = on;
  const { name } = KEY_USES[use];
  const listed = await listIssuerKeys(on, use);
  const next = nextOf(listed);
  if (next !== undefined) throw operatorRefusal('issuer_key_waiting', { keys: name, keyId: next.keyId });
  const now = clock.now();
  const event = { at: now, kind: `${name}_key_added` };
  await keys.add(use, { activeFrom: now + AHEAD_MS, unlessMadeAfter: newestOf(listed) }, event);
  const made = nextOf(keys.list(use));
  if (made === undefined) throw operatorRefusal('issuer_key_not_added', { keys: name });
  return made;
}

/** What removing a key would cost now. Throws the refusal `issuer_key_unknown` when no key has this id. */
export async function priceIssuerKey(on: On, use: KeyUse, keyId: string): Promise<KeyPrice> {
  await showIssuerKey(on, use, keyId);
  return await findKeyPrice(on, use, keyId);
}

/**
 * Removes a key at once, when someone else may have it. Everything made with it is dead, on every instance within the half
 * second in which it looks, and another key takes over. Returns what it cost.
 */
export async function removeIssuerKey(
  on: On & Dating,
  use: KeyUse,
  keyId: string,
  choice?: ClockChoice,
): Promise<KeyPrice> {
  const price = await priceIssuerKey(on, use, keyId);
  const at = on.clock.now();
  const event = { at, kind: `${KEY_USES[use].name}_key_removed`, detail: keyId };
  const remove = async (revocations: readonly StoredRevocation[]): Promise<void> => {
    await replaceKey(on, { use, keyId, at });
    await on.store.removeKey(keyId, { event, revocations });
  };
  // Guards decide on their own, and hear of what has ended only through the feed.
  if (price.everything) {
    const revocationAt = use === 'access_seal' ? revocationOfSealed : revocationOfEverything;
    await revokeUntilAcknowledged(on, choice, { revocationAt, write: (revocation) => remove([revocation]) });
  } else await remove([]);
  await on.keys.reload();
  return price;
}

/**
 * Tokens forged with a sealing key may be dated as far ahead as an instance accepts whose own clock is ahead, and guards
 * remember them for a while.
 */
function revocationOfSealed({ now, clockSkewSeconds }: RevocationMoment): StoredRevocation {
  return revocationOfEverything({ now, clockSkewSeconds: 2 * clockSkewSeconds });
}

/** Adds a key that is in use from now on, if the one to be removed is the only one in use. */
async function replaceKey(
  { keys, clockSkewSeconds }: On & Dating,
  { use, keyId, at }: { readonly use: KeyUse; readonly keyId: string; readonly at: number },
): Promise<void> {
  if (keys.list(use).some((key) => key.keyId !== keyId && isInUse(key))) return;
  // In use at once, also by clocks that are behind, and even if someone else adds a key at this moment: that one waits.
  const activeFrom = at - clockSkewSeconds * 1000;
  const event = { at, kind: `${KEY_USES[use].name}_key_added` };
  await keys.add(use, { activeFrom, unlessMadeAfter: Number.MAX_SAFE_INTEGER }, event);
}

interface Schedule {
  readonly signingKeyDays: number;
  readonly issuerKeyDays: number;
}

/** Does what is due: adds the next key by schedule, and removes retired keys that nothing needs any more. */
export async function tendIssuerKeys(on: On & { readonly settings: Schedule }): Promise<void> {
  await on.keys.reload();
  for (const use of USES) {
    // Finding out whether a secret needs a key takes long: `forgetSecretKeys` does that, and seldom.
    if (use !== 'secret_mac') await forget(on, use, findExpired(on, use));
    await addWhenDue(on, use);
  }
}

/** Forgets retired keys that no secret is hashed with any more. Reads every API key, in small steps. */
export async function forgetSecretKeys(on: On): Promise<void> {
  await on.keys.reload();
  const expired = findExpired(on, 'secret_mac');
  if (expired.length === 0) return;
  const named = await findNamedSecretKeys(on, expired);
  await forget(
    on,
    'secret_mac',
    expired.filter((keyId) => !named.has(keyId)),
  );
}

function findExpired({ keys, time }: On, use: KeyUse): readonly string[] {
  const listed = keys.list(use);
  const now = time.earliest();
  return listed.flatMap((key, at) => {
    const successor = listed.slice(at + 1).find(({ algorithm }) => algorithm === key.algorithm);
    const replacedAt = successor?.activeFrom ?? Infinity;
    return key.state === 'retired' && now >= replacedAt + KEPT_MS[use] ? [key.keyId] : [];
  });
}

async function forget({ store, keys, clock }: On, use: KeyUse, keyIds: readonly string[]): Promise<void> {
  for (const keyId of keyIds) {
    const event = { at: clock.now(), kind: `${KEY_USES[use].name}_key_forgotten`, detail: keyId };
    await store.removeKey(keyId, { event });
  }
  if (keyIds.length > 0) await keys.reload();
}

async function addWhenDue(
  { keys, clock, time, settings }: On & { readonly settings: Schedule },
  use: KeyUse,
): Promise<void> {
  const days = use === 'sign' ? settings.signingKeyDays : settings.issuerKeyDays;
  const listed = keys.list(use);
  const current = listed.find(isInUse);
  if (days === 0 || current === undefined || nextOf(listed) !== undefined) return;
  // By a clock that is ahead, the new key would take over far in the future, and block every other until then.
  if (time.earliest() - current.activeFrom < days * DAY_MS) return;
  const now = clock.now();
  const event = { at: now, kind: `${KEY_USES[use].name}_key_added`, detail: 'by schedule' };
  await keys.add(use, { activeFrom: now + AHEAD_MS, unlessMadeAfter: current.createdAt }, event);
}

function isInUse({ state, use }: ListedKey): boolean {
  return state === KEY_USES[use].inUse;
}

/** When the newest of them was made; milliseconds. */
function newestOf(listed: readonly ListedKey[]): number {
  return Math.max(...listed.map(({ createdAt }) => createdAt));
}

/** The key that follows the one in use. After a change of the signing algorithm, the other algorithm's may wait too. */
function nextOf(listed: readonly ListedKey[]): ListedKey | undefined {
  const algorithm = listed.find(isInUse)?.algorithm;
  return listed.find((key) => key.state === 'next' && key.algorithm === algorithm);
}

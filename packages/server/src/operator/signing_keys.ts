/**
 * The life of signing keys: published before they are used, so that no guard meets an unknown one; kept until the last
 * token they signed has expired; replaced on a schedule or by command; and taken out at once when one is lost.
 */
import { ACCESS_TOKEN_SECONDS_MAX, type Clock } from '@hallpass/protocol';
import type { LiveKeyRing, ListedSigningKey } from '../oauth/key_ring.ts';
import { revocationOfEverything } from '../oauth/revocation.ts';
import type { Store } from '../store/store.ts';
import { OperatorRefusal } from './operator_refusal.ts';
import { revokeUntilAcknowledged, type ClockChoice, type Dating } from './revocation_moment.ts';

/** How long a key is published before it signs, in milliseconds: twice as long as anyone may keep the key set. */
const PUBLISH_AHEAD_MS = 600_000;
/** How long a retired key stays, in milliseconds: as long as a token lives, and some for clocks that differ. */
const RETIRED_MS = (ACCESS_TOKEN_SECONDS_MAX + 120) * 1000;
const DAY_MS = 86_400_000;

interface On {
  readonly store: Store;
  readonly keys: LiveKeyRing;
  readonly clock: Clock;
}

/** The signing keys, in the order in which they sign. */
export async function listSigningKeys({ keys }: On): Promise<readonly ListedSigningKey[]> {
  await keys.reload();
  return keys.listSigning();
}

/** One of them. Throws `OperatorRefusal` when there is none with this id. */
export async function showSigningKey(on: On, keyId: string): Promise<ListedSigningKey> {
  const key = (await listSigningKeys(on)).find((listed) => listed.keyId === keyId);
  if (key !== undefined) return key;
  throw new OperatorRefusal(`There is no signing key ${keyId}. List them with: hallpass signing-keys list`);
}

/** Publishes a new key now, and signs with it as soon as everyone has had the time to hear of it. */
export async function rotateSigningKey(on: On): Promise<ListedSigningKey> {
  const { keys, clock } = on;
  const listed = await listSigningKeys(on);
  const next = nextOf(listed);
  if (next !== undefined) {
    throw new OperatorRefusal(`There is a next signing key already: ${next.keyId}. It takes over by itself.`);
  }
  const now = clock.now();
  const event = { at: now, kind: 'signing_key_added' };
  const newestMadeAt = Math.max(...listed.map(({ createdAt }) => createdAt));
  await keys.addSigning({ activeFrom: now + PUBLISH_AHEAD_MS, unlessMadeAfter: newestMadeAt }, event);
  const made = nextOf(keys.listSigning());
  if (made === undefined) throw new OperatorRefusal('The new signing key is not there. Try again.');
  return made;
}

/**
 * Takes a key out at once: a new one signs from now on, every token there is is dead, and guards drop the key as soon as
 * they hear of it, which is within a second. For a key that someone else may have.
 */
export async function removeSigningKey(on: On & Dating, keyId: string, choice?: ClockChoice): Promise<void> {
  const { store, keys, clock } = on;
  await showSigningKey(on, keyId);
  const at = clock.now();
  await revokeUntilAcknowledged(on, choice, {
    revocationAt: revocationOfEverything,
    write: async (revocation) => {
      await replaceSigningKey(keys, keyId, at);
      const event = { at, kind: 'signing_key_removed', detail: keyId };
      return await store.removeKey(keyId, { event, revocations: [revocation] });
    },
  });
  await keys.reload();
}

/** Makes a key that signs from now on, where the one that is to be taken out is the only one that does. */
async function replaceSigningKey(keys: LiveKeyRing, keyId: string, at: number): Promise<void> {
  const listed = keys.listSigning();
  if (listed.some((key) => key.keyId !== keyId && key.state === 'signing')) return;
  const unlessMadeAfter = Math.max(...listed.map(({ createdAt }) => createdAt));
  await keys.addSigning({ activeFrom: at, unlessMadeAfter }, { at, kind: 'signing_key_added' });
}

/** What the schedule asks for: the next key when it is time, and retired ones gone when nothing needs them. */
export async function tendSigningKeys(
  on: On & { readonly settings: { readonly signingKeyDays: number } },
): Promise<void> {
  const { store, keys, clock, settings } = on;
  const listed = await listSigningKeys(on);
  const now = clock.now();
  for (const [at, key] of listed.entries()) {
    const successor = listed.slice(at + 1).find(({ algorithm }) => algorithm === key.algorithm);
    const replacedAt = successor?.activeFrom ?? Infinity;
    if (key.state !== 'retired' || now < replacedAt + RETIRED_MS) continue;
    await store.removeKey(key.keyId, { event: { at: now, kind: 'signing_key_forgotten', detail: key.keyId } });
  }
  await keys.reload();
  const signing = listed.find(({ state }) => state === 'signing');
  const due =
    settings.signingKeyDays > 0 &&
    signing !== undefined &&
    now - signing.activeFrom >= settings.signingKeyDays * DAY_MS;
  if (!due || nextOf(listed) !== undefined) return;
  const event = { at: now, kind: 'signing_key_added', detail: 'by schedule' };
  await keys.addSigning({ activeFrom: now + PUBLISH_AHEAD_MS, unlessMadeAfter: signing.createdAt }, event);
}

/** The key that is to follow the one that signs now. After a change of the algorithm another one's may wait as well. */
function nextOf(listed: readonly ListedSigningKey[]): ListedSigningKey | undefined {
  const algorithm = listed.find(({ state }) => state === 'signing')?.algorithm;
  return listed.find((key) => key.state === 'next' && key.algorithm === algorithm);
}

/** Builders of records for store tests, with defaults for whatever a test does not care about. */
import type {
  Client,
  Follower,
  StoredRevocation,
  KeyRecord,
  Rotation,
  Store,
  StoreEvent,
} from '../../packages/server/src/store/store.ts';

/** The time in these tests, in seconds. */
export const NOW = 1_800_000_000;

/** A client `client` with one secret and one scope. */
export function clientRecord(changes: Partial<Client> = {}): Client {
  return {
    clientId: 'client',
    name: 'a key',
    mode: 'test',
    authentication: 'client_secret',
    secrets: [{ secretId: 'secret', keyId: 'key', hash: 'hash', createdAt: NOW * 1000 }],
    publicKeys: [],
    scopes: ['/accounts.write'],
    defaultScopes: [],
    audiences: [],
    resourceServerFor: [],
    origins: [],
    requireOrigin: false,
    refresh: true,
    requireDpop: false,
    accessTokenFormat: 'jwt',
    disabled: false,
    createdAt: NOW * 1000,
    updatedAt: NOW * 1000,
    version: 1,
    ...changes,
  };
}

/** A follower of `client` that has confirmed nothing. */
export function followerRecord(followerId: string, changes: Partial<Follower> = {}): Follower {
  return { clientId: 'client', followerId, cursor: undefined, seenAt: NOW * 1000, ...changes };
}

/** An event at `NOW`. */
export function eventRecord(kind: string, changes: Partial<StoreEvent> = {}): StoreEvent {
  return { at: NOW * 1000, kind, ...changes };
}

/** An issuer key for signing, active from `NOW`. */
export function keyRecord(changes: Partial<KeyRecord> = {}): KeyRecord {
  return {
    keyId: 'key',
    use: 'sign',
    algorithm: 'ES256',
    wrapped: 'wrapped',
    createdAt: NOW * 1000,
    activeFrom: NOW * 1000,
    ...changes,
  };
}

/** The first rotation of `grant`. */
export function rotationRecord(changes: Partial<Rotation> = {}): Rotation {
  return {
    grantId: 'grant',
    clientId: 'client',
    from: 0,
    issuedAt: NOW,
    presentedExpiresAt: changes.expiresAt ?? NOW + 1_000,
    rotatedAt: NOW * 1000,
    keyId: 'key',
    expiresAt: NOW + 1_000,
    ...changes,
  };
}

type Ends = Partial<Pick<StoredRevocation, 'expires_at' | 'keepUntil'>>;

/** The revocation of a token or grant. By default it ends 100 s after `NOW`. */
export function revocationRecord(kind: 'token' | 'grant', id: string, ends: Ends = {}): StoredRevocation {
  const { expires_at = NOW + 100 } = ends;
  return { kind, id, expires_at, keepUntil: ends.keepUntil ?? expires_at };
}

/** Revokes everything of a client, or of the issuer (`*`), that was made before an instant. */
export function revocationBefore(id: string, before: number, ends: Ends = {}): StoredRevocation {
  const { expires_at = NOW + 100 } = ends;
  return { kind: id === '*' ? 'before' : 'client', id, before, expires_at, keepUntil: ends.keepUntil ?? expires_at };
}

/** Saves this second as the time of the store, like a server whose clock has run evenly. */
export async function setStoreTime(store: Store, second: number): Promise<void> {
  await store.saveTime({ now: second * 1000, trusted: second * 1000, settled: true });
}

/** The ids of all feed entries after a cursor, in order, read to the end in pages. */
export async function readFeed(
  store: Store,
  { after, limit = 100, now = NOW }: { readonly after?: string; readonly limit?: number; readonly now?: number } = {},
): Promise<{ readonly ids: readonly string[]; readonly cursor: string }> {
  const ids: string[] = [];
  let cursor = after;
  for (;;) {
    const page = await store.readRevocations({ limit, now, ...(cursor === undefined ? {} : { after: cursor }) });
    ids.push(...page.entries.map(({ id }) => id));
    cursor = page.cursor;
    if (!page.more) return { ids, cursor };
  }
}

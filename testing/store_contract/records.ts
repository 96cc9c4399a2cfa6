/** Records for tests of a store, with whatever a test does not care about filled in. */
import type {
  Client,
  Follower,
  StoredRevocation,
  KeyRecord,
  Rotation,
  Store,
  StoreEvent,
} from '../../packages/server/src/store/store.ts';

/** The second in which these tests play. */
export const NOW = 1_800_000_000;

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

export function followerRecord(followerId: string, changes: Partial<Follower> = {}): Follower {
  return { clientId: 'client', followerId, cursor: undefined, seenAt: NOW * 1000, ...changes };
}

export function eventRecord(kind: string, changes: Partial<StoreEvent> = {}): StoreEvent {
  return { at: NOW * 1000, kind, ...changes };
}

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

export function revocationRecord(kind: 'token' | 'grant', id: string, ends: Ends = {}): StoredRevocation {
  const { expires_at = NOW + 100 } = ends;
  return { kind, id, expires_at, keepUntil: ends.keepUntil ?? expires_at };
}

/** Everything of a client, or of the issuer (`*`), made before a moment. */
export function revocationBefore(id: string, before: number, ends: Ends = {}): StoredRevocation {
  const { expires_at = NOW + 100 } = ends;
  return { kind: id === '*' ? 'before' : 'client', id, before, expires_at, keepUntil: ends.keepUntil ?? expires_at };
}

/** The ids of everything in the feed after a cursor, in order, read to its end in pages. */
/** What a server on the store says of the time: that it is this second, and has been for long. */
export async function keepSecond(store: Store, second: number): Promise<void> {
  await store.saveTime({ now: second * 1000, trusted: second * 1000, settled: true });
}

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

/** What it costs to remove one of the issuer's keys: everything that was made with it and is dead without it. */
import { numericDate } from '@hallpass/protocol';
import type { ServerClock } from '../oauth/clock.ts';
import type { TrustedTime } from '../oauth/trusted_time.ts';
import type { Client, KeyUse, Store } from '../store/store.ts';

/** A secret of an API key, by its ids. */
interface NamedSecret {
  readonly clientId: string;
  readonly secretId: string;
}

/** What removing a key ends. */
export interface KeyPrice {
  /** Whether every token ends, of every kind and API key. */
  readonly everything: boolean;
  /** How many API keys there are, if every token ends; otherwise 0. */
  readonly apiKeys: number;
  /**
   * How many refreshed grants end: all of them if every token ends, otherwise those last refreshed under the key. A grant
   * that was never refreshed has no row to count.
   */
  readonly grants: number;
  /** The live secrets that are hashed with it. */
  readonly secrets: readonly NamedSecret[];
}

interface On {
  readonly store: Store;
  readonly clock: ServerClock;
}

const NOTHING: KeyPrice = { everything: false, apiKeys: 0, grants: 0, secrets: [] };

const PRICES: Readonly<Record<KeyUse, (on: On, keyId: string) => Promise<KeyPrice>>> = {
  // Guards drop a signing key once they hear of it. Until then, only a revocation of everything protects them.
  sign: findPriceOfEverything,
  refresh_mac: async ({ store, clock }, keyId) => {
    const grants = await store.countGrantsSealedBy(keyId, numericDate(clock.now()));
    return { ...NOTHING, grants };
  },
  secret_mac: async (on, keyId) => {
    const secrets: NamedSecret[] = [];
    for await (const client of clientsOf(on)) {
      for (const { secretId } of liveSecretsOf(client, on.clock.now()).filter((secret) => secret.keyId === keyId)) {
        secrets.push({ clientId: client.clientId, secretId });
      }
    }
    return { ...NOTHING, secrets };
  },
  // Guards remember an opaque token for a while, and hear of its end only through the feed. If no API key uses opaque
  // tokens, no such token is valid, and nothing has to end.
  access_seal: async (on) => {
    for await (const client of clientsOf(on)) {
      if (client.accessTokenFormat === 'opaque') return await findPriceOfEverything(on);
    }
    return NOTHING;
  },
};

/** What it costs to end every token. */
export async function findPriceOfEverything(on: On): Promise<KeyPrice> {
  let apiKeys = 0;
  for await (const { clientId } of clientsOf(on)) if (clientId !== '') apiKeys += 1;
  const grants = await on.store.countGrants(numericDate(on.clock.now()));
  return { ...NOTHING, everything: true, apiKeys, grants };
}

/** What removing a key costs now. */
export function findKeyPrice(on: On, use: KeyUse, keyId: string): Promise<KeyPrice> {
  return PRICES[use](on, keyId);
}

/** Which of these keys a secret that may be live is still hashed with. Stops once it has found them all. */
export async function findNamedSecretKeys(
  on: On & { readonly time: TrustedTime },
  keyIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const named = new Set<string>();
  for await (const client of clientsOf(on)) {
    for (const { keyId } of liveSecretsOf(client, on.time.earliest())) if (keyIds.includes(keyId)) named.add(keyId);
    if (named.size === keyIds.length) break;
  }
  return named;
}

function liveSecretsOf({ secrets }: Client, now: number): Client['secrets'] {
  return secrets.filter(({ expiresAt = Infinity }) => expiresAt > now);
}

/** How many API keys are read at a time, and the pause after them in which other requests run, in milliseconds. */
const PAGE_CLIENTS_MAX = 200;
const PAUSE_MS = 1;

async function* clientsOf({ store, clock }: On): AsyncGenerator<Client> {
  let after: string | undefined;
  for (;;) {
    const page = await store.listClients({ limit: PAGE_CLIENTS_MAX, ...(after === undefined ? {} : { after }) });
    yield* page;
    if (page.length < PAGE_CLIENTS_MAX) return;
    after = page.at(-1)?.clientId;
    await clock.sleep(PAUSE_MS);
  }
}

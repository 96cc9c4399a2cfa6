/** What it costs to take a key of the issuer out: what was made with it, and is dead without it. */
import { numericDate } from '@hallpass/protocol';
import type { ServerClock } from '../oauth/clock.ts';
import type { TrustedTime } from '../oauth/trusted_time.ts';
import type { Client, KeyUse, Store } from '../store/store.ts';

/** A secret of an API key, by its ids. */
interface NamedSecret {
  readonly clientId: string;
  readonly secretId: string;
}

export interface KeyPrice {
  /** Whether every token that there is ends, of whatever kind and key. */
  readonly everything: boolean;
  /** Where every token ends: how many API keys there are. */
  readonly apiKeys: number;
  /**
   * How many grants end that were refreshed: all of them where every token ends, else those that were refreshed last under
   * the key. Grants that were never refreshed have no row to be counted.
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
  // Guards drop a signing key when they hear of it; until then the tokens of everyone must be dead for them.
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
  // Guards believe an opaque token for a while, and hear of its end by the feed alone. Where no API key takes such
  // tokens, none is good in the first place, and nobody has to pay.
  access_seal: async (on) => {
    for await (const client of clientsOf(on)) {
      if (client.accessTokenFormat === 'opaque') return await findPriceOfEverything(on);
    }
    return NOTHING;
  },
};

/** What it costs to end every token that there is. */
export async function findPriceOfEverything(on: On): Promise<KeyPrice> {
  let apiKeys = 0;
  for await (const { clientId } of clientsOf(on)) if (clientId !== '') apiKeys += 1;
  const grants = await on.store.countGrants(numericDate(on.clock.now()));
  return { ...NOTHING, everything: true, apiKeys, grants };
}

/** What taking out a key costs now. */
export function findKeyPrice(on: On, use: KeyUse, keyId: string): Promise<KeyPrice> {
  return PRICES[use](on, keyId);
}

/** Which of these keys some secret is hashed with that may be live. Stops as soon as that is all of them. */
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

/** How many API keys are read at a time, and how long the requests of others have their turn then, in milliseconds. */
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

/**
 * Copies of recently active clients, used while the store is away (contract, Many instances). A token that needs no write is
 * issued from a copy at most five seconds old, and dated at the moment of that reading. So it is dead like any other if the
 * client was disabled since (ADR 5, 11).
 */
import type { NumericDate } from '@hallpass/protocol';
import { StoreUnavailable, type Client, type Store } from '../../store/store.ts';

/** The oldest that a copy may be under any setting, in seconds (contract, Many instances). */
export const COPY_SECONDS_MAX = 5;

/** A client, and when it was read. */
export interface ClientCopy {
  readonly client: Client;
  /** See `Store.findIssueNotBefore`. */
  readonly issueNotBefore: NumericDate;
  /** A moment just before it was read; milliseconds. */
  readonly at: number;
}

/** The latest copy of each client, for as long as it may be used. */
export class ClientCopies {
  /** The oldest reading first. Holds only clients that sent a request in the last seconds. */
  readonly #copies = new Map<string, ClientCopy>();
  readonly #msMax: number;

  /** `seconds`: how old a copy may be; 0: no copies. */
  constructor(seconds: number) {
    this.#msMax = seconds * 1000;
  }

  /** Replaces the copy of this client, and forgets those that are too old by now. */
  remember(copy: ClientCopy): void {
    if (this.#msMax === 0) return;
    const { clientId } = copy.client;
    this.#copies.delete(clientId);
    this.#copies.set(clientId, copy);
    for (const [oldest, { at }] of this.#copies) {
      if (at + this.#msMax >= copy.at) break;
      this.#copies.delete(oldest);
    }
  }

  /** The copy of a client; undefined if there is none, or it is too old at `now` (milliseconds). */
  find(clientId: string, now: number): ClientCopy | undefined {
    const copy = this.#copies.get(clientId);
    return copy !== undefined && now - copy.at <= this.#msMax ? copy : undefined;
  }

  /** The store while it is away: clients are found among the copies. Every other verb still asks the store. */
  asStore(store: Store, now: number): Store {
    return {
      ...store,
      findClient: async (clientId) => {
        const copy = this.find(clientId, now);
        if (copy === undefined) throw new StoreUnavailable('The store is away, and there is no copy of the client.');
        return copy.client;
      },
    };
  }
}

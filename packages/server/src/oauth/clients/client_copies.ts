/**
 * What was last read of clients that are asking, for when the store is away (contract, Many instances): a token that
 * needs no write is issued from a copy that is at most five seconds old. It is dated at the moment of that reading, so
 * that it is dead like any other if the client was disabled since (ADR 5, 11).
 */
import type { NumericDate } from '@hallpass/protocol';
import { StoreUnavailable, type Client, type Store } from '../../store/store.ts';

/** How old a copy may be at most, whatever is set, in seconds (contract, Many instances). */
export const COPY_SECONDS_MAX = 5;

/** A client as it was read. */
export interface ClientCopy {
  readonly client: Client;
  /** See `Store.findIssueNotBefore`. */
  readonly issueNotBefore: NumericDate;
  /** A moment just before it was read; milliseconds. */
  readonly at: number;
}

export class ClientCopies {
  /** The oldest reading first. No more than the clients that asked in the last seconds. */
  readonly #copies = new Map<string, ClientCopy>();
  readonly #msMax: number;

  /** `seconds`: how old a copy may be; 0: there are none. */
  constructor(seconds: number) {
    this.#msMax = seconds * 1000;
  }

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

  /** The copy of a client; undefined when there is none, or none that is young enough at `now` (milliseconds). */
  find(clientId: string, now: number): ClientCopy | undefined {
    const copy = this.#copies.get(clientId);
    return copy !== undefined && now - copy.at <= this.#msMax ? copy : undefined;
  }

  /** The store as it is when it is away, but for the copies: clients are found in them, and nothing else is done. */
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

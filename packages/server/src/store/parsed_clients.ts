/**
 * The records of clients that this process has parsed, so that the time of a refusal does not tell how large a record
 * is. They are no copy to answer from: each request asks the store for the revision of the row (ADR 11), and what was
 * parsed counts only while that is the same.
 */
import type { Client } from './store.ts';

/** The most records that a process keeps parsed, and how many characters their texts have together. */
export const PARSED_CLIENTS_MAX = 10_000;
export const PARSED_CLIENT_CHARACTERS_MAX = 16 * 1024 * 1024;

/** What a row says of itself: constant in size, whatever its record holds. */
export interface RowRevision {
  readonly clientId: string;
  /** Another one after each change; undefined: nobody can tell whether the row has changed. */
  readonly revision: string | undefined;
}

interface Parsed {
  readonly client: Client;
  readonly revision: string;
  readonly characters: number;
}

export class ParsedClients {
  /** The one that was used longest ago comes first. */
  readonly #parsed = new Map<string, Parsed>();
  #characters = 0;

  /** The client of this row, if it was parsed and the row has not changed since. */
  find({ clientId, revision }: RowRevision): Client | undefined {
    const parsed = this.#parsed.get(clientId);
    if (parsed === undefined || parsed.revision !== revision) return undefined;
    this.#parsed.delete(clientId);
    this.#parsed.set(clientId, parsed);
    return parsed.client;
  }

  /**
   * Parses the record of a row, and keeps the result where the row can be told from a changed one. It is frozen: many
   * requests share it.
   */
  parse({ clientId, revision }: RowRevision, record: string): Client {
    const client = parseClient(record, (_name, value: unknown) => Object.freeze(value));
    this.#forget(clientId);
    if (revision === undefined || record.length > PARSED_CLIENT_CHARACTERS_MAX) return client;
    this.#parsed.set(clientId, { client, revision, characters: record.length });
    this.#characters += record.length;
    for (const oldest of this.#parsed.keys()) {
      if (this.#parsed.size <= PARSED_CLIENTS_MAX && this.#characters <= PARSED_CLIENT_CHARACTERS_MAX) break;
      this.#forget(oldest);
    }
    return client;
  }

  #forget(clientId: string): void {
    this.#characters -= this.#parsed.get(clientId)?.characters ?? 0;
    this.#parsed.delete(clientId);
  }
}

/** As it is kept. A record without `refreshMaxTtlSeconds` is of a version that did not know it; null: there is none. */
type ClientRecord = Omit<Client, 'refreshMaxTtlSeconds'> & { readonly refreshMaxTtlSeconds?: number | null };

/**
 * A record is read by the version that wrote it or a later one; what we wrote we trust. Before idle expiry a key's
 * `refreshTtlSeconds` bounded its grants from their first token, and for such a record it still does (ADR 41).
 */
export function parseClient(record: string, reviver?: (name: string, value: unknown) => unknown): Client {
  // oxlint-disable-next-line no-unsafe-type-assertion -- our own record, parsed back
  const parsed = JSON.parse(record, reviver) as ClientRecord;
  const client = withBound(parsed);
  return reviver === undefined ? client : Object.freeze(client);
}

function withBound(record: ClientRecord): Client {
  const { refreshTtlSeconds, refreshMaxTtlSeconds: max } = record;
  const bound = max === undefined ? refreshTtlSeconds : max;
  if (typeof bound === 'number') return { ...record, refreshMaxTtlSeconds: bound };
  // oxlint-disable-next-line no-unsafe-type-assertion -- it has no such member, and may be long: it is not copied
  if (max === undefined) return record as Client;
  const { refreshMaxTtlSeconds: _, ...rest } = record;
  return rest;
}

/** The record of a client, for `parseClient`. */
export function printClient(client: Client): string {
  const record: ClientRecord = { ...client, refreshMaxTtlSeconds: client.refreshMaxTtlSeconds ?? null };
  return JSON.stringify(record);
}

/**
 * The client records that this process has parsed. Without them, the time of a refusal would reveal how large a record
 * is. They never replace a read: each request reads the revision of the row (ADR 11), and a parsed record counts only
 * while the revision is unchanged.
 */
import type { Client } from './store.ts';

/** The most records that a process keeps parsed. */
export const PARSED_CLIENTS_MAX = 10_000;
/** The most characters that the texts of all kept records have together. */
export const PARSED_CLIENT_CHARACTERS_MAX = 16 * 1024 * 1024;

/** Identifies one state of a row, in constant size. */
export interface RowRevision {
  readonly clientId: string;
  /** Different after each change. Undefined when changes of the row cannot be detected. */
  readonly revision: string | undefined;
}

interface Parsed {
  readonly client: Client;
  readonly revision: string;
  readonly characters: number;
}

/** Parsed client records by revision; the least recently used one is dropped first. */
export class ParsedClients {
  /** In order of use, the least recent first. */
  readonly #parsed = new Map<string, Parsed>();
  #characters = 0;

  /** The client of this row, if it has been parsed and the row has not changed since. */
  find({ clientId, revision }: RowRevision): Client | undefined {
    const parsed = this.#parsed.get(clientId);
    if (parsed === undefined || parsed.revision !== revision) return undefined;
    this.#parsed.delete(clientId);
    this.#parsed.set(clientId, parsed);
    return parsed.client;
  }

  /** Parses the record of a row and keeps the result if changes of the row can be detected. It is frozen, to be shared. */
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

/** A record as stored. `refreshMaxTtlSeconds` is null for no bound, and absent in records of an older version. */
type ClientRecord = Omit<Client, 'refreshMaxTtlSeconds'> & { readonly refreshMaxTtlSeconds?: number | null };

/**
 * Parses the record of a client. This or an older version of Hallpass wrote it, so its shape is trusted. In records from
 * before idle expiry, `refreshTtlSeconds` bounded a grant from its first token; it still does for those (ADR 41).
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
  // oxlint-disable-next-line no-unsafe-type-assertion -- it has no such member; a copy of a long record would cost time
  if (max === undefined) return record as Client;
  const { refreshMaxTtlSeconds: _, ...rest } = record;
  return rest;
}

/** Prints a client as its record; the inverse of `parseClient`. */
export function printClient(client: Client): string {
  const record: ClientRecord = { ...client, refreshMaxTtlSeconds: client.refreshMaxTtlSeconds ?? null };
  return JSON.stringify(record);
}

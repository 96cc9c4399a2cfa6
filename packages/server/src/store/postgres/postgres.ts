/**
 * The engine for many instances: PostgreSQL, or a database that speaks its protocol. All queries go to the primary, so that
 * a read sees everything acknowledged before it began, by any instance.
 *
 * The revocations of one process are committed in groups: each commit locks the one feed row that assigns positions, so
 * separate commits could only follow one another. Everything else runs in parallel over the pool.
 */
import type { Random } from '@hallpass/protocol';
import { eventIds } from '../event_id.ts';
import { GroupCommit } from './group_commit.ts';
import { ParsedClients } from '../parsed_clients.ts';
import { readsThrough } from '../reads.ts';
import type { PostgresAddress } from './address.ts';
import { Connections, DEADLINE_MS, isOwnFault } from './connections.ts';
import { migrate } from './migrations.ts';
import { DatabaseFailure } from './session.ts';
import type { RevokeRequest } from '../verbs/revocations.ts';
import type { Sql } from '../sql.ts';
import { StoreUnavailable, StoreUnusable, type IfMissing, type Store } from '../store.ts';
import * as verbs from '../verbs/verbs.ts';
import { Watchers } from '../watchers.ts';

/** Where and how to open a store in PostgreSQL. */
export interface PostgresOptions extends PostgresAddress {
  readonly random: Random;
  /** The PostgreSQL schema for the tables, created if missing. Default `public`. */
  readonly schema?: string;
  /** The most connections of this process. Default 10. */
  readonly connections?: number;
  /** What to do when the database holds no store. Default `make`. */
  readonly ifMissing?: IfMissing;
}

/**
 * Opens the store in this database and brings its schema up to date. Throws `StoreUnusable` when an operator has to change
 * something, and `StoreUnavailable` when the database cannot be reached now.
 */
export async function openPostgresStore(options: PostgresOptions): Promise<Store> {
  const { schema = 'public', connections: max = 10, random, ifMissing = 'make' } = options;
  const connections = new Connections({ ...options, schema, connections: max, nextEventId: eventIds() });
  try {
    await connections.checkServer();
    await migrate(connections, { schema, random, ifMissing });
  } catch (error) {
    await connections.close();
    throw whyNotOpened(error);
  }
  return storeOn(connections);
}

function storeOn(connections: Connections): Store {
  const read = <Result>(verb: (sql: Sql) => Promise<Result>) => connections.read(verb).catch(outage);
  const write = <Result>(verb: (sql: Sql) => Promise<Result>) => connections.write(verb).catch(outage);
  const transact = <Result>(verb: (sql: Sql) => Promise<Result>) => connections.transact(verb).catch(outage);
  const reads = readsThrough(read, new ParsedClients());
  const watchers = new Watchers(() => read(verbs.findFeedEnd));
  const gathering = new GroupCommit<RevokeRequest>({
    commit: (given) => transact((sql) => verbs.revokeBatch(sql, given)),
    isOwnFault,
    waitMs: DEADLINE_MS,
    tooLate: () => new StoreUnavailable(`The database did not commit within ${DEADLINE_MS} ms.`),
  });
  let closing = false;
  const gather = (given: RevokeRequest): Promise<void> =>
    closing ? Promise.reject(new StoreUnavailable('The store is closed.')) : gathering.add(given);

  return {
    ...reads,
    saveClient: (client, consequences) =>
      watchers.after(transact((sql) => verbs.saveClient(sql, client, consequences))),
    deleteClient: (clientId, consequences) =>
      watchers.after(transact((sql) => verbs.deleteClient(sql, clientId, consequences))),
    markSecretsUsed: (uses) => write((sql) => verbs.markSecretsUsed(sql, uses)),
    addKey: (key, unlessMadeAfter, event) => transact((sql) => verbs.addKey(sql, key, unlessMadeAfter, event)),
    removeKey: (keyId, consequences) => watchers.after(transact((sql) => verbs.removeKey(sql, keyId, consequences))),
    rewrapKey: (keyId, wrapped) => write((sql) => verbs.rewrapKey(sql, keyId, wrapped)),
    count: (counter) => write((sql) => verbs.count(sql, counter)),
    useOnce: (marks) => write((sql) => verbs.useOnce(sql, marks)),
    rotate: (rotation) => write((sql) => verbs.rotate(sql, rotation)),
    recordPredecessor: (shown) => transact((sql) => verbs.recordPredecessor(sql, shown)),
    revoke: (revocations, event) => watchers.after(gather({ revocations, event })),
    watchRevocations: (changed) => watchers.add(changed),
    askFollowers: () => watchers.after(write(verbs.askFollowers)),
    saveFollowers: (followers, aliveAfter) => write((sql) => verbs.saveFollowers(sql, followers, aliveAfter)),
    recordEvent: (event) => write((sql) => verbs.recordEvent(sql, event)),
    readClock: () => read(readClock),
    saveTime: (time) => write((sql) => verbs.saveTime(sql, time)),
    forgetExpired: (now, limit) => write((sql) => verbs.forgetExpired(sql, now, limit)),
    // Durability can be switched off on a running server, so that is checked as well.
    check: async () => {
      await connections.checkServer().catch(outage);
      await write(check);
    },
    close: async () => {
      closing = true;
      watchers.close();
      await gathering.drained();
      await connections.close();
    },
  };
}

async function readClock(sql: Sql): Promise<number> {
  const [row] = await sql.all('SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) AS now');
  return Number(row?.['now']);
}

async function check(sql: Sql): Promise<void> {
  await verbs.findFeedEnd(sql);
  await verbs.probe(sql);
}

/** A server that became unusable while we run may recover, so the caller gets an outage. */
function outage(cause: unknown): never {
  if (cause instanceof StoreUnavailable) throw cause;
  const message = cause instanceof StoreUnusable ? cause.message : 'The database holds unexpected data.';
  throw new StoreUnavailable(message, { cause });
}

/** Errors of the server, TLS or a pooler that only an operator can resolve, by code and message. A pooler has one code for all. */
const OPERATORS_MATTERS: readonly (readonly [error: RegExp, sentence: string])[] = [
  [/^28|^08P01 (?:.*authentication failed|no such user)/, 'The database rejects the credentials of Hallpass'],
  [/^3D000|^08P01 (?:database .* does not exist|no such database)/, 'The database does not exist'],
  [/^42501/, 'The role of Hallpass may not create tables in the database'],
  [/CERT|^ERR_TLS|^UNABLE_TO|^ERR_SSL/, 'The certificate of the database cannot be verified'],
  [
    /^08P01 unsupported startup parameter/,
    'The pooler in front of the database does not accept a parameter in the address',
  ],
];
/** The store needs transactions of several statements, and this mode has none. */
const STATEMENT_MODE =
  'The pooler in front of the database is in statement mode, which allows no transactions. ' +
  'Set pool_mode = transaction, or session.';

function whyNotOpened(error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  if (error instanceof StoreUnusable || !(cause instanceof DatabaseFailure)) return error;
  if (cause.message.includes('statement pooling mode')) return new StoreUnusable(STATEMENT_MODE, { cause });
  const known = OPERATORS_MATTERS.find(([pattern]) => pattern.test(`${cause.code} ${cause.message}`));
  if (known === undefined) return new StoreUnavailable(`The database cannot be reached: ${cause.message}.`, { cause });
  return new StoreUnusable(`${known[1]} (${cause.message}). Is HALLPASS_DATABASE_URL right?`, { cause });
}

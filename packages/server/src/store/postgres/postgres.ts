/**
 * The engine for many instances: PostgreSQL, or what speaks as it does. Everything is asked of the primary, so that a
 * read sees whatever was acknowledged before it began, by any instance.
 *
 * Revocations of one process are gathered: each commit of them holds the one row of the feed that gives out positions
 * in the order of commits, and so they can only follow one another; together they share that row and the commit.
 * Everything else runs side by side over the pool.
 */
import type { Random } from '@hallpass/protocol';
import { eventIds } from '../event_id.ts';
import { GroupCommit } from './group_commit.ts';
import { ParsedClients } from '../parsed_clients.ts';
import type { PostgresAddress } from './address.ts';
import { Connections, DEADLINE_MS, isOwnFault } from './connections.ts';
import { migrate } from './migrations.ts';
import { DatabaseFailure } from './session.ts';
import type { RevokeRequest } from '../verbs/revocations.ts';
import type { Sql } from '../sql.ts';
import { StoreUnavailable, StoreUnusable, type IfMissing, type Store } from '../store.ts';
import * as verbs from '../verbs/verbs.ts';
import { Watchers } from '../watchers.ts';

export interface PostgresOptions extends PostgresAddress {
  readonly random: Random;
  /** The namespace that the tables are in, made when it is not there. Default `public`. */
  readonly schema?: string;
  /** The most connections that this process has. Default 10. */
  readonly connections?: number;
  /** What to do with a database that holds no store. Default `make`. */
  readonly ifMissing?: IfMissing;
}

/**
 * Opens the store in this database, its schema brought up to date. Throws `StoreUnusable` for what an operator has to
 * change, `StoreUnavailable` when the database cannot be reached now.
 */
export async function openPostgresStore(options: PostgresOptions): Promise<Store> {
  const { schema = 'public', connections: max = 10, random, ifMissing = 'make' } = options;
  const connections = new Connections({ ...options, schema, connections: max, nextEventId: eventIds() });
  try {
    await connections.look();
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
  const parsed = new ParsedClients();
  const watchers = new Watchers(() => read(verbs.findFeedEnd));
  const revoking = async <Result>(written: Promise<Result>): Promise<Result> => {
    const result = await written;
    watchers.look();
    return result;
  };
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
    findClient: (clientId) => read((sql) => verbs.findClient(sql, clientId, parsed)),
    findIssueNotBefore: (clientId) => read((sql) => verbs.findIssueNotBefore(sql, clientId)),
    listClients: (page) => read((sql) => verbs.listClients(sql, page)),
    saveClient: (client, consequences) => revoking(transact((sql) => verbs.saveClient(sql, client, consequences))),
    deleteClient: (clientId, consequences) =>
      revoking(transact((sql) => verbs.deleteClient(sql, clientId, consequences))),
    isOriginListed: (origin) => read((sql) => verbs.isOriginListed(sql, origin)),
    markSecretsUsed: (uses) => write((sql) => verbs.markSecretsUsed(sql, uses)),
    findSecretUses: (clientId) => read((sql) => verbs.findSecretUses(sql, clientId)),
    loadKeys: () => read(verbs.loadKeys),
    addKey: (key, unlessMadeAfter, event) => transact((sql) => verbs.addKey(sql, key, unlessMadeAfter, event)),
    removeKey: (keyId, consequences) => revoking(transact((sql) => verbs.removeKey(sql, keyId, consequences))),
    rewrapKey: (keyId, wrapped) => write((sql) => verbs.rewrapKey(sql, keyId, wrapped)),
    countGrants: (now, clientId) => read((sql) => verbs.countGrants(sql, now, clientId)),
    countGrantsSealedBy: (keyId, now) => read((sql) => verbs.countGrantsSealedBy(sql, keyId, now)),
    count: (counter) => write((sql) => verbs.count(sql, counter)),
    useOnce: (marks) => write((sql) => verbs.useOnce(sql, marks)),
    findFamily: (grantId) => read((sql) => verbs.findFamily(sql, grantId)),
    rotate: (rotation) => write((sql) => verbs.rotate(sql, rotation)),
    recordPredecessor: (shown) => transact((sql) => verbs.recordPredecessor(sql, shown)),
    findRefreshSuspicions: (clientId) => read((sql) => verbs.findRefreshSuspicions(sql, clientId)),
    revoke: (revocations, event) => revoking(gather({ revocations, event })),
    isRevoked: (subject) => read((sql) => verbs.isRevoked(sql, subject)),
    readRevocations: (from) => read((sql) => verbs.readRevocations(sql, from)),
    watchRevocations: (changed) => watchers.add(changed),
    askFollowers: () => revoking(write(verbs.askFollowers)),
    saveFollowers: (followers, aliveAfter) => write((sql) => verbs.saveFollowers(sql, followers, aliveAfter)),
    countFollowers: (to) => read((sql) => verbs.countFollowers(sql, to)),
    recordEvent: (event) => write((sql) => verbs.recordEvent(sql, event)),
    listEvents: (page) => read((sql) => verbs.listEvents(sql, page)),
    readClock: () => read(readClock),
    findTime: () => read(verbs.findTime),
    saveTime: (time) => write((sql) => verbs.saveTime(sql, time)),
    forgetExpired: (now, limit) => write((sql) => verbs.forgetExpired(sql, now, limit)),
    // Also that the server still keeps what it acknowledges: that can be switched off while it runs.
    check: async () => {
      await connections.look().catch(outage);
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

/** A server that has become unusable while we ran may be usable again: to whoever asks now, it is away. */
function outage(cause: unknown): never {
  if (cause instanceof StoreUnavailable) throw cause;
  const message = cause instanceof StoreUnusable ? cause.message : 'The database does not hold what it should.';
  throw new StoreUnavailable(message, { cause });
}

/** What the server, TLS or a pooler says when an operator has to do something, and what that is. A pooler has one code for all. */
const OPERATORS_MATTERS: readonly (readonly [said: RegExp, sentence: string])[] = [
  [/^28|^08P01 (?:.*authentication failed|no such user)/, 'The database does not let Hallpass in'],
  [/^3D000|^08P01 (?:database .* does not exist|no such database)/, 'The database has not been made'],
  [/^42501/, 'The role of Hallpass may not make its tables in the database'],
  [/CERT|^ERR_TLS|^UNABLE_TO|^ERR_SSL/, 'The certificate of the database does not hold'],
  [
    /^08P01 unsupported startup parameter/,
    'The pooler in front of the database does not take a setting in the address',
  ],
];
/** A commit of several statements is all or nothing, and in this mode there is no such commit. */
const STATEMENT_MODE =
  'The pooler in front of the database is in statement mode, in which nothing can be written as a whole. ' +
  'Set pool_mode = transaction, or session.';

function whyNotOpened(error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  if (error instanceof StoreUnusable || !(cause instanceof DatabaseFailure)) return error;
  if (cause.message.includes('statement pooling mode')) return new StoreUnusable(STATEMENT_MODE, { cause });
  const known = OPERATORS_MATTERS.find(([said]) => said.test(`${cause.code} ${cause.message}`));
  if (known === undefined) return new StoreUnavailable(`The database cannot be reached: ${cause.message}.`, { cause });
  return new StoreUnusable(`${known[1]} (${cause.message}). Is HALLPASS_DATABASE_URL right?`, { cause });
}

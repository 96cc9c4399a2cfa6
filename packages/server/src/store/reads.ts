/** The operations that only read, the same for both engines. */
import type { ParsedClients } from './parsed_clients.ts';
import type { Sql } from './sql.ts';
import type { Store } from './store.ts';
import * as verbs from './verbs/verbs.ts';

type Reads = Pick<
  Store,
  | 'findClient'
  | 'findIssueNotBefore'
  | 'listClients'
  | 'isOriginListed'
  | 'findSecretUses'
  | 'loadKeys'
  | 'countGrants'
  | 'countGrantsSealedBy'
  | 'findFamily'
  | 'findRefreshSuspicions'
  | 'isRevoked'
  | 'readRevocations'
  | 'countFollowers'
  | 'listEvents'
  | 'findTime'
>;

/** Builds them on an engine's way to run a read. */
export function readsThrough(
  read: <Result>(verb: (sql: Sql) => Promise<Result>) => Promise<Result>,
  parsed: ParsedClients,
): Reads {
  return {
    findClient: (clientId) => read((sql) => verbs.findClient(sql, clientId, parsed)),
    findIssueNotBefore: (clientId) => read((sql) => verbs.findIssueNotBefore(sql, clientId)),
    listClients: (page) => read((sql) => verbs.listClients(sql, page)),
    isOriginListed: (origin) => read((sql) => verbs.isOriginListed(sql, origin)),
    findSecretUses: (clientId) => read((sql) => verbs.findSecretUses(sql, clientId)),
    loadKeys: () => read(verbs.loadKeys),
    countGrants: (now, clientId) => read((sql) => verbs.countGrants(sql, now, clientId)),
    countGrantsSealedBy: (keyId, now) => read((sql) => verbs.countGrantsSealedBy(sql, keyId, now)),
    findFamily: (grantId) => read((sql) => verbs.findFamily(sql, grantId)),
    findRefreshSuspicions: (clientId) => read((sql) => verbs.findRefreshSuspicions(sql, clientId)),
    isRevoked: (subject) => read((sql) => verbs.isRevoked(sql, subject)),
    readRevocations: (from) => read((sql) => verbs.readRevocations(sql, from)),
    countFollowers: (to) => read((sql) => verbs.countFollowers(sql, to)),
    listEvents: (page) => read((sql) => verbs.listEvents(sql, page)),
    findTime: () => read(verbs.findTime),
  };
}

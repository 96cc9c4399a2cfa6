/** Direct access to the tables in PostgreSQL, for backups and copies, with or without running servers. */
import { eventIds } from '../event_id.ts';
import type { PostgresOptions } from './postgres.ts';
import { Connections } from './connections.ts';
import type { Tables } from '../transfer/tables.ts';

/** How long a snapshot or a restore may take, in milliseconds: a day. */
const DEADLINE_MS = 24 * 3_600_000;

/** Opens the tables of a store whose schema is up to date. */
export function openPostgresTables(options: PostgresOptions): Tables {
  const connections = new Connections({
    ...options,
    schema: options.schema ?? 'public',
    connections: options.connections ?? 4,
    nextEventId: eventIds(),
  });
  return {
    snapshot: (work) => connections.snapshot(work, DEADLINE_MS),
    transact: (work) => connections.transact(work, DEADLINE_MS),
    close: () => connections.close(),
  };
}

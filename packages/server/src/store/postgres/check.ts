/** The PostgreSQL engine, opened for `store verify`. It checks as much as the database role may read. */
import { FAULTS_MAX, type Checkable, type Findings } from '../verify/findings.ts';
import { eventIds } from '../event_id.ts';
import { MIGRATIONS, newerSchema, olderSchema } from '../migrations.ts';
import type { PostgresOptions } from './postgres.ts';
import { Connections } from './connections.ts';
import { DatabaseFailure } from './session.ts';
import { StoreUnavailable, StoreUnusable } from '../store.ts';
import type { Progress } from '../transfer/tables.ts';

/** How long a whole check may take, in milliseconds: a day. */
const DEADLINE_MS = 24 * 3_600_000;
const UNDEFINED_TABLE = '42P01';

/** Opens a store for a check. Rejects with `StoreUnusable` when the database holds none, or one of another version. */
export async function openPostgresCheck(options: PostgresOptions): Promise<Checkable> {
  const schema = options.schema ?? 'public';
  const connections = new Connections({ ...options, schema, connections: 2, nextEventId: eventIds() });
  const read: Checkable['read'] = (work) => connections.snapshot(work, DEADLINE_MS);
  try {
    const version = await findVersion(read);
    if (version > MIGRATIONS.length) throw new StoreUnusable(newerSchema(version));
    if (version < MIGRATIONS.length) throw new StoreUnusable(olderSchema(version, 'the database'));
  } catch (error) {
    await connections.close();
    throw error;
  }
  return {
    read,
    checkEngine: (findings, progress) => checkIndexes(read, { schema, findings, progress }),
    close: () => connections.close(),
  };
}

async function findVersion(read: Checkable['read']): Promise<number> {
  try {
    const [row] = await read((sql) => sql.all('SELECT version FROM hallpass_schema WHERE one = 1'));
    return Number(row?.['version'] ?? 0);
  } catch (error) {
    const cause = error instanceof Error ? error.cause : undefined;
    if (!(cause instanceof DatabaseFailure) || cause.code !== UNDEFINED_TABLE) throw error;
    throw new StoreUnusable('There is no store in this database. Is HALLPASS_DATABASE_URL right?', { cause });
  }
}

interface Checking {
  readonly schema: string;
  readonly findings: Findings;
  readonly progress: Progress;
}

/** Uses amcheck, which reads each table and looks for each row in its indexes. */
async function checkIndexes(read: Checkable['read'], { schema, findings, progress }: Checking): Promise<void> {
  const [found] = await read((sql) =>
    sql.all(
      `SELECT p.oid::text AS function, n.nspname AS place,
              CASE WHEN has_function_privilege(p.oid, 'execute') THEN 1 ELSE 0 END AS allowed
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         JOIN pg_catalog.pg_depend d ON d.objid = p.oid AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'
         JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'amcheck'
        WHERE p.proname = 'bt_index_check' AND p.pronargs >= 2 ORDER BY p.pronargs LIMIT 1`,
    ),
  );
  if (found === undefined) {
    return findings.skip(
      'The indexes were not compared with the tables, because the database has no amcheck. A superuser can add it with: CREATE EXTENSION amcheck',
    );
  }
  if (found['allowed'] !== 1) {
    return findings.skip(
      'The indexes were not compared with the tables, because the role of Hallpass may not use amcheck. A superuser can allow it with: GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO that role',
    );
  }
  const check = `${quoted(String(found['place']))}.bt_index_check`;
  const indexes = await read((sql) =>
    sql.all(
      `SELECT i.indexrelid::text AS id, c.relname AS name FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_am a ON a.oid = c.relam
        WHERE n.nspname = ? AND a.amname = 'btree' AND i.indisvalid ORDER BY c.relname`,
      schema,
    ),
  );
  for (const { id, name } of indexes) {
    progress(`index ${String(name)}`, 0);
    await checkIndex(read, { text: `SELECT ${check}(${Number(id)}::regclass, true)`, name: String(name), findings });
    if (findings.faults.length >= FAULTS_MAX) return;
  }
}

async function checkIndex(
  read: Checkable['read'],
  { text, name, findings }: { readonly text: string; readonly name: string; readonly findings: Findings },
): Promise<void> {
  try {
    await read((sql) => sql.all(text));
  } catch (error) {
    if (!(error instanceof StoreUnavailable) || !(error.cause instanceof DatabaseFailure)) throw error;
    // amcheck reports damage with codes of its own (index_corrupted, data_corrupted). A lost connection is not a finding.
    if (!error.cause.code.startsWith('XX')) throw error;
    findings.add(`The index ${name}: ${error.cause.message}`);
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

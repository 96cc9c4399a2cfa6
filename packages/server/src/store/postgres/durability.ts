/**
 * Checks that a server keeps what it acknowledges. Weak settings are refused, not overridden: somebody switched durability
 * off for a role, a database or a server, on purpose or by mistake, and should know. `fsync` cannot be overridden anyway.
 */

/** The oldest supported major version. */
const VERSION_MIN = 13;

/** Queried at the start and by readiness checks. A setting that the engine does not have is null. */
export const SETTINGS = `SELECT ${[
  "current_setting('server_version_num', true) AS version",
  "current_setting('fsync', true) AS fsync",
  "current_setting('full_page_writes', true) AS full_page_writes",
  "current_setting('synchronous_commit', true) AS synchronous_commit",
  "current_setting('synchronous_standby_names', true) AS standbys",
  "current_setting('transaction_read_only', true) AS read_only",
  "CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END AS recovering",
  "to_regproc('aurora_version') IS NOT NULL AS aurora",
].join(', ')}`;

/** Queried in each transaction: a standby answers `on`. */
export const READABLE = 'SHOW transaction_read_only';
/**
 * Queried in each transaction that writes. The setting that is found is fixed for the rest of the transaction, so that a
 * reload of the server's settings cannot weaken it. `local` counts as `on` without standbys, and is refused with them.
 */
export const DURABLE = [
  'SHOW synchronous_commit',
  `SELECT ${[
    "current_setting('fsync', true) AS fsync",
    "current_setting('synchronous_standby_names', true) AS synchronous_standby_names",
    "CASE current_setting('synchronous_commit') WHEN 'local' THEN set_config('synchronous_commit', 'on', true) ELSE set_config('synchronous_commit', current_setting('synchronous_commit'), true) END",
  ].join(', ')}`,
].join('; ');

/** The settings of a server that durability depends on. Undefined: the engine has no such setting. */
export interface DurabilitySettings {
  /** The major version. */
  readonly version: number;
  readonly fsync: string | undefined;
  readonly fullPageWrites: string | undefined;
  readonly synchronousCommit: string | undefined;
  readonly standbys: string;
  readonly readOnly: boolean;
  readonly recovering: boolean;
}

/** Reads the row of `SETTINGS`. */
export function settingsOf(row: Readonly<Record<string, unknown>> | undefined): DurabilitySettings {
  return {
    version: Math.floor(Number(textOf(row?.['version']) ?? 0) / 10_000),
    fsync: textOf(row?.['fsync']),
    // Aurora's storage cannot tear pages, so it runs with this off.
    fullPageWrites: row?.['aurora'] === true ? undefined : textOf(row?.['full_page_writes']),
    synchronousCommit: textOf(row?.['synchronous_commit']),
    standbys: textOf(row?.['standbys']) ?? '',
    readOnly: row?.['read_only'] === 'on',
    recovering: row?.['recovering'] === 'on',
  };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** Why a server with these settings cannot hold the store, as a sentence; undefined when it can. */
export function whyUnusable(settings: DurabilitySettings): string | undefined {
  const { version, fullPageWrites, readOnly, recovering } = settings;
  if (version < VERSION_MIN) {
    return `The database is PostgreSQL ${version}; Hallpass needs ${VERSION_MIN} or later.`;
  }
  if (recovering) return 'The database is a standby: HALLPASS_DATABASE_URL must point to the primary.';
  if (readOnly) return 'The database is read only (default_transaction_read_only = on).';
  if (fullPageWrites === 'off') return noPromise('full_page_writes = off', 'full_page_writes');
  return whyNotKept(settings);
}

/** The same check, for what `READABLE` and `DURABLE` return inside a transaction. */
export function whyUnusableNow(shown: Readonly<Record<string, unknown>>): string | undefined {
  if (shown['transaction_read_only'] !== 'off') {
    return 'The database is read only, or a standby: HALLPASS_DATABASE_URL must point to the primary.';
  }
  return whyNotKept({
    fsync: textOf(shown['fsync']),
    synchronousCommit: textOf(shown['synchronous_commit']),
    standbys: textOf(shown['synchronous_standby_names']) ?? '',
  });
}

function whyNotKept({
  fsync,
  synchronousCommit,
  standbys,
}: Pick<DurabilitySettings, 'fsync' | 'synchronousCommit' | 'standbys'>): string | undefined {
  if (fsync === 'off') return noPromise('fsync = off', 'fsync');
  if (synchronousCommit === 'off') return noPromise('synchronous_commit = off', 'synchronous_commit');
  if (synchronousCommit === 'local' && standbys !== '') {
    return noPromise('synchronous_commit = local beside synchronous_standby_names', 'synchronous_commit');
  }
  return undefined;
}

function noPromise(found: string, setting: string): string {
  return (
    `The database cannot promise to keep what it acknowledges (${found}). ` +
    `Set ${setting} = on for its server, database and role.`
  );
}

/** The schema of the store, and the rows of a new one. */
import { PLACEHOLDER_CLIENT_ID } from './verbs/clients.ts';
import type { Client } from './store.ts';

/**
 * The schema, as the steps that led to it. Steps only go forward, and a step is never edited once it has shipped. Each
 * item is one statement of portable SQL. Servers of the previous version keep running during a step: it may add what they
 * do not know and remove what they no longer use, but it never changes the meaning of a table or a column.
 */
export const MIGRATIONS: readonly (readonly string[])[] = [
  [
    `CREATE TABLE clients (
       client_id TEXT PRIMARY KEY,
       version   BIGINT NOT NULL,
       record    TEXT NOT NULL
     )`,
    `CREATE TABLE client_origins (
       origin    TEXT NOT NULL,
       client_id TEXT NOT NULL,
       PRIMARY KEY (origin, client_id)
     )`,
    `CREATE INDEX client_origins_by_client ON client_origins (client_id)`,
    `CREATE TABLE secret_uses (
       client_id TEXT NOT NULL,
       secret_id TEXT NOT NULL,
       used_at   BIGINT NOT NULL,
       PRIMARY KEY (client_id, secret_id)
     )`,
    `CREATE TABLE keys (
       key_id     TEXT PRIMARY KEY,
       key_use    TEXT NOT NULL,
       algorithm  TEXT NOT NULL,
       wrapped    TEXT NOT NULL,
       created_at  BIGINT NOT NULL,
       active_from BIGINT NOT NULL
     )`,
    `CREATE TABLE used_once (
       space      TEXT NOT NULL,
       id         TEXT NOT NULL,
       expires_at BIGINT NOT NULL,
       PRIMARY KEY (space, id)
     )`,
    `CREATE INDEX used_once_by_end ON used_once (expires_at)`,
    `CREATE TABLE families (
       grant_id   TEXT PRIMARY KEY,
       client_id  TEXT NOT NULL,
       generation BIGINT NOT NULL,
       rotated_at BIGINT NOT NULL,
       key_id     TEXT NOT NULL,
       expires_at BIGINT NOT NULL
     )`,
    `CREATE INDEX families_by_end ON families (expires_at)`,
    `CREATE TABLE revocations (
       position    BIGINT PRIMARY KEY,
       kind        TEXT NOT NULL,
       subject     TEXT NOT NULL,
       before_date BIGINT,
       expires_at  BIGINT NOT NULL,
       keep_until  BIGINT NOT NULL
     )`,
    `CREATE INDEX revocations_by_subject ON revocations (subject, kind, before_date)`,
    `CREATE INDEX revocations_by_end ON revocations (keep_until)`,
    `CREATE TABLE feed (
       one           BIGINT PRIMARY KEY,
       feed_id       TEXT NOT NULL,
       last_position BIGINT NOT NULL
     )`,
    `CREATE TABLE events (
       event_id  BIGINT PRIMARY KEY,
       at        BIGINT NOT NULL,
       kind      TEXT NOT NULL,
       client_id TEXT,
       grant_id  TEXT,
       detail    TEXT
     )`,
    `CREATE INDEX events_by_time ON events (at)`,
  ],
  [
    `CREATE TABLE counters (
       name       TEXT NOT NULL,
       period     BIGINT NOT NULL,
       used       BIGINT NOT NULL,
       expires_at BIGINT NOT NULL,
       PRIMARY KEY (name, period)
     )`,
    `CREATE INDEX counters_by_end ON counters (expires_at)`,
  ],
  [
    // Each subject has one entry. The index leaves the bound out; reading the row for it is cheap.
    `CREATE UNIQUE INDEX revocations_of_subject ON revocations (subject, kind)`,
    `DROP INDEX IF EXISTS revocations_by_subject`,
  ],
  [
    // No index by time: there are few rows, each is written every few seconds, and an index would make that expensive.
    `CREATE TABLE followers (
       client_id   TEXT NOT NULL,
       follower_id TEXT NOT NULL,
       position    BIGINT NOT NULL,
       seen_at     BIGINT NOT NULL,
       PRIMARY KEY (client_id, follower_id)
     )`,
    // In its own table, because a caller that asks must not wait for the lock of the feed row.
    `CREATE TABLE follower_calls (
       one   BIGINT PRIMARY KEY,
       calls BIGINT NOT NULL
     )`,
  ],
  [
    // A store that went back in time reuses positions; the commit id tells the histories apart. Empty in rows of older
    // versions. `last_commit` is POSITION-COMMIT, so that it does not count for entries that an older server added.
    `ALTER TABLE revocations ADD COLUMN commit_id TEXT`,
    `ALTER TABLE feed ADD COLUMN last_commit TEXT`,
    // Seconds of the time that the store trusts: see `verbs/feed.ts`.
    `ALTER TABLE revocations ADD COLUMN feed_until BIGINT`,
    `CREATE TABLE store_time (
       one     BIGINT PRIMARY KEY,
       seen_at BIGINT NOT NULL,
       trusted BIGINT NOT NULL
     )`,
  ],
  [`ALTER TABLE clients ADD COLUMN revision TEXT`],
  [
    // A step of its own, so that no writer waits for the whole table. See `verbs/clients.ts`; the placeholder needs none.
    `UPDATE clients SET revision = version || '-' || random() || '-' || random() WHERE client_id <> ''`,
    // Covers all of a row but its record: in the row, SQLite would read through a long record to reach the revision.
    `CREATE INDEX clients_by_revision ON clients (client_id, version, revision)`,
  ],
  [
    `ALTER TABLE families ADD COLUMN shown_generation BIGINT NOT NULL DEFAULT 0`,
    `ALTER TABLE families ADD COLUMN shown_in_a_row BIGINT NOT NULL DEFAULT 0`,
    `ALTER TABLE families ADD COLUMN suspected_generation BIGINT NOT NULL DEFAULT 0`,
    // Not in the client's record, where each refresh would make an operator's concurrent change fail.
    `CREATE TABLE refresh_suspicions (
       client_id     TEXT PRIMARY KEY,
       suspicions    BIGINT NOT NULL,
       last_at       BIGINT NOT NULL,
       last_reason   TEXT NOT NULL,
       last_grant_id TEXT NOT NULL
     )`,
  ],
  [
    // When the newest generation ends. NULL: a server that knew no idle expiry rotated the family first, and its end
    // stays (ADR 41). `expires_at` goes on to say until when the row is kept: now the latest end of any generation.
    `ALTER TABLE families ADD COLUMN newest_expires_at BIGINT`,
  ],
  [
    // Each value that an answer rests on stands in an index as well, and a client's record has a digest: so that
    // `store verify` can find a bit that was flipped on the disk (ADR 35).
    `CREATE INDEX revocations_whole ON revocations (keep_until, before_date, expires_at, commit_id, feed_until)`,
    `DROP INDEX IF EXISTS revocations_by_end`,
    `CREATE INDEX families_whole ON families (expires_at, newest_expires_at, client_id, generation, rotated_at, key_id,
                                              shown_generation, shown_in_a_row, suspected_generation)`,
    `DROP INDEX IF EXISTS families_by_end`,
    `CREATE INDEX keys_whole ON keys (key_id, key_use, algorithm, created_at, active_from)`,
    `CREATE INDEX store_time_whole ON store_time (one, seen_at, trusted)`,
    `ALTER TABLE clients ADD COLUMN digest TEXT`,
  ],
];

/** Why a store that a newer version wrote is refused. */
export function newerSchema(version: number): string {
  return (
    `The store was written by a newer Hallpass (schema ${version}; this one knows ${MIGRATIONS.length}). ` +
    'Start that version instead.'
  );
}

/** Why a store that an older version wrote is not read by a command that changes nothing. */
export function olderSchema(version: number, where: string): string {
  return (
    `The store is of an older Hallpass (schema ${version}; this one has ${MIGRATIONS.length}): ${where}. ` +
    'Start this version on it once, or use the version that wrote it.'
  );
}

/** The record that is read in place of an unknown client's. It is about as long as a real one, so that both take as long. */
const PLACEHOLDER_RECORD: Client = {
  clientId: PLACEHOLDER_CLIENT_ID,
  name: 'nobody',
  mode: 'live',
  authentication: 'client_secret',
  secrets: [{ secretId: 'AAAAAAAA', keyId: 'AAAAAAAAAAA', hash: 'A'.repeat(43), createdAt: 0 }],
  publicKeys: [],
  scopes: ['/nothing.read'],
  defaultScopes: [],
  audiences: [],
  resourceServerFor: [],
  origins: [],
  requireOrigin: false,
  refresh: true,
  requireDpop: false,
  accessTokenFormat: 'jwt',
  disabled: true,
  createdAt: 0,
  updatedAt: 0,
  version: 0,
};

/** The rows of a new store. `feedId`: lower-case letters and digits, different for each store. */
export function firstRows(
  feedId: string,
): readonly { readonly text: string; readonly values: readonly (string | number)[] }[] {
  return [
    { text: 'INSERT INTO feed (one, feed_id, last_position) VALUES (1, ?, 0)', values: [feedId] },
    {
      text: 'INSERT INTO clients (client_id, version, record) VALUES (?, 0, ?)',
      values: [PLACEHOLDER_CLIENT_ID, JSON.stringify(PLACEHOLDER_RECORD)],
    },
  ];
}

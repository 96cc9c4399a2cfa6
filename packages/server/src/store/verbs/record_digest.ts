/**
 * A digest stored with the record of each client. All other values are also in an index, which `store verify` compares
 * with the table; a record is too long for an index.
 */
import { createHash } from 'node:crypto';
import type { SqlRow } from '../sql.ts';

/** The columns of a `clients` row that the digest covers. */
export interface RecordRow {
  readonly clientId: string;
  readonly version: number;
  readonly record: string;
}

/** Starts with the version: an older server, which writes no digests, then leaves one that visibly belongs to another version. */
export function digestOf({ clientId, version, record }: RecordRow): string {
  const sha256 = createHash('sha256')
    .update(JSON.stringify([clientId, version, record]))
    .digest('base64url');
  return `${version}-${sha256}`;
}

/** Reads the digested columns from a row. */
export function recordRowOf(row: SqlRow): RecordRow {
  return {
    clientId: String(row['client_id']),
    version: Number(row['version']),
    record: String(row['record']),
  };
}

/** Compares a row with its digest. `none`: an older version wrote the row last, without a digest. */
export function judgeDigest(row: SqlRow): 'fits' | 'differs' | 'none' {
  const { digest } = row;
  if (typeof digest !== 'string' || !digest.startsWith(`${String(row['version'])}-`)) return 'none';
  return digest === digestOf(recordRowOf(row)) ? 'fits' : 'differs';
}

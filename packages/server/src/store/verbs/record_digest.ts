/** The digest beside the record of a client: a record is too long for an index, which is what guards all other values. */
import { createHash } from 'node:crypto';
import type { SqlRow } from '../sql.ts';

/** A row of `clients`, as far as the digest is of it. */
export interface RecordRow {
  readonly clientId: string;
  readonly version: number;
  readonly record: string;
}

/** Begins with the version, so that a server of an older schema, which writes no digests, leaves one that does not fit. */
export function digestOf({ clientId, version, record }: RecordRow): string {
  const sha256 = createHash('sha256')
    .update(JSON.stringify([clientId, version, record]))
    .digest('base64url');
  return `${version}-${sha256}`;
}

export function recordRowOf(row: SqlRow): RecordRow {
  return {
    clientId: String(row['client_id']),
    version: Number(row['version']),
    record: String(row['record']),
  };
}

/** `none`: the row has no digest, since an older version wrote it last. */
export function judgeDigest(row: SqlRow): 'fits' | 'differs' | 'none' {
  const { digest } = row;
  if (typeof digest !== 'string' || !digest.startsWith(`${String(row['version'])}-`)) return 'none';
  return digest === digestOf(recordRowOf(row)) ? 'fits' : 'differs';
}

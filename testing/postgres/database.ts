/**
 * The same tests on PostgreSQL: with HALLPASS_TEST_DATABASE, the address of a cluster where databases may be made, each
 * folder of a test stands for a database of its own.
 */
import { basename } from 'node:path';
import { Client, DatabaseError, escapeIdentifier } from 'pg';

const DUPLICATE_DATABASE = '42P04';

/** The settings of a server on the database of this folder; none on the embedded store. */
export async function databaseSettings(folder: string): Promise<Readonly<Record<string, string>>> {
  const cluster = process.env['HALLPASS_TEST_DATABASE'];
  if (cluster === undefined) return {};
  const name = basename(folder);
  const client = new Client(cluster);
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${escapeIdentifier(name)}`);
  } catch (error) {
    // The folder, and so its database, is another server's as well.
    if (!(error instanceof DatabaseError && error.code === DUPLICATE_DATABASE)) throw error;
  } finally {
    await client.end();
  }
  const url = new URL(cluster);
  url.pathname = `/${name}`;
  // On a database the issuer does not follow the port.
  return { HALLPASS_DATABASE_URL: url.href, HALLPASS_ISSUER: 'http://127.0.0.1:8080' };
}

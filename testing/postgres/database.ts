/**
 * Runs the same tests on PostgreSQL. HALLPASS_TEST_DATABASE is the address of a cluster in which databases may be created;
 * each data folder of a test then stands for its own database.
 */
import { basename } from 'node:path';
import { Client, DatabaseError, escapeIdentifier } from 'pg';

const DUPLICATE_DATABASE = '42P04';

/** The settings for a server on the database of this folder. None when the tests run on the embedded store. */
export async function databaseSettings(folder: string): Promise<Readonly<Record<string, string>>> {
  const cluster = process.env['HALLPASS_TEST_DATABASE'];
  if (cluster === undefined) return {};
  const name = basename(folder);
  const client = new Client(cluster);
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${escapeIdentifier(name)}`);
  } catch (error) {
    // Another server shares this folder, and so its database.
    if (!(error instanceof DatabaseError && error.code === DUPLICATE_DATABASE)) throw error;
  } finally {
    await client.end();
  }
  const url = new URL(cluster);
  url.pathname = `/${name}`;
  // On a database the issuer cannot default to the port, so it is set.
  return { HALLPASS_DATABASE_URL: url.href, HALLPASS_ISSUER: 'http://127.0.0.1:8080' };
}

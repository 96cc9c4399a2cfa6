/** The address of a database: what it means for TLS, and the password that must never be printed. */
import { isLoopback } from '@hallpass/protocol';
import { Client, type PoolConfig } from 'pg';
import { StoreUnusable } from '../store.ts';
import { passwordOf } from './password.ts';

/** Where the database is, and how its certificate is verified. */
export interface PostgresAddress {
  readonly url: string;
  /** `ca`: the certificate authority that must have signed the server's certificate, as PEM. TLS is then required. */
  readonly tls?: { readonly ca: string } | undefined;
  /** Whether a server on another machine may be used without verified TLS. Default: `refuse`. */
  readonly plaintext?: 'refuse' | 'allow' | undefined;
}

/**
 * The driver treats these modes like `verify-full` and verifies the certificate and its name. They are rewritten to
 * `verify-full`, so that this stays true if the driver changes.
 */
const VERIFYING = new Set(['prefer', 'require', 'verify-ca', 'verify-full']);

/**
 * The driver's configuration, and the secret that must never be printed. Throws `StoreUnusable`, whose message does not
 * contain the address.
 */
export function connectionOf(address: PostgresAddress): { readonly config: PoolConfig; readonly secret: string } {
  const connection = readAddress(address);
  if (address.plaintext !== 'allow') assertProtected(connection.config);
  return connection;
}

/**
 * Refuses unprotected connections to another machine: an attacker on the network could read hashes of secrets or change
 * which keys are disabled. It looks at what the driver makes of the address, not at the address itself, because the driver
 * also reads the environment and accepts a host in several places.
 */
function assertProtected(config: PoolConfig): void {
  const { host, ssl }: { readonly host: string; readonly ssl: unknown } = clientOf(config);
  if (host.startsWith('/') || isLoopback(host)) return;
  const isVerified = ssl === true || (isOptions(ssl) && ssl['rejectUnauthorized'] !== false);
  if (isVerified) return;
  throw new StoreUnusable(
    'The database is on another machine, and nothing protects the connection: add sslmode=verify-full to its address. ' +
      'If nobody else can reach the network in between, set HALLPASS_DATABASE_PLAINTEXT=allow.',
  );
}

function isOptions(ssl: unknown): ssl is Readonly<Record<string, unknown>> {
  return typeof ssl === 'object' && ssl !== null;
}

/** A client that never connects. */
function clientOf(config: PoolConfig): Client {
  try {
    return new Client(config);
  } catch {
    // The cause is left out, because it may contain the address.
    throw new StoreUnusable(
      'The address of the database, or a file that it names, cannot be read (HALLPASS_DATABASE_URL).',
    );
  }
}

function readAddress({ url, tls }: PostgresAddress): { readonly config: PoolConfig; readonly secret: string } {
  if (!URL.canParse(url))
    throw new StoreUnusable('The address of the database cannot be read (HALLPASS_DATABASE_URL).');
  const address = new URL(url);
  const secret = passwordOf(address);
  const mode = address.searchParams.get('sslmode');
  if (mode !== null && VERIFYING.has(mode)) address.searchParams.set('sslmode', 'verify-full');
  if (tls === undefined) return { config: { connectionString: address.href }, secret };
  if (mode !== null && !VERIFYING.has(mode)) {
    throw new StoreUnusable(
      `A certificate authority is configured for the database, but sslmode=${mode} would not use it.`,
    );
  }
  // The driver would prefer the TLS parameters in the address to the ones given here.
  for (const name of ['ssl', 'sslmode', 'sslrootcert']) address.searchParams.delete(name);
  return { config: { connectionString: address.href, ssl: { ca: tls.ca } }, secret };
}

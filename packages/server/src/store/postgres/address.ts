import { isLoopback } from '@hallpass/protocol';
import { Client, type PoolConfig } from 'pg';
import { StoreUnusable } from '../store.ts';

/** Where the database is, and how its certificate is judged. */
export interface PostgresAddress {
  readonly url: string;
  /** `ca`: the authority that the server's certificate must be of, as PEM. TLS is then required. */
  readonly tls?: { readonly ca: string } | undefined;
  /** Whether a server on another machine may be reached without TLS that is verified. Default: `refuse`. */
  readonly plaintext?: 'refuse' | 'allow' | undefined;
}

/** These check the certificate and its name, as `verify-full` does: said so, it stays so whatever a driver takes them for. */
const VERIFYING = new Set(['prefer', 'require', 'verify-ca', 'verify-full']);

/** Whether there is a password in an address. Text that is no address has none. */
export function hasPassword(url: string): boolean {
  return URL.canParse(url) && secretOf(new URL(url)) !== '';
}

/** What the driver needs. The secret is what must never be printed. Throws `StoreUnusable`, which does not name the address. */
export function connectionOf(address: PostgresAddress): { readonly config: PoolConfig; readonly secret: string } {
  const connection = readAddress(address);
  if (address.plaintext !== 'allow') assertProtected(connection.config);
  return connection;
}

/**
 * Whoever is between here and another machine must not read or change what passes: hashes of secrets, and who is
 * disabled. Judged by what the driver makes of the address, not by what it looks like: it reads the environment too, and
 * takes a host from more than one place.
 */
function assertProtected(config: PoolConfig): void {
  const { host, ssl }: { readonly host: string; readonly ssl: unknown } = clientOf(config);
  if (host.startsWith('/') || isLoopback(host)) return;
  const isVerified = ssl === true || (isOptions(ssl) && ssl['rejectUnauthorized'] !== false);
  if (isVerified) return;
  throw new StoreUnusable(
    'The database is on another machine, and nothing protects the way there: put sslmode=verify-full into its address. ' +
      'Where the network in between is yours alone, say so: HALLPASS_DATABASE_PLAINTEXT=allow.',
  );
}

function isOptions(ssl: unknown): ssl is Readonly<Record<string, unknown>> {
  return typeof ssl === 'object' && ssl !== null;
}

/** A client that is not connected. */
function clientOf(config: PoolConfig): Client {
  try {
    return new Client(config);
  } catch {
    // Not the cause: it may repeat the address.
    throw new StoreUnusable(
      'The address of the database, or a file that it names, cannot be read (HALLPASS_DATABASE_URL).',
    );
  }
}

function readAddress({ url, tls }: PostgresAddress): { readonly config: PoolConfig; readonly secret: string } {
  if (!URL.canParse(url))
    throw new StoreUnusable('The address of the database cannot be read (HALLPASS_DATABASE_URL).');
  const address = new URL(url);
  const secret = secretOf(address);
  const mode = address.searchParams.get('sslmode');
  if (mode !== null && VERIFYING.has(mode)) address.searchParams.set('sslmode', 'verify-full');
  if (tls === undefined) return { config: { connectionString: address.href }, secret };
  if (mode !== null && !VERIFYING.has(mode)) {
    throw new StoreUnusable(`An authority for the database is given, and sslmode=${mode} would not ask it.`);
  }
  // The driver would let what the address says of TLS take the place of what is given here.
  for (const name of ['ssl', 'sslmode', 'sslrootcert']) address.searchParams.delete(name);
  return { config: { connectionString: address.href, ssl: { ca: tls.ca } }, secret };
}

function secretOf(address: URL): string {
  const given = address.searchParams.get('password') ?? address.password;
  try {
    return decodeURIComponent(given);
  } catch {
    return given;
  }
}

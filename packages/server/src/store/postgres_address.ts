import type { PoolConfig } from 'pg';
import { StoreUnusable } from './store.ts';

/** Where the database is, and how its certificate is judged. */
export interface PostgresAddress {
  readonly url: string;
  /** `ca`: the authority that the server's certificate must be of, as PEM. TLS is then required. */
  readonly tls?: { readonly ca: string } | undefined;
}

/** These check the certificate and its name, as `verify-full` does: said so, it stays so whatever a driver takes them for. */
const VERIFYING = new Set(['prefer', 'require', 'verify-ca', 'verify-full']);

/** What the driver needs. The secret is what must never be printed. Throws `StoreUnusable`, which does not name the address. */
export function connectionOf({ url, tls }: PostgresAddress): { readonly config: PoolConfig; readonly secret: string } {
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

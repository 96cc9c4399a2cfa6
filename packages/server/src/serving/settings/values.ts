/** Parsers for the text of a setting. Each returns undefined for a text that it does not accept. */
import { isIP } from 'node:net';
import { parseHostName } from '../../http/operator_hosts.ts';

/** What a valid database address is, to end the sentence `X must be ...`. */
export const DATABASE_URL_MUST =
  'an address such as postgres://hallpass:PASSWORD@db.example.com/hallpass?sslmode=verify-full, where @ : / ? # and % in a ' +
  'name or password are written %40 %3A %2F %3F %23 and %25';

/**
 * Parses the address of a database. It refuses a password with an unescaped `#`, `/` or `?`: a URL parser would cut it
 * there, a piece of the password would become the host or the database name, and every error that names them would show it.
 */
export function parseDatabaseUrl(text: string): string | undefined {
  const [, authority, rest = ''] = /^postgres(?:ql)?:\/\/([^/?#\\\s]*)([^#\\\s]*)$/.exec(text) ?? [];
  if (authority === undefined || rest.includes('@') || !URL.canParse(text)) return undefined;
  return isEscaped(authority) && isEscaped(rest) ? text : undefined;
}

/** Whether each `%` begins an escape of UTF-8 (RFC 3986 §2.1). */
function isEscaped(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** One to four keys: the current one and those it replaces. */
const MASTER_KEYS = /^[A-Za-z0-9_-]{43}(?:\s+[A-Za-z0-9_-]{43}){0,3}$/;

/** Parses master keys, 43 characters of base64url each, separated by white space. */
export function parseMasterKeys(text: string): string | undefined {
  return MASTER_KEYS.test(text) ? text : undefined;
}

/** Parses host names, separated by commas, without ports. */
export function parseHosts(text: string): readonly string[] | undefined {
  const hosts = text.split(',').map((host) => host.trim());
  const parsed = hosts.flatMap((host) => parseHostName(host) ?? []);
  return parsed.length === hosts.length ? parsed : undefined;
}

/** Parses IP addresses and networks (CIDR), separated by commas. */
export function parseProxies(text: string): readonly string[] | undefined {
  const proxies = text.split(',').map((proxy) => proxy.trim());
  const good = proxies.every((proxy) => {
    const [address = '', prefix, ...more] = proxy.split('/');
    const family = isIP(address);
    const bits = prefix === undefined ? 0 : /^[0-9]{1,3}$/.test(prefix) ? Number(prefix) : Infinity;
    return family !== 0 && bits <= (family === 4 ? 32 : 128) && more.length === 0;
  });
  return good ? proxies : undefined;
}

/** Parses a port, 0 to 65535. */
export function parsePort(text: string): number | undefined {
  return /^[0-9]{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

/** Makes a parser of whole numbers from `min` to `max`. */
export function wholeNumber(min: number, max: number): (text: string) => number | undefined {
  return (text) => (/^[0-9]{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined);
}

/** An IP address to listen on, without brackets. */
export function parseIpAddress(text: string): string | undefined {
  const address = text.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) === 0 || address.includes('%') ? undefined : address;
}

/** Network addresses: which of them are this machine, and by what a limit tells callers apart. */

/** `localhost` and the names below it (RFC 6761 §6.3), 127.0.0.0/8 (RFC 1122 §3.2.1.3) and ::1 (RFC 4291 §2.5.3). */
const LOOPBACK = /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.[0-9]{1,3}){3}|::1|\[::1\])$/i;

/** Whether a host name or an address, as a URL or a socket writes it, is this machine. What goes there passes no network. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

const SERVER_URL = /^https?:\/\/[^\s/?#@\\]+(?:\/[^\s?#\\]*)?$/i;

/**
 * Whether a value looks like the address of a server: http or https, a host, and perhaps a port and a path. `new URL`
 * forgives what nobody means (white space, backslashes, a missing slash, an empty user); this does not. The caller still
 * has to ask `URL.canParse`, which knows hosts and ports.
 */
export function isServerUrl(value: unknown): value is string {
  return typeof value === 'string' && SERVER_URL.test(value);
}

/** An IPv4 address, also one mapped to IPv6 (RFC 4291 §2.5.5.2), and without the port that some proxies put behind it. */
const IPV4 = /^(?:::ffff:)?((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?::[0-9]+)?$/i;

/** What a limit counts an address by: IPv4 as it is; IPv6 by its /64, however it is written, since whoever has one address there has 2^64. */
export function networkOf(address: string): string {
  const [, ipv4] = IPV4.exec(address) ?? [];
  if (ipv4 !== undefined) return ipv4;
  if (!address.includes(':') || address.includes('.')) return address;
  const [head = '', tail] = address.replace(/^\[(.*)\](?::[0-9]+)?$/, '$1').split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - groups.length - rest.length;
  const all = [...groups, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...rest];
  return all
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16))
    .join(':');
}

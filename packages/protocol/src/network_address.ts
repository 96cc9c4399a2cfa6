/** Network addresses: which belong to this machine, and how limits tell callers apart. */

/** `localhost`, 127.0.0.0/8 (RFC 1122 §3.2.1.3) and ::1 (RFC 4291 §2.5.3). */
const LOOPBACK = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|::1|\[::1\])$/i;

/** Whether a host name or address, as a URL or a socket writes it, is this machine. What is sent there crosses no network. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** Of 127.0.0.0/8 only the one address: nothing of ours listens on another. */
const PLAINTEXT_HOST = /^(?:localhost|127\.0\.0\.1|\[?::1\]?)$/;

/** Whether a server whose issuer has this host may be reached without TLS: it is on this machine. `host` as `URL` writes it. */
export function isPlaintextHost(host: string): boolean {
  return PLAINTEXT_HOST.test(host);
}

const BELOW_LOCALHOST = /^(?:[a-z0-9-]+\.)+localhost$/;

/**
 * Whether a client may send a secret to this host without TLS: `isPlaintextHost`, or a name below `localhost`, which
 * resolvers keep on this machine (RFC 6761 §6.3). A server must not judge its own addresses by it.
 */
export function isPlaintextTarget(host: string): boolean {
  return isPlaintextHost(host) || BELOW_LOCALHOST.test(host);
}

const SERVER_URL = /^https?:\/\/[^\s/?#@\\]+(?:\/[^\s?#\\]*)?$/i;

/**
 * Whether a value has the form of a server's URL: http or https, a host, and perhaps a port and a path. Credentials, a
 * query, a fragment, white space and backslashes are refused; `new URL` forgives most of these. Also call
 * `URL.canParse`, which checks host and port.
 */
export function isServerUrl(value: unknown): value is string {
  return typeof value === 'string' && SERVER_URL.test(value);
}

/** An IPv4 address, perhaps mapped to IPv6 (RFC 4291 §2.5.5.2), perhaps with the port that some proxies append. */
const IPV4 = /^(?:::ffff:)?((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?::[0-9]+)?$/i;

/**
 * What a limit counts an address as: an IPv4 address itself, an IPv6 address by its /64, in any spelling. A caller with one
 * IPv6 address has 2^64 of them.
 */
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

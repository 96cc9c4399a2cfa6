/** Network addresses as callers are told apart by them: in limits, here and in guards. */

/** An IPv4 address, also one mapped to IPv6 (RFC 4291 §2.5.5.2), and without the port that some proxies put behind it. */
const IPV4 = /^(?:::ffff:)?((?:[0-9]{1,3}\.){3}[0-9]{1,3})(?::[0-9]+)?$/i;

/** Whoever has one IPv6 address has 2^64 of them: they are counted by the network, /64, however it is written. */
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

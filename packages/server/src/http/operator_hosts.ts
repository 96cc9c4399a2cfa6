/**
 * Which host names the operator listener answers to. A web page can make its own domain resolve to 127.0.0.1 (DNS rebinding)
 * and would then read what is meant for this machine's operator. But it cannot choose the `Host` header, which still names
 * its domain.
 */
import { isLoopback } from '@hallpass/protocol';

/** The characters of a `Host` header: no user, no path, no percent-encoding. */
const HOST = /^[A-Za-z0-9.:[\]_-]+$/;

/** Parses a host, with or without a port, into the form of URLs: lower case, IPv6 addresses in brackets. */
function parseHost(text: string): string | undefined {
  if (!HOST.test(text) || !URL.canParse(`http://${text}`)) return undefined;
  return new URL(`http://${text}`).hostname;
}

/** Parses a host name from the settings. Returns undefined for an invalid name, and for one with a port. */
export function parseHostName(text: string): string | undefined {
  return /:[0-9]*$/.test(text) ? undefined : parseHost(text);
}

/**
 * Whether a `Host` header names this listener: by a loopback name, by the address that the request arrived at, or by one of
 * the configured `names`. HTTP/1.0 has requests without a `Host`; no browser sends one.
 */
export function isOperatorHost(
  host: string | undefined,
  { names, localAddress }: { readonly names: readonly string[]; readonly localAddress: string | undefined },
): boolean {
  if (host === undefined) return true;
  const name = parseHost(host);
  if (name === undefined) return false;
  return isLoopback(name) || names.includes(name) || name === hostOfAddress(localAddress);
}

function hostOfAddress(address: string | undefined): string | undefined {
  if (address === undefined) return undefined;
  const plain = address.replace(/^::ffff:(?=[0-9.]+$)/, '');
  return parseHost(plain.includes(':') ? `[${plain.replace(/%.*$/, '')}]` : plain);
}

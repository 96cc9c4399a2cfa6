/**
 * Which names a listener for operators answers to. A web page can make the name of its own site stand for 127.0.0.1 (DNS
 * rebinding), and would then read what is meant for the operator of this machine; but it cannot choose the name in
 * `Host`, which stays that of its site.
 */
import { isLoopback } from '@hallpass/protocol';

/** What may stand in `Host`: no user, no path, no percent-encoding. */
const HOST = /^[A-Za-z0-9.:[\]_-]+$/;

/** A host with or without a port to the host as URLs have it: in lower case, an IPv6 address in brackets. */
function parseHost(text: string): string | undefined {
  if (!HOST.test(text) || !URL.canParse(`http://${text}`)) return undefined;
  return new URL(`http://${text}`).hostname;
}

/** The same, refused where there is a port: a name to be configured. */
export function parseHostName(text: string): string | undefined {
  return /:[0-9]*$/.test(text) ? undefined : parseHost(text);
}

/**
 * Whether a request is for this listener: for a name of this machine, for the address that it has arrived at, or for one
 * of the `names` that were configured. HTTP/1.0 knows requests without a `Host`; no browser sends one.
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

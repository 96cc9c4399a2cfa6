/** Where credentials may be sent. */
import { isLoopback, isServerUrl } from '@hallpass/protocol';
import { badArgument } from './hallpass_error.ts';

/** Where requests are sent: the internal address, where one is given, or else the server's URL. Throws `bad_argument`. */
export function parseServer({
  serverURL,
  serverAddress,
  serverPlaintext,
}: {
  readonly serverURL: unknown;
  readonly serverAddress?: unknown;
  readonly serverPlaintext?: unknown;
}): string {
  const url = parseServerURL(serverURL);
  if (serverAddress === undefined) {
    if (serverPlaintext !== undefined) throw badArgument('serverPlaintext is of no use without serverAddress.');
    return url;
  }
  if (serverPlaintext !== undefined && serverPlaintext !== 'refuse' && serverPlaintext !== 'allow') {
    throw badArgument("serverPlaintext must be 'refuse' or 'allow'.");
  }
  const { address, isProtected } = parseAddress('serverAddress', serverAddress);
  if (isProtected || serverPlaintext === 'allow') return address;
  throw badArgument(
    'serverAddress is plain http to another machine: who is in between reads every secret and token. ' +
      "Where that network is yours alone, say so: serverPlaintext: 'allow'.",
  );
}

/**
 * A `serverURL` to the text that endpoint paths are appended to, without a slash at its end. Throws `bad_argument` for
 * anything but https, or http on this machine: whoever is in between would read the client secret (RFC 6749 §2.3.1). The
 * refused text is not repeated, since it may hold a password.
 */
function parseServerURL(text: unknown): string {
  const { address, isProtected } = parseAddress('serverURL', text);
  if (isProtected) return address;
  throw badArgument(
    'serverURL must begin with https://. Plain http is accepted on localhost, 127.0.0.1 and [::1] alone.',
  );
}

function parseAddress(name: string, text: unknown): { readonly address: string; readonly isProtected: boolean } {
  if (!isServerUrl(text) || !URL.canParse(text)) {
    throw badArgument(`${name} must be like https://auth.example.com: no credentials, no query, no fragment.`);
  }
  const { protocol, hostname, origin, pathname } = new URL(text);
  const isProtected = protocol !== 'http:' || isLoopback(hostname);
  return { address: origin + pathname.replace(/\/+$/, ''), isProtected };
}

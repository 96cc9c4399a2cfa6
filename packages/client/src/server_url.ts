/** Checks where credentials may be sent. */
import { isPlaintextTarget, isServerUrl } from '@hallpass/protocol';
import { badArgument } from './hallpass_error.ts';

/**
 * The address that requests are sent to, without a slash at its end: `serverAddress`, or without it `serverURL`. Throws a
 * `HallpassError` with `bad_argument`.
 */
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
    if (serverPlaintext !== undefined)
      throw badArgument('serverPlaintext has no effect without serverAddress: leave it out, or set both.');
    return url;
  }
  if (serverPlaintext !== undefined && serverPlaintext !== 'refuse' && serverPlaintext !== 'allow') {
    throw badArgument("serverPlaintext must be 'refuse' or 'allow'.");
  }
  const { address, isProtected } = parseAddress('serverAddress', serverAddress);
  if (isProtected || serverPlaintext === 'allow') return address;
  throw badArgument(
    'serverAddress is plain http to another machine: anyone on the network in between can read every secret and token. ' +
      "If that network is yours alone, set serverPlaintext: 'allow'.",
  );
}

/**
 * Throws for anything but https, or http on this machine: with plain http, anyone in between could read the client secret
 * (RFC 6749 §2.3.1). The message does not repeat the text, since it may hold a password.
 */
function parseServerURL(text: unknown): string {
  const { address, isProtected } = parseAddress('serverURL', text);
  if (isProtected) return address;
  throw badArgument(
    'serverURL must begin with https://. Plain http is only accepted on localhost, 127.0.0.1 and [::1].',
  );
}

function parseAddress(name: string, text: unknown): { readonly address: string; readonly isProtected: boolean } {
  if (!isServerUrl(text) || !URL.canParse(text)) {
    throw badArgument(`${name} must be like https://auth.example.com: no credentials, no query, no fragment.`);
  }
  const { protocol, hostname, origin, pathname } = new URL(text);
  const isProtected = protocol !== 'http:' || isPlaintextTarget(hostname);
  return { address: origin + pathname.replace(/\/+$/, ''), isProtected };
}

/** Reads a Node request for the guard. Works for HTTP/1, HTTP/2 and the requests that frameworks inject in tests. */

/** A Node request of HTTP/1 or 2, or something that looks like one. */
export interface Received {
  /** Alternating names and values. */
  readonly rawHeaders: readonly string[];
  readonly socket?: { readonly remoteAddress?: string | undefined };
}

/** All values of each header, by lower-case name. */
export type Fields = Readonly<Record<string, readonly string[]>>;

/**
 * The sender's address, and every header as received. Not Node's `headers`, which drops a second Authorization, and not
 * `headersDistinct`, which HTTP/2 and frameworks' injected requests don't have.
 */
export function readNodeRequest({ rawHeaders, socket }: Received): {
  readonly headers: Fields;
  readonly address?: string;
} {
  const fields = new Map<string, string[]>();
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase() ?? '';
    const value = rawHeaders[at + 1] ?? '';
    const others = fields.get(name);
    if (others === undefined) fields.set(name, [value]);
    else others.push(value);
  }
  const headers = Object.fromEntries(fields);
  const address = socket?.remoteAddress;
  return address === undefined ? { headers } : { headers, address };
}

/** A request of Node as the guard reads it. Works for HTTP/1, HTTP/2 and what frameworks inject in tests. */

/** What Node received: HTTP/1 or 2, or a stand-in for it. */
export interface Received {
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
  readonly socket?: { readonly remoteAddress?: string | undefined };
}

/** By their names in lower case, every value of each. */
export type Fields = Readonly<Record<string, readonly string[]>>;

/**
 * In the terms of a guard: who sent it, and every field as it came. Not Node's `headers`, which drop a second
 * Authorization, and not `headersDistinct`, which HTTP/2 and what frameworks inject in tests do not have.
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

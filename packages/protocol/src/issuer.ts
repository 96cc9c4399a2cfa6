/** The one spelling of an issuer (RFC 8414 §2). Issuers are compared to the letter, so server and guard must spell alike. */

const ISSUER = /^(https?):\/\/([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(\/[^\s?#\\]*)?$/i;
const DEFAULT_PORTS: Readonly<Record<string, number>> = { https: 443, http: 80 };

/**
 * An issuer with scheme and host in lower case and without the default port, which say nothing (RFC 3986 §6.2.2.1,
 * §6.2.3). The path is another matter, its case and its last slash included: it stays as it is. Undefined for what is no
 * address of an issuer: credentials, a query, a fragment, a host that is not ASCII.
 */
export function canonicalIssuer(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined;
  const [, scheme = '', host = '', port, path = ''] = ISSUER.exec(text) ?? [];
  if (scheme === '' || Number(port ?? 0) > 65_535) return undefined;
  const lower = scheme.toLowerCase();
  const isDefault = port === undefined || Number(port) === DEFAULT_PORTS[lower];
  return `${lower}://${host.toLowerCase()}${isDefault ? '' : `:${Number(port)}`}${path}`;
}

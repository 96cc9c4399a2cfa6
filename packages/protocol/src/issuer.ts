/** The canonical spelling of an issuer (RFC 8414 §2). Issuers are compared character by character, so server and guard must spell alike. */

const ISSUER = /^(https?):\/\/([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(\/[^\s?#\\]*)?$/i;
const DEFAULT_PORTS: Readonly<Record<string, number>> = { https: 443, http: 80 };

/**
 * Puts an issuer's scheme and host in lower case and drops the default port (RFC 3986 §6.2.2.1, §6.2.3). The path stays
 * unchanged, because its case and its last slash matter. Undefined for anything that is not an issuer: not http(s), with
 * credentials, a query, a fragment, or a host that is not ASCII.
 */
export function canonicalIssuer(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined;
  const [, scheme = '', host = '', port, path = ''] = ISSUER.exec(text) ?? [];
  if (scheme === '' || Number(port ?? 0) > 65_535) return undefined;
  const lower = scheme.toLowerCase();
  const isDefault = port === undefined || Number(port) === DEFAULT_PORTS[lower];
  return `${lower}://${host.toLowerCase()}${isDefault ? '' : `:${Number(port)}`}${path}`;
}

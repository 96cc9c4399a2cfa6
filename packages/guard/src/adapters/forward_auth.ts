/**
 * The guard for APIs in any language (`@hallpass/guard/forward`). A proxy in front of the API asks this listener about
 * each request, and passes allowed requests on with the caller's identity.
 *
 * The decision is about the method and the target that the client sent. The proxy reports them in its own way, and
 * nobody else may. The proxy must pass exactly this target on to the API, not a normalized one.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { BlockList, isIP } from 'node:net';
import type { Access, Denial } from '../decision.ts';
import { reportFailure } from './failure.ts';
import { readNodeRequest, type Fields } from './node_request.ts';
import type { Guard } from '../guard.ts';
import { IDENTITY_FIELDS } from '../ambiguous_request.ts';
import { withoutQuery } from '../policy/path.ts';
import type { Policy } from '../policy/policy.ts';
import type { GuardedRequest } from '../request.ts';

export { IDENTITY_FIELDS, OVERRIDES, type Override } from '../ambiguous_request.ts';

/** The supported proxies: nginx's `auth_request`, Traefik's ForwardAuth, Envoy's `ext_authz` over HTTP. */
export const PROXIES = ['nginx', 'traefik', 'envoy'] as const;
/** A supported proxy. */
export type Proxy = (typeof PROXIES)[number];

/** What to log about a refused request. Never contains the token or the query. */
export interface ForwardRefusal {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly because: string;
}

/** The options of `forwardAuth`. */
export interface ForwardOptions {
  readonly proxy: Proxy;
  /** The proxies whose headers are trusted: addresses and networks (`10.0.0.0/8`). Default: this machine. */
  readonly trust?: readonly string[];
  readonly onRefusal?: (refusal: ForwardRefusal) => void;
}

/** The client's request as the proxy reports it, or the reason why it's unknown. */
type Reported = Pick<GuardedRequest, 'method' | 'url'> | string;

interface Dialect {
  readonly read: (request: IncomingMessage, headers: Fields) => Reported;
  /** Puts a refusal into the form this proxy understands. */
  readonly refuse: (denial: Pick<Denial, 'status' | 'headers' | 'body'>) => {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  };
}

const DIALECTS: Readonly<Record<Proxy, Dialect>> = {
  nginx: {
    read: (_request, fields) => readFields(fields, 'x-original-method', 'x-original-uri'),
    // nginx only understands 401 and 403, and treats anything else as a failure of the guard. It drops the body, and
    // keeps the challenge of a 401 but of nothing else. So everything goes into headers.
    refuse: ({ status, headers: { 'WWW-Authenticate': challenge, ...headers }, body }) => {
      const fields = { ...headers, 'X-Hallpass-Status': String(status), 'X-Hallpass-Body': JSON.stringify(body) };
      if (challenge === undefined) return { status: 403, headers: fields, body: '' };
      return status === 401
        ? { status, headers: { ...fields, 'WWW-Authenticate': challenge }, body: '' }
        : { status: 403, headers: { ...fields, 'X-Hallpass-Challenge': challenge }, body: '' };
    },
  },
  traefik: {
    read: (_request, fields) => readFields(fields, 'x-forwarded-method', 'x-forwarded-uri'),
    refuse: whole,
  },
  envoy: {
    // Envoy repeats the request itself, without its body.
    read: ({ method = '', url = '' }) => ({ method, url }),
    refuse: whole,
  },
};

function whole({ status, headers, body }: Parameters<Dialect['refuse']>[0]): ReturnType<Dialect['refuse']> {
  return { status, headers, body: JSON.stringify(body) };
}

/** Each header must occur once: of two values, one may come from a proxy in between. */
function readFields(fields: Fields, methodField: string, targetField: string): Reported {
  const [method, ...methods] = fields[methodField] ?? [];
  const [url, ...urls] = fields[targetField] ?? [];
  if (method === undefined || url === undefined) return `the proxy does not say ${methodField} and ${targetField}`;
  if (methods.length > 0 || urls.length > 0) return `${methodField} or ${targetField} occurs twice`;
  return { method, url };
}

/**
 * The listener for the proxy's requests. Throws a TypeError if `trust` contains something other than an address or
 * network.
 */
export function forwardAuth(guard: Guard, policy: Policy, options: ForwardOptions): RequestListener {
  const { proxy, trust = ['127.0.0.0/8', '::1'], onRefusal = () => {} } = options;
  const trusted = parseTrust(trust);
  const dialect = DIALECTS[proxy];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { headers } = readNodeRequest(request);
    const reported = isTrusted(trusted, request) ? dialect.read(request, headers) : reasonForDistrust(request);
    const refuse = (denial: Omit<Denial, 'allowed'>, { method, url }: { method: string; url: string }): void => {
      onRefusal({ method, path: withoutQuery(url), status: denial.status, because: denial.because });
      const { status, headers: fields, body } = dialect.refuse(denial);
      response.writeHead(status, fields).end(body);
    };
    if (typeof reported === 'string')
      return refuse({ ...PROXY_MISCONFIGURED, because: reported }, { method: '', url: '' });
    // If the path begins with a slash, there's only one way to append it to the API's address.
    if (!reported.url.startsWith('/'))
      return refuse({ ...PROXY_MISCONFIGURED, because: 'the target is not a path' }, reported);
    const address = clientAddress(headers, trusted);
    const decision = await guard.checkRoute(policy, {
      ...reported,
      headers,
      ...(address === undefined ? {} : { address }),
    });
    if (!decision.allowed) return refuse(decision, reported);
    response.writeHead(200, { ...decision.headers, ...identityOf(decision) }).end();
  };
  return (request, response) => {
    answer(request, response).catch((error: unknown) => {
      reportFailure(error);
      response.destroy();
    });
  };
}

/** Refused in any case: the proxy's configuration is wrong, and the client can't change that. */
const PROXY_MISCONFIGURED = {
  status: 403,
  headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
  body: { error: 'server_error', error_description: 'The proxy in front of this API is not set up for its guard.' },
} as const satisfies Omit<Denial, 'allowed' | 'because'>;

/**
 * All identity headers, every time, so that each overwrites one that the client may have sent; empty if there's no
 * value. Values are percent-encoded (RFC 3986 §2.1); path parameters are form-encoded.
 */
function identityOf({
  client,
  grantId = '',
  jti,
  route,
  values,
}: Access & { readonly route: string }): Record<(typeof IDENTITY_FIELDS)[number], string> {
  return {
    'X-Hallpass-Client': encodeURIComponent(client.clientId),
    'X-Hallpass-Grant': grantId,
    'X-Hallpass-Token-Id': jti,
    'X-Hallpass-Route': route,
    'X-Hallpass-Parameters': new URLSearchParams({ ...values }).toString(),
  };
}

function parseTrust(trust: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of trust) {
    const [address = '', prefix, ...more] = entry.split('/');
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    if (isIP(address) === 0 || more.length > 0)
      throw new TypeError(`'${entry}' is neither an address nor a network such as 10.0.0.0/8.`);
    if (prefix === undefined) list.addAddress(address, family);
    else if (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 'ipv6' ? 128 : 32)) {
      list.addSubnet(address, Number(prefix), family);
    } else throw new TypeError(`'${entry}' is not a network such as 10.0.0.0/8.`);
  }
  return list;
}

/**
 * The client's address, as reported by trusted proxies. Each proxy appends the address it got the request from to
 * X-Forwarded-For, so the last address that isn't one of ours is the client's. Anything before it may be made up.
 */
function clientAddress(fields: Fields, trusted: BlockList): string | undefined {
  const forwarded = (fields['x-forwarded-for'] ?? []).join(',').split(',');
  let address: string | undefined;
  for (const text of forwarded.toReversed()) {
    address = HOST_OF_ADDRESS.exec(text.trim())
      ?.slice(1)
      .find((host) => host !== undefined);
    if (address === undefined || isIP(address) === 0) return undefined;
    if (!isAddressTrusted(trusted, address)) return address;
  }
  return address;
}

/** An address, or an address with the port that some proxies append; IPv6 is in brackets then. */
const HOST_OF_ADDRESS = /^(?:\[([0-9a-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+)(?::\d+)?|([0-9a-f:.]+))$/i;

/**
 * A connection that was reset no longer has an address: nobody waits for the response, and nothing is misconfigured.
 */
function reasonForDistrust({ socket: { remoteAddress } }: IncomingMessage): string {
  return remoteAddress === undefined ? 'the connection is gone' : 'the request does not come from a trusted proxy';
}

/** A dual-stack socket writes IPv4 as IPv6 (RFC 4291 §2.5.5.2), and the list understands that. */
function isTrusted(trusted: BlockList, { socket: { remoteAddress = '' } }: IncomingMessage): boolean {
  return isAddressTrusted(trusted, remoteAddress);
}

function isAddressTrusted(trusted: BlockList, address: string): boolean {
  return trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

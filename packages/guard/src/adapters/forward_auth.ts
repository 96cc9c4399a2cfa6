/**
 * The guard for APIs in any language: a proxy in front of the API asks here about each request, and passes on what is
 * allowed, with who asked (`@hallpass/guard/forward`).
 *
 * What is decided on is the method and the target as the client sent them, which the proxy tells in one way and nobody
 * else may. So the proxy has to pass the very same target on to the API, not one that it has tidied.
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

/** The proxies that are understood: nginx's `auth_request`, Traefik's ForwardAuth, Envoy's `ext_authz` over HTTP. */
export const PROXIES = ['nginx', 'traefik', 'envoy'] as const;
export type Proxy = (typeof PROXIES)[number];

/** What the log is told of a request that was not allowed. Never the token, and never the query. */
export interface ForwardRefusal {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly because: string;
}

export interface ForwardOptions {
  readonly proxy: Proxy;
  /** Whose word is taken for what a client sent: addresses and networks (`10.0.0.0/8`). Default: this machine. */
  readonly trust?: readonly string[];
  readonly onRefusal?: (refusal: ForwardRefusal) => void;
}

/** What a proxy says about a request, or why it cannot be told. */
type Told = Pick<GuardedRequest, 'method' | 'url'> | string;

interface Dialect {
  readonly read: (request: IncomingMessage, headers: Fields) => Told;
  /** A refusal as this proxy has to be told it. */
  readonly refuse: (denial: Pick<Denial, 'status' | 'headers' | 'body'>) => {
    readonly status: number;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
  };
}

const DIALECTS: Readonly<Record<Proxy, Dialect>> = {
  nginx: {
    read: (_request, fields) => readFields(fields, 'x-original-method', 'x-original-uri'),
    // nginx knows 401 and 403, and takes anything else for a failure of ours; it drops the body, and passes the challenge
    // of a 401 on, but no other. So all that goes in fields.
    refuse: ({ status, headers: { 'WWW-Authenticate': challenge, ...headers }, body }) => {
      const told = { ...headers, 'X-Hallpass-Status': String(status), 'X-Hallpass-Body': JSON.stringify(body) };
      if (challenge === undefined) return { status: 403, headers: told, body: '' };
      return status === 401
        ? { status, headers: { ...told, 'WWW-Authenticate': challenge }, body: '' }
        : { status: 403, headers: { ...told, 'X-Hallpass-Challenge': challenge }, body: '' };
    },
  },
  traefik: {
    read: (_request, fields) => readFields(fields, 'x-forwarded-method', 'x-forwarded-uri'),
    refuse: whole,
  },
  envoy: {
    // It repeats the request itself, without its body.
    read: ({ method = '', url = '' }) => ({ method, url }),
    refuse: whole,
  },
};

function whole({ status, headers, body }: Parameters<Dialect['refuse']>[0]): ReturnType<Dialect['refuse']> {
  return { status, headers, body: JSON.stringify(body) };
}

/** Each of the two once: of a field that is there twice, a proxy in between may have written the one or the other. */
function readFields(fields: Fields, methodField: string, targetField: string): Told {
  const [method, ...methods] = fields[methodField] ?? [];
  const [url, ...urls] = fields[targetField] ?? [];
  if (method === undefined || url === undefined) return `the proxy does not say ${methodField} and ${targetField}`;
  if (methods.length > 0 || urls.length > 0) return `${methodField} or ${targetField} is there twice`;
  return { method, url };
}

/** Throws a TypeError when `trust` holds what is no address and no network. */
export function forwardAuth(guard: Guard, policy: Policy, options: ForwardOptions): RequestListener {
  const { proxy, trust = ['127.0.0.0/8', '::1'], onRefusal = () => {} } = options;
  const trusted = parseTrust(trust);
  const dialect = DIALECTS[proxy];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { headers } = readNodeRequest(request);
    const told = isTrusted(trusted, request) ? dialect.read(request, headers) : whyNotTrusted(request);
    const refuse = (denial: Omit<Denial, 'allowed'>, { method, url }: { method: string; url: string }): void => {
      onRefusal({ method, path: withoutQuery(url), status: denial.status, because: denial.because });
      const { status, headers: fields, body } = dialect.refuse(denial);
      response.writeHead(status, fields).end(body);
    };
    if (typeof told === 'string') return refuse({ ...NOT_TOLD, because: told }, { method: '', url: '' });
    // Only for a path that begins with a slash there is one way to put it behind the address of the API.
    if (!told.url.startsWith('/')) return refuse({ ...NOT_TOLD, because: 'the target is no path' }, told);
    const address = clientAddress(headers, trusted);
    const decision = await guard.checkRoute(policy, {
      ...told,
      headers,
      ...(address === undefined ? {} : { address }),
    });
    if (!decision.allowed) return refuse(decision, told);
    response.writeHead(200, { ...decision.headers, ...identityOf(decision) }).end();
  };
  return (request, response) => {
    answer(request, response).catch((error: unknown) => {
      reportFailure(error);
      response.destroy();
    });
  };
}

/** Closed, whatever it was: it is the proxy's configuration that is wrong, and nothing that a client could change. */
const NOT_TOLD = {
  status: 403,
  headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
  body: { error: 'server_error', error_description: 'The proxy in front of this API is not set up for its guard.' },
} as const satisfies Omit<Denial, 'allowed' | 'because'>;

/**
 * All of them each time, so that each overwrites what a client may have sent under its name; empty where there is nothing
 * to say. Values are percent-encoded (RFC 3986 §2.1); the parameters of the path are written like a form.
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
      throw new TypeError(`'${entry}' is no address and no network such as 10.0.0.0/8.`);
    if (prefix === undefined) list.addAddress(address, family);
    else if (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 'ipv6' ? 128 : 32)) {
      list.addSubnet(address, Number(prefix), family);
    } else throw new TypeError(`'${entry}' is no network such as 10.0.0.0/8.`);
  }
  return list;
}

/**
 * The client's address, as the proxies that are trusted tell it: each puts the address that asked it at the end of
 * X-Forwarded-For, so the last one that is no proxy's of ours is the client's. What stands before it may be made up.
 */
function clientAddress(fields: Fields, trusted: BlockList): string | undefined {
  const told = (fields['x-forwarded-for'] ?? []).join(',').split(',');
  let address: string | undefined;
  for (const text of told.toReversed()) {
    address = HOST_OF_ADDRESS.exec(text.trim())
      ?.slice(1)
      .find((host) => host !== undefined);
    if (address === undefined || isIP(address) === 0) return undefined;
    if (!isAddressTrusted(trusted, address)) return address;
  }
  return address;
}

/** An address alone, or with the port that some proxies put behind it; IPv6 then stands in brackets. */
const HOST_OF_ADDRESS = /^(?:\[([0-9a-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+)(?::\d+)?|([0-9a-f:.]+))$/i;

/** A connection that was reset has no address any more: nobody waits for the answer, and nothing is set up wrongly. */
function whyNotTrusted({ socket: { remoteAddress } }: IncomingMessage): string {
  return remoteAddress === undefined ? 'who asked has gone' : 'not asked by a proxy that is trusted';
}

/** A socket for both families writes IPv4 within IPv6 (RFC 4291 §2.5.5.2), and the list reads it. */
function isTrusted(trusted: BlockList, { socket: { remoteAddress = '' } }: IncomingMessage): boolean {
  return isAddressTrusted(trusted, remoteAddress);
}

function isAddressTrusted(trusted: BlockList, address: string): boolean {
  return trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

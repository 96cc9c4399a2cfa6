/** The web pages on which a key may be used (contract §6, §9): by exact scheme, host and port. */
import { refuse, type Refusal } from '@hallpass/protocol';
import type { Client } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import type { WireRequest, WireResponse } from '../../wire.ts';

const ORIGIN = /^https?:\/\/[^/?#@\\\s]+$/i;

/**
 * The canonical text of an origin as an operator writes it (RFC 6454 §6.2): host in lower case and ASCII, default port
 * dropped. Undefined for `null`, for other schemes, and for anything that has more parts than an origin.
 */
export function canonicalOrigin(text: string): string | undefined {
  return ORIGIN.test(text) && URL.canParse(text) ? new URL(text).origin : undefined;
}

/**
 * The canonical text of an origin as a browser sends it. Only the case of the host and the default port may differ from it
 * (contract §9): browsers never send the oddities that a URL parser would repair.
 */
function parseOrigin(text: string): string | undefined {
  const canonical = canonicalOrigin(text);
  const plain = text.toLowerCase();
  const port = plain.startsWith('https:') ? ':443' : ':80';
  return plain === canonical || plain === `${canonical}${port}` ? canonical : undefined;
}

/** The request does not come from a page. */
const NO_PAGE = Symbol('no page');

/** The origin of a request: `Origin`, or failing that `Referer`; undefined if it is malformed. */
function originOf(request: WireRequest): string | typeof NO_PAGE | undefined {
  const origin = request.header('origin');
  if (origin !== undefined) return parseOrigin(origin);
  const referer = request.header('referer');
  if (referer === undefined) return NO_PAGE;
  return URL.canParse(referer) ? parseOrigin(new URL(referer).origin) : undefined;
}

/** A refusal if the client may not be used on the page that sent this request. Judged after authentication. */
export function judgeOrigin(client: Client, request: WireRequest): Refusal | undefined {
  if (client.origins.length === 0 && !client.requireOrigin) return undefined;
  const origin = originOf(request);
  if (origin === NO_PAGE) {
    return client.requireOrigin ? refuse('origin_not_allowed', { because: 'no Origin and no Referer' }) : undefined;
  }
  const listed = origin !== undefined && client.origins.includes(origin);
  return listed ? undefined : refuse('origin_not_allowed', { because: `not listed: ${String(origin)}` });
}

const EXPOSED = 'WWW-Authenticate, Retry-After, DPoP-Nonce, Hallpass-Guards, X-Request-Id';

/** The headers that let a page read the response: for an origin that this client lists, and no other. */
export function corsFor(client: Client, request: WireRequest): WireResponse['headers'] {
  const origin = parseOrigin(request.header('origin') ?? '');
  const listed = origin !== undefined && client.origins.includes(origin);
  return { vary: 'Origin', ...(listed ? allow(request) : {}) };
}

/** The same before the client is known: for an origin that any client lists, so that a page can read its 401. */
export async function corsForAny(authority: Authority, request: WireRequest): Promise<WireResponse['headers']> {
  const origin = parseOrigin(request.header('origin') ?? '');
  const listed = origin !== undefined && (await authority.store.isOriginListed(origin));
  return { vary: 'Origin', ...(listed ? allow(request) : {}) };
}

/** The response to a preflight (Fetch §4.8). It never allows credentials: there are no cookies here. */
export async function respondPreflight(authority: Authority, request: WireRequest): Promise<WireResponse> {
  const headers = await corsForAny(authority, request);
  const allowed = 'access-control-allow-origin' in headers;
  const grants = {
    'access-control-allow-methods': 'POST',
    'access-control-allow-headers': 'Authorization, Content-Type, DPoP',
    'access-control-max-age': '600',
  };
  return { status: 204, headers: { ...headers, ...(allowed ? grants : {}), 'cache-control': 'no-store' }, body: '' };
}

function allow(request: WireRequest): WireResponse['headers'] {
  return {
    'access-control-allow-origin': request.header('origin') ?? '',
    'access-control-expose-headers': EXPOSED,
  };
}

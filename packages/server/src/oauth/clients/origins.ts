/** From which web pages a key may be used (contract §6, §9): exact scheme, host and port. */
import { refuse, type Refusal } from '@hallpass/protocol';
import type { Client } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import type { WireRequest, WireResponse } from '../../wire.ts';

const ORIGIN = /^https?:\/\/[^/?#@\\\s]+$/i;

/**
 * An origin, as an operator writes it, to its canonical text (RFC 6454 §6.2): host in lower case and ASCII, default port
 * dropped. Undefined for `null`, for other schemes and for anything with more to it than an origin has.
 */
export function canonicalOrigin(text: string): string | undefined {
  return ORIGIN.test(text) && URL.canParse(text) ? new URL(text).origin : undefined;
}

/**
 * An origin, as a browser sends it, to its canonical text. Only the case of the host and the default port may differ
 * from that (contract §9): what a URL parser would smooth over, no browser sends.
 */
function parseOrigin(text: string): string | undefined {
  const canonical = canonicalOrigin(text);
  const plain = text.toLowerCase();
  const port = plain.startsWith('https:') ? ':443' : ':80';
  return plain === canonical || plain === `${canonical}${port}` ? canonical : undefined;
}

/** No page said that a request comes from it. */
const NO_PAGE = Symbol('no page');

/** The origin that a request comes from: `Origin`, or failing that `Referer`; undefined for one that is malformed. */
function originOf(request: WireRequest): string | typeof NO_PAGE | undefined {
  const origin = request.header('origin');
  if (origin !== undefined) return parseOrigin(origin);
  const referer = request.header('referer');
  if (referer === undefined) return NO_PAGE;
  return URL.canParse(referer) ? parseOrigin(new URL(referer).origin) : undefined;
}

/** Whether a client may be used by this request, judged after authentication. */
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

/** The headers that let a page read an answer to a client: for an origin that this client lists, and no other. */
export function corsFor(client: Client, request: WireRequest): WireResponse['headers'] {
  const origin = parseOrigin(request.header('origin') ?? '');
  const listed = origin !== undefined && client.origins.includes(origin);
  return { vary: 'Origin', ...(listed ? allow(request) : {}) };
}

/** The same before the client is known: for an origin that some client lists, so that a page can read its 401. */
export async function corsForAny(authority: Authority, request: WireRequest): Promise<WireResponse['headers']> {
  const origin = parseOrigin(request.header('origin') ?? '');
  const listed = origin !== undefined && (await authority.store.isOriginListed(origin));
  return { vary: 'Origin', ...(listed ? allow(request) : {}) };
}

/** The answer to a preflight (Fetch §4.8). Never with credentials: there are no cookies here. */
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

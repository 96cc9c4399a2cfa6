/** The guard: whether a request may do what it asks for, and if not, the answer that says why. */
import {
  fillScope,
  isRefusal,
  isScope,
  opens,
  parseBearer,
  parseScope,
  PATHS,
  printBasic,
  printBearerChallenge,
  refuse,
  wordsOf,
  type AccessTokenClaims,
  type ErrorBody,
  type NumericDate,
  type Refusal,
  type Scope,
  type ScopeValues,
} from '@hallpass/protocol';
import { KeysUnavailable, KeySet } from './key_set.ts';
import { checkOptions, type GuardOptions, type Settings } from './options.ts';
import { compilePolicy, type CompiledPolicy, type Policy } from './policy.ts';
import { messageOf, retrieveJson } from './retrieval.ts';
import { RevocationFeed } from './revocation_feed.ts';
import { RevocationSet } from './revocation_set.ts';
import { verifyAccessToken } from './verifier.ts';

/** A request, as far as a guard looks at it: a `Request`, an `IncomingMessage`, or anything with these members. */
export interface GuardedRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** Who was let in, and for what. */
export interface Access {
  readonly allowed: true;
  /** There are no users: a token speaks for an API key. */
  readonly client: { readonly kind: 'client'; readonly clientId: string };
  /** Everything that the token opens. */
  readonly scopes: readonly string[];
  readonly grantId: string;
  readonly tokenId: string;
  readonly expiresAt: NumericDate;
  /** The values that the decision was made on. */
  readonly values: Readonly<Record<string, string>>;
}

/** Why not, as an answer that can be sent as it is. */
export interface Denial {
  readonly allowed: false;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ErrorBody;
  /** For the log alone. */
  readonly because: string;
}

/** Access by a policy: with the route that was found. */
export type RouteAccess = Access & { readonly route: string };

export interface Guard {
  /**
   * Decides about one scope. A template wants its values: `check(request, '/accounts/{accountID}.read', { accountID })`,
   * the same that the handler will use. Never rejects for a bad token; a scope that is none is a `TypeError`.
   */
  readonly check: <Text extends string>(
    request: GuardedRequest,
    scope: Text,
    ...values: Text extends `${string}{${string}` ? [ScopeValues<Text>] : []
  ) => Promise<Access | Denial>;
  /** Decides by a policy: finds the route, binds its parameters, checks the scope. A route that is not named is refused. */
  readonly checkRoute: (policy: CompiledPolicy, request: GuardedRequest) => Promise<RouteAccess | Denial>;
  /** Checks a policy whole, once. Throws a `TypeError` that names the route that cannot be meant. */
  readonly compile: (policy: Policy) => CompiledPolicy;
  /** Resolves when the keys and all revocations so far are here; rejects when they are not within 10 s. */
  readonly ready: () => Promise<void>;
  readonly health: () => GuardHealth;
  /** Lets go of the feed, so that a process can end. */
  readonly close: () => Promise<void>;
}

export interface GuardHealth {
  readonly connected: boolean;
  /** Since the server last said that everything was told; Infinity before the first time. */
  readonly stalenessSeconds: number;
  /** How many revocations are held. */
  readonly revocations: number;
}

/** How long a check waits for the first word from the feed, in milliseconds. */
const FIRST_WORD_MS = 5_000;
const READY_MS = 10_000;

/** A guard for one API. Throws a `TypeError` for an option that cannot be meant. */
export function createGuard(options: GuardOptions): Guard {
  const settings = checkOptions(options);
  const keys = new KeySet(settings);
  const revocations = new RevocationSet();
  const feed = new RevocationFeed(settings, revocations);
  const templates = new Map<string, Scope>();

  /** Who sends this, whatever they want. */
  const authenticate = async (
    request: GuardedRequest,
  ): Promise<{ readonly claims: AccessTokenClaims; readonly token: string } | Refusal> => {
    const token = parseBearer(authorizationOf(request));
    if (isRefusal(token)) return token;
    const claims = await verifyAccessToken(settings, keys, token);
    if (isRefusal(claims)) return claims;
    const ended = await isRevoked(claims, token);
    return ended ?? { claims, token };
  };

  const isRevoked = async (claims: AccessTokenClaims, token: string): Promise<Refusal | undefined> => {
    feed.start();
    if (feed.stalenessSeconds === Infinity) await feed.heard(FIRST_WORD_MS);
    if (revocations.has(claims)) return refuse('token_not_good', { because: 'revoked' });
    if (feed.stalenessSeconds <= settings.maxStalenessSeconds) return undefined;
    if (settings.whenStale === 'introspect') return await introspect(settings, token);
    return refuse('temporarily_unavailable', { because: 'the revocation feed is stale' });
  };

  const decide = async (
    request: GuardedRequest,
    wanted: (sender: AccessTokenClaims) => Access | Refusal,
  ): Promise<Access | Refusal> => {
    try {
      const sender = await authenticate(request);
      return isRefusal(sender) ? sender : wanted(sender.claims);
    } catch (error) {
      if (error instanceof KeysUnavailable) return refuse('temporarily_unavailable', { because: messageOf(error) });
      throw error;
    }
  };

  return {
    async check(request, text, ...[values = {}]) {
      const template = findTemplate(templates, text);
      return answer(settings, await decide(request, (claims) => admit(claims, template, values)));
    },
    async checkRoute(policy, request) {
      const match = policy.match(request.method ?? '', request.url ?? '');
      const decision = await decide(request, (claims) => {
        if (match === undefined) return refuse('route_not_allowed');
        return isRefusal(match) ? match : admit(claims, findTemplate(templates, match.scope), match.values);
      });
      const decided = answer(settings, decision);
      if (!decided.allowed || match === undefined || isRefusal(match))
        return decided.allowed ? neverWithoutRoute() : decided;
      return { ...decided, route: match.route };
    },
    compile: compilePolicy,
    async ready() {
      await Promise.all([keys.refresh(), feed.heard(READY_MS)]);
      if (feed.stalenessSeconds === Infinity)
        throw new Error('The revocation feed did not answer. Is the server up, and may this key read the feed?');
    },
    health: () => ({
      connected: feed.connected,
      stalenessSeconds: feed.stalenessSeconds,
      revocations: revocations.size,
    }),
    close: () => feed.close(),
  };
}

function neverWithoutRoute(): never {
  throw new Error('nobody is let in without a route');
}

/** Every template of a program is parsed once; there are as many as the program has. */
function findTemplate(templates: Map<string, Scope>, text: string): Scope {
  const known = templates.get(text);
  if (known !== undefined) return known;
  const scope = parseScope(text);
  if (!isScope(scope)) throw new TypeError(`This is not a scope: ${text} (${scope}).`);
  templates.set(text, scope);
  return scope;
}

/** The rule: the token holds the very scope that this request needs, filled in. */
function admit(claims: AccessTokenClaims, template: Scope, values: Readonly<Record<string, string>>): Access | Refusal {
  const required = fillScope(template, values);
  if (!isScope(required)) return refuse('malformed_path', { because: required });
  if (!opens(claims.scope, required)) return refuse('insufficient_scope', { subject: required.text });
  return {
    allowed: true,
    client: { kind: 'client', clientId: claims.client_id },
    scopes: claims.scope.split(' '),
    grantId: claims.grant_id,
    tokenId: claims.jti,
    expiresAt: claims.exp,
    values,
  };
}

/** A decision to what is given out: a denial with its answer made. */
function answer({ realm }: Settings, decision: Access | Refusal): Access | Denial {
  if (!isRefusal(decision)) return decision;
  const { status, body } = wordsOf(decision);
  const headers: Record<string, string> = { 'content-type': 'application/json', 'cache-control': 'no-store' };
  if (status === 503) headers['retry-after'] = '1';
  else headers['www-authenticate'] = printBearerChallenge(decision, realm);
  return { allowed: false, status, headers, body, because: decision.because ?? decision.refused };
}

/** The one place that a token may be in. Two of them are malformed, whatever they say (RFC 6750 §2). */
function authorizationOf({ headers }: GuardedRequest): string | undefined {
  if (headers instanceof Headers) return headers.get('authorization') ?? undefined;
  const value = headers['authorization'];
  return typeof value === 'string' || value === undefined ? value : value.join(', ');
}

/** Asks the server about one token (RFC 7662); undefined when it is active. */
async function introspect(settings: Settings, token: string): Promise<Refusal | undefined> {
  const body = new URLSearchParams({ token, token_type_hint: 'access_token' });
  const headers = { authorization: printBasic(settings.credentials), accept: 'application/json' };
  try {
    const said = await retrieveJson(settings, PATHS.introspect, { method: 'POST', headers, body });
    const active = typeof said === 'object' && said !== null && 'active' in said && said.active === true;
    return active ? undefined : refuse('token_not_good', { because: 'the server says it is not active' });
  } catch (error) {
    settings.onEvent({ event: 'introspection_failed', because: messageOf(error) });
    return refuse('temporarily_unavailable', { because: 'stale, and the server cannot be asked' });
  }
}

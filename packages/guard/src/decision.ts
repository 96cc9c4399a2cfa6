/** A guard's decisions, and how a refusal looks on the wire (contract §8, RFC 6750 §3). */
import {
  printBasicChallenge,
  printChallenge,
  printRefusal,
  type ChallengeOrigin,
  type ErrorBody,
  type NumericDate,
  type Refusal,
  type RefusalReason,
  type ScopeValues,
} from '@hallpass/protocol';
import type { Holder } from './credentials/holder.ts';

/** The values of path parameters, decoded, by name. */
export type PathValues = Readonly<Record<string, string>>;

/** The request is allowed. */
export interface Access<Values extends PathValues = PathValues> {
  readonly allowed: true;
  /** The caller. Always a client: Hallpass has no users, so don't look this id up among your users. */
  readonly client: { readonly kind: 'client'; readonly clientId: string };
  /** All scopes of the token, including the one this request needed. */
  readonly scopes: readonly string[];
  /** Absent for opaque tokens: introspection doesn't return it. */
  readonly grantId?: string;
  /** The token's id. Safe to log, unlike the token. */
  readonly jti: string;
  readonly expiresAt: NumericDate;
  /** The thumbprint of the key that the token is bound to and that signed the request (RFC 9449 §6.1). */
  readonly boundTo?: string;
  /**
   * Headers that your response must carry, whatever its status; the adapters add them. Empty unless there is a new
   * nonce (RFC 9449 §8.2).
   */
  readonly headers: Readonly<Record<string, string>>;
  /** The values that the decision was based on. Use these rather than parsing the path again. */
  readonly values: Values;
}

/** The request is refused. Send `status`, `headers` and `body` unchanged. */
export interface Denial {
  readonly allowed: false;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** `scope` is the missing scope, filled in for this request, if that's what was wrong. */
  readonly body: ErrorBody & { readonly scope?: string };
  /** For your log only: which check failed. Never contains the token. */
  readonly because: string;
}

/** The result of `Guard.check`. */
export type Decision<Values extends PathValues = PathValues> = Access<Values> | Denial;

/**
 * Access to a policy's route. `route` is the key in the policy. Comparing it narrows the type of `values`: `if
 * (access.route === 'GET /accounts/{accountID}') access.values.accountID`.
 */
export type RouteAccess<Route extends string = string> = {
  [Key in Route]: Access<ScopeValues<Key>> & { readonly route: Key };
}[Route];

/** The result of `Guard.checkRoute`. */
export type RouteDecision<Route extends string = string> = RouteAccess<Route> | Denial;

/** Builds the access from its holder. `newNonce`: the nonce that the client should use next, if it changes. */
export function grantAccess(
  { claims, client, scopes }: Holder,
  { values, route }: { readonly values: PathValues; readonly route?: string },
  newNonce: string | undefined,
): Access & { readonly route?: string } {
  const { grant_id, jti, exp, cnf } = claims;
  const access: Mutable<Access> & { route?: string } = {
    allowed: true,
    client,
    scopes,
    jti,
    expiresAt: exp,
    // A cached response would hand out an outdated nonce (RFC 9449 §8).
    headers: newNonce === undefined ? NO_HEADERS : { 'DPoP-Nonce': newNonce, 'Cache-Control': 'no-store' },
    values,
  };
  if (grant_id !== '') access.grantId = grant_id;
  if (cnf !== undefined) access.boundTo = cnf.jkt;
  if (route !== undefined) access.route = route;
  return access;
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

const NO_HEADERS: Access['headers'] = Object.freeze({});

/** Refusals that better credentials could fix get a challenge; the others don't (RFC 9110 §11.6.1). */
const CHALLENGED: readonly RefusalReason[] = [
  'missing_credentials',
  'malformed_credentials',
  'token_not_good',
  'token_of_another_issuer',
  'token_for_another_audience',
  'token_expired',
  'clock_differs',
  'token_is_bound',
  'resource_proof_not_good',
  'resource_nonce_wanted',
  'insufficient_scope',
  'route_not_allowed',
  'value_not_allowed',
];
/** Refusals that go away with time get a Retry-After. */
const RETRIED: readonly RefusalReason[] = ['rate_limited', 'temporarily_unavailable'];
/** In seconds. The feed is back within two seconds of the server's return. */
const RETRY_AFTER_SECONDS = 2;

/** What goes into a denial besides the refusal. */
export interface DenialOrigin extends ChallengeOrigin {
  /** The nonce for the next proof, if this API requires one. */
  readonly nonce?: string | undefined;
}

/** Turns a refusal into a response. A DPoP challenge carries the nonce (RFC 9449 §9). */
export function deny(refusal: Refusal, origin: DenialOrigin): Denial {
  const { status, body: words } = printRefusal(refusal);
  const body =
    refusal.refused === 'insufficient_scope' && refusal.subject !== undefined
      ? { ...words, scope: refusal.subject }
      : words;
  const headers: Record<string, string> = { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' };
  if (CHALLENGED.includes(refusal.refused)) {
    const challenge = printChallenge(refusal, origin);
    headers['WWW-Authenticate'] = challenge;
    if (origin.nonce !== undefined && challenge.startsWith('DPoP ')) headers['DPoP-Nonce'] = origin.nonce;
  }
  // Only for callers who tried Basic: a browser that reads this challenge prompts its user for a password.
  if (refusal.refused === 'authentication_failed') headers['WWW-Authenticate'] = printBasicChallenge(origin.realm);
  if (RETRIED.includes(refusal.refused))
    headers['Retry-After'] = String(refusal.retryAfterSeconds ?? RETRY_AFTER_SECONDS);
  return { allowed: false, status, headers, body, because: refusal.because ?? refusal.refused };
}

/** What a guard decides, and how a refusal looks on the wire (contract §8, RFC 6750 §3). */
import {
  printBasicChallenge,
  printChallenge,
  wordsOf,
  type ChallengeOrigin,
  type ErrorBody,
  type NumericDate,
  type Refusal,
  type RefusalReason,
  type ScopeValues,
} from '@hallpass/protocol';
import type { Holder } from './credentials/holder.ts';

export type PathValues = Readonly<Record<string, string>>;

/** The request may have what it asks for. */
export interface Access<Values extends PathValues = PathValues> {
  readonly allowed: true;
  /** Who asks. Always a client: there are no users, so never look this id up among yours. */
  readonly client: { readonly kind: 'client'; readonly clientId: string };
  /** All scopes of the token. The one that was needed is among them. */
  readonly scopes: readonly string[];
  /** Absent where the issuer does not tell it: of opaque tokens. */
  readonly grantId?: string;
  /** The token's own id; fit for a log, unlike the token. */
  readonly jti: string;
  readonly expiresAt: NumericDate;
  /** The thumbprint of the key that the token is bound to and that the request was signed with (RFC 9449 §6.1). */
  readonly boundTo?: string;
  /** What the answer has to carry, whatever it is; the adapters see to it. Empty but for a new nonce (RFC 9449 §8.2). */
  readonly headers: Readonly<Record<string, string>>;
  /** The values on which was decided: use these, and do not read the path again. */
  readonly values: Values;
}

/** The request may not. Send `status`, `headers` and `body` as they are. */
export interface Denial {
  readonly allowed: false;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** With the scope that is missing, filled in for this very request, where that is what is wrong. */
  readonly body: ErrorBody & { readonly scope?: string };
  /** For the log only: which check said no. Never holds the token. */
  readonly because: string;
}

export type Decision<Values extends PathValues = PathValues> = Access<Values> | Denial;

/**
 * Access to a route of a policy. `route` is the policy's key; comparing it tells the compiler which `values` there are:
 * `if (access.route === 'GET /accounts/{accountID}') access.values.accountID`.
 */
export type RouteAccess<Route extends string = string> = {
  [Key in Route]: Access<ScopeValues<Key>> & { readonly route: Key };
}[Route];

export type RouteDecision<Route extends string = string> = RouteAccess<Route> | Denial;

/** A holder as the access that they have, and the nonce that the client is to hear of, if there is one. */
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
    // A stored answer would tell the nonce of another day (RFC 9449 §8).
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

/** Those that better credentials could change; the others are not about credentials (RFC 9110 §11.6.1). */
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
/** Those that time will change. */
const RETRIED: readonly RefusalReason[] = ['rate_limited', 'temporarily_unavailable'];
/** How soon to come back for that, in seconds: the feed is back within two of the server's return. */
const RETRY_AFTER_SECONDS = 2;

/** What a refusal's answer is made with, beside the refusal. */
export interface DenialOrigin extends ChallengeOrigin {
  /** The nonce for the next proof, where one is asked for. */
  readonly nonce?: string | undefined;
}

/** A refusal as the answer that it is. With a challenge for DPoP goes the nonce (RFC 9449 §9). */
export function deny(refusal: Refusal, origin: DenialOrigin): Denial {
  const { status, body: words } = wordsOf(refusal);
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
  // Only to who tried it: a browser asks its user for a password when it reads this.
  if (refusal.refused === 'authentication_failed') headers['WWW-Authenticate'] = printBasicChallenge(origin.realm);
  if (RETRIED.includes(refusal.refused))
    headers['Retry-After'] = String(refusal.retryAfterSeconds ?? RETRY_AFTER_SECONDS);
  return { allowed: false, status, headers, body, because: refusal.because ?? refusal.refused };
}

/** Tokens from decisions: one signature, and one MAC where there is a refresh token. Writes nothing. */
import {
  ACCESS_TOKEN_LENGTH_MAX,
  ACCESS_TOKEN_SECONDS_MAX,
  ACCESS_TOKEN_TYPE_URN,
  makeChildIdentifier,
  makeIdentifier,
  numericDate,
  OPAQUE_TOKEN_PREFIX,
  parseAccessToken,
  printBase64url,
  printSigningInput,
  REFRESH_TOKEN_LENGTH_MAX,
  refuse,
  sealRefreshToken,
  type AccessTokenClaims,
  type Refusal,
  type TokenResponse,
} from '@hallpass/protocol';
import assert from 'node:assert/strict';
import type { Client } from '../../store/store.ts';
import { lifetimesOf, type Authority } from '../authority.ts';
import type { Issuance } from '../grants/grant.ts';
import type { KeyRing } from '../keys/key_ring.ts';
import { openSealedToken, sealAccessToken } from './opaque_token.ts';
import { allowsOpaqueToken } from '../clients/policy.ts';

/**
 * The answer of the token endpoint (RFC 6749 §5.1) with its tokens signed and sealed. Refused when a token would be too
 * long to be sent back.
 */
export function mint(authority: Authority, issuance: Issuance, at: number): TokenResponse | Refusal {
  const { issuer, keys, clock, random } = authority;
  const { grantId, client, scope, audiences, expiresAtMax = Infinity, parent, refresh, jkt } = issuance;
  const { clientId } = client;
  const iat = numericDate(at);
  // No token outlives what it comes from.
  const exp = Math.min(iat + lifetimesOf(authority, client).accessTokenSeconds, expiresAtMax);
  const [audience, ...more] = audiences;
  assert(audience !== undefined, 'an issuance has an audience');
  const claims: AccessTokenClaims = {
    iss: issuer,
    sub: clientId,
    client_id: clientId,
    aud: more.length === 0 ? audience : audiences,
    iat,
    exp,
    jti: parent === undefined ? makeIdentifier(at, random) : makeChildIdentifier(parent, at, random),
    scope,
    grant_id: grantId,
    ...(jkt === undefined ? {} : { cnf: { jkt } }),
  };
  // Such as for an audience that was the server's default when the grant began: it would be dead on arrival.
  if (client.accessTokenFormat === 'opaque' && !allowsOpaqueToken(client, claims, authority.defaultAudience)) {
    return refuse('target_not_allowed', { because: 'an opaque token is for what its key may have now' });
  }
  const access_token =
    client.accessTokenFormat === 'opaque' ? sealAccessToken(keys, random, claims) : sign(keys, claims);
  if (access_token.length > ACCESS_TOKEN_LENGTH_MAX) return refuse('token_too_long');
  const token_type = jkt === undefined ? 'Bearer' : 'DPoP';
  // A token that is dated back, since the store is away, has that much less to live (`client_copies.ts`).
  const age = numericDate(clock.now()) - iat;
  const expires_in = Math.max(0, exp - iat - (age > 1 ? age : 0));
  const answer = { access_token, token_type, expires_in, scope } as const;
  if (parent !== undefined) return { ...answer, issued_token_type: ACCESS_TOKEN_TYPE_URN };
  if (refresh === undefined) return answer;
  const key = keys.findRefresh(refresh.keyId);
  // It was taken out since the decision: the same request is decided by the next key.
  if (key === undefined) return refuse('temporarily_unavailable', { because: 'the MAC key was taken out' });
  const refresh_token = sealRefreshToken(refresh.state, key);
  return refresh_token.length > REFRESH_TOKEN_LENGTH_MAX ? refuse('token_too_long') : { ...answer, refresh_token };
}

function sign({ signing }: KeyRing, claims: AccessTokenClaims): string {
  const input = printSigningInput(signing.header, claims);
  return `${input}.${printBase64url(signing.sign(input))}`;
}

/** An access token of this issuer, opened. */
export interface OpenedAccessToken {
  readonly claims: AccessTokenClaims;
  readonly format: Client['accessTokenFormat'];
}

/**
 * A text to what an access token of this issuer says; undefined for every other text. Says nothing about expiry,
 * revocation or policy: that is for `isAlive`.
 */
export function openAccessToken(authority: Authority, token: string): OpenedAccessToken | undefined {
  const { issuer, keys } = authority;
  const format = token.startsWith(OPAQUE_TOKEN_PREFIX) ? 'opaque' : 'jwt';
  const claims = format === 'opaque' ? openOpaqueToken(authority, token) : openSignedToken(keys, token);
  return claims?.iss === issuer ? { claims, format } : undefined;
}

/** How much later than a clock of ours allows a token may end, in seconds: what a revocation is kept longer than that. */
const LEEWAY_SECONDS = 60;

/**
 * Only with a lifetime that the server gives (contract §10): a longer one would outlive its revocation (ADR 6). And never
 * dated ahead of every clock that issues: a stolen sealing key must not date a token past the moment by which it ends.
 */
function openOpaqueToken(
  { keys, clock, time, clockSkewSeconds }: Authority,
  token: string,
): AccessTokenClaims | undefined {
  const claims = openSealedToken(keys, token);
  if (claims === undefined) return undefined;
  const now = numericDate(clock.now());
  if (claims.exp - claims.iat > ACCESS_TOKEN_SECONDS_MAX) return undefined;
  // By the latest time that was: a clock that was set back must not make good tokens bad.
  if (claims.exp - numericDate(time.latest()) > ACCESS_TOKEN_SECONDS_MAX + LEEWAY_SECONDS) return undefined;
  return { ...claims, iat: Math.min(claims.iat, now + clockSkewSeconds) };
}

function openSignedToken(keys: KeyRing, token: string): AccessTokenClaims | undefined {
  const unverified = parseAccessToken(token);
  const key = unverified === undefined ? undefined : keys.findSigning(unverified.kid);
  // The whole header must be the one that this key's tokens have: nothing in it is taken from the sender.
  if (unverified === undefined || key === undefined || unverified.header !== key.header) return undefined;
  if (!key.verify(unverified.signingInput, unverified.signature())) return undefined;
  return unverified.claims();
}

/**
 * Whether an access token of ours is alive: not expired, not revoked, its client still there and not disabled; and, when
 * it is opaque, within what its client may have now. A signed token is judged by guards, who know no policy: it lives
 * to its end with the scopes that it was given (contract §9).
 */
export async function isAlive(authority: Authority, opened: OpenedAccessToken): Promise<boolean> {
  return (await findClientOf(authority, opened)) !== undefined;
}

/** The client of an access token of ours that is alive; undefined for one that is not. */
export async function findClientOf(
  { store, clock, defaultAudience }: Authority,
  { claims, format }: OpenedAccessToken,
): Promise<Client | undefined> {
  if (numericDate(clock.now()) >= claims.exp) return undefined;
  const { jti, grant_id: grantId, client_id: clientId, iat: issuedAt } = claims;
  if (await store.isRevoked({ jti, grantId, clientId, issuedAt })) return undefined;
  const client = await store.findClient(clientId);
  if (client === undefined || client.disabled) return undefined;
  return format === 'jwt' || allowsOpaqueToken(client, claims, defaultAudience) ? client : undefined;
}

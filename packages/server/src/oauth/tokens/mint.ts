/** Mints what a grant decided to issue: one signature, and one MAC if there is a refresh token. Writes nothing. */
import {
  ACCESS_TOKEN_LENGTH_MAX,
  ACCESS_TOKEN_TYPE_URN,
  makeChildIdentifier,
  makeIdentifier,
  numericDate,
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
import type { Authority } from '../authority.ts';
import { allowsOpaqueToken } from '../clients/policy.ts';
import type { KeyRing } from '../keys/key_ring.ts';
import type { Issuance } from './issuance.ts';
import { lifetimesOf } from './lifetimes.ts';
import { sealAccessToken } from './opaque_token.ts';

/**
 * The token response (RFC 6749 §5.1) with its tokens signed and sealed. `at`: the moment to date them, in milliseconds.
 * Refuses when a token would be too long to send back.
 */
export function mint(authority: Authority, issuance: Issuance, at: number): TokenResponse | Refusal {
  const { issuer, keys, clock, random } = authority;
  const { grantId, client, scope, audiences, expiresAtMax = Infinity, parent, refresh, jkt } = issuance;
  const { clientId } = client;
  const iat = numericDate(at);
  // No token outlives its grant, nor the token that it is cut from.
  const exp = Math.min(iat + lifetimesOf(authority.lifetimes, client).accessTokenSeconds, expiresAtMax);
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
  // For example, an audience that was the server's default when the grant began. The token would be dead on arrival.
  if (client.accessTokenFormat === 'opaque' && !allowsOpaqueToken(client, claims, authority.defaultAudience)) {
    return refuse('target_not_allowed', { because: 'the key may no longer have what the opaque token would hold' });
  }
  const access_token =
    client.accessTokenFormat === 'opaque' ? sealAccessToken(keys, random, claims) : sign(keys, claims);
  if (access_token.length > ACCESS_TOKEN_LENGTH_MAX) return refuse('token_too_long');
  const token_type = jkt === undefined ? 'Bearer' : 'DPoP';
  // A token issued while the store is away is dated back, and lives that much shorter (`client_copies.ts`).
  const age = numericDate(clock.now()) - iat;
  const expires_in = Math.max(0, exp - iat - (age > 1 ? age : 0));
  const answer = { access_token, token_type, expires_in, scope } as const;
  if (parent !== undefined) return { ...answer, issued_token_type: ACCESS_TOKEN_TYPE_URN };
  if (refresh === undefined) return answer;
  const key = keys.findRefresh(refresh.keyId);
  // It was removed since the decision. Repeating the request uses the next key.
  if (key === undefined) return refuse('temporarily_unavailable', { because: 'the MAC key was removed meanwhile' });
  const refresh_token = sealRefreshToken(refresh.state, key);
  return refresh_token.length > REFRESH_TOKEN_LENGTH_MAX ? refuse('token_too_long') : { ...answer, refresh_token };
}

function sign({ signing }: KeyRing, claims: AccessTokenClaims): string {
  const input = printSigningInput(signing.header, claims);
  return `${input}.${printBase64url(signing.sign(input))}`;
}

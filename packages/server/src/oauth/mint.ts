/** Tokens from decisions: one signature, and one MAC where there is a refresh token. Writes nothing. */
import {
  ACCESS_TOKEN_LENGTH_MAX,
  makeIdentifier,
  numericDate,
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
import type { Authority } from './authority.ts';
import type { Issuance } from './grants/grant.ts';

/**
 * The answer of the token endpoint (RFC 6749 §5.1) with its tokens signed and sealed. Refused when a token would be too
 * long to be sent back.
 */
export function mint(
  { issuer, keys, random, lifetimes }: Authority,
  issuance: Issuance,
  at: number,
): TokenResponse | Refusal {
  const { grantId, clientId, scope, audiences, grantExpiresAt, refresh } = issuance;
  const iat = numericDate(at);
  // No token of a grant outlives the grant.
  const exp = Math.min(iat + lifetimes.accessTokenSeconds, grantExpiresAt ?? Infinity);
  const [audience, ...more] = audiences;
  assert(audience !== undefined, 'an issuance has an audience');
  const claims: AccessTokenClaims = {
    iss: issuer,
    sub: clientId,
    client_id: clientId,
    aud: more.length === 0 ? audience : audiences,
    iat,
    exp,
    jti: makeIdentifier(at, random),
    scope,
    grant_id: grantId,
  };
  const input = printSigningInput(keys.signing.header, claims);
  const access_token = `${input}.${printBase64url(keys.signing.sign(input))}`;
  if (access_token.length > ACCESS_TOKEN_LENGTH_MAX) return refuse('token_too_long');
  const answer = { access_token, token_type: 'Bearer', expires_in: exp - iat, scope } as const;
  if (refresh === undefined) return answer;
  const key = keys.findRefresh(refresh.keyId);
  assert(key !== undefined, 'the MAC key of a stored generation is kept as long as the generation');
  const refresh_token = sealRefreshToken(refresh.state, key);
  return refresh_token.length > REFRESH_TOKEN_LENGTH_MAX ? refuse('token_too_long') : { ...answer, refresh_token };
}

/**
 * A text to the claims of an access token that this issuer signed; undefined for every other. Says nothing about
 * expiry or revocation.
 */
export function openAccessToken({ issuer, keys }: Authority, token: string): AccessTokenClaims | undefined {
  const unverified = parseAccessToken(token);
  const key = unverified === undefined ? undefined : keys.findSigning(unverified.kid);
  // The whole header must be the one that this key's tokens have: nothing in it is taken from the sender.
  if (unverified === undefined || key === undefined || unverified.header !== key.header) return undefined;
  if (!key.verify(unverified.signingInput, unverified.signature)) return undefined;
  const claims = unverified.claims();
  return claims?.iss === issuer ? claims : undefined;
}

/** Whether an access token of ours is alive: not expired, not revoked, its client still there and not disabled. */
export async function isAlive({ store, clock }: Authority, claims: AccessTokenClaims): Promise<boolean> {
  if (numericDate(clock.now()) >= claims.exp) return false;
  const { jti, grant_id: grantId, client_id: clientId, iat: issuedAt } = claims;
  if (await store.isRevoked({ jti, grantId, clientId, issuedAt })) return false;
  const known = await store.findClient(clientId);
  return known !== undefined && !known.client.disabled;
}

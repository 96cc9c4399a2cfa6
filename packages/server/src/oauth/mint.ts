/** Tokens from decisions: one signature, and one MAC where there is a refresh token. Writes nothing. */
import {
  ACCESS_TOKEN_LENGTH_MAX,
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
import { lifetimesOf, type Authority } from './authority.ts';
import type { Issuance } from './grants/grant.ts';
import type { KeyRing } from './key_ring.ts';
import { openSealedToken, sealAccessToken } from './opaque_token.ts';

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
  assert(key !== undefined, 'the MAC key of a stored generation is kept as long as the generation');
  const refresh_token = sealRefreshToken(refresh.state, key);
  return refresh_token.length > REFRESH_TOKEN_LENGTH_MAX ? refuse('token_too_long') : { ...answer, refresh_token };
}

function sign({ signing }: KeyRing, claims: AccessTokenClaims): string {
  const input = printSigningInput(signing.header, claims);
  return `${input}.${printBase64url(signing.sign(input))}`;
}

/**
 * A text to the claims of an access token that this issuer signed; undefined for every other. Says nothing about
 * expiry or revocation.
 */
export function openAccessToken({ issuer, keys }: Authority, token: string): AccessTokenClaims | undefined {
  const claims = token.startsWith(OPAQUE_TOKEN_PREFIX) ? openSealedToken(keys, token) : openSignedToken(keys, token);
  return claims?.iss === issuer ? claims : undefined;
}

function openSignedToken(keys: KeyRing, token: string): AccessTokenClaims | undefined {
  const unverified = parseAccessToken(token);
  const key = unverified === undefined ? undefined : keys.findSigning(unverified.kid);
  // The whole header must be the one that this key's tokens have: nothing in it is taken from the sender.
  if (unverified === undefined || key === undefined || unverified.header !== key.header) return undefined;
  if (!key.verify(unverified.signingInput, unverified.signature())) return undefined;
  return unverified.claims();
}

/** Whether an access token of ours is alive: not expired, not revoked, its client still there and not disabled. */
export async function isAlive({ store, clock }: Authority, claims: AccessTokenClaims): Promise<boolean> {
  if (numericDate(clock.now()) >= claims.exp) return false;
  const { jti, grant_id: grantId, client_id: clientId, iat: issuedAt } = claims;
  if (await store.isRevoked({ jti, grantId, clientId, issuedAt })) return false;
  const client = await store.findClient(clientId);
  return client !== undefined && !client.disabled;
}

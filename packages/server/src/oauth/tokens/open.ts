/** Tokens of this issuer, opened: their signature, seal or MAC is verified. Expiry, revocation and policy come later. */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  numericDate,
  OPAQUE_TOKEN_PREFIX,
  openRefreshToken as openSealedRefreshToken,
  parseAccessToken,
  type AccessTokenClaims,
  type RefreshTokenState,
} from '@hallpass/protocol';
import type { Authority } from '../authority.ts';
import { equalBytes, type KeyRing } from '../keys/key_ring.ts';
import type { OpenedAccessToken } from './liveness.ts';
import { openSealedToken } from './opaque_token.ts';

/** The parts of an authority that opening a token needs. */
export type TokenOpener = Pick<Authority, 'issuer' | 'keys' | 'clock' | 'time' | 'clockSkewSeconds'>;

/**
 * What an access token of this issuer says; undefined for any other text. Says nothing about expiry, revocation or
 * policy: `isAlive` does.
 */
export function openAccessToken(opener: TokenOpener, token: string): OpenedAccessToken | undefined {
  const format = token.startsWith(OPAQUE_TOKEN_PREFIX) ? 'opaque' : 'jwt';
  const claims = format === 'opaque' ? openOpaqueToken(opener, token) : openSignedToken(opener.keys, token);
  return claims?.iss === opener.issuer ? { claims, format } : undefined;
}

/** What a refresh token of this issuer says; undefined for any other text. */
export function openRefreshToken({ keys }: Pick<TokenOpener, 'keys'>, token: string): RefreshTokenState | undefined {
  return openSealedRefreshToken(token, { find: keys.findRefresh, equal: equalBytes });
}

/** How much later than our clocks allow an opaque token may expire, in seconds. A revocation is kept that much longer. */
const LEEWAY_SECONDS = 60;

/**
 * Refuses a lifetime longer than the server gives (contract §10), which would outlive its revocation (ADR 6), and a date
 * ahead of every issuing clock: a stolen sealing key must not date a token past the moment that revokes it.
 */
function openOpaqueToken(
  { keys, clock, time, clockSkewSeconds }: TokenOpener,
  token: string,
): AccessTokenClaims | undefined {
  const claims = openSealedToken(keys, token);
  if (claims === undefined) return undefined;
  const now = numericDate(clock.now());
  if (claims.exp - claims.iat > ACCESS_TOKEN_SECONDS_MAX) return undefined;
  // By the latest time there has been: setting a clock back must not make good tokens bad.
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

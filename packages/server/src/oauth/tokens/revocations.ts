/** What a revocation covers, and how long it has to be kept. Pure rules (contract §4, §10). */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  type AccessTokenClaims,
  type NumericDate,
  type RefreshTokenState,
} from '@hallpass/protocol';
import type { StoredRevocation } from '../../store/store.ts';

/** How much longer than its token an entry is kept, in seconds: the widest clock leeway that a guard may allow. */
const LEEWAY_SECONDS = 60;
/** The longest that any setting lets a refresh token stay unused, in seconds: 400 days. */
export const REFRESH_TOKEN_SECONDS_MAX = 400 * 86_400;
/** The longest lifetime that a setting or a key can give a whole grant, in seconds: ten years. */
export const GRANT_SECONDS_MAX = 3_650 * 86_400;

/**
 * Why a request revoked something. `token` and `grant`: their owner asked for it. `reused`: an old refresh token of the
 * grant was used. `newer_than_store`: a refresh token newer than the store knows was used. `client`: too many of the two
 * before, so everything of the key was revoked at once.
 */
export const REVOCATION_CAUSES = ['token', 'grant', 'reused', 'newer_than_store', 'client'] as const;
/** One of `REVOCATION_CAUSES`. */
export type RevocationCause = (typeof REVOCATION_CAUSES)[number];

/** Revokes one access token. `earliest`: no later than the time can be now (`TrustedTime.earliest`). */
export function revocationOfToken({ jti, exp }: AccessTokenClaims, earliest: NumericDate): StoredRevocation {
  const expires_at = exp + LEEWAY_SECONDS;
  return { kind: 'token', id: jti, expires_at, keepUntil: expires_at, feedSeconds: expires_at - earliest };
}

/**
 * Revokes a whole grant: its refresh tokens until the last would have expired, its access tokens until the last has. The
 * store keeps the entry longer when the grant has newer refresh tokens than this one. `latest`: no earlier than the time
 * can be now (`TrustedTime.latest`), or the entry would expire before the tokens do.
 */
export function revocationOfGrant(
  { grantId, expiresAt }: Pick<RefreshTokenState, 'grantId' | 'expiresAt'>,
  latest: NumericDate,
): StoredRevocation {
  const expires_at = latest + ACCESS_TOKEN_SECONDS_MAX + LEEWAY_SECONDS;
  return { kind: 'grant', id: grantId, expires_at, keepUntil: Math.max(expiresAt + LEEWAY_SECONDS, expires_at) };
}

/** A moment on one clock, and how far the clocks of other instances on the same store may be ahead of it. */
export interface RevocationMoment {
  readonly now: NumericDate;
  readonly clockSkewSeconds: number;
}

/** Revokes everything that a client was issued up to and including this second, by any instance's clock. */
export function revocationOfClient(clientId: string, { now, clockSkewSeconds }: RevocationMoment): StoredRevocation {
  const expires_at = now + ACCESS_TOKEN_SECONDS_MAX + LEEWAY_SECONDS;
  const before = now + clockSkewSeconds + 1;
  // No setting lets a refresh token made before then live longer, and a revoked one is never rotated.
  const keepUntil = before + REFRESH_TOKEN_SECONDS_MAX + LEEWAY_SECONDS;
  return { kind: 'client', id: clientId, before, expires_at, keepUntil };
}

/** Revokes everything that any client was issued up to and including this second. */
export function revocationOfEverything(moment: RevocationMoment): StoredRevocation {
  return { ...revocationOfClient('*', moment), kind: 'before' };
}

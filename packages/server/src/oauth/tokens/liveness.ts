/** Whether an access token that this issuer made still counts, by what is committed now. Reads, and nothing else. */
import { numericDate, type AccessTokenClaims, type Clock } from '@hallpass/protocol';
import type { Client, RevocationSubject } from '../../store/store.ts';
import { allowsOpaqueToken } from '../clients/policy.ts';

/** An access token of this issuer whose signature or seal has been verified. */
export interface OpenedAccessToken {
  readonly claims: AccessTokenClaims;
  readonly format: Client['accessTokenFormat'];
}

/** What liveness is judged by: rows, the time, and the server's default audience. */
export interface LivenessSource {
  readonly store: {
    readonly isRevoked: (subject: RevocationSubject) => Promise<boolean>;
    readonly findClient: (clientId: string) => Promise<Client | undefined>;
  };
  readonly clock: Clock;
  readonly defaultAudience: string;
}

/**
 * Whether a token is alive: not expired, not revoked, its client neither deleted nor disabled; and, if it is opaque, within
 * what its client may have now. Guards judge a signed token without knowing the policy, so it keeps its scopes until it
 * expires (contract §9).
 */
export async function isAlive(source: LivenessSource, opened: OpenedAccessToken): Promise<boolean> {
  return (await findLiveClient(source, opened)) !== undefined;
}

/** The client of a token that is alive; undefined for a token that is not. */
export async function findLiveClient(
  { store, clock, defaultAudience }: LivenessSource,
  { claims, format }: OpenedAccessToken,
): Promise<Client | undefined> {
  if (numericDate(clock.now()) >= claims.exp) return undefined;
  const { jti, grant_id: grantId, client_id: clientId, iat: issuedAt } = claims;
  if (await store.isRevoked({ jti, grantId, clientId, issuedAt })) return undefined;
  const client = await store.findClient(clientId);
  if (client === undefined || client.disabled) return undefined;
  return format === 'jwt' || allowsOpaqueToken(client, claims, defaultAudience) ? client : undefined;
}

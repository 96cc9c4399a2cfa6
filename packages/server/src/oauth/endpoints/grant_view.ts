/** The part of the authority that a grant may use: settings, readers, and key ids. Nothing that signs, writes or answers. */
import { makeIdentifier } from '@hallpass/protocol';
import type { Authority } from '../authority.ts';
import type { GrantRows, GrantSettings, RefreshKeyIds } from '../grants/grant.ts';
import { openAccessToken, openRefreshToken } from '../tokens/open.ts';

/** The part of the authority that a grant may use. */
export interface GrantView {
  readonly settings: GrantSettings;
  readonly rows: GrantRows;
  readonly refreshKeys: RefreshKeyIds;
  /** An identifier for a grant whose first token is made at this moment (milliseconds). */
  readonly makeGrantId: (at: number) => string;
}

/** Made of new objects, so that no grant can reach through to what was left out. */
export function viewForGrants(authority: Authority): GrantView {
  const { store, keys, clock, random, defaultAudience } = authority;
  return {
    settings: {
      defaultAudience,
      clock: { now: () => clock.now() },
      openAccessToken: (token) => openAccessToken(authority, token),
      openRefreshToken: (token) => openRefreshToken(authority, token),
    },
    rows: {
      findClient: (clientId) => store.findClient(clientId),
      findFamily: (grantId) => store.findFamily(grantId),
      isRevoked: (subject) => store.isRevoked(subject),
    },
    refreshKeys: { inUse: () => keys.refresh.keyId, has: (keyId) => keys.findRefresh(keyId) !== undefined },
    makeGrantId: (at) => makeIdentifier(at, random),
  };
}

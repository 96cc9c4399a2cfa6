/** The result of identifying a caller, for all kinds of credentials. */
import type { AccessTokenClaims } from '@hallpass/protocol';
import { neverSeen, type Seen } from '../revocations/revocation_set.ts';

/** The holder of valid credentials. Shared between requests, so handlers only get frozen parts of it. */
export interface Holder {
  /** The token's claims. `grant_id` is empty if the issuer doesn't return it, as for opaque tokens. */
  readonly claims: AccessTokenClaims;
  /** The token's scopes, in order. */
  readonly scopes: readonly string[];
  readonly client: { readonly kind: 'client'; readonly clientId: string };
  /** When the token was last checked against the revocations. */
  readonly seen: Seen;
}

/** Makes a holder of verified claims. It has not been checked against the revocations yet. */
export function holderOf(claims: AccessTokenClaims): Holder {
  // Frozen, because handlers of different requests share them.
  const scopes = Object.freeze(claims.scope.split(' '));
  const client = Object.freeze({ kind: 'client', clientId: claims.client_id } as const);
  return { claims, scopes, client, seen: neverSeen() };
}

/** A holder and its token: the one from the request, or the one its key was exchanged for. */
export interface Identified {
  readonly holder: Holder;
  readonly token: string;
}

/** Who a request is from: what every kind of credentials comes to. */
import type { AccessTokenClaims } from '@hallpass/protocol';
import { neverSeen, type Seen } from '../revocations/revocation_set.ts';

/** The holder of good credentials. Shared between requests, so nothing that a handler gets of it can be changed. */
export interface Holder {
  /** Of the token; `grant_id` is empty where the issuer does not tell it, as of opaque tokens. */
  readonly claims: AccessTokenClaims;
  /** Its scopes in order. */
  readonly scopes: readonly string[];
  readonly client: { readonly kind: 'client'; readonly clientId: string };
  /** When their token was last found not to be revoked. */
  readonly seen: Seen;
}

export function holderOf(claims: AccessTokenClaims): Holder {
  // What handlers get is frozen: it is theirs together.
  const scopes = Object.freeze(claims.scope.split(' '));
  const client = Object.freeze({ kind: 'client', clientId: claims.client_id } as const);
  return { claims, scopes, client, seen: neverSeen() };
}

/** A holder, with the token that stands for them: the one that they brought, or that their key was exchanged for. */
export interface Identified {
  readonly holder: Holder;
  readonly token: string;
}

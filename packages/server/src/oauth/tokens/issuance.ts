/** What a grant has decided to issue: everything that minting needs to know, and no key. */
import type { RefreshTokenState } from '@hallpass/protocol';
import type { Client } from '../../store/store.ts';

/** What a grant has decided to issue. */
export interface Issuance {
  readonly grantId: string;
  readonly client: Client;
  /** The scopes of this access token: filled, one space between. */
  readonly scope: string;
  readonly audiences: readonly string[];
  /** When the grant, or the token that this one is cut from, expires; seconds. Undefined: no limit from there. */
  readonly expiresAtMax: number | undefined;
  /** The `jti` of the token that it is cut from (RFC 8693). */
  readonly parent?: string;
  /** The thumbprint of the key that it is bound to (RFC 9449 §6); undefined: a bearer token. */
  readonly jkt: string | undefined;
  /** The refresh token to issue with it, and the id of the key that seals it; undefined: none. */
  readonly refresh: { readonly state: RefreshTokenState; readonly keyId: string } | undefined;
}

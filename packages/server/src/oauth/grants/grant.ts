/**
 * What a grant type has to say. It selects what is asked for and decides what may be had, and that is all: it cannot
 * sign, write or answer, so it cannot forget a step that every grant has to take (`token_endpoint.ts`).
 */
import type { Parameters, Refusal, RefreshTokenState } from '@hallpass/protocol';
import type { Client, StoredRevocation, PredecessorShown, Rotation, StoreEvent } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import type { Caller } from '../endpoints/client_request.ts';

/** What is to be minted. */
export interface Issuance {
  readonly grantId: string;
  readonly client: Client;
  /** Of this access token: filled scopes, one space between. */
  readonly scope: string;
  readonly audiences: readonly string[];
  /** When what this token comes from ends: its grant, or the token that it is cut from; seconds. Undefined: nothing does. */
  readonly expiresAtMax: number | undefined;
  /** The `jti` of the token that it is cut from (RFC 8693). */
  readonly parent?: string;
  /** The thumbprint of the key that it is bound to (RFC 9449 §6); undefined: a bearer token. */
  readonly jkt: string | undefined;
  /** The refresh token to answer with, and the key to seal it; undefined where there is none. */
  readonly refresh: { readonly state: RefreshTokenState; readonly keyId: string } | undefined;
}

export type Decision =
  /** Issue, once the rotation or what was shown, if there is either, is committed. */
  | {
      readonly decided: 'issue';
      readonly issuance: Issuance;
      readonly rotation?: Rotation;
      /** A predecessor, where there is something to remember of it. */
      readonly shown?: PredecessorShown | undefined;
    }
  /** Refuse; what is to be remembered of it is durable before the answer. */
  | {
      readonly decided: 'refuse';
      readonly refusal: Refusal;
      readonly event?: StoreEvent;
      readonly revocations?: readonly StoredRevocation[];
    };

export interface Grant<Selection> {
  /** What is asked for, from the parameters and the client's policy alone. */
  readonly select: (authority: Authority, caller: Caller, parameters: Parameters) => Selection | Refusal;
  /** Loads what the rule needs to know and applies it. Called again when another caller was first. */
  readonly decide: (authority: Authority, caller: Caller, selection: Selection) => Promise<Decision>;
}

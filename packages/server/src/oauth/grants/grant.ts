/**
 * A grant type: it selects what is asked for, loads the rows that its rule needs, and decides. It gets facts and settings.
 * Nothing that it can reach signs, writes or answers, so it cannot skip a step that every grant must take
 * (`endpoints/token.ts`); `e2e/walls.test.ts` follows its imports to make sure.
 */
import type { Clock, NumericDate, Parameters, Refusal, RefreshTokenState } from '@hallpass/protocol';
import type {
  Client,
  Family,
  StoredRevocation,
  PredecessorShown,
  RevocationSubject,
  Rotation,
  StoreEvent,
} from '../../store/store.ts';
import type { Issuance } from '../tokens/issuance.ts';
import type { Lifetimes } from '../tokens/lifetimes.ts';
import type { OpenedAccessToken } from '../tokens/liveness.ts';

/** One grant type. `Selection`: what the request asks for. `Loaded`: what the rule needs to know from the store. */
export interface Grant<Selection, Loaded> {
  /** What is asked for, by the parameters and the client's policy alone. */
  readonly select: (asked: Asked, settings: GrantSettings) => Selection | Refusal;
  /** Reads what the rule needs. Called again, with `decide`, if another request commits first. */
  readonly load: (rows: GrantRows, selection: Selection, settings: GrantSettings) => Promise<Loaded>;
  /** The rule. Pure. */
  readonly decide: (facts: Facts<Selection, Loaded>) => Decision;
}

/** An authenticated request for a token. */
export interface Asked {
  readonly client: Client;
  readonly parameters: Parameters;
}

/** The server's settings, and functions that verify a token and say what is in it. */
export interface GrantSettings {
  readonly defaultAudience: string;
  readonly clock: Clock;
  /** Undefined for anything but an access token of this issuer. */
  readonly openAccessToken: (token: string) => OpenedAccessToken | undefined;
  /** Undefined for anything but a refresh token of this issuer. */
  readonly openRefreshToken: (token: string) => RefreshTokenState | undefined;
}

/** The store's verbs for grants. All of them read committed state. */
export interface GrantRows {
  readonly findClient: (clientId: string) => Promise<Client | undefined>;
  readonly findFamily: (grantId: string) => Promise<Family | undefined>;
  readonly isRevoked: (subject: RevocationSubject) => Promise<boolean>;
}

/** Everything that a decision may rest on. */
export interface Facts<Selection, Loaded> {
  readonly client: Client;
  /** When the client was looked up, and what its tokens are dated; milliseconds. */
  readonly at: number;
  /** No earlier than the time can be now: see `TrustedTime.latest`. */
  readonly latest: NumericDate;
  /** The thumbprint of the key that the client proved to have (RFC 9449); undefined: it proved none. */
  readonly jkt: string | undefined;
  /** Of this client's tokens. */
  readonly lifetimes: Lifetimes;
  /** An identifier that no grant has yet. */
  readonly newGrantId: string;
  readonly refreshKeys: RefreshKeyIds;
  readonly selection: Selection;
  readonly loaded: Loaded;
}

/** The MAC keys of refresh tokens, by id alone. */
export interface RefreshKeyIds {
  /** The key that seals new refresh tokens. */
  readonly inUse: () => string;
  readonly has: (keyId: string) => boolean;
}

/** What a grant decides. */
export type Decision =
  /** Issue, once the rotation or the predecessor's use, if there is one, is committed. */
  | {
      readonly decided: 'issue';
      readonly issuance: Issuance;
      readonly rotation?: Rotation;
      /** The use of a predecessor, if there is something to record about it. */
      readonly shown?: PredecessorShown | undefined;
    }
  /** Refuse. The event and the revocations, if there are any, are durable before the response. */
  | {
      readonly decided: 'refuse';
      readonly refusal: Refusal;
      readonly event?: StoreEvent;
      readonly revocations?: readonly StoredRevocation[];
    };

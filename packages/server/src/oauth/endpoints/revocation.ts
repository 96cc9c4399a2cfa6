/** POST /oauth2/revoke (RFC 7009), and the revocations that the rest of the server makes. */
import {
  ACCESS_TOKEN_SECONDS_MAX,
  isRefusal,
  numericDate,
  openRefreshToken,
  refuse,
  type AccessTokenClaims,
  type NumericDate,
  type Refusal,
  type RefreshTokenState,
} from '@hallpass/protocol';
import type { StoredRevocation } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { shownByAnother } from '../limits/event_allowance.ts';
import { receiveFromClient, spendOnce } from './client_request.ts';
import { equalBytes } from '../keys/key_ring.ts';
import { isAlive, openAccessToken } from '../tokens/mint.ts';
import { noted, respondRefusal, respondRevoked, type Endpoint, type WireRequest, type WireResponse } from '../wire.ts';

/** How much longer than its token an entry stays, in seconds: the widest leeway that a guard may give a clock. */
const LEEWAY_SECONDS = 60;
/** The longest that any setting lets a refresh token wait for its use, in seconds: 400 days. */
export const REFRESH_TOKEN_SECONDS_MAX = 400 * 86_400;
/** The longest bound that a setting or a key can put on a grant as a whole, in seconds: ten years. */
export const GRANT_SECONDS_MAX = 3_650 * 86_400;

export function revocationEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const received = await receiveFromClient(authority, request);
    if ('status' in received) return received;
    const { caller, parameters, headers } = received;
    const { clientId } = caller.client;
    const note = { clientId };
    const token = parameters.values.get('token');
    const no = (refusal: Refusal): WireResponse =>
      noted(respondRefusal(refusal, { dialect: parameters.dialect, headers }), note);
    const found = token === undefined ? refuse('missing_token') : await findRevocation(authority, clientId, token);
    if (isRefusal(found)) return no(found);
    const wait = parseWait(request.query);
    if (isRefusal(wait)) return no(wait);
    const replayed = await spendOnce(authority.store, caller.once);
    if (replayed !== undefined) return no(replayed);
    if (found.revocation !== undefined) {
      const spent = await authority.revocationAllowance.takeRevocation(clientId);
      if (spent !== undefined) return no(spent);
      // The answer waits for the disk; what cannot be stored is a 503, never a success (contract §4).
      await authority.store.revoke([found.revocation]);
      authority.noteRevocation(found.revocation.kind === 'token' ? 'token' : 'grant');
    }
    const guards = await tellOfGuards(authority, { wait, isRevoked: found.isRevoked, clientId, request });
    return noted(respondRevoked(parameters.dialect, { ...headers, ...guards }), note);
  };
}

/** The longest that an answer may be asked to wait for guards, in seconds. */
export const WAIT_SECONDS_MAX = 10;

/** The one parameter that is in the query (ADR 16): how long to wait for guards, in seconds; undefined: not at all. */
function parseWait(query: URLSearchParams): number | Refusal | undefined {
  const [text, ...more] = query.getAll('wait');
  if (text === undefined) return undefined;
  const seconds = /^[0-9]{1,2}$/.test(text) && more.length === 0 ? Number(text) : Infinity;
  return seconds <= WAIT_SECONDS_MAX ? seconds : refuse('malformed_wait');
}

/**
 * Waits until the guards have what is revoked; gives the header that says how many have (a dictionary, RFC 9651 §3.2).
 * Where nothing is revoked no guard lacks anything: none is asked, and all count as having confirmed.
 */
async function tellOfGuards(
  { followers, feedMeters, clock }: Authority,
  {
    wait: seconds,
    isRevoked,
    clientId,
    request,
  }: {
    readonly wait: number | undefined;
    readonly isRevoked: boolean;
    readonly clientId: string;
    readonly request: WireRequest;
  },
): Promise<WireResponse['headers']> {
  if (seconds === undefined) return {};
  const startedAt = clock.now();
  const count = isRevoked
    ? await followers.untilConfirmed({ seconds, clientId, signal: request.untilGone() })
    : await followers.countConnected();
  if (count === undefined) return {};
  if (isRevoked) feedMeters.waited(Math.max(0, clock.now() - startedAt) / 1000, count);
  return { 'hallpass-guards': `confirmed=${count.confirmed}, connected=${count.connected}` };
}

/** What a token comes to that its owner revokes. */
interface FoundRevocation {
  /** To be kept; undefined where there is nothing to keep. */
  readonly revocation?: StoredRevocation;
  /**
   * Whether the token is revoked when that is kept: now, or before. A request that is repeated because no answer came
   * waits for guards like the first, and costs its key no further revocation.
   */
  readonly isRevoked: boolean;
}

/** Unknown, expired, or another issuer's. */
const NOTHING: FoundRevocation = { isRevoked: false };
const REVOKED_ALREADY: FoundRevocation = { isRevoked: true };

/**
 * The revocation that a client's token calls for. `token_type_hint` is not needed: a token says itself what it is (RFC
 * 7009 §2.1).
 */
async function findRevocation(
  authority: Authority,
  clientId: string,
  token: string,
): Promise<FoundRevocation | Refusal> {
  const { store, time } = authority;
  // Not by a clock that runs ahead: what it takes for expired may be alive for every guard, and would stay so.
  const earliest = numericDate(time.earliest());
  const state = openRefreshToken(token, { find: authority.keys.findRefresh, equal: equalBytes });
  if (state !== undefined) {
    if (earliest >= state.expiresAt && !(await isOfLivingFamily(authority, state, earliest))) return NOTHING;
    const isRevoked = await store.isRevoked(state);
    if (state.clientId !== clientId) {
      if (isRevoked) return NOTHING;
      const event = shownByAnother(state, { clientId, at: authority.clock.now() });
      const kept = await authority.eventAllowance.admit(event);
      if (kept !== undefined) await store.recordEvent(kept);
      return refuse('token_of_another_client', { because: `issued to ${state.clientId}` });
    }
    // Any generation, however old, ends the family when its owner says so.
    if (isRevoked) return REVOKED_ALREADY;
    return { revocation: revocationOfGrant(state, numericDate(time.latest())), isRevoked: true };
  }
  const opened = openAccessToken(authority, token);
  if (opened === undefined || earliest >= opened.claims.exp) return NOTHING;
  const { claims } = opened;
  if (claims.client_id !== clientId) {
    return (await isAlive(authority, opened)) ? refuse('token_of_another_client') : NOTHING;
  }
  const { jti, grant_id: grantId, iat: issuedAt } = claims;
  const isRevoked = await store.isRevoked({ jti, grantId, clientId, issuedAt });
  return isRevoked ? REVOKED_ALREADY : { revocation: revocationOfToken(claims, earliest), isRevoked: true };
}

/** A token that has ended may be retired, and its family have gone on without it. */
async function isOfLivingFamily(
  { store }: Authority,
  { grantId }: RefreshTokenState,
  earliest: NumericDate,
): Promise<boolean> {
  const family = await store.findFamily(grantId);
  return family !== undefined && earliest < family.keptUntil;
}

function revocationOfToken({ jti, exp }: AccessTokenClaims, earliest: NumericDate): StoredRevocation {
  const expires_at = exp + LEEWAY_SECONDS;
  return { kind: 'token', id: jti, expires_at, keepUntil: expires_at, feedSeconds: expires_at - earliest };
}

/**
 * Ends a family: its refresh tokens until the last would have ended (the store sees to those that are newer than this
 * one), its access tokens until the last has expired.
 * `latest`: no earlier than it can be now, or the entry would have expired before the tokens (`StoreTime.latest`).
 */
export function revocationOfGrant(
  { grantId, expiresAt }: Pick<RefreshTokenState, 'grantId' | 'expiresAt'>,
  latest: NumericDate,
): StoredRevocation {
  const expires_at = latest + ACCESS_TOKEN_SECONDS_MAX + LEEWAY_SECONDS;
  return { kind: 'grant', id: grantId, expires_at, keepUntil: Math.max(expiresAt + LEEWAY_SECONDS, expires_at) };
}

/** A moment on a clock, and how far the clocks of others who issue on the same store may be ahead of it. */
export interface RevocationMoment {
  readonly now: NumericDate;
  readonly clockSkewSeconds: number;
}

/** Ends everything that a client was given up to and including this second, on whichever clock it was dated. */
export function revocationOfClient(clientId: string, { now, clockSkewSeconds }: RevocationMoment): StoredRevocation {
  const expires_at = now + ACCESS_TOKEN_SECONDS_MAX + LEEWAY_SECONDS;
  const before = now + clockSkewSeconds + 1;
  // No refresh token that was made before then lives longer, by any setting; and one that is revoked makes no other.
  const keepUntil = before + REFRESH_TOKEN_SECONDS_MAX + LEEWAY_SECONDS;
  return { kind: 'client', id: clientId, before, expires_at, keepUntil };
}

/** Ends everything that anybody was given up to and including this second. */
export function revocationOfEverything(moment: RevocationMoment): StoredRevocation {
  return { ...revocationOfClient('*', moment), kind: 'before' };
}

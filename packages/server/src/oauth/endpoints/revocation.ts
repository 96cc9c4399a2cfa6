/** POST /oauth2/revoke (RFC 7009): a client takes back its own tokens. */
import {
  isRefusal,
  numericDate,
  refuse,
  type NumericDate,
  type Refusal,
  type RefreshTokenState,
} from '@hallpass/protocol';
import type { StoredRevocation } from '../../store/store.ts';
import {
  respondRefusal,
  respondRevoked,
  withLogFields,
  type Endpoint,
  type WireRequest,
  type WireResponse,
} from '../../wire.ts';
import type { Authority } from '../authority.ts';
import { isAlive } from '../tokens/liveness.ts';
import { openAccessToken, openRefreshToken } from '../tokens/open.ts';
import { revocationOfGrant, revocationOfToken } from '../tokens/revocations.ts';
import { refreshTokenOfAnotherClient } from '../tokens/security_events.ts';
import { authenticate, receive, spendOnce } from './client_request.ts';

/** The revocation endpoint of an issuer. */
export function revocationEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const parameters = await receive(authority, request);
    if ('status' in parameters) return parameters;
    const received = await authenticate(authority, request, parameters);
    if ('status' in received) return received;
    const { caller, headers } = received;
    const { clientId } = caller.client;
    const logFields = { clientId };
    const token = parameters.values.get('token');
    const no = (refusal: Refusal): WireResponse =>
      withLogFields(respondRefusal(refusal, { dialect: parameters.dialect, headers }), logFields);
    const found = token === undefined ? refuse('missing_token') : await findRevocation(authority, clientId, token);
    if (isRefusal(found)) return no(found);
    const wait = parseWait(request.query);
    if (isRefusal(wait)) return no(wait);
    const replayed = await spendOnce(authority.store, caller.once);
    if (replayed !== undefined) return no(replayed);
    if (found.revocation !== undefined) {
      const spent = await authority.revocationLimit.takeRevocation(clientId);
      if (spent !== undefined) return no(spent);
      // Durable before the response. What cannot be stored is a 503, never a success (contract §4).
      await authority.store.revoke([found.revocation]);
      authority.onRevocation(found.revocation.kind === 'token' ? 'token' : 'grant');
    }
    const guards = await waitForGuards(authority, { wait, isRevoked: found.isRevoked, clientId, request });
    return withLogFields(respondRevoked(parameters.dialect, { ...headers, ...guards }), logFields);
  };
}

/** The longest that a response may be asked to wait for guards, in seconds. */
export const WAIT_SECONDS_MAX = 10;

/** The only query parameter (ADR 16): how long to wait for guards, in seconds; undefined: not at all. */
function parseWait(query: URLSearchParams): number | Refusal | undefined {
  const [text, ...more] = query.getAll('wait');
  if (text === undefined) return undefined;
  const seconds = /^[0-9]{1,2}$/.test(text) && more.length === 0 ? Number(text) : Infinity;
  return seconds <= WAIT_SECONDS_MAX ? seconds : refuse('malformed_wait');
}

/**
 * Waits until the guards have the revocation, and returns the header that says how many do (a dictionary, RFC 9651 §3.2).
 * If nothing is revoked, no guard lacks anything: none is asked, and all count as having confirmed.
 */
async function waitForGuards(
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

/** What there is to do when its owner revokes a token. */
interface FoundRevocation {
  /** The entry to store; absent if there is nothing to store. */
  readonly revocation?: StoredRevocation;
  /**
   * Whether the token is revoked afterwards, by this request or an earlier one. A request that is repeated after a lost
   * response waits for guards like the first, and costs its key no further revocation.
   */
  readonly isRevoked: boolean;
}

/** Unknown, expired, or another issuer's. */
const NOTHING: FoundRevocation = { isRevoked: false };
const REVOKED_ALREADY: FoundRevocation = { isRevoked: true };

/**
 * The revocation of a client's token. `token_type_hint` is not needed: the form of a token says what it is (RFC 7009 §2.1).
 */
async function findRevocation(
  authority: Authority,
  clientId: string,
  token: string,
): Promise<FoundRevocation | Refusal> {
  const { store, time } = authority;
  // Not by a clock that is ahead: a token that it considers expired may still be alive for every guard.
  const earliest = numericDate(time.earliest());
  const state = openRefreshToken(authority, token);
  if (state !== undefined) {
    if (earliest >= state.expiresAt && !(await isOfLivingFamily(authority, state, earliest))) return NOTHING;
    const isRevoked = await store.isRevoked(state);
    if (state.clientId !== clientId) {
      if (isRevoked) return NOTHING;
      const event = refreshTokenOfAnotherClient(state, { clientId, at: authority.clock.now() });
      const kept = await authority.securityEventLimit.admit(event);
      if (kept !== undefined) await store.recordEvent(kept);
      return refuse('token_of_another_client', { because: `issued to ${state.clientId}` });
    }
    // Any generation, however old, revokes the grant when its owner asks.
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

/** An expired token may be a retired one whose family lives on. */
async function isOfLivingFamily(
  { store }: Authority,
  { grantId }: RefreshTokenState,
  earliest: NumericDate,
): Promise<boolean> {
  const family = await store.findFamily(grantId);
  return family !== undefined && earliest < family.keptUntil;
}

/**
 * POST /oauth2/token. The life of a token request, one step a function, in this order and in no other place:
 *
 *   1 receive        bytes to single-valued parameters
 *   2 authenticate   who asks, from which page, and with which key of their own
 *   3 select         which grant, and what is asked for
 *   4 decide         what may be had: the facts, then a rule
 *   5 mint           sign; before the commit, so that a signature that fails consumes nothing
 *   6 commit         only where something must be remembered; durable before the answer
 *   7 respond        never cached
 */
import {
  GRANT_TYPES,
  isRefusal,
  PATHS,
  refuse,
  type GrantType,
  type Parameters,
  type Refusal,
  type TokenResponse,
} from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { StoreUnavailable, type SingleUseId } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { clientCredentials } from '../grants/client_credentials.ts';
import type { Decision, Grant } from '../grants/grant.ts';
import { refreshToken } from '../grants/refresh_token.ts';
import { tokenExchange } from '../grants/token_exchange.ts';
import { NO_LIMITS, onlyGuessLimits } from '../limits/limits.ts';
import { mint } from '../tokens/mint.ts';
import { receiveFromClient, spendOnce, type Caller, type ClientRequest } from './client_request.ts';
import { nonceHeader, readProof } from '../clients/dpop.ts';
import {
  grantTypeOf,
  noted,
  respondJson,
  respondRefusal,
  type Endpoint,
  type WireRequest,
  type WireResponse,
} from '../wire.ts';

/** A selection whose grant is settled: from here on the steps need not know which it is. */
type Selected = (authority: Authority, caller: Caller) => Promise<Decision>;

type Select = (authority: Authority, caller: Caller, parameters: Parameters) => Selected | Refusal;

const GRANTS: Record<GrantType, Select> = {
  client_credentials: (...given) => selectWith(clientCredentials, ...given),
  refresh_token: (...given) => selectWith(refreshToken, ...given),
  'urn:ietf:params:oauth:grant-type:token-exchange': (...given) => selectWith(tokenExchange, ...given),
};

export function tokenEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const received = await receiveToIssue(authority, request); // 1, 2
    if ('status' in received) return received;
    const { parameters, headers: forAll } = received;
    const headers = { ...forAll, ...nonceHeader(authority) };
    const caller = showPossession(authority, received.caller, request);
    const answer = isRefusal(caller) ? caller : await grant(authority, caller, parameters); // 3 to 6
    const note = { clientId: received.caller.client.clientId, ...grantTypeOf(parameters) };
    return isRefusal(answer) // 7
      ? noted(respondRefusal(answer, { dialect: parameters.dialect, headers }), note)
      : noted(respondJson(200, answer, headers), note);
  };
}

/** A caller that may be issued tokens. While the store is away: one that it could still be read a moment ago. */
async function receiveToIssue(authority: Authority, request: WireRequest): Promise<ClientRequest | WireResponse> {
  try {
    return await receiveFromStore(authority, request);
  } catch (outage) {
    if (!(outage instanceof StoreUnavailable)) throw outage;
    const received = await receiveFromCopy(authority, request);
    if (received === undefined) throw outage;
    return received;
  }
}

/** How long a first token may have to wait, in milliseconds: an answer has ten seconds (contract §3). */
const WAIT_MS_MAX = 8_000;

/**
 * After everything of a client was revoked at one stroke, tokens of that very second are dead, and `iat` knows whole
 * seconds only; with instances whose clocks are apart, tokens of the next few seconds as well. So the first token after
 * it waits, rather than be dead on arrival or carry an `iat` in the future; and then looks at the client anew, since that may have been disabled meanwhile.
 */
async function receiveFromStore(authority: Authority, request: WireRequest): Promise<ClientRequest | WireResponse> {
  const { store, clock, copies } = authority;
  for (let attempt = 1; attempt <= 3; attempt++) {
    // One request, counted once, however often it is looked at.
    const received = await receiveFromClient(attempt === 1 ? authority : { ...authority, limits: NO_LIMITS }, request);
    if ('status' in received) return received;
    const { client, at } = received.caller;
    const issueNotBefore = await store.findIssueNotBefore(client.clientId);
    copies.remember({ client, at, issueNotBefore });
    const wait = issueNotBefore * 1000 - at;
    if (wait <= 0) return received;
    if (wait > WAIT_MS_MAX)
      return respondRefusal(refuse('temporarily_unavailable', { because: whyNotYet({ issueNotBefore, wait }) }));
    await clock.sleep(wait);
  }
  return respondRefusal(refuse('temporarily_unavailable', { because: 'everything was revoked a moment ago' }));
}

/** For the log: the moment of a revocation lies ahead of this clock, so one of the two is wrong. */
function whyNotYet({ issueNotBefore, wait }: { readonly issueNotBefore: number; readonly wait: number }): string {
  const moment = new Date(issueNotBefore * 1000).toISOString();
  const ahead = Math.round(wait / 1000);
  return `all tokens of this key were revoked up to ${moment}, ${ahead} s ahead of this machine's clock: set the clock right, or wait until then`;
}

/**
 * The caller by the copy of its client, if there is one; what needs the store in a later step still fails there. Whatever
 * a copy would refuse may be wrong by now, and would tell which clients are known: then the outage is the answer.
 */
async function receiveFromCopy(
  authority: Authority,
  request: WireRequest,
): Promise<ClientRequest | WireResponse | undefined> {
  const { store, clock, copies } = authority;
  const now = clock.now();
  const byCopy = { ...authority, store: copies.asStore(store, now), limits: onlyGuessLimits(authority.limits) };
  const received = await receiveFromClient(byCopy, request).catch(() => undefined);
  if (received === undefined || 'status' in received) return undefined;
  const { client } = received.caller;
  const copy = copies.find(client.clientId, now);
  if (copy === undefined || copy.issueNotBefore * 1000 > copy.at) return undefined;
  const { parameters, headers } = received;
  const spent = await authority.limits.spend(client, 'requests');
  if (spent !== undefined) {
    const answer = respondRefusal(spent, { dialect: parameters.dialect, headers });
    return noted(answer, { clientId: client.clientId, ...grantTypeOf(parameters) });
  }
  return { ...received, caller: { ...received.caller, at: copy.at } };
}

/** The key that the tokens will be bound to, if the request proves that the caller has one (RFC 9449 §5). */
function showPossession(authority: Authority, caller: Caller, request: WireRequest): Caller | Refusal {
  const possession = readProof(authority, request, { path: PATHS.token });
  if (isRefusal(possession)) return possession;
  if (possession !== undefined) return { ...caller, jkt: possession.jkt, once: [...caller.once, possession.once] };
  return caller.client.requireDpop ? refuse('dpop_required') : caller;
}

async function grant(authority: Authority, caller: Caller, parameters: Parameters): Promise<TokenResponse | Refusal> {
  const decide = select(authority, caller, parameters); // 3
  if (isRefusal(decide)) return decide;
  // Of two callers with one refresh token one commits; the other decides again, and then finds what the first has done.
  for (let attempt = 1; attempt <= 3; attempt++) {
    const decision = await decide(authority, caller); // 4
    if (decision.decided === 'refuse') return await remember(authority, caller, decision);
    const minted = mint(authority, decision.issuance, caller.at); // 5
    if (isRefusal(minted)) return minted;
    const outcome = await commit(authority, decision, attempt === 1 ? caller.once : []); // 6
    if (isRefusal(outcome)) return outcome;
    if (outcome === 'committed') return minted;
    if (outcome === 'revoked') return refuse('refresh_token_not_good', { because: 'revoked meanwhile' });
  }
  assert.fail('a caller who was second decides by what the first has committed');
}

function select(authority: Authority, caller: Caller, parameters: Parameters): Selected | Refusal {
  const grantType = parameters.values.get('grant_type');
  if (grantType === undefined) return refuse('missing_grant_type');
  const offered = GRANT_TYPES.find((candidate) => candidate === grantType);
  return offered === undefined ? refuse('unsupported_grant_type') : GRANTS[offered](authority, caller, parameters);
}

function selectWith<Selection>(
  { select: selectFor, decide }: Grant<Selection>,
  authority: Authority,
  caller: Caller,
  parameters: Parameters,
): Selected | Refusal {
  const selection = selectFor(authority, caller, parameters);
  return isRefusal(selection) ? selection : (...given) => decide(...given, selection);
}

/** A refusal that must be remembered is answered only when it is on disk: the family of a reused token is dead by then. */
async function remember(
  { store, revocationAllowance, eventAllowance, endEverythingOf, noteRevocation }: Authority,
  { client: { clientId } }: Caller,
  { refusal, event, revocations = [] }: Extract<Decision, { decided: 'refuse' }>,
): Promise<Refusal> {
  if (event === undefined) return refusal;
  const kept = await eventAllowance.admit(event);
  if (revocations.length === 0) {
    if (kept !== undefined) await store.recordEvent(kept);
    return refusal;
  }
  // The response to a theft is never refused. Beyond what a key may add, one entry for all that it was given stands for
  // its families: a key that makes reuse by the thousand must not fill the guards (ADR 19).
  const isRoom = await revocationAllowance.takeReuse(clientId);
  await (isRoom ? store.revoke(revocations, kept) : endEverythingOf(clientId, kept));
  const ended = event.kind === 'refresh_token_reused' ? 'reused' : 'newer_than_store';
  noteRevocation(isRoom ? ended : 'client');
  return refusal;
}

async function commit(
  { store, noteSuspicion }: Authority,
  { rotation, shown }: Extract<Decision, { decided: 'issue' }>,
  once: readonly SingleUseId[],
): Promise<'committed' | 'already_used' | 'revoked' | Refusal> {
  const replayed = await spendOnce(store, once);
  if (replayed !== undefined) return replayed;
  if (shown !== undefined) {
    const recorded = await store.recordPredecessor(shown);
    if (recorded !== 'recorded') noteSuspicion(shown, recorded);
  }
  if (rotation === undefined) return 'committed';
  const outcome = await store.rotate(rotation);
  return outcome === 'rotated' ? 'committed' : outcome;
}

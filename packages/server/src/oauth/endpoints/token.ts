/**
 * POST /oauth2/token. The life of a token request, one function per step, in this order and in no other place:
 *
 *   1 receive        bytes to single-valued parameters
 *   2 authenticate   which client, on which page, and with which key of its own
 *   3 select         which grant, and what is asked for
 *   4 decide         what may be had: load the facts, then apply the rule
 *   5 mint           sign; before the commit, so that a failed signature consumes nothing
 *   6 commit         only if something must be remembered; durable before the response
 *   7 respond        never cached
 */
import {
  GRANT_TYPES,
  isRefusal,
  numericDate,
  PATHS,
  refuse,
  type GrantType,
  type Parameters,
  type Refusal,
  type TokenResponse,
} from '@hallpass/protocol';
import assert from 'node:assert/strict';
import type { SingleUseId } from '../../store/store.ts';
import {
  grantTypeOf,
  respondJson,
  respondRefusal,
  withLogFields,
  type Endpoint,
  type WireRequest,
  type WireResponse,
} from '../../wire.ts';
import type { Authority } from '../authority.ts';
import { nonceHeader, readProof } from '../clients/dpop.ts';
import { clientCredentials } from '../grants/client_credentials.ts';
import type { Decision, Grant } from '../grants/grant.ts';
import { refreshToken } from '../grants/refresh_token.ts';
import { tokenExchange } from '../grants/token_exchange.ts';
import { lifetimesOf } from '../tokens/lifetimes.ts';
import { mint } from '../tokens/mint.ts';
import { receive, spendOnce, type Caller, type ClientRequest } from './client_request.ts';
import { viewForGrants, type GrantView } from './grant_view.ts';
import { authenticateToIssue } from './issuing_client.ts';

const GRANTS: Record<GrantType, Select> = {
  client_credentials: (...given) => selectWith(clientCredentials, ...given),
  refresh_token: (...given) => selectWith(refreshToken, ...given),
  'urn:ietf:params:oauth:grant-type:token-exchange': (...given) => selectWith(tokenExchange, ...given),
};

/** The token endpoint of an issuer. */
export function tokenEndpoint(authority: Authority): Endpoint {
  const view = viewForGrants(authority);
  return async (request) => {
    const parameters = await receive(authority, request); // 1
    if ('status' in parameters) return parameters;
    const received = await authenticateToIssue(authority, request, parameters); // 2
    if ('status' in received) return received;
    const caller = provePossession(authority, request, received.caller); // still 2
    const answer = isRefusal(caller) ? caller : await issue(authority, view, { caller, parameters }); // 3 to 6
    return respond(authority, received, answer); // 7
  };
}

/** The key that the tokens will be bound to, if the request proves that the client has one (RFC 9449 §5). */
function provePossession(authority: Authority, request: WireRequest, caller: Caller): Caller | Refusal {
  const possession = readProof(authority, request, { path: PATHS.token });
  if (isRefusal(possession)) return possession;
  if (possession !== undefined) return { ...caller, jkt: possession.jkt, once: [...caller.once, possession.once] };
  return caller.client.requireDpop ? refuse('dpop_required') : caller;
}

interface TokenRequest {
  readonly caller: Caller;
  readonly parameters: Parameters;
}

async function issue(authority: Authority, view: GrantView, asked: TokenRequest): Promise<TokenResponse | Refusal> {
  const { caller } = asked;
  const decide = select(authority, view, asked); // 3
  if (isRefusal(decide)) return decide;
  // Of two requests with one refresh token, one commits. The other decides again, by what the first has committed.
  for (let attempt = 1; attempt <= 3; attempt++) {
    const decision = await decide(); // 4
    if (decision.decided === 'refuse') return await commitRefusal(authority, caller, decision);
    const minted = mint(authority, decision.issuance, caller.at); // 5
    if (isRefusal(minted)) return minted;
    const outcome = await commit(authority, decision, attempt === 1 ? caller.once : []); // 6
    if (isRefusal(outcome)) return outcome;
    if (outcome === 'committed') return minted;
    if (outcome === 'revoked') return refuse('refresh_token_not_good', { because: 'revoked meanwhile' });
  }
  assert.fail('a request that lost a race decides by what the winner has committed');
}

/** A selection with its grant: from here on the steps need not know which grant it is. */
type Decide = () => Promise<Decision>;

type Select = (authority: Authority, view: GrantView, asked: TokenRequest) => Decide | Refusal;

function select(authority: Authority, view: GrantView, asked: TokenRequest): Decide | Refusal {
  const grantType = asked.parameters.values.get('grant_type');
  if (grantType === undefined) return refuse('missing_grant_type');
  const offered = GRANT_TYPES.find((candidate) => candidate === grantType);
  return offered === undefined ? refuse('unsupported_grant_type') : GRANTS[offered](authority, view, asked);
}

function selectWith<Selection, Loaded>(
  grant: Grant<Selection, Loaded>,
  { time, lifetimes }: Authority,
  { settings, rows, refreshKeys, makeGrantId }: GrantView,
  { caller: { client, at, jkt }, parameters }: TokenRequest,
): Decide | Refusal {
  const selection = grant.select({ client, parameters }, settings);
  if (isRefusal(selection)) return selection;
  return async () => {
    const loaded = await grant.load(rows, selection, settings);
    return grant.decide({
      client,
      at,
      latest: numericDate(time.latest()),
      jkt,
      lifetimes: lifetimesOf(lifetimes, client),
      newGrantId: makeGrantId(at),
      refreshKeys,
      selection,
      loaded,
    });
  };
}

/** A refusal is sent only when its consequences are durable: by then the grant of a reused token is dead. */
async function commitRefusal(
  { store, revocationLimit, securityEventLimit, revokeEverythingOf, onRevocation }: Authority,
  { client: { clientId } }: Caller,
  { refusal, event, revocations = [] }: Extract<Decision, { decided: 'refuse' }>,
): Promise<Refusal> {
  if (event === undefined) return refusal;
  const kept = await securityEventLimit.admit(event);
  if (revocations.length === 0) {
    if (kept !== undefined) await store.recordEvent(kept);
    return refusal;
  }
  // The response to a theft is never skipped. Beyond what a key may add, one entry that revokes everything of the key
  // replaces those of its grants: a key that reuses tokens by the thousand must not fill the guards (ADR 19).
  const isRoom = await revocationLimit.takeReuse(clientId);
  await (isRoom ? store.revoke(revocations, kept) : revokeEverythingOf(clientId, kept));
  const cause = event.kind === 'refresh_token_reused' ? 'reused' : 'newer_than_store';
  onRevocation(isRoom ? cause : 'client');
  return refusal;
}

async function commit(
  { store, onSuspiciousRefresh }: Authority,
  { rotation, shown }: Extract<Decision, { decided: 'issue' }>,
  once: readonly SingleUseId[],
): Promise<'committed' | 'already_used' | 'revoked' | Refusal> {
  const replayed = await spendOnce(store, once);
  if (replayed !== undefined) return replayed;
  if (shown !== undefined) {
    const recorded = await store.recordPredecessor(shown);
    if (recorded !== 'recorded') onSuspiciousRefresh(shown, recorded);
  }
  if (rotation === undefined) return 'committed';
  const outcome = await store.rotate(rotation);
  return outcome === 'rotated' ? 'committed' : outcome;
}

function respond(
  authority: Authority,
  { caller, parameters, headers: forAll }: ClientRequest,
  answer: TokenResponse | Refusal,
): WireResponse {
  const headers = { ...forAll, ...nonceHeader(authority) };
  const response = isRefusal(answer)
    ? respondRefusal(answer, { dialect: parameters.dialect, headers })
    : respondJson(200, answer, headers);
  return withLogFields(response, { clientId: caller.client.clientId, ...grantTypeOf(parameters) });
}

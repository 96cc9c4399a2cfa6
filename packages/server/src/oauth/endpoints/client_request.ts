/** The steps that every endpoint for clients begins with: receive, authenticate, and judge the page it comes from. */
import { dialectOf, isRefusal, parseParameters, refuse, type Parameters, type Refusal } from '@hallpass/protocol';
import type { SingleUseId, Store } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { authenticateClient, challengeFor, type AuthenticatedClient } from '../clients/authentication.ts';
import { corsFor, corsForAny, judgeOrigin } from '../clients/origins.ts';
import { grantTypeOf, noted, respondRefusal, type WireRequest, type WireResponse } from '../wire.ts';

/** A client as a request found it. */
export interface Caller extends AuthenticatedClient {
  /**
   * A moment just before the client was looked up; milliseconds. Tokens carry it as their `iat`: if the client was
   * disabled after that look-up, every token that comes of it is dated before the revocation, and dead.
   */
  readonly at: number;
  /** The thumbprint of the key that it has shown to have (RFC 9449); undefined: none was shown. */
  readonly jkt: string | undefined;
}

export interface ClientRequest {
  readonly caller: Caller;
  readonly parameters: Parameters;
  /** What every answer to this request carries. */
  readonly headers: WireResponse['headers'];
}

/** A request to its client and parameters, or the answer that refuses it. */
export async function receiveFromClient(
  authority: Authority,
  request: WireRequest,
): Promise<ClientRequest | WireResponse> {
  const contentType = request.header('content-type');
  const parameters = readParameters(request);
  if (isRefusal(parameters)) {
    const headers = await corsForAny(authority, request);
    return respondRefusal(parameters, { dialect: dialectOf(contentType, request.body), headers });
  }
  const at = authority.clock.now();
  const known = await authenticateClient(authority, request, { parameters });
  if (isRefusal(known)) {
    const headers = { ...(await corsForAny(authority, request)), ...challengeFor(authority, request, known) };
    return noted(respondRefusal(known, { dialect: parameters.dialect, headers }), grantTypeOf(parameters));
  }
  const stranger = judgeOrigin(known.client, request);
  if (stranger !== undefined) {
    const answer = respondRefusal(stranger, { dialect: parameters.dialect, headers: { vary: 'Origin' } });
    return noted(answer, { clientId: known.client.clientId, ...grantTypeOf(parameters) });
  }
  return { caller: { ...known, at, jkt: undefined }, parameters, headers: corsFor(known.client, request) };
}

/** The parameters in the body of a request. */
export function readParameters({ header, body }: WireRequest): Parameters | Refusal {
  return parseParameters(header('content-type'), body, { contentEncoding: header('content-encoding') });
}

/** Marks what can be used once; a refusal when some of it was used before (RFC 7523 §3, RFC 9449 §11.1). */
export async function spendOnce(store: Store, once: readonly SingleUseId[]): Promise<Refusal | undefined> {
  if (once.length === 0) return undefined;
  const outcome = await store.useOnce(once);
  if (outcome === 'fresh') return undefined;
  const because = `replayed: ${outcome.space}`;
  return refuse(outcome.space.startsWith('proof ') ? 'dpop_proof_not_good' : 'authentication_failed', { because });
}

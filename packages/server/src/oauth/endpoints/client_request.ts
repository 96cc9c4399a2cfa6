/** The first two steps of every endpoint that clients call: receive the parameters, then authenticate the client. */
import { dialectOf, isRefusal, parseParameters, refuse, type Parameters, type Refusal } from '@hallpass/protocol';
import type { SingleUseId, Store } from '../../store/store.ts';
import { grantTypeOf, respondRefusal, withLogFields, type WireRequest, type WireResponse } from '../../wire.ts';
import type { Authority } from '../authority.ts';
import { authenticateClient, challengeFor, type AuthenticatedClient } from '../clients/authentication.ts';
import { corsFor, corsForAny, judgeOrigin } from '../clients/origins.ts';

/** The client behind a request. */
export interface Caller extends AuthenticatedClient {
  /**
   * A moment just before the client was looked up; milliseconds. Tokens carry it as their `iat`: if the client was
   * disabled after that look-up, every token from this request is dated before the revocation, and dead.
   */
  readonly at: number;
  /** The thumbprint of the key that it proved to have (RFC 9449); undefined: it proved none. */
  readonly jkt: string | undefined;
}

/** A request of an authenticated client. */
export interface ClientRequest {
  readonly caller: Caller;
  readonly parameters: Parameters;
  /** The headers of every response to this request. */
  readonly headers: WireResponse['headers'];
}

/** The parameters of a request, or the response that refuses them. */
export async function receive(authority: Authority, request: WireRequest): Promise<Parameters | WireResponse> {
  const parameters = readParameters(request);
  if (!isRefusal(parameters)) return parameters;
  const headers = await corsForAny(authority, request);
  return respondRefusal(parameters, { dialect: dialectOf(request.header('content-type'), request.body), headers });
}

/** The client behind a request, on a page that it may be used from; or the response that refuses it. */
export async function authenticate(
  authority: Authority,
  request: WireRequest,
  parameters: Parameters,
): Promise<ClientRequest | WireResponse> {
  const { dialect } = parameters;
  const at = authority.clock.now();
  const known = await authenticateClient(authority, request, { parameters });
  if (isRefusal(known)) {
    const headers = { ...(await corsForAny(authority, request)), ...challengeFor(authority, request, known) };
    return withLogFields(respondRefusal(known, { dialect, headers }), grantTypeOf(parameters));
  }
  const notAllowed = judgeOrigin(known.client, request);
  if (notAllowed !== undefined) {
    const response = respondRefusal(notAllowed, { dialect, headers: { vary: 'Origin' } });
    return withLogFields(response, { clientId: known.client.clientId, ...grantTypeOf(parameters) });
  }
  return { caller: { ...known, at, jkt: undefined }, parameters, headers: corsFor(known.client, request) };
}

/** The parameters in the body of a request. */
export function readParameters({ header, body }: WireRequest): Parameters | Refusal {
  return parseParameters(header('content-type'), body, { contentEncoding: header('content-encoding') });
}

/** Uses up what may be used once; refuses if any of it was used before (RFC 7523 §3, RFC 9449 §11.1). */
export async function spendOnce(store: Store, once: readonly SingleUseId[]): Promise<Refusal | undefined> {
  if (once.length === 0) return undefined;
  const outcome = await store.useOnce(once);
  if (outcome === 'fresh') return undefined;
  const because = `replayed: ${outcome.space}`;
  return refuse(outcome.space.startsWith('proof ') ? 'dpop_proof_not_good' : 'authentication_failed', { because });
}

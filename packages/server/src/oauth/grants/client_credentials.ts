/** `grant_type=client_credentials` (RFC 6749 §4.4): a new grant, for the client itself. */
import {
  isRefusal,
  makeIdentifier,
  numericDate,
  printScopeList,
  refuse,
  type Parameters,
  type Refusal,
} from '@hallpass/protocol';
import { lifetimesOf, type Authority } from '../authority.ts';
import type { Caller } from '../endpoints/client_request.ts';
import { endOfNext } from './grant_end.ts';
import { allowedScopes, audiencesOf, findOutside, parseRequestedScopes, selectAudiences } from '../clients/policy.ts';
import type { Grant } from './grant.ts';

interface Selection {
  readonly scope: string;
  readonly audiences: readonly string[];
}

export const clientCredentials: Grant<Selection> = {
  select,
  async decide(authority, { client, at, jkt }, { scope, audiences }) {
    const { random, keys } = authority;
    const grantId = makeIdentifier(at, random);
    const { clientId } = client;
    const issuedAt = numericDate(at);
    const expiresAt = endOfNext(grantId, issuedAt, lifetimesOf(authority, client));
    // Nothing is written: the first refresh token says all that there is to know about its grant.
    const state = { grantId, generation: 0, clientId, issuedAt, expiresAt, scope, audiences };
    const refresh = client.refresh ? { state, keyId: keys.refresh.keyId } : undefined;
    const expiresAtMax = client.refresh ? expiresAt : undefined;
    return { decided: 'issue', issuance: { grantId, client, scope, audiences, expiresAtMax, refresh, jkt } };
  },
};

function select({ defaultAudience }: Authority, { client }: Caller, parameters: Parameters): Selection | Refusal {
  const audiences = selectAudiences(parameters.resources, audiencesOf(client, defaultAudience));
  if (isRefusal(audiences)) return audiences;
  const requested = parameters.values.get('scope') ?? client.defaultScopes.join(' ');
  if (requested === '') return refuse('missing_scope');
  const scopes = parseRequestedScopes(requested);
  if (isRefusal(scopes)) return scopes;
  const outside = findOutside(allowedScopes(client), scopes);
  if (outside !== undefined) return refuse('scope_not_allowed', { subject: outside.text });
  return { scope: printScopeList(scopes), audiences };
}

/** `grant_type=client_credentials` (RFC 6749 §4.4): a new grant, for the client itself. */
import { isRefusal, numericDate, printScopeList, refuse, type Refusal } from '@hallpass/protocol';
import { allowedScopes, audiencesOf, findOutside, parseRequestedScopes, selectAudiences } from '../clients/policy.ts';
import { expiryOfNextToken } from '../tokens/grant_expiry.ts';
import type { Asked, Decision, Facts, Grant, GrantSettings } from './grant.ts';

interface Selection {
  readonly scope: string;
  readonly audiences: readonly string[];
}

/** The grant type `client_credentials`. */
export const clientCredentials: Grant<Selection, undefined> = { select, load: async () => undefined, decide };

function select({ client, parameters }: Asked, { defaultAudience }: GrantSettings): Selection | Refusal {
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

/** Nothing is stored: the first refresh token holds everything that there is to know about its grant. */
function decide(facts: Facts<Selection, undefined>): Decision {
  const { client, jkt, newGrantId: grantId, lifetimes, refreshKeys } = facts;
  const { scope, audiences } = facts.selection;
  if (!client.refresh) {
    const issuance = { grantId, client, scope, audiences, expiresAtMax: undefined, refresh: undefined, jkt };
    return { decided: 'issue', issuance };
  }
  const issuedAt = numericDate(facts.at);
  const expiresAt = expiryOfNextToken(grantId, issuedAt, lifetimes);
  const state = { grantId, generation: 0, clientId: client.clientId, issuedAt, expiresAt, scope, audiences };
  const refresh = { state, keyId: refreshKeys.inUse() };
  return { decided: 'issue', issuance: { grantId, client, scope, audiences, expiresAtMax: expiresAt, refresh, jkt } };
}

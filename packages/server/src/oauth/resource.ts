/** The server as a protected resource of its own (RFC 6750): who may ask `/ping` and read the revocation feed. */
import {
  isMeantFor,
  isRefusal,
  opens,
  parseBearer,
  parseScope,
  isScope,
  printBasicChallenge,
  printBearerChallenge,
  refuse,
  type Refusal,
} from '@hallpass/protocol';
import assert from 'node:assert/strict';
import type { Client } from '../store/store.ts';
import type { Authority } from './authority.ts';
import { authenticateClient } from './client_auth.ts';
import { isAlive, openAccessToken } from './mint.ts';
import { allowedScopes } from './policy.ts';
import { noted, respondRefusal, type WireRequest, type WireResponse } from './wire.ts';

const BASIC = /^basic(\s|$)/i;

/**
 * The client behind a request that comes with a key over Basic or with an access token for this server, if it may use
 * the scope. `mayByKey` says which keys may; a token has to hold the scope.
 */
export async function admit(
  authority: Authority,
  request: WireRequest,
  wanted: { readonly scope: string; readonly mayByKey: (client: Client) => boolean },
): Promise<{ readonly clientId: string; readonly stillMay: () => Promise<boolean> } | Refusal> {
  const header = request.header('authorization');
  const lacking = refuse('insufficient_scope', { subject: wanted.scope });
  if (header !== undefined && BASIC.test(header)) {
    const known = await authenticateClient(authority, request);
    if (isRefusal(known)) return known;
    const { clientId } = known.client;
    const stillMay = async (): Promise<boolean> => {
      const found = await authority.store.findClient(clientId);
      return found !== undefined && !found.client.disabled && wanted.mayByKey(found.client);
    };
    return wanted.mayByKey(known.client) ? { clientId, stillMay } : lacking;
  }
  const token = parseBearer(header);
  if (isRefusal(token)) return token;
  const claims = openAccessToken(authority, token);
  if (claims === undefined || claims.cnf !== undefined || !isMeantFor(claims.aud, authority.defaultAudience)) {
    return refuse('token_not_good', { because: 'not a bearer token for this server' });
  }
  if (!(await isAlive(authority, claims))) return refuse('token_not_good', { because: 'expired or revoked' });
  const scope = parseScope(wanted.scope);
  assert(isScope(scope), 'the scopes of our own resources are well-formed');
  if (!opens(claims.scope, scope)) return lacking;
  return { clientId: claims.client_id, stillMay: () => isAlive(authority, claims) };
}

/** Whether a key's policy holds a scope of our own. */
export function keyMay(client: Client, text: string): boolean {
  const scope = parseScope(text);
  return isScope(scope) && allowedScopes(client).contains(scope);
}

/** The answer to who was not admitted, with the challenge for what they tried. */
export function respondNotAdmitted({ issuer }: Authority, refusal: Refusal): WireResponse {
  const challenge =
    refusal.refused === 'authentication_failed' ? printBasicChallenge(issuer) : printBearerChallenge(refusal, issuer);
  return noted(respondRefusal(refusal, { headers: { 'www-authenticate': challenge } }), {});
}

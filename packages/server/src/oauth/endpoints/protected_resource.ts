/** The server as a protected resource itself (RFC 6750): admission to `/ping` and the revocation feed. */
import {
  isMeantFor,
  isRefusal,
  opens,
  parseAccessTokenHeader,
  parseScope,
  isScope,
  printBasicChallenge,
  printChallenge,
  refuse,
  type PresentedToken,
  type Refusal,
} from '@hallpass/protocol';
import assert from 'node:assert/strict';
import type { Client, SingleUseId } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { authenticateClient } from '../clients/authentication.ts';
import type { Budget } from '../limits/limits.ts';
import { judgePossession, nonceHeader, readProof } from '../clients/dpop.ts';
import { findLiveClient } from '../tokens/liveness.ts';
import { openAccessToken } from '../tokens/open.ts';
import { allowedScopes } from '../clients/policy.ts';
import { respondRefusal, type WireRequest, type WireResponse } from '../../wire.ts';

const BASIC = /^basic(\s|$)/i;

/** A refusal with the scheme that was tried, because the challenge has to name the same one (RFC 9449 §7.1). */
interface NotAdmitted extends Refusal {
  readonly scheme?: PresentedToken['scheme'];
}

interface Admitted {
  readonly clientId: string;
  /** Whether it came with a resource server's key. */
  readonly isResourceServer: boolean;
  /** Asks again whether the client may use the resource, for a response that lasts. */
  readonly stillMay: () => Promise<boolean>;
}

interface Wanted {
  readonly scope: string;
  readonly path: string;
  /** Why a client may not use the resource, by its key or its token; undefined: it may. A token needs the scope as well. */
  readonly refuseClient: (client: Client, by: 'key' | 'token') => Refusal | undefined;
  /** The budget of the key that is charged; undefined: the one for requests. */
  readonly budget?: Budget;
}

/**
 * The client behind a request, if it may use the resource; otherwise a refusal. It authenticates with its key over Basic, or
 * with an access token for this server.
 */
export async function admit(
  authority: Authority,
  request: WireRequest,
  wanted: Wanted,
): Promise<Admitted | NotAdmitted> {
  const header = request.header('authorization');
  if (header !== undefined && BASIC.test(header)) {
    const known = await authenticateClient(authority, request, { budget: wanted.budget ?? 'requests' });
    if (isRefusal(known)) return known;
    const { clientId, resourceServerFor } = known.client;
    const stillMay = async (): Promise<boolean> => {
      const found = await authority.store.findClient(clientId);
      return found !== undefined && !found.disabled && wanted.refuseClient(found, 'key') === undefined;
    };
    return (
      wanted.refuseClient(known.client, 'key') ?? {
        clientId,
        isResourceServer: resourceServerFor.length > 0,
        stillMay,
      }
    );
  }
  const presented = parseAccessTokenHeader(header);
  if (isRefusal(presented)) return presented;
  const admitted = await admitByToken(authority, request, { ...wanted, ...presented });
  return isRefusal(admitted) ? { ...admitted, scheme: presented.scheme } : admitted;
}

async function admitByToken(
  authority: Authority,
  request: WireRequest,
  { scheme, token, ...wanted }: Wanted & PresentedToken,
): Promise<Admitted | Refusal> {
  const opened = openAccessToken(authority, token);
  if (opened === undefined || !isMeantFor(opened.claims.aud, authority.defaultAudience)) {
    return refuse('token_not_good', { because: 'not a token for this server' });
  }
  const { claims } = opened;
  const once = judgeBinding(authority, request, { scheme, token, boundTo: claims.cnf?.jkt, path: wanted.path });
  if (isRefusal(once)) return once;
  const client = await findLiveClient(authority, opened);
  if (client === undefined)
    return refuse('token_not_good', { because: 'expired, revoked, or more than its key may have' });
  const refused = wanted.refuseClient(client, 'token');
  if (refused !== undefined) return refused;
  const scope = parseScope(wanted.scope);
  assert(isScope(scope), 'the scopes of our own resources are well-formed');
  if (!opens(claims.scope, scope)) return refuse('insufficient_scope', { subject: wanted.scope });
  // Last: only an admitted request uses up its proof.
  const used = once === undefined ? 'fresh' : await authority.store.useOnce([once]);
  if (used !== 'fresh') return refuse('resource_proof_not_good', { because: 'replayed' });
  const stillMay = async (): Promise<boolean> => {
    const found = await findLiveClient(authority, opened);
    return found !== undefined && wanted.refuseClient(found, 'token') === undefined;
  };
  return { clientId: claims.client_id, isResourceServer: false, stillMay };
}

/** A bound token needs a new proof of its key each time, whose id is returned; a bearer token has none (RFC 9449 §7). */
function judgeBinding(
  authority: Authority,
  request: WireRequest,
  {
    scheme,
    token,
    boundTo,
    path,
  }: {
    readonly scheme: 'Bearer' | 'DPoP';
    readonly token: string;
    readonly boundTo: string | undefined;
    readonly path: string;
  },
): SingleUseId | Refusal | undefined {
  if (scheme === 'Bearer') return boundTo === undefined ? undefined : refuse('token_is_bound');
  return judgePossession(boundTo, readProof(authority, request, { path, token }));
}

/** Whether a key's policy contains a scope of the server itself. */
export function keyMay(client: Client, text: string): boolean {
  const scope = parseScope(text);
  return isScope(scope) && allowedScopes(client).contains(scope);
}

/** The response to a request that was not admitted, with the challenge for the scheme that it tried. */
export function respondNotAdmitted(authority: Authority, refusal: NotAdmitted): WireResponse {
  const { issuer } = authority;
  const challenge =
    refusal.refused === 'authentication_failed'
      ? printBasicChallenge(issuer)
      : printChallenge(refusal, { realm: issuer, scheme: refusal.scheme });
  return respondRefusal(refusal, { headers: { 'www-authenticate': challenge, ...nonceHeader(authority) } });
}

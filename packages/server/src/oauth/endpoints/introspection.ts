/** POST /oauth2/introspect (RFC 7662): what is committed about a token, for its client and its resource servers. */
import {
  isMeantFor,
  isRefusal,
  numericDate,
  refuse,
  type AccessTokenClaims,
  type IntrospectionResponse,
} from '@hallpass/protocol';
import type { Client } from '../../store/store.ts';
import type { Authority } from '../authority.ts';
import { challengeFor, identifyClient } from '../clients/authentication.ts';
import { readParameters, spendOnce } from './client_request.ts';
import { canRepeat, judgeGeneration } from '../grants/generations.ts';
import { expiryOfGrant } from '../tokens/grant_expiry.ts';
import { lifetimesOf } from '../tokens/lifetimes.ts';
import { isAlive } from '../tokens/liveness.ts';
import { openAccessToken, openRefreshToken } from '../tokens/open.ts';
import { withLogFields, respondJson, respondRefusal, type Endpoint } from '../../wire.ts';

const INACTIVE = { active: false } as const;
/** The same bytes on the wire. The log says what is wrong: the key, or the audience of its guard. */
const FOR_ANOTHER_AUDIENCE = { active: false } as const;
const OTHER_AUDIENCE = 'the token is for an audience that this resource-server key does not have';

/** The introspection endpoint of an issuer. */
export function introspectionEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const parameters = readParameters(request);
    if (isRefusal(parameters)) return respondRefusal(parameters);
    const caller = await identifyClient(authority, request, parameters);
    if (isRefusal(caller)) return respondRefusal(caller, { headers: challengeFor(authority, request, caller) });
    const token = parameters.values.get('token');
    const answer = token === undefined ? undefined : await introspect(authority, caller.client, token);
    const logFields = {
      clientId: caller.client.clientId,
      ...(answer === FOR_ANOTHER_AUDIENCE ? { because: OTHER_AUDIENCE } : {}),
    };
    // Tokens that strangers bring to a guard have their own budget, so that they cannot use up the guard's others. The
    // result decides, not the look of the token: a 429 must not tell an inactive token from an unknown one.
    const budget = answer?.active === false ? 'inactive_tokens' : 'requests';
    const spent = await authority.limits.spend(caller.client, budget);
    if (spent !== undefined) return withLogFields(respondRefusal(spent, { dialect: parameters.dialect }), logFields);
    if (answer === undefined) {
      return withLogFields(respondRefusal(refuse('missing_token'), { dialect: parameters.dialect }), logFields);
    }
    // Last: only a request that succeeds uses up its assertion (contract §9).
    const replayed = await spendOnce(authority.store, caller.once);
    if (replayed !== undefined) return withLogFields(respondRefusal(replayed), logFields);
    return withLogFields(respondJson(200, answer), logFields);
  };
}

async function introspect(authority: Authority, caller: Client, token: string): Promise<IntrospectionResponse> {
  const opened = openAccessToken(authority, token);
  if (opened === undefined) return await introspectRefreshToken(authority, caller, token);
  const { claims } = opened;
  const visible =
    claims.client_id === caller.clientId || caller.resourceServerFor.some((own) => isMeantFor(claims.aud, own));
  if (!visible) return caller.resourceServerFor.length > 0 ? FOR_ANOTHER_AUDIENCE : INACTIVE;
  return (await isAlive(authority, opened)) ? describe(claims) : INACTIVE;
}

function describe({ scope, client_id, sub, iss, aud, iat, exp, jti, cnf }: AccessTokenClaims): IntrospectionResponse {
  const members = { active: true, scope, client_id, sub, iss, aud, iat, exp, jti } as const;
  return cnf === undefined ? { ...members, token_type: 'Bearer' } : { ...members, token_type: 'DPoP', cnf };
}

/** Only its own client may look into a refresh token; a resource server has no use for one (RFC 7662 §4). */
async function introspectRefreshToken(
  authority: Authority,
  caller: Client,
  token: string,
): Promise<IntrospectionResponse> {
  const { issuer, keys, clock, store } = authority;
  const state = openRefreshToken(authority, token);
  const now = clock.now();
  if (state === undefined || state.clientId !== caller.clientId) return INACTIVE;
  if (!caller.refresh || (await store.isRevoked(state))) return INACTIVE;
  const family = await store.findFamily(state.grantId);
  const lifetimes = lifetimesOf(authority.lifetimes, caller);
  const end = expiryOfGrant(state, family, lifetimes);
  if (numericDate(now) >= end) return INACTIVE;
  const { refreshGraceSeconds: graceSeconds } = lifetimes;
  const standing = judgeGeneration({ presented: state, family, now, graceSeconds });
  if (
    standing !== 'newest' &&
    !(standing === 'predecessor' && canRepeat({ has: (keyId) => keys.findRefresh(keyId) !== undefined }, family))
  )
    return INACTIVE;
  const { scope, clientId, audiences, issuedAt, grantId, generation } = state;
  const [audience = '', ...more] = audiences;
  return {
    active: true,
    scope,
    client_id: clientId,
    sub: clientId,
    iss: issuer,
    aud: more.length === 0 ? audience : audiences,
    iat: issuedAt,
    exp: end,
    // In a form that no access token has. Events and logs name a grant and a generation too.
    jti: `${grantId}.${generation}`,
    // Not Bearer: it must not pass for a token that opens an API (RFC 7662 §4).
    token_type: 'refresh_token',
  };
}

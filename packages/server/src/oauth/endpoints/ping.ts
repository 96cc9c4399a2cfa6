/** GET /ping: checks that a token or a key works, for monitors and for a first try. */
import { isRefusal, PATHS, refuse } from '@hallpass/protocol';
import type { Authority } from '../authority.ts';
import { admit, keyMay, respondNotAdmitted } from './protected_resource.ts';
import { NO_STORE, withLogFields, type Endpoint } from '../../wire.ts';

/** The scope that a token or a key needs for it; a token of any scope list that contains it will do. */
export const PING_SCOPE = '/ping.read';

/** The ping endpoint of an issuer. */
export function pingEndpoint(authority: Authority): Endpoint {
  return async (request) => {
    const admitted = await admit(authority, request, {
      scope: PING_SCOPE,
      path: PATHS.ping,
      refuseClient: (client, by) =>
        by === 'token' || keyMay(client, PING_SCOPE)
          ? undefined
          : refuse('insufficient_scope', { subject: PING_SCOPE }),
    });
    if (isRefusal(admitted)) return respondNotAdmitted(authority, admitted);
    return withLogFields({ status: 200, headers: NO_STORE, body: '' }, { clientId: admitted.clientId });
  };
}

/** The API that runs on every runtime, as one that has installed the packages: a guard, a policy, the SDK. */
import { Hallpass } from '@hallpass/client';
import { compilePolicy, createGuard } from '@hallpass/guard';
import { protect } from '@hallpass/guard/fetch';

export const policy = compilePolicy({ 'GET /accounts/{accountID}': '/accounts/{accountID}.read' });

export function makeGuard(issuer, options = {}) {
  const credentials = { clientId: 'api-key', clientSecret: 'not-for-any-log' };
  return createGuard({ issuer, audience: 'https://api.example.com', credentials, ...options });
}

/** What a client of the API does before anything else. */
export async function createToken(issuer) {
  const { accessToken } = new Hallpass({ serverURL: issuer });
  const credentials = { clientId: 'client-1', clientSecret: 'a secret' };
  const { accessTokenResponse } = await accessToken.create({ grantType: 'client_credentials', ...credentials });
  return accessTokenResponse.accessToken;
}

/** For runtimes that speak in web requests. Two paths are not guarded: what this runs on, and a token. */
export function makeHandler(issuer, options) {
  const api = protect(makeGuard(issuer, options), policy, (_request, { client, values }) =>
    Response.json({ client: client.clientId, accountID: values.accountID }),
  );
  return async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/runtime') return new Response(navigator.userAgent);
    return pathname === '/token' ? new Response(await createToken(issuer)) : api(request);
  };
}

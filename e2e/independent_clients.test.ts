/** Client libraries that know the standards and nothing about Hallpass, unmodified. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import {
  createKey,
  makeDataDir,
  startHallpass,
  type Credentials,
  type HallpassProcess,
} from '../testing/process/process.ts';

const API = 'https://api.example.com';
const { dataDir, remove } = makeDataDir();
let hallpass: HallpassProcess;
let partner: Credentials;
let resourceServer: Credentials;

before(async () => {
  const scopes = ['--scope', '/accounts.write', '--scope', '/accounts/{accountID}/transfers.read'];
  partner = await createKey(dataDir, ['Partner', ...scopes, '--audience', API]);
  resourceServer = await createKey(dataDir, ['Payments API', '--resource-server', API]);
  hallpass = await startHallpass(dataDir);
});
after(async () => {
  await hallpass.stop();
  remove();
});

describe('oauth4webapi, found by discovery (RFC 8414)', () => {
  const insecure = { [oauth.allowInsecureRequests]: true };
  const client = (): oauth.Client => ({ client_id: partner.clientId });
  const discover = async (algorithm: 'oauth2' | 'oidc' = 'oauth2'): Promise<oauth.AuthorizationServer> => {
    const issuer = new URL(hallpass.url);
    const answer = await oauth.discoveryRequest(issuer, { ...insecure, algorithm });
    // A URL object ends in a slash, an issuer need not: the metadata has the issuer to the letter.
    return await oauth.processDiscoveryResponse(new URL(hallpass.url), answer);
  };
  const grant = async (
    server: oauth.AuthorizationServer,
    authentication: oauth.ClientAuth,
    scope: string,
  ): Promise<oauth.TokenEndpointResponse> => {
    const answer = await oauth.clientCredentialsGrantRequest(server, client(), authentication, { scope }, insecure);
    return await oauth.processClientCredentialsResponse(server, client(), answer);
  };

  for (const [name, authenticate] of [
    ['client_secret_basic', oauth.ClientSecretBasic],
    ['client_secret_post', oauth.ClientSecretPost],
  ] as const) {
    test(`gets, refreshes, introspects and revokes a token with ${name}`, async () => {
      const server = await discover();
      const authentication = authenticate(partner.clientSecret);
      const first = await grant(server, authentication, '/accounts.write /accounts/a1/transfers.read');
      assert.equal(first.token_type, 'bearer');
      assert.equal(first.expires_in, 900);

      const refreshed = await oauth.processRefreshTokenResponse(
        server,
        client(),
        await oauth.refreshTokenGrantRequest(server, client(), authentication, first.refresh_token ?? '', {
          ...insecure,
          additionalParameters: { scope: '/accounts.write' },
        }),
      );
      assert.equal(refreshed.scope, '/accounts.write');

      const introspect = async (token: string): Promise<oauth.IntrospectionResponse> => {
        const asker = { client_id: resourceServer.clientId };
        const answer = await oauth.introspectionRequest(
          server,
          asker,
          authenticate(resourceServer.clientSecret),
          token,
          insecure,
        );
        return await oauth.processIntrospectionResponse(server, asker, answer);
      };
      assert.equal((await introspect(refreshed.access_token)).active, true);
      const revoked = await oauth.revocationRequest(
        server,
        client(),
        authentication,
        refreshed.refresh_token ?? '',
        insecure,
      );
      assert.equal(await oauth.processRevocationResponse(revoked), undefined);
      assert.deepEqual(await introspect(refreshed.access_token), { active: false });
    });
  }

  test('reads a refusal as the right error (RFC 6749 §5.2)', async () => {
    const server = await discover();
    await assert.rejects(
      grant(server, oauth.ClientSecretBasic(partner.clientSecret), '/accounts.read'),
      (error) => error instanceof oauth.ResponseBodyError && error.error === 'invalid_scope',
    );
    await assert.rejects(
      grant(server, oauth.ClientSecretBasic('wrong'), '/accounts.write'),
      (error) => error instanceof oauth.WWWAuthenticateChallengeError || error instanceof oauth.ResponseBodyError,
    );
  });

  test('validates an access token by RFC 9068, and refuses it for another API', async () => {
    // Found where OpenID Connect Discovery has it: that is where verifiers look which know nothing else.
    const server = await discover('oidc');
    const { access_token } = await grant(server, oauth.ClientSecretBasic(partner.clientSecret), '/accounts.write');
    const request = new Request(`${API}/accounts`, { headers: { authorization: `Bearer ${access_token}` } });
    const claims = await oauth.validateJwtAccessToken(server, request, API, insecure);
    assert.equal(claims.client_id, partner.clientId);
    await assert.rejects(oauth.validateJwtAccessToken(server, request, 'https://other.example.com', insecure));
  });
});

test('jose verifies an access token by the published keys, and refuses one that was changed', async () => {
  const token = await askForToken();
  const metadata = await (await fetch(`${hallpass.url}/.well-known/oauth-authorization-server`)).json();
  assert.ok(typeof metadata === 'object' && metadata !== null && 'jwks_uri' in metadata);
  const keys = createRemoteJWKSet(new URL(String(metadata.jwks_uri)));
  const expected = {
    issuer: hallpass.url,
    audience: API,
    typ: 'at+jwt',
    requiredClaims: ['jti', 'client_id', 'scope'],
  };
  const { payload } = await jwtVerify(token, keys, expected);
  assert.equal(payload.sub, partner.clientId);

  const [header = '', , signature = ''] = token.split('.');
  const wider = Buffer.from(JSON.stringify({ ...payload, scope: '/accounts.write /accounts.read' })).toString(
    'base64url',
  );
  await assert.rejects(jwtVerify([header, wider, signature].join('.'), keys, expected), {
    code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  });
});

test('a plain form with Basic credentials gets a token', async () => {
  assert.match(await askForToken(), /^[\w-]+\.[\w-]+\.[\w-]+$/);
});

async function askForToken(): Promise<string> {
  const authorization = `Basic ${btoa(`${partner.clientId}:${partner.clientSecret}`)}`;
  const body = 'grant_type=client_credentials&scope=/accounts.write';
  const headers = { authorization, 'content-type': 'application/x-www-form-urlencoded' };
  const answer: unknown = await (await fetch(`${hallpass.url}/oauth2/token`, { method: 'POST', headers, body })).json();
  assert.ok(typeof answer === 'object' && answer !== null && 'access_token' in answer, JSON.stringify(answer));
  return String(answer.access_token);
}

/** Four unmodified client libraries against a Hallpass in its own process. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { OAuth2Client, OAuth2HttpError } from '@badgateway/oauth2-client';
import { parseErrorResponse } from '@hallpass/protocol';
import { generateKeyPair } from 'jose';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { ClientCredentials } from 'simple-oauth2';
import {
  createKey,
  makeDataDir,
  startHallpass,
  type Credentials,
  type HallpassProcess,
} from '../testing/process/process.ts';
import { createSigningKey, type SigningClient } from './signing_key.ts';

const SCOPES = ['--scope', '/accounts.write', '--scope', '/accounts.read', '--scope', '/ping.read'];
const BOTH = '/accounts.write /ping.read';
const { dataDir, remove } = makeDataDir();
let hallpass: HallpassProcess;
let partner: Credentials;
let signing: SigningClient;

before(async () => {
  partner = await createKey(dataDir, ['Partner', ...SCOPES]);
  signing = await createSigningKey(dataDir, ['Signing partner', ...SCOPES]);
  hallpass = await startHallpass(dataDir);
});
after(async () => {
  await hallpass.stop();
  remove();
});

/** What an answer that was parsed has under a name. */
function textOf(value: unknown): string {
  assert.ok(typeof value === 'string' && value !== '', 'a text');
  return value;
}

describe('openid-client', () => {
  const configure = (clientId: string, authentication: openid.ClientAuth): Promise<openid.Configuration> =>
    openid.discovery(new URL(hallpass.issuer), clientId, undefined, authentication, {
      algorithm: 'oauth2',
      execute: [openid.allowInsecureRequests],
    });

  test('finds the issuer with its defaults, as if it were an OpenID Provider', async () => {
    const authentication = openid.ClientSecretBasic(partner.clientSecret);
    const config = await openid.discovery(new URL(hallpass.issuer), partner.clientId, undefined, authentication, {
      execute: [openid.allowInsecureRequests],
    });
    const { issuer, authorization_endpoint: authorization } = config.serverMetadata();
    assert.deepEqual([issuer, authorization], [hallpass.issuer, undefined]);
    assert.equal((await openid.clientCredentialsGrant(config, { scope: BOTH })).scope, BOTH);
  });

  const ways = {
    client_secret_basic: () => configure(partner.clientId, openid.ClientSecretBasic(partner.clientSecret)),
    client_secret_post: () => configure(partner.clientId, openid.ClientSecretPost(partner.clientSecret)),
    private_key_jwt: () => configure(signing.clientId, openid.PrivateKeyJwt(signing.privateKey)),
  };

  for (const [name, way] of Object.entries(ways)) {
    test(`gets, refreshes, introspects and revokes a token with ${name}`, async () => {
      const config = await way();
      const first = await openid.clientCredentialsGrant(config, { scope: BOTH });
      assert.equal(first.scope, BOTH);
      assert.equal(first.expires_in, 900);
      const next = await openid.refreshTokenGrant(config, textOf(first.refresh_token), { scope: '/ping.read' });
      assert.equal(next.scope, '/ping.read');
      assert.equal((await openid.tokenIntrospection(config, next.access_token)).active, true);
      await openid.tokenRevocation(config, textOf(next.refresh_token));
      assert.deepEqual(await openid.tokenIntrospection(config, next.access_token), { active: false });
    });
  }

  test('gets a token bound to its key, uses it and refreshes it, with a proof each time (RFC 9449)', async () => {
    const config = await ways.private_key_jwt();
    const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256'));
    const bound = await openid.clientCredentialsGrant(config, { scope: BOTH }, { DPoP });
    assert.equal(bound.token_type, 'dpop');
    const next = await openid.refreshTokenGrant(config, textOf(bound.refresh_token), {}, { DPoP });
    assert.equal(next.token_type, 'dpop');
    const ping = new URL(`${hallpass.issuer}/ping`);
    const answer = await openid.fetchProtectedResource(config, next.access_token, ping, 'GET', null, undefined, {
      DPoP,
    });
    assert.equal(answer.status, 200);
    await assert.rejects(
      openid.fetchProtectedResource(config, next.access_token, ping, 'GET'),
      (error) => error instanceof openid.WWWAuthenticateChallengeError && error.status === 401,
      'a bound token is no bearer token',
    );
  });

  test('reports a scope that the key may not have as invalid_scope', async () => {
    const config = await ways.client_secret_basic();
    await assert.rejects(
      openid.clientCredentialsGrant(config, { scope: '/accounts.delete' }),
      (error) => error instanceof openid.ResponseBodyError && error.error === 'invalid_scope' && error.status === 400,
    );
  });

  test('reports an assertion by another key as invalid_client', async () => {
    const stranger = await generateKeyPair('ES256');
    const config = await configure(signing.clientId, openid.PrivateKeyJwt(stranger.privateKey));
    await assert.rejects(
      openid.clientCredentialsGrant(config, { scope: BOTH }),
      (error) => error instanceof openid.ResponseBodyError && error.error === 'invalid_client' && error.status === 401,
    );
  });
});

describe('oauth4webapi', () => {
  const insecure = { [oauth.allowInsecureRequests]: true };
  const discover = async (): Promise<oauth.AuthorizationServer> => {
    const issuer = new URL(hallpass.issuer);
    return await oauth.processDiscoveryResponse(
      issuer,
      await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' }),
    );
  };

  test('gets, uses and refreshes a bound token with private_key_jwt (RFC 7523, RFC 9449)', async () => {
    const server = await discover();
    const client: oauth.Client = { client_id: signing.clientId };
    const authentication = oauth.PrivateKeyJwt(signing.privateKey);
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
    const options = { ...insecure, DPoP };
    const bound = await oauth.processClientCredentialsResponse(
      server,
      client,
      await oauth.clientCredentialsGrantRequest(server, client, authentication, { scope: BOTH }, options),
    );
    assert.equal(bound.token_type, 'dpop');
    const ping = new URL(`${hallpass.issuer}/ping`);
    const answer = await oauth.protectedResourceRequest(bound.access_token, 'GET', ping, undefined, null, options);
    assert.equal(answer.status, 200);
    const refresh = async (proof: oauth.DPoPHandle): Promise<oauth.TokenEndpointResponse> =>
      await oauth.processRefreshTokenResponse(
        server,
        client,
        await oauth.refreshTokenGrantRequest(server, client, authentication, textOf(bound.refresh_token), {
          ...insecure,
          DPoP: proof,
        }),
      );
    assert.equal((await refresh(DPoP)).token_type, 'dpop');
  });

  test('reports a proof by another key as a challenge that names invalid_dpop_proof', async () => {
    const server = await discover();
    const client: oauth.Client = { client_id: partner.clientId };
    const authentication = oauth.ClientSecretBasic(partner.clientSecret);
    const mine = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
    const anothers = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
    const { access_token } = await oauth.processClientCredentialsResponse(
      server,
      client,
      await oauth.clientCredentialsGrantRequest(
        server,
        client,
        authentication,
        { scope: BOTH },
        {
          ...insecure,
          DPoP: mine,
        },
      ),
    );
    const ping = new URL(`${hallpass.issuer}/ping`);
    await assert.rejects(
      oauth.protectedResourceRequest(access_token, 'GET', ping, undefined, null, { ...insecure, DPoP: anothers }),
      (error) =>
        error instanceof oauth.WWWAuthenticateChallengeError &&
        error.cause.some(({ scheme, parameters }) => scheme === 'dpop' && parameters.error === 'invalid_dpop_proof'),
    );
  });
});

/** Whether a token works, as its own key sees it. */
async function isActive(accessToken: string): Promise<unknown> {
  const client = makeClient(partner.clientSecret);
  return (await client.introspect({ accessToken, refreshToken: null, expiresAt: null })).active;
}

describe('simple-oauth2', () => {
  const make = (secret: string, options: ConstructorParameters<typeof ClientCredentials>[0]['options'] = {}) =>
    new ClientCredentials({
      client: { id: partner.clientId, secret },
      auth: { tokenHost: hallpass.issuer, tokenPath: '/oauth2/token', revokePath: '/oauth2/revoke' },
      options,
    });

  for (const bodyFormat of ['form', 'json'] as const) {
    for (const authorizationMethod of ['header', 'body'] as const) {
      test(`gets, refreshes and revokes a token: ${bodyFormat}, credentials in the ${authorizationMethod}`, async () => {
        const client = make(partner.clientSecret, { bodyFormat, authorizationMethod });
        const first = await client.getToken({ scope: ['/accounts.write', '/ping.read'] });
        assert.equal(first.token['scope'], BOTH);
        assert.equal(first.expired(), false);
        const next = await first.refresh({ scope: '/ping.read' });
        assert.equal(next.token['scope'], '/ping.read');
        const accessToken = textOf(next.token['access_token']);
        assert.equal(await isActive(accessToken), true);
        await next.revokeAll();
        assert.equal(await isActive(accessToken), false);
        assert.equal(await isActive(textOf(first.token['access_token'])), false, 'the grant has ended');
      });
    }
  }

  test('reports a wrong secret as 401 with the right error', async () => {
    await assert.rejects(make('wrong').getToken({ scope: BOTH }), (error) => {
      assert.ok(error instanceof Error && 'output' in error && 'data' in error);
      const { output, data } = error;
      assert.ok(typeof output === 'object' && output !== null && 'statusCode' in output);
      assert.ok(typeof data === 'object' && data !== null && 'payload' in data);
      assert.equal(output.statusCode, 401);
      assert.deepEqual(parseErrorResponse(data.payload)?.error, 'invalid_client');
      return true;
    });
  });
});

function makeClient(clientSecret: string): OAuth2Client {
  return new OAuth2Client({
    server: hallpass.issuer,
    clientId: partner.clientId,
    clientSecret,
    discoveryEndpoint: '/.well-known/oauth-authorization-server',
  });
}

describe('@badgateway/oauth2-client, found by discovery', () => {
  test('gets, refreshes, introspects and revokes a token', async () => {
    const client = makeClient(partner.clientSecret);
    const first = await client.clientCredentials({ scope: ['/accounts.write', '/ping.read'] });
    assert.deepEqual(first.scope, ['/accounts.write', '/ping.read']);
    const next = await client.refreshToken(first, { scope: ['/ping.read'] });
    assert.deepEqual(next.scope, ['/ping.read']);
    const seen = await client.introspect(next);
    assert.equal(seen.active, true);
    assert.equal(seen.client_id, partner.clientId);
    await client.revoke(next, 'refresh_token');
    assert.equal((await client.introspect(next)).active, false);
  });

  test('reports a refresh token whose grant was revoked as invalid_grant', async () => {
    const client = makeClient(partner.clientSecret);
    const first = await client.clientCredentials({ scope: ['/ping.read'] });
    await client.revoke(first, 'refresh_token');
    await assert.rejects(
      client.refreshToken(first),
      (error) =>
        error instanceof OAuth2HttpError && error.oauth2Code === 'invalid_grant' && error.response.status === 400,
    );
  });
});

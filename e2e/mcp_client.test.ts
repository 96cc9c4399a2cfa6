/**
 * A client of the Model Context Protocol that acts for itself (its client credentials extension). It knows the address of
 * an API and its own credentials, and finds the rest: the API's challenge, its metadata (RFC 9728), the metadata of the
 * authorization server (RFC 8414), and a token for this API and no other (RFC 8707).
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';
import { createKey, makeDataDir, startHallpass, type Credentials, type HallpassProcess } from './hallpass_process.ts';
import { createSigningKey, type SigningClient } from './signing_key.ts';

const SCOPE = '/tools.call';
const insecure = { [oauth.allowInsecureRequests]: true };
const { dataDir, remove } = makeDataDir();
let hallpass: HallpassProcess;
let agent: Credentials;
let signingAgent: SigningClient;

/** An API that has nothing but the way to its authorization server. */
const api = createServer((request, response) => {
  if (request.url === '/.well-known/oauth-protected-resource/mcp') {
    const metadata = { resource: resource(), authorization_servers: [hallpass.issuer], scopes_supported: [SCOPE] };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(metadata));
    return;
  }
  const address = `${origin()}/.well-known/oauth-protected-resource/mcp`;
  response.writeHead(401, { 'www-authenticate': `Bearer resource_metadata="${address}", scope="${SCOPE}"` }).end();
});

function origin(): string {
  const address = api.address();
  assert.ok(isTcp(address), 'the API listens');
  return `http://127.0.0.1:${address.port}`;
}

function isTcp(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === 'object' && address !== null;
}

function resource(): string {
  return `${origin()}/mcp`;
}

before(async () => {
  await new Promise<void>((resolve) => {
    api.listen(0, '127.0.0.1', resolve);
  });
  const words = ['--scope', SCOPE, '--audience', 'https://other.example.com', '--audience', resource()];
  agent = await createKey(dataDir, ['Agent', ...words]);
  signingAgent = await createSigningKey(dataDir, ['Signing agent', ...words]);
  hallpass = await startHallpass(dataDir);
});
after(async () => {
  await hallpass.stop();
  api.closeAllConnections();
  api.close();
  remove();
});

/** From the address of the API alone to the server that gives tokens for it, and the scope that is asked for. */
async function find(): Promise<{
  readonly server: oauth.AuthorizationServer;
  readonly scope: string;
  readonly target: string;
}> {
  const address = new URL(resource());
  const challenged = await oauth
    .protectedResourceRequest('none', 'POST', address, undefined, null, insecure)
    .then(() => assert.fail('the API lets nobody in without a token'))
    .catch((error: unknown) => {
      assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, String(error));
      return error.cause[0]?.parameters;
    });
  assert.equal(challenged?.['resource_metadata'], `${origin()}/.well-known/oauth-protected-resource/mcp`);
  const described = await oauth.processResourceDiscoveryResponse(
    address,
    await oauth.resourceDiscoveryRequest(address, insecure),
  );
  const issuer = new URL(described.authorization_servers?.[0] ?? '');
  const server = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' }),
  );
  return { server, scope: challenged['scope'] ?? '', target: described.resource };
}

async function ask(
  server: oauth.AuthorizationServer,
  as: { readonly clientId: string; readonly authentication: oauth.ClientAuth },
  parameters: Record<string, string>,
): Promise<oauth.TokenEndpointResponse> {
  const client = { client_id: as.clientId };
  const answer = await oauth.clientCredentialsGrantRequest(server, client, as.authentication, parameters, insecure);
  return await oauth.processClientCredentialsResponse(server, client, answer);
}

describe('an MCP client that knows the API and its own credentials', () => {
  const ways = {
    client_secret_basic: () => ({
      clientId: agent.clientId,
      authentication: oauth.ClientSecretBasic(agent.clientSecret),
    }),
    private_key_jwt: () => ({
      clientId: signingAgent.clientId,
      authentication: oauth.PrivateKeyJwt(signingAgent.privateKey),
    }),
  };
  for (const [name, way] of Object.entries(ways)) {
    test(`finds the server, and gets a token for this API alone with ${name} (RFC 8707 §2)`, async () => {
      const { server, scope, target } = await find();
      assert.ok(server.token_endpoint_auth_methods_supported?.includes(name), 'the metadata offers it');
      assert.ok(server.grant_types_supported?.includes('client_credentials'), 'the metadata offers the grant');
      const { access_token } = await ask(server, way(), { scope, resource: target });
      const { aud, iss, scope: granted } = decodeJwt(access_token);
      assert.equal(aud, target);
      assert.equal(iss, hallpass.issuer);
      assert.equal(granted, SCOPE);
      const request = new Request(target, { headers: { authorization: `Bearer ${access_token}` } });
      assert.equal((await oauth.validateJwtAccessToken(server, request, target, insecure)).aud, target);
    });

    test(`is refused a token for an API that it may not name, with ${name} (RFC 8707 §2)`, async () => {
      const { server, scope } = await find();
      await assert.rejects(
        ask(server, way(), { scope, resource: 'https://stranger.example.com' }),
        (error) => error instanceof oauth.ResponseBodyError && error.error === 'invalid_target',
      );
    });
  }
});

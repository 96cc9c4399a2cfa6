/**
 * A client of the Model Context Protocol that acts for itself (its client credentials extension). It knows the address of
 * an API and its own credentials, and finds the rest: the API's challenge, its metadata (RFC 9728), the metadata of the
 * authorization server (RFC 8414), and a token for this API and no other (RFC 8707), which the API then takes. The API has
 * the guard in front of it, and nothing else to do with tokens.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { compilePolicy } from '@hallpass/guard';
import { decodeJwt } from 'jose';
import * as oauth from 'oauth4webapi';
import { openApi, type GuardedApi } from '../testing/server/guarded_api.ts';
import {
  createKey,
  makeDataDir,
  startHallpass,
  type Credentials,
  type HallpassProcess,
} from '../testing/process/process.ts';
import { createSigningKey, type SigningClient } from './signing_key.ts';

const SCOPE = '/tools.call';
const OTHER_API = 'https://other.example.com';
const insecure = { [oauth.allowInsecureRequests]: true };
const { dataDir, remove } = makeDataDir();
let api: GuardedApi;
let hallpass: HallpassProcess;
let agent: Credentials;
let signingAgent: SigningClient;

function resource(): string {
  return `${api.origin}/mcp`;
}

before(async () => {
  api = await openApi();
  const words = ['--scope', SCOPE, '--audience', OTHER_API, '--audience', resource()];
  agent = await createKey(dataDir, ['Agent', ...words]);
  signingAgent = await createSigningKey(dataDir, ['Signing agent', ...words]);
  const credentials = await createKey(dataDir, ['Tools', '--resource-server', resource()]);
  hallpass = await startHallpass(dataDir);
  const options = { issuer: hallpass.issuer, audience: resource(), credentials, resourceMetadata: true };
  await api.guardBy(compilePolicy({ 'POST /mcp': SCOPE }), options).ready();
});
after(async () => {
  api.close();
  await hallpass.stop();
  remove();
});

/** From the address of the API alone to the server that gives tokens for it, and the scope that is asked for. */
async function find(): Promise<{
  readonly server: oauth.AuthorizationServer;
  readonly scope: string;
  readonly target: string;
}> {
  const address = new URL(resource());
  const challenged = await fetch(address, { method: 'POST' });
  assert.equal(challenged.status, 401, 'the API lets nobody in without a token');
  const challenge = challenged.headers.get('www-authenticate') ?? '';
  const metadata = /^Bearer .*resource_metadata="([^"]+)"/.exec(challenge)?.[1] ?? '';
  assert.equal(metadata, `${api.origin}/.well-known/oauth-protected-resource/mcp`);
  const described = await oauth.processResourceDiscoveryResponse(address, await fetch(metadata));
  const issuer = new URL(described.authorization_servers?.[0] ?? '');
  const server = await oauth.processDiscoveryResponse(
    issuer,
    await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' }),
  );
  return { server, scope: described.scopes_supported?.join(' ') ?? '', target: described.resource };
}

/** What the API says to a client with this token: its status, and the error of its challenge. */
async function call(token: string): Promise<readonly [status: number, error: string | undefined]> {
  const response = await fetch(resource(), { method: 'POST', headers: { authorization: `Bearer ${token}` } });
  return [response.status, /error="([^"]+)"/.exec(response.headers.get('www-authenticate') ?? '')?.[1]];
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

describe('an MCP client that knows only the API and its own credentials', () => {
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
      assert.deepEqual(await call(access_token), [200, undefined]);
    });

    test(`gets a token for another API with ${name}, and this API refuses that token (RFC 9068 §4)`, async () => {
      const { server, scope } = await find();
      const { access_token } = await ask(server, way(), { scope, resource: OTHER_API });
      assert.equal(decodeJwt(access_token).aud, OTHER_API);
      assert.deepEqual(await call(access_token), [401, 'invalid_token']);
    });

    test(`is refused a token for an API that its key does not list, with ${name} (RFC 8707 §2)`, async () => {
      const { server, scope } = await find();
      await assert.rejects(
        ask(server, way(), { scope, resource: 'https://stranger.example.com' }),
        (error) => error instanceof oauth.ResponseBodyError && error.error === 'invalid_target',
      );
    });
  }
});

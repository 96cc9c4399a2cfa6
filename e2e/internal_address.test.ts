/** An issuer with an internal address, as between containers, and a public name (ADR 30). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import { Hallpass, type HallpassOptions } from '@hallpass/client';
import { createGuard, type GuardOptions } from '@hallpass/guard';
import { startHallpass } from '../testing/server/server.ts';
import { Signer } from '../testing/client/signer.ts';

const ISSUER = 'https://auth.example.com/tenant';
const API = 'https://api.example.com';
const INSIDE = 'http://hallpass:8080/tenant';

const server = await startHallpass({
  environment: { HALLPASS_ISSUER: ISSUER, HALLPASS_MASTER_KEY: randomBytes(32).toString('base64url') },
});
const { clock } = server;
const address = `${server.url}/tenant`;
const partner = await server.makeKey({ audiences: [API] });
const opaque = await server.makeKey({ audiences: [API], accessTokenFormat: 'opaque' });
const credentials = await server.makeKey({ scopes: [], resourceServerFor: [API] });

/** The network of containers, in which this server is called `hallpass`; and what was asked for there. */
const sent: string[] = [];
const network: typeof fetch = (input, init) => {
  const { url } = new Request(input);
  sent.push(url);
  return url.startsWith(INSIDE) ? fetch(url.replace(INSIDE, address), init) : Promise.reject(new TypeError('no route'));
};

const guardAt = (options: Partial<GuardOptions>): ReturnType<typeof createGuard> =>
  createGuard({ issuer: ISSUER, audience: API, credentials, clock, onEvent: () => {}, ...options });

suite('a guard', () => {
  test('sends all requests to the internal address, and accepts tokens of the public issuer', async () => {
    const guard = guardAt({
      issuerAddress: INSIDE,
      issuerPlaintext: 'allow',
      fetch: network,
      opaqueTokenSeconds: 1,
      apiKeySeconds: 1,
    });
    try {
      await guard.ready();
      const check = async (authorization: string): Promise<number> => {
        const request = { method: 'GET', url: '/accounts', headers: { authorization } };
        const decision = await guard.check(request, '/accounts.read');
        return decision.allowed ? 200 : decision.status;
      };
      for (const key of [partner, opaque]) {
        const { accessToken } = await client({}).create(key);
        assert.equal(await check(`Bearer ${accessToken}`), 200);
        const basic = Buffer.from(`${key.clientId}:${key.clientSecret}`).toString('base64');
        assert.equal(await check(`Basic ${basic}`), 200);
      }
      assert.deepEqual(guard.metadata().authorization_servers, [ISSUER], 'clients are sent to the public name');
      assert.ok(
        sent.every((url) => url.startsWith('http://hallpass:8080/')),
        sent.join(' '),
      );
      assert.ok(sent.some((url) => url === 'http://hallpass:8080/.well-known/oauth-authorization-server/tenant'));
    } finally {
      guard.close();
    }
  });

  test('refuses the internal address as an issuer, and says so', async () => {
    const guard = guardAt({ issuer: address });
    await assert.rejects(
      guard.ready(),
      /The issuer calls itself 'https:\/\/auth\.example\.com\/tenant'.*issuerAddress/,
    );
    guard.close();
  });

  test('sends its secret over plain http to another machine only if that is allowed', () => {
    for (const issuerAddress of ['http://hallpass:8080', 'http://10.0.0.7:8080', 'http://hallpass.default.svc']) {
      for (const issuerPlaintext of [undefined, 'refuse'] as const) {
        const given = issuerPlaintext === undefined ? {} : { issuerPlaintext };
        assert.throws(
          () => guardAt({ issuerAddress, ...given }),
          /issuerAddress is plain http .*set issuerPlaintext to 'allow'/,
        );
      }
      guardAt({ issuerAddress, issuerPlaintext: 'allow' }).close();
    }
    for (const issuerAddress of ['https://hallpass:8443', 'http://localhost:8080', 'http://127.0.0.1:8080']) {
      guardAt({ issuerAddress }).close();
    }
    assert.throws(
      () => guardAt({ issuer: 'http://hallpass:8080', issuerPlaintext: 'allow' }),
      /issuer must begin with https/,
    );
    assert.throws(() => guardAt({ issuerPlaintext: 'allow' }), /issuerPlaintext has no effect without issuerAddress/);
    for (const issuerAddress of ['hallpass:8080', 'http://a@hallpass', 'http://hallpass/?a', 'ftp://hallpass', '']) {
      assert.throws(() => guardAt({ issuerAddress, issuerPlaintext: 'allow' }), /issuerAddress must be like/);
    }
    const loose: Partial<GuardOptions> = JSON.parse('{"issuerPlaintext":true}');
    assert.throws(() => guardAt({ issuerAddress: INSIDE, ...loose }), /issuerPlaintext must be one of refuse, allow/);
  });
});

interface Tokens {
  readonly accessToken: string;
}

function client(more: Partial<HallpassOptions>): {
  readonly create: (key: { readonly clientId: string; readonly clientSecret: string }) => Promise<Tokens>;
} {
  const hallpass = new Hallpass({
    serverURL: ISSUER,
    serverAddress: INSIDE,
    serverPlaintext: 'allow',
    fetch: network,
    ...more,
  });
  return {
    create: async (key) => {
      const request = { ...key, grantType: 'client_credentials', scope: '/accounts.read', resource: API } as const;
      const { accessTokenResponse } = await hallpass.accessToken.create(request);
      assert.ok(accessTokenResponse !== undefined);
      return accessTokenResponse;
    },
  };
}

test('the client uses the internal address, and sends secrets over plain http to another machine only if that is allowed', async () => {
  const { accessToken } = await client({}).create(partner);
  assert.ok(accessToken.length > 0);
  await client({ serverAddress: address, serverPlaintext: undefined, fetch: undefined }).create(partner);
  for (const serverPlaintext of [undefined, 'refuse'] as const) {
    assert.throws(() => client({ serverPlaintext }), /serverAddress is plain http .*serverPlaintext: 'allow'/);
  }
  assert.throws(() => client({ serverAddress: undefined }), /serverPlaintext has no effect without serverAddress/);
  assert.throws(() => client({ serverURL: INSIDE }), /serverURL must begin with https/);
  for (const serverAddress of ['hallpass:8080', 'http://a@hallpass', '']) {
    assert.throws(() => client({ serverAddress }), /serverAddress must be like/);
  }
});

suite('the server', () => {
  test('answers the same whatever Host and proxy headers say', async () => {
    const path = '/.well-known/oauth-authorization-server/tenant';
    const published = await (await fetch(server.url + path)).text();
    for (const fields of [
      'Host: hallpass:8080',
      'Host: hallpass\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example',
    ]) {
      const answer = await server.raw(`GET ${path} HTTP/1.1\r\n${fields}\r\nConnection: close\r\n\r\n`);
      assert.ok(answer.endsWith(published), answer);
    }
    assert.match(published, /"issuer":"https:\/\/auth\.example\.com\/tenant"/);
  });

  test('accepts a proof of possession for its public address, wherever the request was sent (RFC 9449 §4.3)', async () => {
    const signer = await Signer.make();
    const send = async (htu: string): Promise<number> => {
      const dpop = await signer.prove({ url: htu, clock });
      const form = { grant_type: 'client_credentials', scope: '/accounts.read' };
      return (await server.form('/tenant/oauth2/token', form, { key: partner, headers: { dpop } })).status;
    };
    assert.equal(await send(`${ISSUER}/oauth2/token`), 200);
    assert.equal(await send(`${INSIDE}/oauth2/token`), 400);
    assert.equal(await send(`${address}/oauth2/token`), 400);
  });
});

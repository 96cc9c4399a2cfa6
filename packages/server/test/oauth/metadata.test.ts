import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { listen } from '../../src/http/listener.ts';
import { openLog } from '../../src/http/log.ts';
import { publish } from '../../src/oauth/endpoints/metadata.ts';
import { ACCESS_TOKEN_TYPE_URN } from '@hallpass/protocol';
import { claimOf, startHallpass, tokensOf, type Answer } from '../../../../testing/server/server.ts';
import { Signer } from '../../../../testing/client/signer.ts';

const hallpass = await startHallpass();
const key = await hallpass.makeKey();
const signer = await Signer.make();
const signing = await hallpass.makeKey({ publicKeys: [signer.jwk] });
const WELL_KNOWN = '/.well-known/oauth-authorization-server';
const OPENID = '/.well-known/openid-configuration';
const metadata = await hallpass.request(WELL_KNOWN);
const list = (name: string): readonly unknown[] => {
  const value: unknown = metadata.body[name];
  assert.ok(Array.isArray(value), name);
  return value;
};
const pathOf = (name: string): string => {
  const address = String(metadata.body[name]);
  assert.ok(address.startsWith(`${hallpass.issuer}/`), `${name} is below the issuer`);
  return address.slice(hallpass.issuer.length);
};

test('an issuer that was typed in another spelling is published, and named in tokens, in the one spelling (RFC 3986 §6.2)', async () => {
  const typed = await startHallpass({ environment: { HALLPASS_ISSUER: 'HTTP://LocalHost:80/Tenant' } });
  const published = await typed.request('/.well-known/oauth-authorization-server/Tenant');
  assert.equal(published.body['issuer'], 'http://localhost/Tenant');
  assert.equal(published.body['token_endpoint'], 'http://localhost/Tenant/oauth2/token');
  const issuer = await typed.makeKey();
  const answer = await typed.form(
    '/Tenant/oauth2/token',
    { grant_type: 'client_credentials', scope: '/accounts.write' },
    { key: issuer },
  );
  const { accessToken } = tokensOf(answer);
  assert.deepEqual(
    [claimOf(accessToken, 'iss'), claimOf(accessToken, 'aud')],
    Array(2).fill('http://localhost/Tenant'),
  );
});

test('the metadata is a JSON object that names the issuer exactly as iss does (RFC 8414 §2, §3.2)', () => {
  assert.equal(metadata.status, 200);
  assert.match(metadata.header('content-type') ?? '', /^application\/json/);
  assert.equal(metadata.body['issuer'], hallpass.issuer);
  assert.deepEqual(list('response_types_supported'), [], 'REQUIRED, and there is none');
});

test('every endpoint that is listed answers where it is said to be', async () => {
  assert.equal((await hallpass.request(pathOf('jwks_uri'))).status, 200);
  for (const name of ['token_endpoint', 'revocation_endpoint', 'introspection_endpoint']) {
    assert.equal((await hallpass.form(pathOf(name), {})).outcome, '401 invalid_client', name);
  }
});

test('every grant that is listed works (RFC 8414 §2)', async () => {
  const path = pathOf('token_endpoint');
  const { accessToken, refreshToken } = await hallpass.issue(key);
  const subject = { subject_token: accessToken, subject_token_type: ACCESS_TOKEN_TYPE_URN };
  const params = { scope: '/accounts.write', refresh_token: refreshToken, ...subject };
  assert.equal(list('grant_types_supported').length, 3);
  for (const grant of list('grant_types_supported')) {
    assert.equal((await hallpass.form(path, { ...params, grant_type: String(grant) }, { key })).status, 200);
  }
});

for (const grant of [
  'implicit',
  'authorization_code',
  'password',
  'urn:ietf:params:oauth:grant-type:jwt-bearer',
  'urn:ietf:params:oauth:grant-type:saml2-bearer',
  'urn:ietf:params:oauth:grant-type:device_code',
]) {
  test(`${grant} is not listed, and refused`, async () => {
    assert.equal(list('grant_types_supported').includes(grant), false);
    const params = { grant_type: grant, scope: '/accounts.write' };
    assert.equal((await hallpass.form('/oauth2/token', params, { key })).outcome, '400 unsupported_grant_type');
  });
}

for (const endpoint of ['token', 'revocation', 'introspection']) {
  test(`each authentication method listed for the ${endpoint} endpoint works, each other is not listed (RFC 8414 §2)`, async () => {
    const methods = list(`${endpoint}_endpoint_auth_methods_supported`);
    const params = { grant_type: 'client_credentials', scope: '/accounts.write', token: 'x' };
    const inBody = { client_id: key.clientId, client_secret: key.clientSecret };
    const ways: Readonly<Record<string, () => Promise<Answer>>> = {
      client_secret_basic: () => hallpass.form(pathOf(`${endpoint}_endpoint`), params, { key }),
      client_secret_post: () => hallpass.form(pathOf(`${endpoint}_endpoint`), { ...params, ...inBody }),
      private_key_jwt: async () =>
        hallpass.form(pathOf(`${endpoint}_endpoint`), {
          ...params,
          ...(await signer.assert(hallpass, signing.clientId)),
        }),
    };
    assert.deepEqual(new Set(methods), new Set(Object.keys(ways)));
    for (const way of Object.values(ways)) assert.equal((await way()).status, 200);
    const none = await hallpass.form(pathOf(`${endpoint}_endpoint`), { ...params, client_id: key.clientId });
    assert.equal(none.outcome, '401 invalid_client', 'none is not listed');
  });
}

test('every key has kty, kid, alg and use: sig, and no private member (RFC 7517 §4, §9.3)', async () => {
  for (const algorithm of ['ES256', 'EdDSA', 'RS256']) {
    const other = await startHallpass({ environment: { HALLPASS_SIGNING_ALGORITHM: algorithm } });
    const answer = await other.request('/oauth2/jwks');
    assert.match(answer.header('content-type') ?? '', /^application\/(jwk-set\+)?json/);
    const { keys } = answer.body;
    assert.ok(Array.isArray(keys) && keys.length === 1);
    const one: unknown = keys[0];
    assert.ok(typeof one === 'object' && one !== null);
    const members = Object.fromEntries(Object.entries(one));
    assert.equal(members['alg'], algorithm);
    assert.equal(members['use'], 'sig');
    assert.ok(typeof members['kid'] === 'string' && typeof members['kty'] === 'string');
    for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
      assert.doesNotMatch(answer.text, new RegExp(`"${secret}"`), `${algorithm}: ${secret}`);
    }
    await other.close();
  }
});

test('verifiers that know OpenID Connect Discovery alone find the same metadata, and nothing that is not so', async () => {
  const answer = await hallpass.request(OPENID);
  assert.equal(answer.status, 200);
  const { subject_types_supported, id_token_signing_alg_values_supported, ...rest } = answer.body;
  assert.deepEqual(rest, metadata.body);
  assert.deepEqual(subject_types_supported, ['public'], 'REQUIRED (OpenID Connect Discovery §3)');
  assert.deepEqual(id_token_signing_alg_values_supported, ['ES256', 'EdDSA', 'RS256']);
  for (const name of ['authorization_endpoint', 'userinfo_endpoint', 'scopes_supported', 'claims_supported']) {
    assert.equal(answer.body[name], undefined, `${name} would be a claim to be an OpenID Provider`);
  }
  assert.equal(
    (await hallpass.form('/oauth2/token', { grant_type: 'client_credentials', scope: 'openid' }, { key })).outcome,
    '400 invalid_scope',
  );
});

test('the sub of a client is the same for every audience, as subject_types_supported says', async () => {
  const audiences = ['https://one.example.com', 'https://two.example.com'];
  const by = await hallpass.makeKey({ audiences });
  const subjects = [];
  for (const resource of audiences) {
    subjects.push(claimOf((await hallpass.issue(by, '/accounts.write', { resource })).accessToken, 'sub'));
  }
  assert.deepEqual(subjects, [by.clientId, by.clientId]);
});

for (const path of [WELL_KNOWN, OPENID, '/oauth2/jwks']) {
  test(`${path} may be kept for a stated time, and asked for again by its ETag (RFC 9110 §13.1.2)`, async () => {
    const first = await hallpass.request(path);
    const etag = first.header('etag') ?? '';
    assert.match(first.header('cache-control') ?? '', /max-age=[1-9][0-9]*/);
    assert.match(etag, /^"[^"]+"$/);
    for (const tag of [etag, `W/${etag}`, `"other", ${etag}`]) {
      const again = await hallpass.request(path, { headers: { 'if-none-match': tag } });
      assert.equal(again.status, 304, tag);
      assert.equal(again.text, '');
      assert.equal(again.header('etag'), etag);
    }
    const other = await hallpass.request(path, { headers: { 'if-none-match': '"other"' } });
    assert.equal(other.status, 200);
    assert.equal(other.text, first.text);
  });

  test(`${path}: If-None-Match: * names any version (RFC 9110 §13.1.2)`, async () => {
    assert.equal((await hallpass.request(path, { headers: { 'if-none-match': '*' } })).status, 304);
  });

  test(`${path} may be read from any page, without credentials (contract §9)`, async () => {
    const answer = await hallpass.request(path, { headers: { origin: 'https://anywhere.example' } });
    assert.equal(answer.header('access-control-allow-origin'), '*');
    assert.equal(answer.header('access-control-allow-credentials'), undefined);
  });
}

for (const [name, value] of [
  ['Host', 'evil.example'],
  ['Host', 'evil.example:443'],
  ['X-Forwarded-Host', 'evil.example'],
  ['X-Forwarded-Proto', 'https'],
  ['Forwarded', 'host=evil.example;proto=https'],
  ['X-Original-URL', '/evil'],
  ['X-Forwarded-Prefix', '/evil'],
] as const) {
  test(`${name}: ${value} changes nothing in the metadata`, async () => {
    const host = name === 'Host' ? '' : 'Host: localhost\r\n';
    const answer = await hallpass.raw(
      `GET ${WELL_KNOWN} HTTP/1.1\r\n${host}${name}: ${value}\r\nConnection: close\r\n\r\n`,
    );
    assert.match(answer, /^HTTP\/1\.1 200 /);
    assert.equal(answer.slice(answer.indexOf('\r\n\r\n') + 4), metadata.text);
  });
}

test('an issuer with a path: the well-known part stands between host and path (RFC 8414 §3.1)', async () => {
  const issuer = 'https://auth.example.com/tenants/one';
  const masterKey = randomBytes(32).toString('base64url');
  const tenant = await startHallpass({ environment: { HALLPASS_ISSUER: issuer, HALLPASS_MASTER_KEY: masterKey } });
  const answer = await tenant.request(`${WELL_KNOWN}/tenants/one`);
  assert.equal(answer.status, 200);
  assert.equal(answer.body['issuer'], issuer);
  assert.equal(answer.body['token_endpoint'], `${issuer}/oauth2/token`);
  assert.equal(answer.body['jwks_uri'], `${issuer}/oauth2/jwks`);
  for (const path of [`/tenants/one${OPENID}`, `${OPENID}/tenants/one`]) {
    const found = await tenant.request(path);
    assert.equal(found.status, 200, path);
    assert.deepEqual([found.body['issuer'], found.body['jwks_uri']], [issuer, `${issuer}/oauth2/jwks`]);
  }
  for (const path of [`/tenants/one${WELL_KNOWN}`, WELL_KNOWN, OPENID, '/oauth2/token', '/oauth2/jwks']) {
    assert.equal((await tenant.request(path)).outcome, '404 not_found', path);
  }
  assert.equal((await tenant.request('/tenants/one/oauth2/jwks')).status, 200);
  const by = await tenant.makeKey();
  const params = { grant_type: 'client_credentials', scope: '/accounts.write' };
  assert.equal((await tenant.form('/tenants/one/oauth2/token', params, { key: by })).status, 200);
});

test('a document is rendered and hashed once, until it is another one', async () => {
  let rendered = 0;
  const make = (name: string): object => ({
    toJSON: () => {
      rendered += 1;
      return { name };
    },
  });
  let document = make('one');
  const endpoint = publish(() => document, 'application/json');
  const listener = await listen(
    { '/document': { GET: endpoint } },
    { host: '127.0.0.1', port: 0, log: openLog('silent') },
  );
  try {
    const ask = (headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
      fetch(`${listener.url}/document`, { headers });
    const first = await ask();
    const etag = first.headers.get('etag') ?? '';
    assert.deepEqual(await first.json(), { name: 'one' });
    for (let count = 0; count < 10; count++) assert.equal((await ask()).headers.get('etag'), etag);
    assert.equal((await ask({ 'if-none-match': etag })).status, 304);
    assert.equal(rendered, 1);
    document = make('two');
    const second = await ask({ 'if-none-match': etag });
    assert.equal(second.status, 200);
    assert.deepEqual(await second.json(), { name: 'two' });
    assert.equal(rendered, 2);
  } finally {
    await listener.close();
  }
});

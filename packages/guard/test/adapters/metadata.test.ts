import { compilePolicy, createGuard, metadataPath, type Guard, type GuardOptions } from '@hallpass/guard';
import { protect as protectFetch } from '@hallpass/guard/fetch';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertDenied, bearer, guardOf, openIssuer, words } from '../harness.ts';
import { API, CREDENTIALS } from '../issuer.ts';
import { proved, Prover } from '../prover.ts';

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'POST /accounts': '/accounts.write',
  'GET /accounts/archive': '/accounts.read',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
});
const issuer = await openIssuer();

function open(options: Partial<GuardOptions> = {}): Guard {
  return guardOf(issuer, { resourceMetadata: true, publicURL: API, ...options }).guard;
}

test('the metadata is served at its own path only, to GET, without credentials (RFC 9728 §3.1)', async () => {
  const handler = protectFetch(open({ audience: `${API}/v1/payments` }), policy, () => new Response('in'));
  const ask = (path: string, method = 'GET'): Promise<Response> =>
    handler(new Request(`http://api${path}`, { method }));
  const response = await ask(`${WELL_KNOWN}/v1/payments?x=1`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('cache-control') ?? '', /^public, max-age=\d+$/);
  assert.deepEqual(await response.json(), {
    resource: `${API}/v1/payments`,
    authorization_servers: [issuer.url],
    bearer_methods_supported: ['header'],
    dpop_signing_alg_values_supported: ['ES256', 'EdDSA', 'PS256'],
    scopes_supported: ['/accounts.read', '/accounts.write'],
  });
  const path = `${WELL_KNOWN}/v1/payments`;
  for (const other of [
    WELL_KNOWN,
    `/v1/payments${WELL_KNOWN}`,
    `${WELL_KNOWN}/v1`,
    `${path}/`,
    `/x${path}`,
    path.toUpperCase(),
  ])
    assert.equal((await ask(other)).status, 401, other);
  for (const method of ['POST', 'PUT', 'DELETE', 'HEAD']) assert.equal((await ask(path, method)).status, 401, method);
});

test('without the option there is no metadata, and challenges do not mention it', async () => {
  const handler = protectFetch(open({ resourceMetadata: false }), policy, () => new Response('in'));
  const response = await handler(new Request(`http://api${WELL_KNOWN}`));
  assert.deepEqual([response.status, response.headers.get('www-authenticate')], [401, `Bearer realm="${API}"`]);
});

test('every challenge links to the metadata (RFC 9728 §5.1)', async () => {
  const guard = open();
  const prover = new Prover();
  const bound = await issuer.token({ cnf: { jkt: prover.jkt } });
  const refused = [
    [401, /^Bearer /, await guard.check({ method: 'GET', url: '/', headers: {} }, '/accounts.read')],
    [401, /^Bearer .*invalid_token/, await guard.check(bearer('x'), '/accounts.read')],
    [403, /^Bearer .*insufficient_scope/, await guard.check(bearer(await issuer.token()), '/accounts.write')],
    [401, /^DPoP .*invalid_token/, await guard.check(bearer(bound), '/accounts.read')],
    [401, /^DPoP .*invalid_dpop_proof/, await guard.check(proved(bound), '/accounts.read')],
  ] as const;
  for (const [status, scheme, decision] of refused) {
    const challenge = assertDenied(decision, status).headers['WWW-Authenticate'] ?? '';
    assert.match(challenge, scheme);
    assert.ok(challenge.endsWith(`, resource_metadata="${API}${WELL_KNOWN}"`), challenge);
  }
});

test('the document lists no scopes without a policy, and no proofs without publicURL', () => {
  const { guard } = guardOf(issuer);
  const least = { resource: API, authorization_servers: [issuer.url], bearer_methods_supported: ['header'] };
  assert.deepEqual(guard.metadata(), least);
  assert.deepEqual(guard.metadata(compilePolicy({ 'GET /a/{id}': '/a/{id}.read' })), least);
  assert.deepEqual(guard.metadata(compilePolicy({ 'GET /a/{id}': '/a.read' })), {
    ...least,
    scopes_supported: ['/a.read'],
  });
  assert.equal(guard.metadataPath, undefined);
  assert.equal(open().metadataPath, WELL_KNOWN);
});

test("the metadata's path: a slash after the host is dropped, one after a path is kept (RFC 9728 §3.1)", () => {
  const places: Readonly<Record<string, string>> = {
    'https://api.example.com': WELL_KNOWN,
    'https://api.example.com/': WELL_KNOWN,
    'https://api.example.com:8443/a': `${WELL_KNOWN}/a`,
    'https://api.example.com/a/': `${WELL_KNOWN}/a/`,
    'http://127.0.0.1:3000/a/b': `${WELL_KNOWN}/a/b`,
  };
  for (const [audience, path] of Object.entries(places)) assert.equal(metadataPath(audience), path, audience);
});

test('without a URL as its audience an API has no metadata, and a guard with the option refuses at once', () => {
  const good = { issuer: issuer.url, credentials: CREDENTIALS };
  createGuard({ ...good, audience: 'payments' }).close();
  createGuard({ ...good, audience: 'http://localhost:3000', resourceMetadata: true }).close();
  const bad = words(`
    payments urn:example:api //api.example.com https://API.example.com https://api.example.com:443
    https://api.example.com/a/../b https://api.example.com?x https://api.example.com#x https://user@api.example.com
    https://api.example.com/" https://api.example.com/\u00e9 https:// ftp://api.example.com https://[
  `);
  for (const audience of [...bad, 'https://api.example.com/a b', 'https://api.example.com\\a', 'https://a.example\n']) {
    assert.throws(() => metadataPath(audience), /^TypeError: resourceMetadata/, audience);
    assert.throws(
      () => createGuard({ ...good, audience, realm: 'api', resourceMetadata: true }),
      /^TypeError: resourceMetadata/,
      audience,
    );
  }
  assert.throws(
    () => createGuard({ ...good, audience: 'http://api.example.com', resourceMetadata: true }),
    /^TypeError: audience must begin with https/,
  );
});

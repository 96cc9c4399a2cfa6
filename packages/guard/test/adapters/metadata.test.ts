import { compilePolicy, createGuard, metadataPath, type Guard, type GuardOptions } from '@hallpass/guard';
import { protect as protectFetch } from '@hallpass/guard/fetch';
import { protect as protectNode } from '@hallpass/guard/node';
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test } from 'node:test';
import { assertDenied, bearer, guardOf, openIssuer, words } from '../harness.ts';
import { API, CREDENTIALS } from '../issuer.ts';
import { listen } from './listen.ts';
import { proved, Prover } from '../prover.ts';

const WELL_KNOWN = '/.well-known/oauth-protected-resource';

const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'POST /accounts': '/accounts.write',
  'GET /accounts/archive': '/accounts.read',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
});
const issuer = await openIssuer();

async function serve(listener: RequestListener): Promise<string> {
  return `http://127.0.0.1:${await listen(listener)}`;
}

const ADAPTERS: Readonly<Record<string, (guard: Guard) => Promise<string>>> = {
  node: (guard) => serve(protectNode(guard, policy, (_request, response) => void response.end('in'))),
  fetch: (guard) => {
    const handler = protectFetch(guard, policy, () => new Response('in'));
    return serve((request, response) => {
      const { method = '', url = '', headers } = request;
      const authorization = headers.authorization ?? '';
      void handler(new Request(`http://api${url}`, { method, headers: { authorization } })).then(async (answer) =>
        response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text()),
      );
    });
  },
};

function open(options: Partial<GuardOptions> = {}): Guard {
  return guardOf(issuer, { resourceMetadata: true, publicURL: API, ...options }).guard;
}

for (const [name, serveBy] of Object.entries(ADAPTERS)) {
  test(`${name}: anyone can GET the metadata, and nothing next to it (RFC 9728 §3.1)`, async () => {
    const url = await serveBy(open());
    for (const path of [WELL_KNOWN, `${WELL_KNOWN}?x=1`]) {
      const response = await fetch(url + path);
      assert.equal(response.status, 200, path);
      assert.equal(response.headers.get('content-type'), 'application/json');
      assert.equal(response.headers.get('access-control-allow-origin'), '*');
      assert.match(response.headers.get('cache-control') ?? '', /^public, max-age=\d+$/);
      assert.deepEqual(await response.json(), {
        resource: API,
        authorization_servers: [issuer.url],
        bearer_methods_supported: ['header'],
        dpop_signing_alg_values_supported: ['ES256', 'EdDSA', 'PS256'],
        scopes_supported: ['/accounts.read', '/accounts.write'],
      });
    }
    for (const path of [`${WELL_KNOWN}/`, `${WELL_KNOWN}/x`, `/x${WELL_KNOWN}`, WELL_KNOWN.toUpperCase(), '/accounts'])
      assert.equal((await fetch(url + path)).status, 401, path);
    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD'])
      assert.equal((await fetch(url + WELL_KNOWN, { method })).status, 401, method);
  });

  test(`${name}: without the option there is no metadata, and challenges don't mention it`, async () => {
    const url = await serveBy(open({ resourceMetadata: false }));
    const response = await fetch(url + WELL_KNOWN);
    assert.equal(response.status, 401);
    assert.equal(response.headers.get('www-authenticate'), `Bearer realm="${API}"`);
  });

  test(`${name}: if the audience has a path, the metadata is between host and path, and only there (RFC 9728 §3.1)`, async () => {
    const url = await serveBy(open({ audience: `${API}/v1/payments` }));
    const response = await fetch(`${url}${WELL_KNOWN}/v1/payments`);
    assert.equal(response.status, 200);
    const body: unknown = await response.json();
    assert.ok(typeof body === 'object' && body !== null && 'resource' in body);
    assert.equal(body.resource, `${API}/v1/payments`);
    for (const path of [WELL_KNOWN, `/v1/payments${WELL_KNOWN}`, `${WELL_KNOWN}/v1`])
      assert.equal((await fetch(url + path)).status, 401, path);
  });
}

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
  for (const audience of [
    ...bad,
    '',
    'https://api.example.com/a b',
    'https://api.example.com\\a',
    'https://a.example\n',
  ]) {
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

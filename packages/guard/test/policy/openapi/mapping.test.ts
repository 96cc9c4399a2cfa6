/** Hallpass scopes that stand for a document's scopes in other words, such as `payments:read`. */
import { readPolicy } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stringify } from 'yaml';
import { api, asks, faultsOf, meets, openFolder } from './harness.ts';

const files = openFolder();
const fileOf = (document: unknown): string => files.fileOf(stringify(document));

test('a mapping makes a policy of a document with scopes in other words, and no operation needs less by it', async () => {
  const document = api({
    '/contacts': { get: asks('contacts.read'), post: asks('contacts') },
    '/both': { get: { security: [{ Hallpass: ['contacts.read', 'contacts'] }] } },
    '/either': { get: { security: [{ Hallpass: ['contacts.read'] }, { OpenID: ['contacts'] }] } },
    '/kept': { get: asks('/kept.read') },
    '/unknown': { get: asks('other') },
  });
  const scopes = fileOf({ contacts: '/contacts.write', 'contacts.read': '/contacts.read' });
  const policy = await readPolicy(fileOf(document), { scopes, onClosed: () => undefined });
  assert.equal(meets(policy, 'GET', '/contacts'), '/contacts.read');
  assert.equal(meets(policy, 'POST', '/contacts'), '/contacts.write');
  assert.equal(meets(policy, 'GET', '/kept'), '/kept.read');
  assert.deepEqual(
    policy.closed.map(({ kind, operation }) => `${kind} ${operation}`),
    ['several_scopes GET /both', 'several_scopes GET /either', 'bad_scope GET /unknown'],
  );
  // One scope for two words is fine where they are alternatives, but not where both are required at once.
  const faults = faultsOf(document, { scopes: { contacts: '/all.read', 'contacts.read': '/all.read' } }).join('\n');
  assert.match(faults, /^several_scopes \/paths\/~1both\/get: .*'contacts.read, contacts'/m);
  assert.doesNotMatch(faults, /either/);
});

test('a file that is not a mapping is refused, and each bad line is named', async () => {
  const document = fileOf(api({ '/a': { get: asks('a:read') } }));
  for (const [text, message] of [
    ["'a:read': /a.read\n", /^accepted$/],
    ["'a:read': a.read\n", /^:1: 'a:read': 'a\.read' is not a scope/],
    ["'b:read': /b.read\n'a:read': [/a.read]\n", /^:2: 'a:read': Its value is not a scope/],
    ['- /a.read\n', /Is this the right file\?$/],
    ['openapi: 3.1.0\npaths: {}\n', /Is this the right file\?$/],
    ["'a:read': /a.read\n'a:read': /b.read\n", /is given twice/],
    // A misspelt name leaves its operation closed.
    ["'a:raed': /a.read\n", /not a scope\. A scope begins with a slash.*hallpass policy scopes/],
  ] as const) {
    const outcome: unknown = await readPolicy(document, { scopes: files.fileOf(text) }).catch(
      (error: unknown) => error,
    );
    assert.match(outcome instanceof Error ? outcome.message.replace(/^\S*?(:\d+|#)/, '$1') : 'accepted', message, text);
  }
  const routes = files.fileOf('GET /a: /a.read\n');
  await assert.rejects(
    readPolicy(routes, { scopes: files.fileOf("'a': /a.read\n") }),
    /mapping of scopes is for OpenAPI/,
  );
});

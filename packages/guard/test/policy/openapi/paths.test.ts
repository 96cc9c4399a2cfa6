import { policyFromOpenAPI } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, asks, assertFault, faultsOf, meets, opened, type Members } from './harness.ts';

test('a parameter that the path has not is named, with the one that it may be', () => {
  const at = (path: string, scope: string): Members => api({ [path]: { get: asks(scope) } });
  assertFault(
    at('/accounts/{id}/transfers', '/accounts/{accountID}/transfers.read'),
    /^unknown_parameter .* has \{accountID\}, and the path does not\. If it is what the path calls \{id\}, write '\/accounts\/\{id\}\/transfers\.read'/,
  );
  assertFault(at('/transfers', '/accounts/{accountID}.read'), /no parameter that could fill it.*guard\.check/);
  assertFault(at('/{a}/{b}', '/x/{c}.read'), /The path has \{a\}, \{b\}/);
  assertFault(at('/{a}/{b}', '/{a}/{c}.read'), /what the path calls \{b\}, write '\/\{a\}\/\{b\}\.read'/);
  assertFault(at('/{a}', '/{c}/{d}.read'), /\{c\}.*The path has \{a\}/);
  // Names are compared to the letter; a slip in one would open another account.
  assertFault(at('/accounts/{accountId}', '/accounts/{accountID}.read'), /\{accountID\}/);
  // An inherited name is none.
  assertFault(at('/accounts/{id}', '/accounts/{constructor}.read'), /\{constructor\}/);
  assert.equal(opened(at('/accounts/{__proto__}', '/accounts/{__proto__}.read'), '/accounts/a1'), '/accounts/a1.read');
});

test('paths that a guard cannot bind are refused', () => {
  const at = (path: string): Members => api({ [path]: { get: asks('/a.read') } });
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['accounts', /begins with a slash/],
    ['', /begins with a slash/],
    ['/accounts/', /slash at its end/],
    ['//accounts', /plain segment/],
    ['/accounts/{id}.json', /whole segment/],
    ['/accounts/v{id}', /whole segment/],
    ['/accounts/{a}-{b}', /whole segment/],
    ['/accounts/{a}{b}', /whole segment/],
    ['/accounts/{id', /plain segment/],
    ['/accounts/{}', /plain segment/],
    ['/accounts/{account.id}', /plain segment/],
    ['/accounts/{a}/{a}', /\{a\} is there twice/],
    ['/a/../b', /plain segment/],
    ['/a b', /plain segment/],
    ['/a?b=c', /plain segment/],
    ['/a#b', /plain segment/],
    ['/é', /plain segment/],
  ];
  for (const [path, says] of wrong) {
    const [fault = '', ...others] = faultsOf(at(path));
    assert.match(fault, /^bad_path /, path);
    assert.match(fault, says, path);
    assert.deepEqual(others, []);
  }
  assert.equal(opened(at('/__proto__'), '/__proto__'), '/a.read');
  assert.equal(opened(at('/'), '/'), '/a.read');
});

test('two templates that match the same requests are refused, whatever opens them', () => {
  const same = (first: Members, second: Members): Members =>
    api({ '/a/{b}/c': { get: first }, '/a/{d}/c': { get: second } });
  const first = /^ambiguous \/paths\/~1a~1\{b\}~1c\/get: It matches the same requests as 'GET \/a\/\{d\}\/c'/;
  const second = /^ambiguous \/paths\/~1a~1\{d\}~1c\/get: It matches the same requests as 'GET \/a\/\{b\}\/c'/;
  assertFault(same(asks('/x.read'), asks('/y.read')), first, second);
  assertFault(same(asks('/x.read'), { security: [] }), first);
  assertFault(same({}, asks('/x.read')), /^unmapped /, second);
  const apart = api({ '/a/{b}/c': { get: asks('/x.read') }, '/a/{d}/c': { put: asks('/y.read') } });
  assert.equal(opened(apart, '/a/1/c', {}, 'PUT'), '/y.read');
});

test('methods: each that OpenAPI has, and 3.2 has more', () => {
  const names = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'];
  const document = api(
    {
      '/a': {
        ...Object.fromEntries(names.map((name) => [name, asks(`/a.${name}`)])),
        additionalOperations: { LOCK: asks('/a.lock') },
        parameters: [],
        summary: 'text',
      },
    },
    { openapi: '3.2.0' },
  );
  for (const name of [...names, 'lock']) assert.equal(opened(document, '/a', {}, name.toUpperCase()), `/a.${name}`);
  assertFault(api({ '/a': { GET: asks('/a.read') } }), /^unknown_member \/paths\/~1a\/GET: .*Did you mean 'get'/);
  assertFault(
    api({ '/a': { additionalOperations: { lock: asks('/a.lock') } } }, { openapi: '3.2.0' }),
    /^bad_path .*A method is a word in capitals/,
  );
  assertFault(api({ '/a': { get: 'text' } }), /^malformed \/paths\/~1a\/get: An operation must be an object/);
  assertFault(api({ '/a': 'text' }), /^malformed \/paths\/~1a: A path item must be an object/);
});

test('a path item may be written elsewhere in the document, and nowhere else', () => {
  const refer = (reference: unknown, more: Members = {}): Members =>
    api(
      { '/a~b': { $ref: reference, ...more } },
      {
        'x-items': {
          'a/b': { get: asks('/a.read') },
          on: { $ref: '#/x-items/a~1b' },
          round: { $ref: '#/x-items/round' },
        },
        'x-list': [{ get: asks('/list.read') }],
      },
    );
  assert.equal(opened(refer('#/x-items/a~1b'), '/a~b'), '/a.read');
  assert.equal(opened(refer('#/x-items/a%7E1b'), '/a~b'), '/a.read');
  assert.equal(opened(refer('#/x-items/on'), '/a~b'), '/a.read');
  assert.equal(opened(refer('#/x-list/0'), '/a~b'), '/list.read');
  assert.equal(opened(refer('#/x-items/on', { summary: 'text' }), '/a~b'), '/a.read');
  for (const reference of ['other.yaml', './other.yaml#/a', 'https://api.example.com/x']) {
    assertFault(refer(reference), /^bad_reference \/paths\/~1a~0b\/\$ref: .*no other is read here/);
  }
  for (const reference of [7, null, {}]) assertFault(refer(reference), /^bad_reference .*must be a text/);
  assertFault(refer('#a'), /not a JSON Pointer/);
  assertFault(refer('#/x-items/none'), /leads to what is not a path item/);
  assertFault(refer('#/constructor'), /leads to what is not a path item/);
  assertFault(refer('#/__proto__'), /leads to what is not a path item/);
  assertFault(refer('#/x-list/length'), /leads to what is not a path item/);
  assertFault(refer('#/x-items/%ff'), /not a JSON Pointer/);
  assertFault(refer('#/x-items/a~2b'), /not a JSON Pointer/);
  assertFault(refer('#/x-items/round'), /on and on/);
  assertFault(refer('#/x-items/on', { get: asks('/b.read') }), /stands beside a \$ref/);
});

test('the path of the servers stands before each path, and has to be one', () => {
  const on = (...servers: readonly unknown[]): Members => api({ '/a': { get: asks('/a.read') } }, { servers });
  const prefixes: readonly (readonly [string, string])[] = [
    ['https://api.example.com', ''],
    ['https://api.example.com/', ''],
    ['https://api.example.com:8443/v1', '/v1'],
    ['https://api.example.com/v1/', '/v1'],
    ['//api.example.com/v1', '/v1'],
    ['/v1/public', '/v1/public'],
    ['/', ''],
    ['https://{region}.example.com/v1', '/v1'],
    ['{scheme}://api.example.com/v1', '/v1'],
  ];
  for (const [url, prefix] of prefixes) {
    assert.equal(opened(on({ url }), `${prefix}/a`), '/a.read', url);
    assert.equal(opened(on({ url }), `/x${prefix}/a`), 'route_not_allowed', url);
  }
  assert.equal(opened(on(), '/a'), '/a.read');
  assert.equal(
    opened(on({ url: 'https://one.example.com/v1' }, { url: 'https://two.example.com/v1/' }), '/v1/a'),
    '/a.read',
  );
  const named = (values: Members): Members =>
    on({ url: 'https://api.example.com/{base}', variables: { base: values } });
  assert.equal(opened(named({ default: 'v2' }), '/v2/a'), '/a.read');
  assert.equal(opened(named({ default: 'v2', enum: ['v2'] }), '/v2/a'), '/a.read');

  const ambiguous = /^bad_server \/servers: These servers have different paths: '\/v1', '\/v2'\. .*--base-path/;
  assertFault(on({ url: 'https://one.example.com/v1' }, { url: 'https://two.example.com/v2' }), ambiguous);
  assertFault(named({ default: 'v2', enum: ['v1', 'v2'] }), ambiguous);
  for (const server of [
    { url: 'v1' },
    { url: './v1' },
    { url: 'https://x.example.com/{base}' },
    { url: '/v1?x' },
    {},
    7,
  ]) {
    assertFault(on(server), /^bad_server \/servers: .*does not say which path/);
  }
  assertFault(
    api({ '/a': { get: asks('/a.read') } }, { servers: 'x' }),
    /^bad_server \/servers: servers must be a list/,
  );
});

test('the servers of an operation or of its path item stand in place of the others, and a base path in place of all', () => {
  const document = api(
    {
      '/a': { get: asks('/a.read'), put: { ...asks('/a.write'), servers: [{ url: '/put' }] } },
      '/b': { get: asks('/b.read'), servers: [{ url: 'https://b.example.com/b' }] },
      '/': { get: asks('/root.read') },
    },
    { servers: [{ url: '/v1' }, { url: 'v2' }] },
  );
  // The document's own are of no use, which is said once, not for every operation that needs them.
  assertFault(document, /^bad_server \/servers: 'v2' does not say/);
  const policy = policyFromOpenAPI({ ...document, servers: [{ url: '/v1' }] });
  assert.equal(meets(policy, 'GET', '/v1/a'), '/a.read');
  assert.equal(meets(policy, 'PUT', '/put/a'), '/a.write');
  assert.equal(meets(policy, 'PUT', '/v1/a'), 'route_not_allowed');
  assert.equal(meets(policy, 'GET', '/b/b'), '/b.read');
  assert.equal(meets(policy, 'GET', '/v1'), '/root.read');
  const moved = policyFromOpenAPI(document, { basePath: '/x/{tenant}' });
  assert.equal(meets(moved, 'PUT', '/x/t1/a'), '/a.write');
  assert.equal(meets(moved, 'GET', '/x/t1/b'), '/b.read');
  assert.equal(meets(policyFromOpenAPI(document, { basePath: '' }), 'GET', '/b'), '/b.read');
});

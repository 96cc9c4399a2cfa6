import { policyFromOpenAPI } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, asks, assertFault, faultsOf, meets, opened, type Members } from './harness.ts';
import { words } from '../../harness.ts';

test('a scope parameter that is not in the path is named, with a suggestion where there is one', () => {
  const at = (path: string, scope: string): Members => api({ [path]: { get: asks(scope) } });
  assertFault(
    at('/accounts/{id}/transfers', '/accounts/{accountID}/transfers.read'),
    /^unknown_parameter .* has \{accountID\}, and the path does not\. If it is what the path calls \{id\}, write '\/accounts\/\{id\}\/transfers\.read'/,
  );
  assertFault(at('/transfers', '/accounts/{accountID}.read'), /no parameter that could fill it.*guard\.check/);
  assertFault(at('/{a}/{b}', '/x/{c}.read'), /The path has \{a\}, \{b\}/);
  assertFault(at('/{a}/{b}', '/{a}/{c}.read'), /what the path calls \{b\}, write '\/\{a\}\/\{b\}\.read'/);
  assertFault(at('/{a}', '/{c}/{d}.read'), /\{c\}.*The path has \{a\}/);
  // Names are case-sensitive: a guess could open another account.
  assertFault(at('/accounts/{accountId}', '/accounts/{accountID}.read'), /\{accountID\}/);
  // Inherited names do not count.
  assertFault(at('/accounts/{id}', '/accounts/{constructor}.read'), /\{constructor\}/);
  assert.equal(opened(at('/accounts/{__proto__}', '/accounts/{__proto__}.read'), '/accounts/a1'), '/accounts/a1.read');
});

test('paths that a guard cannot bind are refused', () => {
  const at = (path: string): Members => api({ [path]: { get: asks('/a.read') } });
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['accounts', /begins with a slash/],
    ['', /begins with a slash/],
    ['/accounts/', /end in a slash/],
    ['//accounts', /plain segment/],
    ['/accounts/{id}.json', /whole segment/],
    ['/accounts/v{id}', /whole segment/],
    ['/accounts/{a}-{b}', /whole segment/],
    ['/accounts/{a}{b}', /whole segment/],
    ['/accounts/{id', /plain segment/],
    ['/accounts/{}', /plain segment/],
    ['/accounts/{account.id}', /plain segment/],
    ['/accounts/{a}/{a}', /\{a\} is used twice/],
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

test('two templates that match the same requests are both closed, whatever opens them', () => {
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

test('every method of OpenAPI is read, and since 3.2 others too', () => {
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

test('a path item may be a reference within the document, and no further', () => {
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
  for (const reference of [7, null, {}]) assertFault(refer(reference), /^bad_reference .*must be a string/);
  assertFault(refer('#a'), /not a JSON Pointer/);
  assertFault(refer('#/x-items/none'), /leads to what is not a path item/);
  assertFault(refer('#/constructor'), /leads to what is not a path item/);
  assertFault(refer('#/__proto__'), /leads to what is not a path item/);
  for (const index of ['length', '00', '-1', '1e0', '0x0', ' 0', '0 ', '1']) {
    assertFault(refer(`#/x-list/${index}`), /leads to what is not a path item/);
  }
  assertFault(refer('#/x-items/%ff'), /not a JSON Pointer/);
  for (const wrong of ['#/~', '#/~2', '#/a~', '#/a/~', '#/~/a', '#/a#/b', '#/x-items/a~2b']) {
    assertFault(refer(wrong), /not a JSON Pointer/);
  }
  assertFault(refer('#/x-items/round'), /chain of references is longer/);
  for (const beside of ['get', 'additionalOperations', 'servers', 'security', 'parameters']) {
    assertFault(refer('#/x-items/on', { [beside]: {} }), /is beside a \$ref/);
  }
});

test('the path of the servers comes before each path, and there must be only one', () => {
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
  const unclear = words(`
    v1 ./v1 https://x.example.com/{base} {a{b}://h/v1 {a}b}://h/v1 {a://h/v1 a}://h/v1 https://h?q/v1 https://h#f/v1
    https:/h/v1 /v1?q /v1#f /v1{ /v1}
  `);
  const urls = [...unclear, 'x https://h/v1', '\n/v1'].map((url) => ({ url }));
  for (const server of [...urls, {}, 7, null, { url: 7 }, { url: ['/v1'] }, ['/v1']]) {
    assertFault(on(server), /^bad_server \/servers: .*does not say which path/);
  }
  // A second double slash is not another host, and no guard matches it.
  assertFault(on({ url: '/v1//h/v2' }), /^bad_path /);
  assertFault(
    api({ '/a': { get: asks('/a.read') } }, { servers: 'x' }),
    /^bad_server \/servers: servers must be a list/,
  );
});

test('the servers of an operation or path item replace those of the document, and a base path replaces all of them', () => {
  const document = api(
    {
      '/a': { get: asks('/a.read'), put: { ...asks('/a.write'), servers: [{ url: '/put' }] } },
      '/b': { get: asks('/b.read'), servers: [{ url: 'https://b.example.com/b' }] },
      '/': { get: asks('/root.read') },
    },
    { servers: [{ url: '/v1' }, { url: 'v2' }] },
  );
  // A fault of the document's servers is reported once, not for every operation that needs them.
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

test('the variables of a server have to come to one path', () => {
  const on = (variables: unknown, url: string): Members =>
    api({ '/a': { get: asks('/a.read') } }, { servers: [{ url, variables }] });
  for (const [variables, prefix, url = '/{a}'] of [
    [{ a: { default: 'x' }, b: { default: 'y' } }, '/x/y', '/{a}/{b}'],
    [{ a: { enum: ['x'], default: 'x' }, b: { enum: ['y'] } }, '/x/y', '/{a}/{b}'],
    [{ a: { default: 'x' } }, '/x/x', '/{a}/{a}'],
    [{ a: { default: '$&' } }, '/$&'],
    [{ a: { default: 7 } }, '/7'],
  ] as const) {
    assert.equal(opened(on(variables, url), `${prefix}/a`), '/a.read', prefix);
  }
  for (const variables of [
    undefined,
    7,
    {},
    { a: 7 },
    { a: {} },
    // No value at all is not the root.
    { a: { enum: [] } },
    // Some tools use a default that is not one of the values.
    { a: { enum: ['x'], default: 'z' } },
    { a: { default: 'x', enum: 'x' } },
    { a: { enum: ['x', null] } },
    ...[null, true, {}, ['x'], 'x?y', 'x#y', 'x{y', 'x}y'].map((value) => ({ a: { default: value } })),
  ]) {
    assertFault(on(variables, '/{a}'), /^bad_server /);
  }
  // A few lines can make paths without end.
  const names = Array.from({ length: 20 }, (_, index) => `v${index}`);
  const many = { enum: Array.from({ length: 90 }, (_, index) => `x${index}`) };
  const url = names.map((name) => `/{${name}}`).join('');
  assertFault(on(Object.fromEntries(names.map((name) => [name, many])), url), /^bad_server /);
});

test('a reference is followed 16 times, and the names in a pointer are unescaped in the order of RFC 6901 §4', () => {
  const chain = (length: number): Members => {
    const items = Array.from({ length }, (_, at) => [
      String(at + 1),
      at + 1 === length ? { get: asks('/a.read') } : { $ref: `#/x-p/${at + 2}` },
    ]);
    return api({ '/a': { $ref: '#/x-p/1' } }, { 'x-p': Object.fromEntries(items) });
  };
  assert.equal(opened(chain(16), '/a'), '/a.read');
  assertFault(chain(17), /^bad_reference \/paths\/~1a: Its chain of references is longer than 16\.$/);
  for (const name of ['/', '~', '~1', '~0', 'a/b~c', '~/']) {
    const pointer = `#/x-p/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const document = api({ '/a': { $ref: pointer } }, { 'x-p': { [name]: { get: asks('/a.read') } } });
    assert.equal(opened(document, '/a'), '/a.read', pointer);
  }
});

test('additional operations are closed where their method cannot be one, or has a member of its own (OpenAPI 3.2)', () => {
  const since32 = (additionalOperations: unknown): Members =>
    api({ '/a': { additionalOperations, get: asks('/a.read') } }, { openapi: '3.2.0' });
  assertFault(
    since32({ lock: {}, LOCK: 7, GET: {} }),
    /^bad_path .*additionalOperations\/lock: A method is a word in capitals/,
    /^malformed .*additionalOperations\/LOCK: An operation must be an object/,
    /^bad_path .*additionalOperations\/GET: This method has a member of its own/,
    // The GET beside it is closed with it.
    /^ambiguous /,
  );
  for (const odd of [7, 'text', ['LOCK'], null]) {
    assertFault(since32(odd), /^malformed .*additionalOperations must be an object/, /^ambiguous /);
  }
});

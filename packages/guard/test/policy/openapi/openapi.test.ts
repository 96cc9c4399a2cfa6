import { compilePolicy } from '@hallpass/guard';
import { PolicyError, policyFromOpenAPI } from '@hallpass/guard/openapi';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, asks, assertFault, faultsOf, meets, opened, SCHEMES, securedBy, type Members } from './harness.ts';
import { words } from '../../harness.ts';
import { caseCount } from '../../../../../testing/case_count.ts';

test('each operation is opened by its scope, filled from the path by name', () => {
  const document = api({
    '/accounts': { get: asks('/accounts.read'), post: asks('/accounts.write') },
    '/accounts/{accountID}/transfers': { get: asks('/accounts/{accountID}/transfers.read') },
    '/pair/{one}/{other}': { get: asks('/pair/{other}/{one}.read') },
    'x-notes': { get: 'not an operation' },
  });
  const policy = policyFromOpenAPI(document);
  assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');
  assert.equal(meets(policy, 'POST', '/accounts'), '/accounts.write');
  assert.equal(meets(policy, 'GET', '/accounts/a1/transfers'), '/accounts/a1/transfers.read');
  assert.equal(meets(policy, 'GET', '/pair/1/2'), '/pair/2/1.read');
  for (const [method, url] of [
    ['HEAD', '/accounts'],
    ['get', '/accounts'],
    ['DELETE', '/accounts'],
    ['GET', '/x-notes'],
    ['GET', '/accounts/a1'],
  ] as const) {
    assert.equal(meets(policy, method, url), 'route_not_allowed', url);
  }
  assert.deepEqual(
    policy.scopes.map(({ text }) => text),
    ['/accounts.read', '/accounts.write', '/accounts/{accountID}/transfers.read', '/pair/{other}/{one}.read'],
  );
});

test('it decides exactly like a policy written by hand', () => {
  const routes = {
    'GET /v1/accounts/{accountID}': '/accounts/{accountID}.read',
    'GET /v1/accounts/me': '/me.read',
    'PUT /v1/accounts/{accountID}': '/accounts/{accountID}.write',
  } as const;
  const paths = {
    '/accounts/{accountID}': { get: asks('/accounts/{accountID}.read'), put: asks('/accounts/{accountID}.write') },
    '/accounts/me': { get: asks('/me.read') },
  };
  const [hand, compiled] = [compilePolicy(routes), policyFromOpenAPI(api(paths), { basePath: '/v1' })];
  const segment = fc.constantFrom('v1', 'accounts', 'me', 'a1', '..', '%2e', 'é', '%C3%A9', '');
  fc.assert(
    fc.property(fc.constantFrom('GET', 'PUT', 'POST'), fc.array(segment, { maxLength: 5 }), (method, segments) => {
      const url = `/${segments.join('/')}`;
      assert.deepEqual(compiled.match(method, url), hand.match(method, url));
    }),
    { numRuns: caseCount(500) },
  );
});

test('versions 3.0 to 3.3 are supported, and no others', () => {
  const paths = { '/a': { get: asks('/a.read') } };
  for (const openapi of ['3.0.0', '3.0.4', '3.1.1', '3.2.0', '3.2', '3.3.0']) {
    assert.equal(opened(api(paths, { openapi }), '/a'), '/a.read', openapi);
  }
  for (const openapi of ['2.0', '3.4.0', '4.0.0', '3', '', '3.10.0', 3.1, undefined, null]) {
    assertFault(api(paths, { openapi }), /^unsupported \/openapi: .*3\.0, 3\.1, 3\.2 and 3\.3/);
  }
  assertFault({ swagger: '2.0', paths }, /^unsupported/);
  for (const nothing of [undefined, null, 'text', 7, [], () => ({})])
    assertFault(nothing, /^malformed : .*not hold an object/);
  assertFault(api(undefined), /no paths object/);
  assertFault(api({}), /no operations/);
});

test('the security of the document applies to operations without their own', () => {
  const document = api(
    { '/a': { get: {}, put: asks('/a.write'), post: { security: [] } } },
    { security: [{ Hallpass: ['/all.read'] }] },
  );
  assert.equal(opened(document, '/a'), '/all.read');
  assert.equal(opened(document, '/a', {}, 'PUT'), '/a.write');
  assert.equal(opened(document, '/a', {}, 'POST'), 'route_not_allowed');
  // A null is neither a security nor the absence of one.
  assertFault(
    api({ '/a': { get: { security: null } } }, { security: [{ Hallpass: ['/all.read'] }] }),
    /^malformed \/paths\/~1a\/get\/security: security must be a list/,
  );
});

test('exactly one scope: several, or alternatives that differ, are refused', () => {
  const one = { Hallpass: ['/a.read'] };
  const fine: readonly unknown[] = [
    [one],
    [one, one],
    [one, { OpenID: ['/a.read'] }],
    [{ Basic: [] }, one, { Key: [] }],
    [{ Hallpass: ['/a.read'], Key: [] }],
    // Roles of other schemes, since 3.1.
    [{ Basic: ['/a.read'] }],
  ];
  for (const security of fine) assert.equal(opened(securedBy(security), '/a'), '/a.read', JSON.stringify(security));
  const several = /^several_scopes \/paths\/~1a\/get: '.*' are several scopes/;
  assertFault(securedBy([{ Hallpass: ['/a.read', '/b.read'] }]), several);
  assertFault(securedBy([one, { Hallpass: ['/b.read'] }]), several);
  assertFault(securedBy([one, { Basic: ['/b.read'] }]), several);
  assertFault(securedBy([{ Hallpass: ['/a.read'], OpenID: ['/b.read'] }]), several);
  // Any token at all would do for the alternative.
  assertFault(securedBy([one, { Hallpass: [] }]), /^several_scopes .*another for no scope/);
  assertFault(securedBy([{ OpenID: [] }, one]), /^several_scopes .*another for no scope/);
});

test('an operation without a scope is closed and named; with strict there is no policy', () => {
  const unmapped = [undefined, [{ Basic: [] }], [{ Hallpass: [] }], [{ Basic: [] }, { Key: [] }]];
  for (const security of unmapped) {
    const document = api({ '/a': { get: security === undefined ? {} : { security } }, '/b': { get: asks('/b.read') } });
    assertFault(document, /^unmapped \/paths\/~1a\/get: .*asks for no scope\. Name one/);
    const policy = policyFromOpenAPI(document);
    assert.equal(meets(policy, 'GET', '/a'), 'route_not_allowed');
    assert.equal(meets(policy, 'GET', '/b'), '/b.read');
    assert.deepEqual(
      policy.closed.map(({ kind, operation }) => `${kind} ${operation}`),
      ['unmapped GET /a'],
    );
    // A document that opens nothing at all is not taken for a policy.
    assert.equal(
      faultsOf(api({ '/a': { get: security === undefined ? {} : { security } } }), { strict: false }).length,
      1,
    );
  }
});

test('a public operation stays closed, to be served outside the guard', () => {
  for (const security of [[], [{}], [{ Hallpass: ['/a.read'] }, {}]]) {
    assert.equal(opened(securedBy(security), '/a'), 'route_not_allowed', JSON.stringify(security));
  }
});

test('a closed operation is not opened by a neighbour with a parameter', () => {
  const paths = {
    '/accounts/{id}': { get: asks('/accounts.read') },
    '/accounts/status': { get: { security: [] } },
    '/accounts/export': { get: {} },
  };
  const policy = policyFromOpenAPI(api(paths));
  assert.equal(meets(policy, 'GET', '/accounts/status'), 'route_not_allowed');
  assert.equal(meets(policy, 'GET', '/accounts/export'), 'route_not_allowed');
  assert.equal(meets(policy, 'GET', '/accounts/statu'), '/accounts.read');
  assert.deepEqual(
    policy.scopes.map(({ text }) => text),
    ['/accounts.read'],
  );
});

test('a malformed security, or one with an unknown scheme, is refused', () => {
  for (const security of ['x', {}, 7, [7], [null], [['/a.read']], [{ Hallpass: '/a.read' }], [{ Hallpass: [7] }]]) {
    assertFault(securedBy(security), /^malformed \/paths\/~1a\/get\/security: /);
  }
  for (const name of ['Hallpas', 'constructor', '__proto__', 'toString', '']) {
    assertFault(securedBy([Object.fromEntries([[name, ['/a.read']]])]), /no security scheme/);
  }
});

test('each fault of a scope says what to do about it', () => {
  const slash = 'A scope begins with a slash, as in /accounts.read. Or map it: hallpass policy scopes proposes how.';
  const verb = 'The verb, after the last dot, is made of lower-case letters and hyphens, as in /accounts.read.';
  const advice: readonly (readonly [string, string])[] = [
    [`/${'a/'.repeat(300)}b.read`, 'Make it shorter.'],
    ['accounts:read', slash],
    ['', slash],
    ['/accounts', 'A scope ends in a dot and a verb, as in /accounts.read.'],
    ['/accounts.Read', verb],
    ['//accounts.read', 'A segment is empty. Remove a slash.'],
    ['/a/../b.read', 'Dots are allowed only inside a segment.'],
    [`/${'a'.repeat(200)}.read`, 'Make its segments shorter.'],
    ['/a b.read', 'Segments are made of letters, digits, and _ ~ - or dots inside.'],
    ['/a/x{b}.read', 'A parameter is a whole segment, as in /accounts/{accountID}.read.'],
    ['/{a}/{a}.read', 'A parameter may be used only once.'],
  ];
  for (const [scope, sentence] of advice) {
    const [fault = ''] = faultsOf(securedBy([{ Hallpass: [scope] }]));
    assert.equal(fault.replace(/'.*?' is not a scope\. /, ''), `bad_scope /paths/~1a/get/security: ${sentence}`, scope);
    assert.ok(fault.length < 400);
  }
});

test('a security scheme has a type of its version, and one with scopes may not be used without', () => {
  const security = [{ Hallpass: ['/a.read'] }, { Odd: [] }];
  const withOdd = (odd: unknown): Members =>
    api({ '/a': { get: { security } } }, { components: { securitySchemes: { ...SCHEMES, Odd: odd } } });
  for (const odd of [{ type: 'mutualTLS' }, { $ref: '#/components/securitySchemes/Basic' }]) {
    assert.equal(opened(withOdd(odd), '/a'), '/a.read');
  }
  assertFault(withOdd({ $ref: '#/components/securitySchemes/OpenID' }), /^several_scopes .*another for no scope/);
  for (const type of [undefined, 7, 'oauth', 'Http']) assertFault(withOdd({ type }), /^malformed .*not a type of/);
  assertFault(withOdd({ type: 'http', Scheme: 'x' }), /^unknown_member /);
  assertFault(withOdd({ $ref: '#/none' }), /^bad_reference /);
  assertFault(withOdd(7), /There is no security scheme 'Odd'/);
  for (const components of [undefined, 7, {}, { securitySchemes: 7 }]) {
    assertFault(api({ '/a': { get: { security } } }, { components }), /There is no security scheme 'Hallpass'/);
  }
});

test('invalid options are a TypeError', () => {
  const document = api({ '/a': { get: asks('/a.read') } });
  for (const basePath of ['v1', '/v1/', '/', 'https://api.example.com', '/a//b', '/v1?x', '/..', '/{a']) {
    assert.throws(() => policyFromOpenAPI(document, { basePath }), /^TypeError: basePath must be/, basePath);
  }
});

test('the routes that you pass are known to the compiler, and must be those of the document', () => {
  const paths = { '/a/{id}': { get: asks('/a/{id}.read') }, '/b': { get: asks('/b.read'), put: { security: [] } } };
  const routes = ['GET /a/{id}', 'GET /b'] as const;
  const policy = policyFromOpenAPI(api(paths), { routes });
  const match = policy.match('GET', '/b');
  // @ts-expect-error -- there is no such route
  assert.ok('route' in match && match.route !== 'GET /c');
  assert.equal(match.route, 'GET /b');
  const stale = (known: readonly string[]): readonly string[] => faultsOf(api(paths), { routes: known });
  assert.deepEqual(stale([...routes].toReversed()), []);
  assert.match(stale(['GET /b']).join('\n'), /^stale : The code does not know this route\. .*hallpass policy types\.$/);
  assert.match(stale([...routes, 'GET /c']).join('\n'), /^stale : The code knows this route, and the policy does not/);
  assert.equal(stale([]).length, 2);
  // A closed operation never reaches a handler.
  assert.equal(stale([...routes, 'PUT /b']).length, 1);
});

test('all faults are reported at once, each with its operation and its place', () => {
  const document = api({
    '/a': { get: asks('a'), put: {}, post: asks('/a.write') },
    '/b/{x}': { get: asks('/b/{y}.read') },
    '/b/{z}': { get: asks('/b.read') },
    '/c/': { get: asks('/c.read') },
    '/d': { $ref: 'd.yaml' },
  });
  try {
    policyFromOpenAPI(document, { strict: true });
    assert.fail('it was accepted');
  } catch (error) {
    assert.ok(error instanceof PolicyError);
    assert.deepEqual(
      error.faults.map(({ kind, operation = 'none' }) => `${kind}: ${operation}`).toSorted((a, b) => (a < b ? -1 : 1)),
      [
        'ambiguous: GET /b/{z}',
        'bad_path: GET /c/',
        'bad_reference: * /d',
        'bad_scope: GET /a',
        'unknown_parameter: GET /b/{x}',
        'unmapped: PUT /a',
      ],
    );
    assert.match(error.message, /^#\/paths\/~1a\/get\/security: GET \/a: 'a' is not a scope/m);
  }
});

test('a sentence repeats 120 characters of a document at most, and none that moves a cursor', () => {
  const evil = `/\u001b[2J\n${'x'.repeat(5_000)}`;
  for (const document of [
    securedBy([{ Hallpass: [evil] }]),
    securedBy([{ [evil]: ['/a.read'] }]),
    api({ [evil]: 7 }),
  ]) {
    const [fault = ''] = faultsOf(document);
    assert.match(fault, /^[\u0020-\u007e]+$/);
    assert.ok(fault.replace(/^.*?: /, '').length < 400);
  }
  const repeated = (text: string): string =>
    / scheme (.*)\. Name/s.exec(faultsOf(securedBy([{ [text]: [] }]))[0] ?? '')?.[1] ?? '';
  const controls = ['\0', '\n', '\r\n', '\u001b', '\u007f', '\u0085', '\u2028', '\u061c', '\u200e', '\u202e', '\u2066'];
  for (const control of controls) {
    assert.equal(repeated(`a${control}b`), "'a b'");
  }
  const longest = `<${'x'.repeat(118)}>`;
  assert.equal(repeated(longest), `'${longest}'`);
  assert.equal(repeated(`${longest}y`), `'${longest}...'`);
});

test('any document makes a policy or a PolicyError, and changes no prototype', () => {
  const name = fc.constantFrom(
    ...words(`
      openapi paths get put security servers url components securitySchemes Hallpass $ref __proto__ constructor toString
      x-security additionalOperations /a /{a} /{b} type variables enum overlay actions target update remove
    `),
  );
  const leaf = fc.constantFrom<unknown>(
    ...words("3.1.0 /a.read /{a}.read #/paths/~1a oauth2 /v1 1.0.0 $ $.paths['/a']"),
    '',
    null,
    true,
    0,
    undefined,
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      leaf,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.array(fc.tuple(name, tie('value')), { maxLength: 6 }).map((entries) => Object.fromEntries(entries)),
    ),
  }));
  const often = { arbitrary: fc.constant({ securitySchemes: SCHEMES }), weight: 4 };
  const operation = fc.oneof(value, fc.constant(asks('/a.read')), fc.constant(asks('/{a}.read')));
  const item = fc.dictionary(fc.constantFrom('get', 'put', 'post', 'summary'), operation, { maxKeys: 2 });
  const paths = fc.dictionary(fc.constantFrom('/a', '/{a}', '/{b}', '/a/{b}', '/__proto__'), item, { maxKeys: 3 });
  const document = fc.record({
    openapi: fc.constantFrom<unknown>('3.0.0', '3.1.0', '3.2.0', 3),
    paths: fc.oneof({ arbitrary: paths, weight: 4 }, value),
    components: fc.oneof(often, value),
    servers: fc.oneof({ arbitrary: fc.constant([]), weight: 4 }, value),
    security: fc.oneof({ arbitrary: fc.constant([]), weight: 4 }, value),
  });
  let made = 0;
  fc.assert(
    fc.property(fc.oneof(value, document), fc.option(value, { nil: undefined, freq: 1 }), (one, overlay) => {
      try {
        const policy = policyFromOpenAPI(one, { overlay });
        policy.match('GET', '/a');
        made += 1;
      } catch (error) {
        assert.ok(error instanceof PolicyError, String(error));
      }
      assert.equal(Object.getOwnPropertyNames(Object.prototype).includes('read'), false);
      assert.equal('get' in {}, false);
    }),
    { numRuns: caseCount(4_000) },
  );
  assert.ok(made > caseCount(10), String(made));
});

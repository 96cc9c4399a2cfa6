/** No unknown member at or above an operation is ignored, so a policy is never more open than its file (ADR 27). */
import { inspectPolicy, policyFromOpenAPI, PolicyError } from '@hallpass/guard/openapi';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, asks, assertFault, faultsOf, meets, openFolder, SCHEMES, type Members } from './harness.ts';
import { words } from '../../harness.ts';

const { fileOf } = openFolder();
const WEAK = { security: [{ Hallpass: ['/basics.read'] }] };

test('security at a path item applies to its operations since 3.3, and closes them in earlier versions', () => {
  const paths = { '/payouts': { security: [{ Hallpass: ['/payouts.write'] }], post: {}, get: asks('/payouts.read') } };
  const policy = policyFromOpenAPI(api(paths, { ...WEAK, openapi: '3.3.0' }));
  assert.equal(meets(policy, 'POST', '/payouts'), '/payouts.write');
  assert.equal(meets(policy, 'GET', '/payouts'), '/payouts.read');
  for (const openapi of ['3.0.3', '3.1.0', '3.2.0']) {
    assertFault(
      api(paths, { ...WEAK, openapi }),
      /^unknown_member \/paths\/~1payouts\/security: .* since OpenAPI 3\.3\./,
    );
  }
});

test('each member is accepted only in the versions that have it', () => {
  const at = (openapi: string, item: Members, root: Members = {}): string =>
    faultsOf(api({ '/a': item }, { openapi, ...root })).join('\n');
  for (const [since, item, root] of [
    ['3.2.0', { query: asks('/a.read') }, {}],
    ['3.2.0', { get: asks('/a.read'), additionalOperations: {} }, {}],
    ['3.2.0', { get: { ...asks('/a.read'), servers: [{ url: '/v1', name: 'one' }] } }, {}],
    ['3.2.0', { get: asks('/a.read') }, { $self: 'https://api.example.com/openapi.yaml' }],
    ['3.1.0', { get: asks('/a.read') }, { webhooks: {}, jsonSchemaDialect: 'x' }],
  ] as const) {
    assert.equal(at(since, item, root), '', since);
    const before = since === '3.2.0' ? '3.1.0' : '3.0.3';
    assert.match(at(before, item, root), /^unknown_member .* since OpenAPI 3\.\d\./, since);
  }
  const oauth = { Hallpass: { ...SCHEMES.Hallpass, deprecated: false, oauth2MetadataUrl: 'https://a.example/' } };
  const paths = { '/a': { get: asks('/a.read') } };
  assert.deepEqual(faultsOf(api(paths, { openapi: '3.2.0', components: { securitySchemes: oauth } })), []);
  assert.match(faultsOf(api(paths, { components: { securitySchemes: oauth } })).join(), /^unknown_member .*deprecated/);
});

test('a misspelt member closes its operation, and the fault suggests the right name', () => {
  const inside = (get: Members): Members => api({ '/a': { get }, '/b': { get: asks('/b.read') } }, WEAK);
  const misspelt = words('securty Security SECURITY secruity securities auth');
  for (const name of [...misspelt, 'security ', ' security', '$ref ']) {
    const document = inside({ [name]: [{ Hallpass: ['/a.read'] }] });
    assertFault(document, /^unknown_member \/paths\/~1a\/get\//);
    const policy = policyFromOpenAPI(document);
    assert.equal(meets(policy, 'GET', '/a'), 'route_not_allowed', name);
    assert.equal(meets(policy, 'GET', '/b'), '/b.read', name);
  }
  assertFault(inside({ securty: [] }), /Did you mean 'security'\?$/);
  assertFault(inside({ auth: [] }), /Remove it, or begin its name with x-\.$/);
});

test('extensions and leftover members of Swagger 2.0 close nothing', () => {
  const get = { ...asks('/a.read'), consumes: ['text/plain'], produces: [], schemes: [], 'x-anything': {} };
  const parameters = [{ name: 'id', in: 'path', required: true, type: 'string', format: 'uuid', 'x-more': 1 }];
  assert.deepEqual(faultsOf(api({ '/{id}': { get: { ...get, parameters }, 'x-a': 1 }, 'x-b': 7 }, { 'x-c': 1 })), []);
});

test('extensions that look as if they decide who gets in are reported once each, with their number', async () => {
  const get = { ...asks('/a.read'), 'x-required-scopes': ['/more.read'], 'x-internal': true };
  const document = api({
    '/a': { get, put: { ...get } },
    '/b': { get: { ...asks('/b.read'), 'x-auth-type': 'none' } },
  });
  const { faults, table, ignored } = await inspectPolicy(fileOf(JSON.stringify(document, undefined, 1)));
  assert.deepEqual([faults, table.closed], [[], []]);
  assert.deepEqual(
    ignored.map(({ kind, sentence }) => `${kind} ${sentence}`),
    [
      "ignored 'x-required-scopes' is not read: only security decides who gets in. There are 2 of them.",
      "ignored 'x-auth-type' is not read: only security decides who gets in.",
    ],
  );
  assert.ok((ignored[0]?.line ?? 0) > 1);
  // Hallpass has no extensions: one that claims to be its own is not passed over.
  assertFault(api({ '/a': { get: { ...asks('/a.read'), 'x-hallpass-unsure': 'Is it?' } } }), /^unknown_member /);
});

test('an unknown member of a parameter, server or scheme closes whatever needs it', () => {
  const parameter = (more: Members): Members =>
    api({ '/{id}': { get: { ...asks('/a.read'), parameters: [{ name: 'id', in: 'path', ...more }] } } });
  assert.deepEqual(faultsOf(parameter({ style: 'simple' })), []);
  assertFault(parameter({ style: 'matrix' }), /^unsupported .*\/style: .* must be 'simple'/);
  assertFault(parameter({ inn: 'path' }), /^unknown_member .*\/parameters\/0\/inn: .*Did you mean 'in'/);
  const referred = (target: string): Members =>
    api(
      { '/{id}': { parameters: [{ $ref: target }], get: asks('/a.read') } },
      {
        components: {
          securitySchemes: SCHEMES,
          parameters: { Id: { name: 'id', in: 'path' }, Odd: { style: 'x', In: 1 } },
        },
      },
    );
  assert.deepEqual(faultsOf(referred('#/components/parameters/Id')), []);
  assertFault(referred('#/components/parameters/Odd'), /^unknown_member \/components\/parameters\/Odd\/In/);
  assertFault(referred('#/components/parameters/None'), /^bad_reference .*not a parameter/);
  const variable = { default: 'v1', enums: ['v1', 'v2'] };
  assertFault(
    api({ '/a': { get: asks('/a.read') } }, { servers: [{ url: '/{v}', variables: { v: variable } }] }),
    /^unknown_member \/servers\/0\/variables\/v\/enums: .*Did you mean 'enum'\? .*--base-path/,
  );
  assertFault(api({ '/a': { get: { ...asks('/a.read'), servers: [] } } }), /^bad_server .*empty list/);
});

test('a document with an unknown member is refused, and so is one whose paths are elsewhere', () => {
  const paths = { '/a': { get: asks('/a.read') } };
  for (const name of ['securty', 'Servers', 'path', 'host', 'basePath', 'x_security']) {
    assertFault(api(paths, { [name]: {} }), new RegExp(`^unknown_member /${name}: `));
  }
  assertFault(api({ ...paths, $ref: 'paths.yaml' }), /^bad_reference \/paths\/\$ref/);
});

/** Documents that have the same requests in more than one place, so that what one loses another may open. */
const scope = fc.constantFrom('/a.read', '/b.write', '/c.admin');
const security = scope.map((text) => [{ Hallpass: [text] }]);
const maybe = <T>(name: string, value: fc.Arbitrary<T>): fc.Arbitrary<Members> =>
  fc.option(value).map((one) => (one === null ? {} : { [name]: one }));
/** A member that no version has, in a few of the documents: what is changed may not be the only thing to be wrong. */
const rarely = (name: string, value: fc.Arbitrary<unknown>): fc.Arbitrary<Members> =>
  fc.oneof({ weight: 40, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: value.map((one) => ({ [name]: one })) });
const servers = fc.constantFrom(
  [{ url: '/v1' }],
  [{ url: '/{v}', variables: { v: { default: 'v1', enum: ['v1'] } } }],
  [{ url: 'https://api.example.com/v2', description: 'text' }],
  [],
);
const parameters = fc.constantFrom([{ name: 'x', in: 'path' }], [{ $ref: '#/components/parameters/X' }]);
const merged = (...parts: readonly fc.Arbitrary<Members>[]): fc.Arbitrary<Members> =>
  fc.tuple(...parts).map((all) => Object.fromEntries(all.flatMap((one) => Object.entries(one))));
const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: merged(
      maybe('security', security),
      maybe('servers', servers),
      maybe('parameters', parameters),
      maybe('summary', fc.constant('text')),
      rarely('securty', security),
    ),
  },
  { weight: 1, arbitrary: fc.constant({ $ref: '#/x-operations/one' }) },
);
const item = (minor: number): fc.Arbitrary<Members> =>
  fc.oneof(
    {
      weight: 6,
      arbitrary: merged(
        maybe('get', operation),
        maybe('post', operation),
        maybe('head', operation),
        maybe('servers', servers),
        maybe('parameters', parameters),
        rarely('roles', fc.constant(['a'])),
        minor > 1
          ? maybe(
              'additionalOperations',
              operation.map((one) => ({ LOCK: one })),
            )
          : fc.constant({}),
        minor > 2 ? maybe('security', security) : fc.constant({}),
      ),
    },
    { weight: 1, arbitrary: fc.constant({ $ref: '#/x-items/one' }) },
  );
const document = fc.integer({ min: 0, max: 3 }).chain((minor) =>
  merged(
    fc.constant({
      openapi: `3.${minor}.0`,
      info: {},
      components: { securitySchemes: SCHEMES, parameters: { X: { name: 'x', in: 'path' } } },
    }),
    fc
      .dictionary(
        fc.constantFrom(...words('/a /{x} /a/{x} /{x}/a /{x}/{y} /{x}:a /v2/{x} /a/ /{x}/{proxy+} /{z} a')),
        item(minor),
        { minKeys: 2 },
      )
      .map((paths) => ({ paths })),
    maybe('security', security),
    maybe('servers', servers),
    fc.record({ one: operation }).map((all) => ({ 'x-operations': all })),
    fc.record({ one: merged(maybe('get', operation), maybe('servers', servers)) }).map((all) => ({ 'x-items': all })),
  ),
);

const URLS = ['', '/v1', '/v2'].flatMap((prefix) =>
  ['/a', '/z', '/a/z', '/z/a', '/a/a', '/z/z', '/z:a', '/a:a', '/z/z:a'].map((path) => prefix + path),
);
const REQUESTS = ['GET', 'POST', 'LOCK', 'HEAD'].flatMap((method) => URLS.map((url) => [method, url] as const));

/** The places of all objects at or above an operation, except maps, whose names are not members. */
function objectsOf(whole: Members): readonly (readonly string[])[] {
  const found: (readonly string[])[] = [];
  const walk = (value: unknown, place: readonly string[]): void => {
    if (typeof value !== 'object' || value === null || place.includes('flows')) return;
    const last = place.at(-1) ?? '';
    const isMap = words('paths x-items x-operations additionalOperations info variables securitySchemes').includes(
      last,
    );
    if (!isMap && !(place.includes('components') && place.length < 3)) found.push(place);
    for (const [name, inner] of Object.entries(value)) walk(inner, [...place, name]);
  };
  walk(whole, []);
  return found.filter((place) => !Array.isArray(place.reduce<unknown>((value, name) => Object(value)[name], whole)));
}

type Change = (entries: readonly (readonly [string, unknown])[]) => readonly (readonly [string, unknown])[];

function changeAt(value: unknown, [name, ...rest]: readonly string[], change: Change): unknown {
  if (name === undefined) return Object.fromEntries(change(Object.entries(Object(value))));
  if (Array.isArray(value))
    return value.map((one: unknown, index) => (String(index) === name ? changeAt(one, rest, change) : one));
  return Object.fromEntries(
    Object.entries(Object(value)).map(([key, inner]) => [key, key === name ? changeAt(inner, rest, change) : inner]),
  );
}

const MISSPELLINGS: readonly ((name: string) => string)[] = [
  (name) => name.toUpperCase(),
  (name) => name.charAt(0).toUpperCase() + name.slice(1),
  (name) => `${name} `,
  (name) => ` ${name}`,
  (name) => `${name}s`,
  (name) => name.slice(0, -1),
  (name) => name.slice(1),
  (name) => `${name}\u200b`,
  (name) => name.replace('e', 'é'),
  (name) => name.replace(/(.)(.)$/, '$2$1'),
  (name) => `_${name}`,
  (name) => `x_${name}`,
];
const STRANGERS = ['securty', '__proto__', 'constructor', 'Security', 'gett', 'roles', 'allow', '$Ref', 'override'];

test('no member added or misspelt at or above an operation makes a request need less (property)', () => {
  const values: fc.Arbitrary<unknown> = fc.oneof(
    security,
    servers,
    operation,
    fc.constantFrom(null, [], {}, true, '#/x-items/one'),
  );
  const change = fc.oneof(
    fc.record({ at: fc.nat(), name: fc.constantFrom(...STRANGERS), value: values }).map(({ at, name, value }) => ({
      at,
      change: (entries: Parameters<Change>[0]) => [...entries, [name, value] as const],
    })),
    fc
      .record({ at: fc.nat(), member: fc.nat(), misspell: fc.constantFrom(...MISSPELLINGS) })
      .map(({ at, member, misspell }) => ({
        at,
        change: (entries: Parameters<Change>[0]) =>
          entries.map(
            ([name, value], index) => [index === member % entries.length ? misspell(name) : name, value] as const,
          ),
      })),
  );
  const seen = { opened: 0, closed: 0, refused: 0 };
  fc.assert(
    fc.property(document, change, (whole, { at, change: apply }) => {
      const compiled = (one: unknown): ReturnType<typeof policyFromOpenAPI> | undefined => {
        try {
          return policyFromOpenAPI(one);
        } catch (error) {
          assert.ok(error instanceof PolicyError, String(error));
          return undefined;
        }
      };
      const before = compiled(whole);
      if (before === undefined) return;
      const objects = objectsOf(whole);
      const after = compiled(changeAt(whole, objects[at % objects.length] ?? [], apply));
      if (after === undefined) seen.refused += 1;
      for (const [method, url] of REQUESTS) {
        const was: string = meets(before, method, url);
        const is: string = after === undefined ? 'route_not_allowed' : meets(after, method, url);
        if (is === was) seen.opened += is.startsWith('/') ? 1 : 0;
        else {
          assert.equal(is, 'route_not_allowed', `${method} ${url} was ${was}`);
          seen.closed += 1;
        }
      }
    }),
    { numRuns: 1_000 },
  );
  for (const [name, times] of Object.entries(seen)) assert.ok(times > 10, `${name}: ${times}`);
});

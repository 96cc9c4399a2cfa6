/** A draft: one set of scopes from paths and methods, as a file of routes; and a mapping for scopes in other words. */
import { draftMapping, draftPolicy, printRouteMap, printScopeMapping, readPolicy } from '@hallpass/guard/openapi';
import { flattenControls, isScope, parseScope } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { api, asks, faultsOf, meets, openFolder, SCHEMES, type Members } from './harness.ts';

const files = openFolder();
const fileOf = (document: unknown): string => files.fileOf(stringify(document));

/** Each line of a draft, as `GET /a: /a.read`, with its note behind a hash. */
async function draft(document: unknown, options = {}): Promise<readonly string[]> {
  const { routes, faults } = await draftPolicy(fileOf(document), options);
  assert.deepEqual(faults, []);
  return routes.map(({ route, scope = 'closed', note }) => `${route}: ${scope}${note === '' ? '' : ` # ${note}`}`);
}

test('every operation gets a scope by one rule: the path up to its last text, and read or write by the method', async () => {
  assert.deepEqual(
    await draft(
      api({
        '/accounts': { get: {}, post: {} },
        '/accounts/{accountID}': { get: {}, delete: {} },
        '/accounts/{accountID}/transfers': { get: {} },
        '/accounts/{accountID}/transfers/{transferID}': { get: {}, patch: {}, head: {} },
        '/reports/{year}/{month}': { get: {} },
        '/export.csv': { get: {} },
        '/@me/$batch': { post: {} },
        '/': { get: {} },
      }),
    ),
    [
      'GET /accounts: /accounts.read',
      'POST /accounts: /accounts.write',
      // Other paths go on behind this parameter: what is theirs belongs to one account, and so does it.
      'GET /accounts/{accountID}: /accounts/{accountID}.read',
      'DELETE /accounts/{accountID}: /accounts/{accountID}.write',
      'GET /accounts/{accountID}/transfers: /accounts/{accountID}/transfers.read',
      'GET /accounts/{accountID}/transfers/{transferID}: /accounts/{accountID}/transfers.read',
      'PATCH /accounts/{accountID}/transfers/{transferID}: /accounts/{accountID}/transfers.write',
      'HEAD /accounts/{accountID}/transfers/{transferID}: /accounts/{accountID}/transfers.read',
      'GET /reports/{year}/{month}: /reports.read',
      'GET /export.csv: /export.csv.read',
      'POST /@me/$batch: /me/batch.write',
      'GET /: /api.read',
    ],
  );
});

test('what stands in front of every path alike is no part of a scope, and the path of the server is none either', async () => {
  const paths = { '/api/v2/a': { get: {} }, '/api/v2/b/{id}': { get: {} } };
  assert.deepEqual(await draft(api(paths, { servers: [{ url: '/base' }] })), [
    'GET /base/api/v2/a: /a.read',
    'GET /base/api/v2/b/{id}: /b.read',
  ]);
  assert.deepEqual(await draft(api({ ...paths, '/c': { get: {} } })), [
    'GET /api/v2/a: /api/v2/a.read',
    'GET /api/v2/b/{id}: /api/v2/b.read',
    'GET /c: /c.read',
  ]);
});

test('a scope that the document has is kept, one in other words is translated, and prose is a hint beside the line', async () => {
  const says = (description: unknown): Members => ({ description });
  assert.deepEqual(
    await draft(
      api({
        '/a': { get: asks('/kept.read'), put: asks('a:write') },
        '/b': { get: says('You need the `/b/special.read` scope, or /b.all. See https://x.example/docs/x.read.') },
        '/c': { get: says(7), post: { security: [{ Hallpass: ['/one.read', '/two.read'] }] } },
      }),
    ),
    [
      'GET /a: /kept.read',
      'PUT /a: /a.write # the document says a:write',
      'GET /b: /b.read # its description names /b/special.read, /b.all',
      'GET /c: /c.read',
      'POST /c: /c.write',
    ],
  );
});

test('what no guard may open is closed in the draft, with the reason; the draft is a policy as it is', async () => {
  const document = api({
    '/items/{id}': { get: {}, post: {} },
    '/items/{id}:archive': { post: {} },
    '/items/export': { get: { security: [] } },
    '/odd': { get: { securty: [] } },
  });
  const { routes } = await draftPolicy(fileOf(document));
  const text = printRouteMap(routes);
  assert.match(text, /^GET \/items\/export: +closed +# public: serve it outside the guard$/m);
  assert.match(text, /^"POST \/items\/\{id\}:archive": +closed +# A parameter has to be a whole segment/m);
  const policy = await readPolicy(files.fileOf(text));
  assert.equal(meets(policy, 'POST', '/items/i1'), '/items.write');
  for (const [method, url] of [
    ['POST', '/items/i1:archive'],
    ['GET', '/items/export'],
    ['GET', '/odd'],
  ] as const) {
    assert.equal(meets(policy, method, url), 'route_not_allowed', url);
  }
});

test('a path whose beginning is not known cannot be drafted: the base path has to be said', async () => {
  const document = api({ '/a': { get: {} }, '/b': { $ref: 'https://api.example.com/b.yaml' } });
  const { faults } = await draftPolicy(fileOf(document));
  assert.deepEqual(
    faults.map(({ kind, operation }) => `${kind} ${operation}`),
    ['bad_reference * /b'],
  );
  assert.deepEqual(
    (await draft(document, { basePath: '/v1' })).map((line) => line.replace(/ #.*/, '')),
    ['GET /v1/a: /a.read', '* /v1/b: closed'],
  );
  const differing = await draftPolicy(
    fileOf(api({ '/a': { get: {} } }, { servers: [{ url: '/v1' }, { url: '/v2' }] })),
  );
  assert.match(differing.faults[0]?.sentence ?? '', /different paths/);
});

test('a mapping has a scope for each word and URL, by its own verb or those of the methods', async () => {
  const google = 'https://www.example.com/auth/';
  const words: readonly (readonly [name: string, scope: string])[] = [
    ['payments:read', '/payments.read'],
    ['read:orders', '/orders.read'],
    ['user.profile.write', '/user/profile.write'],
    ['contacts', '/contacts.read'],
    [`${google}drive.readonly`, '/drive.readonly'],
    [`${google}calendar/`, '/calendar.read'],
    ['ADMIN', '/ADMIN.read'],
    ['Manage:Users', '/Users.manage'],
    ['a b', '/a/b.read'],
    ['*', '/api.read'],
    ['café', '/caf.read'],
    ['/no-verb', '/no-verb.read'],
  ];
  const paths = Object.fromEntries(words.map(([name], index) => [`/p${index}`, { get: asks(name) }]));
  const { scopes, faults } = await draftMapping(fileOf(api({ ...paths, '/kept': { get: asks('/kept.read') } })));
  assert.deepEqual(faults, []);
  assert.deepEqual(
    scopes.map(({ name, scope }) => [name, scope]),
    words.toSorted(([one], [other]) => (one < other ? -1 : 1)),
  );
  const both = await draftMapping(
    fileOf(api({ '/a': { get: asks('x'), post: asks('x') }, '/b': { get: asks('x:read'), put: asks('read:x') } })),
  );
  assert.deepEqual(
    both.scopes.map(({ name, scope, routes }) => `${name} ${scope} ${routes.length}`),
    // Two names never become one scope: whoever has the lesser would have the other.
    ['read:x /x.read 1', 'x /x.write 2', 'x:read /x-2.read 1'],
  );
});

test('a printed mapping is a file that makes a policy of the document, and no operation needs less by it', async () => {
  const document = api({
    '/contacts': { get: asks('contacts.read'), post: asks('contacts') },
    '/both': { get: { security: [{ Hallpass: ['contacts.read', 'contacts'] }] } },
    '/either': { get: { security: [{ Hallpass: ['contacts.read'] }, { OpenID: ['contacts'] }] } },
    '/kept': { get: asks('/kept.read') },
    '/unknown': { get: asks('other') },
  });
  const { scopes } = await draftMapping(fileOf(document));
  const text = printScopeMapping(scopes.filter(({ name }) => name !== 'other'));
  assert.equal(
    text,
    '"contacts":      /contacts.write  # POST /contacts, and 2 more\n"contacts.read": /contacts.read   # GET /contacts, and 2 more\n',
  );
  const policy = await readPolicy(fileOf(document), { scopes: files.fileOf(text), onClosed: () => undefined });
  assert.equal(meets(policy, 'GET', '/contacts'), '/contacts.read');
  assert.equal(meets(policy, 'POST', '/contacts'), '/contacts.write');
  assert.equal(meets(policy, 'GET', '/kept'), '/kept.read');
  assert.deepEqual(
    policy.closed.map(({ kind, operation }) => `${kind} ${operation}`),
    ['several_scopes GET /both', 'several_scopes GET /either', 'bad_scope GET /unknown'],
  );
  // One scope for two: fine for alternatives, which it makes alike, and not for what is asked for at once.
  const one = { contacts: '/all.read', 'contacts.read': '/all.read' };
  assert.match(
    faultsOf(document, { scopes: one }).join('\n'),
    /^several_scopes \/paths\/~1both\/get: .*'contacts.read, contacts'/m,
  );
  assert.doesNotMatch(faultsOf(document, { scopes: one }).join('\n'), /either/);
});

test('a mapping that is not one is refused, each line with what is wrong', async () => {
  const document = fileOf(api({ '/a': { get: asks('a:read') } }));
  const said = async (text: string): Promise<string> => {
    const error: unknown = await readPolicy(document, { scopes: files.fileOf(text) }).catch(
      (thrown: unknown) => thrown,
    );
    return error instanceof Error ? error.message.replace(/^\S*?(:\d+|#)/, '$1') : 'accepted';
  };
  assert.equal(await said("'a:read': /a.read\n"), 'accepted');
  assert.match(await said("'a:read': a.read\n"), /^:1: 'a:read': 'a\.read' is not a scope/);
  assert.match(
    await said("'b:read': /b.read\n'a:read': [/a.read]\n"),
    /^:2: 'a:read': What stands for it is not a scope/,
  );
  assert.match(await said('- /a.read\n'), /Is this the right file\?$/);
  assert.match(await said('openapi: 3.1.0\npaths: {}\n'), /Is this the right file\?$/);
  assert.match(await said("'a:read': /a.read\n'a:read': /b.read\n"), /is there twice/);
  // A misspelt name leaves its operation closed.
  assert.match(
    await said("'a:raed': /a.read\n"),
    /bad|not a scope\. A scope begins with a slash.*hallpass policy scopes/,
  );
  const routes = files.fileOf('GET /a: /a.read\n');
  await assert.rejects(
    readPolicy(routes, { scopes: files.fileOf("'a': /a.read\n") }),
    /mapping of scopes is for OpenAPI/,
  );
});

test('whatever words a document has, the draft of it is read back as it was meant', async () => {
  const word = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter((text) => !text.startsWith('x-'));
  const document = fc.record({
    paths: fc.dictionary(
      fc
        .array(fc.oneof(word, fc.constantFrom('a', '{b}', '{c}:d')), { maxLength: 3 })
        .map((parts) => `/${parts.join('/')}`),
      fc.record({
        get: fc.oneof(
          fc.constant({}),
          word.map((text) => ({ ...asks(text), summary: text })),
        ),
        post: fc.constant({ security: [] }),
      }),
      { minKeys: 1, maxKeys: 4 },
    ),
  });
  await fc.assert(
    fc.asyncProperty(document, async ({ paths }) => {
      const file = files.fileOf(JSON.stringify(api(paths, { components: { securitySchemes: SCHEMES } })));
      const { routes, faults } = await draftPolicy(file);
      assert.deepEqual(faults, []);
      const text = printRouteMap(routes);
      // Nothing in it moves a terminal's cursor or begins a line of its own.
      for (const line of text.split('\n')) assert.equal(flattenControls(line), line);
      assert.deepEqual(
        Object.keys(Object(parse(text))).toSorted(),
        [...new Set(routes.map(({ route }) => route))].toSorted(),
      );
      for (const { scope } of routes) assert.ok(scope === undefined || isScope(parseScope(scope)), String(scope));
      await readPolicy(files.fileOf(text));
    }),
    { numRuns: 60 },
  );
});

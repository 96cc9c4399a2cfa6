/** Drafts of scopes: from paths and methods to a policy file, and from words and URLs to a mapping. */
import { readPolicy, type OpenAPIOptions } from '@hallpass/guard/openapi';
import { flattenControls, isRefusal, isScope, parseScope } from '@hallpass/protocol';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { draftRoutes, draftScopes, printRouteMap, printScopeMapping } from '../../src/cli/policy_draft.ts';

const folder = mkdtempSync(join(tmpdir(), 'hallpass-draft-'));
after(() => rmSync(folder, { recursive: true }));
let written = 0;

function fileOf(text: string): string {
  written += 1;
  const file = join(folder, `${written}.yaml`);
  writeFileSync(file, text);
  return file;
}

type Members = Readonly<Record<string, unknown>>;

/** The file of a document with these paths. */
function api(paths: unknown, more: Members = {}): string {
  const components = { securitySchemes: { Hallpass: { type: 'oauth2', flows: {} } } };
  return fileOf(JSON.stringify({ openapi: '3.1.0', paths, components, ...more }));
}

const asks = (...scopes: readonly string[]): Members => ({ security: [{ Hallpass: scopes }] });

/** Each line of a draft, as `GET /a: /a.read`, with its note behind a hash. */
async function draft(file: string, options: Pick<OpenAPIOptions, 'basePath'> = {}): Promise<readonly string[]> {
  const { routes, faults } = await draftRoutes(file, options);
  assert.deepEqual(faults, []);
  return routes.map(({ route, scope = 'closed', note }) => `${route}: ${scope}${note === '' ? '' : ` # ${note}`}`);
}

test("an operation's scope is its path up to the last literal, with read or write by its method", async () => {
  const paths = {
    '/accounts': { get: {}, post: {} },
    '/accounts/{accountID}': { get: {}, delete: {} },
    '/accounts/{accountID}/transfers/{transferID}': { get: {}, patch: {}, head: {} },
    '/reports/{year}/{month}': { get: {} },
    '/export.csv': { get: {} },
    '/@me/$batch': { post: {} },
    '/': { get: {} },
  };
  assert.deepEqual(await draft(api(paths)), [
    'GET /accounts: /accounts.read',
    'POST /accounts: /accounts.write',
    // Other paths continue behind this parameter. What they hold belongs to one account, and so does this.
    'GET /accounts/{accountID}: /accounts/{accountID}.read',
    'DELETE /accounts/{accountID}: /accounts/{accountID}.write',
    'GET /accounts/{accountID}/transfers/{transferID}: /accounts/{accountID}/transfers.read',
    'PATCH /accounts/{accountID}/transfers/{transferID}: /accounts/{accountID}/transfers.write',
    'HEAD /accounts/{accountID}/transfers/{transferID}: /accounts/{accountID}/transfers.read',
    'GET /reports/{year}/{month}: /reports.read',
    'GET /export.csv: /export.csv.read',
    'POST /@me/$batch: /me/batch.write',
    'GET /: /api.read',
  ]);
});

test('scopes leave out a prefix that all paths share, and the path of the server', async () => {
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

test('scopes in the document are kept, words are translated, and prose is only a hint', async () => {
  const description = 'You need the `/b/special.read` scope, or /b.all. See https://x.example/docs/x.read.';
  const paths = {
    '/a': { get: asks('/kept.read'), put: asks('a:write') },
    '/b': { get: { description } },
    '/c': { get: { description: 7 }, post: asks('/one.read', '/two.read') },
  };
  assert.deepEqual(await draft(api(paths)), [
    'GET /a: /kept.read',
    'PUT /a: /a.write # the document says a:write',
    'GET /b: /b.read # its description names /b/special.read, /b.all',
    'GET /c: /c.read',
    'POST /c: /c.write',
  ]);
});

test('the draft closes what no guard may open, with the reason, and is a valid policy file', async () => {
  const { routes } = await draftRoutes(
    api({
      '/items/{id}': { get: {}, post: {} },
      '/items/{id}:archive': { post: {} },
      '/items/export': { get: { security: [] } },
      '/odd': { get: { securty: [] } },
      '/other/{id}': { get: asks('/other/{otherID}.read') },
    }),
  );
  const text = printRouteMap(routes);
  assert.match(text, /^GET \/items\/export: +closed +# public: serve it outside the guard$/m);
  assert.match(text, /^"POST \/items\/\{id\}:archive": +closed +# A parameter has to be a whole segment/m);
  assert.match(text, /^GET \/other\/\{id\}: +closed +# The scope '\/other\/\{otherID\}\.read' has \{otherID\}/m);
  const { match } = await readPolicy(fileOf(text));
  const opened = match('POST', '/items/i1');
  assert.equal(isRefusal(opened) ? opened.refused : opened.scope.text, '/items.write');
  for (const [method, url] of [
    ['POST', '/items/i1:archive'],
    ['GET', '/items/export'],
    ['GET', '/odd'],
    ['GET', '/other/o1'],
  ] as const) {
    assert.ok(isRefusal(match(method, url)), url);
  }
});

test('a path with an unknown prefix cannot be drafted without a base path', async () => {
  const file = api({ '/a': { get: {} }, '/b': { $ref: 'https://api.example.com/b.yaml' } });
  const { routes, faults } = await draftRoutes(file);
  assert.deepEqual([routes.length, faults.map(({ operation }) => operation)], [0, ['* /b']]);
  assert.deepEqual(
    (await draft(file, { basePath: '/v1' })).map((line) => line.replace(/ #.*/, '')),
    ['GET /v1/a: /a.read', '* /v1/b: closed'],
  );
  const differing = await draftRoutes(api({ '/a': { get: {} } }, { servers: [{ url: '/v1' }, { url: '/v2' }] }));
  assert.match(differing.faults[0]?.sentence ?? '', /different paths/);
});

test('a mapping has a distinct scope for each word and URL, with its own verb or that of the methods', async () => {
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
  const { scopes, faults } = await draftScopes(api({ ...paths, '/kept': { get: asks('/kept.read') } }));
  assert.deepEqual(faults, []);
  assert.deepEqual(
    scopes.map(({ name, scope }) => [name, scope]),
    words.toSorted(([one], [other]) => (one < other ? -1 : 1)),
  );
  // If two names became one scope, a caller with the lesser would have the other too.
  const alike = await draftScopes(
    api({ '/a': { get: asks('x'), post: asks('x') }, '/b': { get: asks('x:read'), put: asks('read:x') } }),
  );
  assert.equal(
    printScopeMapping(alike.scopes),
    '"read:x": /x.read    # PUT /b\n"x":      /x.write   # GET /a, and 1 more\n"x:read": /x-2.read  # GET /b\n',
  );
});

test('whatever words a document contains, its draft reads back unchanged and has no control characters', async () => {
  const word = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter((text) => !text.startsWith('x-'));
  const segment = fc.oneof(word, fc.constantFrom('a', '{b}', '{c}:d'));
  const path = fc.array(segment, { maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
  const get = fc.oneof(
    fc.constant({}),
    word.map((text) => ({ ...asks(text), summary: text })),
  );
  const paths = fc.dictionary(path, fc.record({ get, post: fc.constant({ security: [] }) }), {
    minKeys: 1,
    maxKeys: 4,
  });
  await fc.assert(
    fc.asyncProperty(paths, async (some) => {
      const { routes, faults } = await draftRoutes(api(some));
      assert.deepEqual(faults, []);
      const text = printRouteMap(routes);
      for (const line of text.split('\n')) assert.equal(flattenControls(line), line);
      for (const { scope } of routes) assert.ok(scope === undefined || isScope(parseScope(scope)), String(scope));
      const policy = await readPolicy(fileOf(text));
      assert.deepEqual(policy.routes.toSorted(), [...new Set(routes.map(({ route }) => route))].toSorted());
    }),
    { numRuns: 60 },
  );
});

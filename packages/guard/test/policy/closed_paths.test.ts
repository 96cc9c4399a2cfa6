/** Operations that a guard cannot match: they are closed, whatever neighbour the same request would match. */
import { policyFromOpenAPI } from '@hallpass/guard/openapi';
import express from 'express';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { api, asks, faultsOf, meets, type Members } from './openapi/harness.ts';
import { bearer, openBench } from '../harness.ts';

/** A document with one operation that a guard cannot match, and neighbours for all of its requests. */
function beside(template: string, more: Members = {}): Members {
  return api({
    [template]: { get: asks('/special.read') },
    '/{one}': { get: asks('/any.read') },
    '/{one}/{two}': { get: asks('/any.read') },
    '/{one}/{two}/{three}': { get: asks('/any.read') },
    ...more,
  });
}

test('a path that a guard cannot match is closed, and the others stay guarded', () => {
  const document = api({
    '/items/{id}': { get: asks('/items/{id}.read') },
    '/items/{id}:archive': { post: asks('/items/{id}.write') },
    '/reports/': { get: asks('/reports.read') },
  });
  const policy = policyFromOpenAPI(document);
  assert.equal(meets(policy, 'GET', '/items/i1'), '/items/i1.read');
  assert.equal(meets(policy, 'POST', '/items/i1:archive'), 'route_not_allowed');
  assert.deepEqual(
    policy.closed.map(({ kind, operation }) => `${kind} ${operation}`),
    ['bad_path POST /items/{id}:archive', 'bad_path GET /reports/'],
  );
  assert.equal(faultsOf(document).length, 2);
});

test('a request that may be meant for a closed path is not opened by a neighbour, and the most similar other request is', () => {
  const cases: readonly (readonly [template: string, shut: readonly string[], open: readonly string[]])[] = [
    [
      '/items/{id}:archive',
      ['/items/x:archive', '/items/x:y:archive', '/Items/X:ARCHIVE', '/items/:archive', '/items/x%3Aarchive'],
      ['/items/x', '/items/x:archived', '/other/x:archive'],
    ],
    ['/{id}.json', ['/x.json', '/.json', '/a.b.json', '/X.JSON'], ['/x', '/json', '/x.jsonl']],
    ['/v{version}', ['/v1', '/v', '/V2'], ['/w1']],
    ['/{a}-{b}', ['/x-y', '/x-y-z', '/-'], ['/x']],
    ['/{a}{b}', ['/x', '/xy'], ['/x/y']],
    ['/{id', ['/x'], ['/x/y']],
    ['/a/{id}}', ['/a/x'], ['/b/x']],
    ['/{proxy+}', ['/a/b/c/d'], ['/x', '/x/y']],
    ['/{+name}:cancel', ['/a:cancel', '/a/b/c:cancel'], ['/a', '/a/b:cancel/c']],
    ['/files/{+path}', ['/files/a', '/files/a/b'], ['/other/a']],
    ['/files/{path*}', ['/files/a', '/files/a/b'], ['/other/a']],
    ['/reports/', ['/reports', '/REPORTS'], ['/report']],
    ['//reports', ['/reports'], ['/report']],
    ['/a/../reports', ['/reports'], ['/a/reports']],
    ['reports', ['/reports'], ['/report']],
    ['/reports?year={year}', ['/reports', '/reports?year=1', '/reports?x', '/reports%3Fyear=1'], ['/report']],
    ['/#action=list', [], ['/x']],
    ['/reports#list', ['/reports', '/reports%23list'], ['/report', '/reports%23']],
    // A slip in the document: most tools take the space off, some do not.
    ['/reports ', ['/reports', '/reports%20'], ['/report']],
    ['/reports /x', ['/reports/x', '/reports%20/x'], ['/reports']],
    ['/reports{?year,month}', ['/reports'], ['/report']],
    ['/reports;v=1', ['/reports'], ['/report']],
    ['/a b', ['/a%20b'], ['/a']],
    ['/caf\u00e9', ['/caf%C3%A9', '/cafe%CC%81'], ['/cafe']],
    ['/a%20b', ['/a%20b'], ['/a']],
    ['/{account.id}', ['/x'], ['/x/y']],
    ['/{}', ['/x'], ['/x/y']],
    ['/{id}/{id}', ['/x/y'], ['/x', '/x/y/z']],
  ];
  for (const [template, shut, open] of cases) {
    const policy = policyFromOpenAPI(beside(template));
    for (const url of shut) assert.equal(meets(policy, 'GET', url), 'route_not_allowed', `${template}: ${url}`);
    for (const url of open) assert.equal(meets(policy, 'GET', url), '/any.read', `${template}: ${url}`);
  }
});

test('a route that is more specific than a closed path stays open, compared from the left (OpenAPI §4.8.8.1)', () => {
  const policy = policyFromOpenAPI(
    api({
      '/items/{id}.json': { get: asks('/special.read') },
      '/items/report.json': { get: asks('/report.read') },
      '/{any}/report.json': { get: asks('/any.read') },
      '/items/{id}': { get: asks('/item.read') },
    }),
  );
  assert.equal(meets(policy, 'GET', '/items/report.json'), '/report.read');
  assert.equal(meets(policy, 'GET', '/items/x.json'), 'route_not_allowed');
  assert.equal(meets(policy, 'GET', '/other/report.json'), '/any.read');
  assert.equal(meets(policy, 'GET', '/items/x'), '/item.read');
});

test('closing a method closes no other, except HEAD with GET, since frameworks answer HEAD with the handler of GET', () => {
  const all = asks('/any.any');
  const policy = policyFromOpenAPI(
    api({
      '/{id}:archive': { post: asks('/special.write') },
      '/export': { get: { security: [] } },
      '/report': { get: asks('/report.read') },
      '/{id}': { get: all, head: all, post: all, put: all },
    }),
  );
  assert.equal(meets(policy, 'POST', '/x:archive'), 'route_not_allowed');
  assert.equal(meets(policy, 'PUT', '/x:archive'), '/any.any');
  assert.equal(meets(policy, 'PUT', '/export'), '/any.any');
  assert.equal(meets(policy, 'HEAD', '/x'), '/any.any');
  for (const path of ['/export', '/report']) assert.equal(meets(policy, 'HEAD', path), 'route_not_allowed', path);
});

test('HEAD is closed wherever its GET is, even if a similar path has an operation for HEAD', () => {
  // A parameter that holds slashes is not one of a segment.
  const files = policyFromOpenAPI(
    api({
      '/files/{path+}': { get: asks('/files.read') },
      '/files/{id}': { head: asks('/file.read') },
      '/{a}/{b}/{c}': { head: asks('/any.read') },
    }),
  );
  assert.equal(meets(files, 'HEAD', '/files/a/b'), 'route_not_allowed');
  assert.equal(meets(files, 'HEAD', '/files/a'), '/file.read');
  assert.equal(meets(files, 'HEAD', '/other/a/b'), '/any.read');

  // A beginning that is not known is not the lack of one.
  const reports = policyFromOpenAPI(
    api({
      '/reports': { get: { ...asks('/reports.read'), servers: [{ url: '/{unknown}' }] }, head: asks('/reports.read') },
      '/{a}/{b}': { head: asks('/any.read') },
    }),
  );
  assert.equal(meets(reports, 'HEAD', '/v2/reports'), 'route_not_allowed');
  assert.equal(meets(reports, 'HEAD', '/v2/other'), '/any.read');
});

test('misspelt servers at one HEAD do not open another', () => {
  const withServer = (server: object): ReturnType<typeof policyFromOpenAPI> =>
    policyFromOpenAPI(
      api(
        {
          '/{x}': { head: asks('/one.read') },
          '/{x}/{proxy+}': { get: { $ref: '#/x-operations/circle' } },
          '/{x}/{y}': { head: { ...asks('/two.read'), servers: [server] } },
          '/a': { post: asks('/a.write') },
        },
        { servers: [{ url: '/v1' }], 'x-operations': { circle: { $ref: '#/x-operations/circle' } } },
      ),
    );
  for (const server of [{ url: '/v1' }, { URL: '/v1' }]) {
    const policy = withServer(server);
    assert.equal(meets(policy, 'HEAD', '/v1/z'), 'route_not_allowed', JSON.stringify(server));
    assert.equal(meets(policy, 'POST', '/v1/a'), '/a.write');
  }
});

test('a member that may be misspelt servers closes its path behind any prefix', () => {
  const meeting = (item: object, url: string): string =>
    meets(
      policyFromOpenAPI(
        api(
          { '/a': item, '/{x}': { get: { ...asks('/weak.read'), servers: [{ url: '/v2' }] } } },
          { openapi: '3.2.0', servers: [{ url: '/v1' }] },
        ),
      ),
      'GET',
      url,
    );
  const get = asks('/a.read');
  const strangers = { roles: ['admin'] };
  for (const SERVERS of [[{ url: '/v2' }], [], null]) {
    for (const item of [
      { get: { ...get, SERVERS } },
      { get: { ...get, ...strangers, SERVERS } },
      { get, ...strangers, SERVERS },
      { get: { ...get, SERVERS }, ...strangers },
      { additionalOperations: { GET: { ...get, SERVERS } } },
      { additionalOperations: { LOCK: { ...get, SERVERS } }, ...strangers },
    ]) {
      assert.equal(meeting(item, '/v2/a'), 'route_not_allowed', JSON.stringify(item));
      assert.equal(meeting(item, '/v2/b'), '/weak.read', JSON.stringify(item));
    }
  }
  for (const item of [{ get: { ...get, ...strangers } }, { get, ...strangers }, { get: { securty: [] } }]) {
    assert.equal(meeting(item, '/v2/a'), '/weak.read', JSON.stringify(item));
  }
});

test('a path without a leading slash, behind an unknown prefix, may be the end of a segment', () => {
  const policy = policyFromOpenAPI(
    api({
      a: { get: { ...asks('/a.read'), servers: [{ url: '/{unknown}' }] } },
      '/{x}': { get: asks('/weak.read') },
      '/data': { get: asks('/data.read') },
    }),
  );
  for (const url of ['/a', '/v1a']) assert.equal(meets(policy, 'GET', url), 'route_not_allowed', url);
  assert.equal(meets(policy, 'GET', '/v1'), '/weak.read');
  assert.equal(meets(policy, 'GET', '/data'), '/data.read');
});

test('a path item that cannot be read may have any method and any prefix, or only the base path if there is one', () => {
  const document = api({
    '/payouts': { $ref: 'payouts.yaml' },
    '/{one}': { post: asks('/any.write') },
    '/{one}/{two}': { post: asks('/any.write') },
  });
  const policy = policyFromOpenAPI(document);
  for (const url of ['/payouts', '/v2/payouts']) assert.equal(meets(policy, 'POST', url), 'route_not_allowed', url);
  assert.equal(meets(policy, 'POST', '/v2/payout'), '/any.write');
  const based = policyFromOpenAPI(document, { basePath: '' });
  assert.equal(meets(based, 'POST', '/payouts'), 'route_not_allowed');
  assert.equal(meets(based, 'POST', '/v2/payouts'), '/any.write');
});

test('a route that a closed operation covers completely is closed too, and the fault names that operation', () => {
  const document = api({
    '/reports': { get: asks('/reports.read') },
    '/reports?kind=secret': { get: asks('/secrets.read') },
    '/a': { get: asks('/a.read') },
  });
  const policy = policyFromOpenAPI(document);
  assert.equal(meets(policy, 'GET', '/reports'), 'route_not_allowed');
  assert.equal(meets(policy, 'GET', '/a'), '/a.read');
  assert.match(faultsOf(document).join('\n'), /^ambiguous \/paths\/~1reports\/get: .*'GET \/reports\?kind=secret'/m);
});

test('a route that two servers share, or that differs from a closed one by case only, is not opened', () => {
  const document = api({
    '/a': { get: { ...asks('/a.read'), servers: [{ url: '/v1' }] } },
    '/v1/a': { get: asks('/weak.read') },
    '/Reports/{id}': { get: asks('/weak.read') },
    '/reports/{report}': { get: {} },
    '/c': { get: asks('/c.read') },
  });
  const policy = policyFromOpenAPI(document);
  for (const url of ['/v1/a', '/Reports/1', '/reports/1'])
    assert.equal(meets(policy, 'GET', url), 'route_not_allowed', url);
  assert.equal(meets(policy, 'GET', '/c'), '/c.read');
  assert.match(faultsOf(document).join('\n'), /^ambiguous \/paths\/~1a\/get: .*'GET \/v1\/a'/m);
});

test('a closed GET with a trailing slash does not close the HEAD beside it', () => {
  const policy = policyFromOpenAPI(
    api({ '/r/{id}/': { get: asks('/r.read') }, '/r/{other}': { head: asks('/r.read'), put: asks('/r.write') } }),
  );
  assert.equal(meets(policy, 'HEAD', '/r/1'), '/r.read');
  assert.equal(meets(policy, 'GET', '/r/1'), 'route_not_allowed');
});

test('comparing long patterns with a long request takes linear time', () => {
  const parts = Array.from({ length: 30 }, (_, index) => `{p${index}}`).join('-a-');
  const policy = policyFromOpenAPI(beside(`/${parts}`));
  assert.equal(meets(policy, 'GET', `/${'-a'.repeat(4_000)}`), 'route_not_allowed');
  assert.equal(meets(policy, 'GET', `/${'-a'.repeat(4_000)}b`.replace('-a-', '-b-')), 'route_not_allowed');
});

/** What the router of a framework runs, and what the policy says, for an API that has such paths. */
test('the policy never opens a request that a real router gives to the handler of a closed path', async () => {
  const document = api({
    '/items/{id}': { post: asks('/items.read') },
    '/items/{id}:archive': { post: asks('/items.archive') },
    '/items/{id}.json': { post: asks('/items.export') },
    '/reports/': { post: asks('/reports.write') },
    '/{any}': { post: asks('/any.write') },
  });
  const { issuer, guard } = await openBench();
  const token = await issuer.token({ scope: '/items.read /any.write' });
  const policy = policyFromOpenAPI(document);
  const app = express();
  const ran = (name: string) => (_: unknown, response: { send: (text: string) => void }) => response.send(name);
  app.use(async (request, response, next) => {
    const decision = await guard.checkRoute(policy, bearer(token, request.method, request.originalUrl));
    if (decision.allowed) next();
    else response.status(decision.status).send('refused');
  });
  app.post('/items/:id\\:archive', ran('archive'));
  app.post('/items/:id.json', ran('json'));
  app.post('/reports/', ran('reports'));
  app.post('/items/:id', ran('item'));
  app.post('/:any', ran('any'));
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const segment = fc.array(
      fc.constantFrom('a', ':archive', '.json', ':', '.', 'reports', 'items', 'A', '%3A', 'ARCHIVE'),
      { minLength: 1, maxLength: 4 },
    );
    const path = fc.oneof(
      segment.map((parts) => `/items/${parts.join('')}`),
      segment.map((parts) => `/${parts.join('')}`),
    );
    const seen = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(path, async (url) => {
        const answer = await fetch(`http://127.0.0.1:${port}${url}`, { method: 'POST' });
        const name = await answer.text();
        assert.ok(['item', 'any', 'refused'].includes(name), `${url} reached ${name}`);
        seen.set(name, (seen.get(name) ?? 0) + 1);
      }),
      { numRuns: 300 },
    );
    assert.ok(seen.size === 3, JSON.stringify([...seen]));
  } finally {
    server.close();
    guard.close();
  }
});

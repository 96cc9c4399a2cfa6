/** What the adapters share: fields as Node received them, and decisions that are about a handler's own route. */
import { compilePolicy, createGuard } from '@hallpass/guard';
import { createTestIssuer } from '@hallpass/guard/testing';
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { readNodeRequest } from '../../src/adapters/node_request.ts';
import { RouteGuard } from '../../src/adapters/route_guard.ts';

suite('what Node received', () => {
  test('is every value of every field, by its name in lower case, in order', () => {
    const { headers } = readNodeRequest({
      rawHeaders: [
        'Authorization',
        'Bearer a',
        'X-Tag',
        '1',
        'AUTHORIZATION',
        'Bearer b',
        'x-tag',
        'Accept',
        'X-TAG',
        '',
      ],
    });
    assert.deepEqual(headers, {
      authorization: ['Bearer a', 'Bearer b'],
      'x-tag': ['1', 'Accept', ''],
    });
    assert.deepEqual(readNodeRequest({ rawHeaders: [] }).headers, {});
  });

  test('a name without a value is none', () => {
    assert.deepEqual(readNodeRequest({ rawHeaders: ['Accept', '*/*', 'Authorization'] }).headers, { accept: ['*/*'] });
  });

  test('is from the address of its socket, where there is one', () => {
    const rawHeaders = ['Accept', '*/*'];
    const headers = { accept: ['*/*'] };
    assert.deepEqual(readNodeRequest({ rawHeaders, socket: { remoteAddress: '192.0.2.7' } }), {
      headers,
      address: '192.0.2.7',
    });
    // A socket that is closed has lost its address, and a stand-in has no socket: nobody is told `undefined`.
    assert.deepEqual(readNodeRequest({ rawHeaders, socket: {} }), { headers });
    assert.deepEqual(readNodeRequest({ rawHeaders }), { headers });
  });
});

suite('a routeGuard', async () => {
  const issuer = await createTestIssuer({ audience: 'https://api.example.com' });
  const guard = createGuard(issuer.options);
  after(() => guard.close());
  const policy = compilePolicy({
    'GET /accounts': '/accounts.read',
    'GET /accounts/{accountID}': '/accounts/{accountID}.read',
    'DELETE /accounts/{accountID}': '/accounts/{accountID}.write',
  });
  const authorization = `Bearer ${await issuer.token({ scope: '/accounts.read' })}`;
  const routeGuard = new RouteGuard(guard, policy);
  const open = { method: 'GET', url: '/accounts', headers: { authorization } };

  test('gives a handler the decision on its own request and route, alone or among several', async () => {
    const key = {};
    const decision = await routeGuard.decide(key, open);
    assert.ok(decision.allowed);
    assert.equal(routeGuard.accessOf(key, 'GET /accounts'), decision);
    assert.equal(routeGuard.accessOf(key, ['GET /accounts/{accountID}', 'GET /accounts']), decision);
  });

  test('gives it to no handler of another route, one whose name begins alike among them', async () => {
    const key = {};
    await routeGuard.decide(key, open);
    const saying = (routes: string): Error =>
      new Error(
        `The policy allowed 'GET /accounts', and the router chose the handler of '${routes}': register literal ` +
          'segments before parameters, let the router mind case, and rewrite methods and paths before the guard.',
      );
    assert.throws(() => routeGuard.accessOf(key, 'GET /accounts/{accountID}'), saying('GET /accounts/{accountID}'));
    assert.throws(
      () => routeGuard.accessOf(key, ['GET /accounts/{accountID}', 'DELETE /accounts/{accountID}']),
      saying("GET /accounts/{accountID}', 'DELETE /accounts/{accountID}"),
    );
  });

  test('gives it to no other request, and none where the answer was no', async () => {
    await routeGuard.decide({}, open);
    const refused = {};
    assert.equal((await routeGuard.decide(refused, { ...open, url: '/accounts/a1' })).allowed, false);
    const undecided = new Error(
      "Nobody has decided on this request for 'GET /accounts', 'DELETE /accounts/{accountID}': register 'check' before it.",
    );
    for (const key of [{}, refused]) {
      assert.throws(() => routeGuard.accessOf(key, ['GET /accounts', 'DELETE /accounts/{accountID}']), undecided);
    }
  });
});

/** Policy files that are maps of routes to scopes, such as `GET /accounts: /accounts.read`. */
import { inspectPolicy, readPolicy } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { meets, openFolder, type Members } from './harness.ts';

const files = openFolder();
const fileOf = (map: Members): string => files.fileOf(JSON.stringify(map));

test('a route map becomes a table with each route and its scope', async () => {
  const { table, faults } = await inspectPolicy(fileOf({ 'GET /a/{id}': '/a/{id}.read', 'PUT /': '/root.write' }));
  assert.deepEqual(faults, []);
  assert.deepEqual(table, {
    routes: [
      { route: 'GET /a/{id}', method: 'GET', path: '/a/{id}', scope: '/a/{id}.read' },
      { route: 'PUT /', method: 'PUT', path: '/', scope: '/root.write' },
    ],
    open: [],
    closed: [],
  });
});

test('a bad line of a route map is named, and what else is wrong with it does not matter', async () => {
  const shape = "bad_path Write it as 'GET /path'.";
  const method = "bad_path A method is a word in capitals, as in 'GET /accounts'.";
  for (const [route, scope, ...wanted] of [
    ...['GET', '', '/a', 'GET a', 'GET a/', 'GET  /a'].map((text) => [text, '/a.read', shape] as const),
    ...['get /a', 'Get /a', '-GET /a', 'GET1 /a', 'ÄT /a'].map((text) => [text, '/a.read', method] as const),
    ['GET /a/', '/a.read', 'bad_path A guard refuses paths that end in a slash. Remove it.'],
    ['GET /a\nb', '/a.read', "bad_path write it as 'GET /path'."],
    ['GET /a', 7, 'malformed Its scope must be a string.'],
    ['GET /a', null, 'malformed Its scope must be a string.'],
    ['GET a', 'closed', shape],
    ['get /a', 'closed', method],
  ] as const) {
    const { table, faults } = await inspectPolicy(fileOf({ [route]: scope, 'GET /other': '/other.read' }));
    assert.deepEqual(
      faults.map(({ kind, sentence }) => `${kind} ${sentence}`),
      wanted,
      route,
    );
    assert.deepEqual(
      table.routes.map((one) => one.route),
      ['GET /other'],
    );
  }
  const { faults } = await inspectPolicy(fileOf({ 'GET /a/{x}': '/a/{z}.read', 'GET /a/{y}': 'a' }));
  assert.deepEqual(
    faults.map(({ kind }) => kind),
    ['unknown_parameter', 'bad_scope', 'ambiguous', 'ambiguous'],
  );
});

test('a route map closes routes by name, even those that a guard cannot match', async () => {
  const closed = { 'POST /a/{id}:archive': 'closed', '* /a/b': 'closed', 'GET /a/': 'closed' };
  const policy = await readPolicy(fileOf({ ...closed, 'POST /a/{id}': '/a.write', 'GET /a/{id}': '/a.read' }));
  assert.equal(meets(policy, 'POST', '/a/1'), '/a.write');
  assert.equal(meets(policy, 'GET', '/a/1:archive'), '/a.read');
  for (const [method, path] of [
    ['POST', '/a/1:archive'],
    ['POST', '/a/b'],
    ['GET', '/a/b'],
  ] as const) {
    assert.equal(meets(policy, method, path), 'route_not_allowed', path);
  }
  assert.deepEqual(policy.closed, [], 'closed on purpose');
});

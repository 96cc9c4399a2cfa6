/** Descriptions in several files: what belongs to them is read, and nothing else on this machine or beyond. */
import { inspectPolicy, POLICY_FILES_MAX, readPolicy } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { meets, openFolder } from './harness.ts';

const { folder } = openFolder();
let made = 0;

/** Files of these texts in a folder of their own; gives that folder. */
function filesOf(texts: Readonly<Record<string, string>>): string {
  made += 1;
  const own = join(folder, `api${made}`);
  for (const [name, text] of Object.entries(texts)) {
    mkdirSync(dirname(join(own, name)), { recursive: true });
    writeFileSync(join(own, name), text);
  }
  return own;
}

const ROOT = `openapi: 3.0.3
info: { title: t, version: '1' }
security: [{ oauth: [/basics.read] }]
components:
  securitySchemes: { oauth: { type: oauth2, flows: {} } }
paths:
  /basics:
    get: {}
`;
const rootWith = (...lines: readonly string[]): string => `${ROOT}${lines.map((line) => `  ${line}\n`).join('')}`;
const PAYOUTS = 'security: [{ oauth: [/payouts.write] }]\nresponses: {}\n';

/** Why the operations of a root are closed, as `file:line sentence`, with the folder taken away. */
async function closedIn(own: string, root = 'openapi.yaml'): Promise<readonly string[]> {
  const { table, faults } = await inspectPolicy(join(own, root));
  assert.deepEqual(faults, []);
  assert.deepEqual(
    table.routes.map(({ route }) => route).filter((route) => route !== 'GET /basics'),
    [],
  );
  return table.closed.map(({ fault }) => `${fault?.file?.replace(`${own}/`, '')}:${fault?.line} ${fault?.sentence}`);
}

test('an operation, a path item and a parameter may be in files beside the description', async () => {
  const own = filesOf({
    'openapi.yaml': rootWith(
      '/payouts:',
      '  post: { $ref: payouts.yaml }',
      '/items/{id}: { $ref: ./paths/items.yaml#/one~1item }',
      '/more: { $ref: "paths/m%6fre.json" }',
    ),
    'payouts.yaml': PAYOUTS,
    'paths/items.yaml':
      "one/item:\n  parameters: [{ $ref: '../parameters.yaml#/Id' }]\n  get: { security: [{ oauth: ['/items/{id}.read'] }] }\n  put: { $ref: ../openapi.yaml#/paths/~1payouts/post }\n",
    'paths/more.json': '{"get": {"$ref": "#/x-get"}, "x-get": {"security": [{"oauth": ["/more.read"]}]}}',
    'parameters.yaml': 'Id: { name: id, in: path, required: true, schema: { type: string } }\n',
  });
  const policy = await readPolicy(join(own, 'openapi.yaml'));
  assert.deepEqual(policy.closed, []);
  assert.equal(meets(policy, 'POST', '/payouts'), '/payouts.write');
  assert.equal(meets(policy, 'GET', '/items/i1'), '/items/i1.read');
  assert.equal(meets(policy, 'PUT', '/items/i1'), '/payouts.write');
  assert.equal(meets(policy, 'GET', '/more'), '/more.read');
  assert.equal(meets(policy, 'GET', '/basics'), '/basics.read');
});

test('a fault in another file has that file and its line', async () => {
  const own = filesOf({
    'openapi.yaml': rootWith('/payouts: { post: { $ref: payouts.yaml } }', '/twice: { $ref: twice.yaml }'),
    'payouts.yaml': 'summary: text\nsecurty: []\n',
    'twice.yaml': 'get: {}\nput: {}\nget: {}\n',
  });
  assert.deepEqual(await closedIn(own), [
    "payouts.yaml:2 'securty' is not a member of an operation in OpenAPI 3.0. Did you mean 'security'?",
    "twice.yaml:3 'get' is given twice. Keep one.",
  ]);
});

test('an operation in another complete description is refused, because its security may be defined there', async () => {
  const own = filesOf({
    'openapi.yaml': rootWith(
      '/payouts: { post: { $ref: other.yaml#/paths/~1payouts/post } }',
      '/a/{id}: { get: { parameters: [{ $ref: "other.yaml#/x-id" }] } }',
    ),
    'other.yaml':
      'openapi: 3.0.3\nsecurity: [{ oauth: [/payouts.write] }]\nx-id: { name: id, in: path }\npaths: { /payouts: { post: {} } }\n',
  });
  const { table } = await inspectPolicy(join(own, 'openapi.yaml'));
  assert.deepEqual(
    table.routes.map(({ route }) => route),
    ['GET /basics', 'GET /a/{id}'],
  );
  assert.match(table.closed[0]?.fault?.sentence ?? '', /leads into another description/);
});

test('a reference out of the folder is not followed, however it is written (CWE-22)', async () => {
  const outside = filesOf({ 'secret.yaml': PAYOUTS });
  const own = filesOf({ 'openapi.yaml': '', 'inner/payouts.yaml': PAYOUTS, 'inner/root.yaml': '' });
  symlinkSync(join(outside, 'secret.yaml'), join(own, 'link.yaml'));
  symlinkSync(outside, join(own, 'linked'));
  const name = outside.split('/').at(-1) ?? '';
  const references = [
    `../${name}/secret.yaml`,
    `inner/../../${name}/secret.yaml`,
    `..%2f${name}/secret.yaml`,
    `%2e%2e/${name}/secret.yaml`,
    `..\\${name}\\secret.yaml`,
    join(outside, 'secret.yaml'),
    `file://${join(outside, 'secret.yaml')}`,
    'http://127.0.0.1:1/secret.yaml',
    '//127.0.0.1/secret.yaml',
    'link.yaml',
    'linked/secret.yaml',
    'payouts.yaml?x',
    '.',
    'inner',
    'none.yaml',
    'payouts%00.yaml',
    '%ff.yaml',
  ];
  for (const reference of references) {
    writeFileSync(join(own, 'openapi.yaml'), rootWith(`/payouts: { post: { $ref: ${JSON.stringify(reference)} } }`));
    const [said = '', ...others] = await closedIn(own);
    assert.match(said, /^openapi\.yaml:9 .*(?:is not read: a \$ref may only lead|cannot be read)/, reference);
    assert.deepEqual(others, []);
  }
  // Below the root is inside, above it is not, whoever refers to it.
  writeFileSync(join(own, 'openapi.yaml'), rootWith('/payouts: { post: { $ref: inner/payouts.yaml } }'));
  assert.equal(meets(await readPolicy(join(own, 'openapi.yaml')), 'POST', '/payouts'), '/payouts.write');
  writeFileSync(join(own, 'inner/root.yaml'), rootWith('/payouts: { post: { $ref: ../openapi.yaml#/x } }'));
  assert.match((await closedIn(own, 'inner/root.yaml')).join(), /is not read/);
});

test('a pipe is not read, and all files together may be no longer than one', async () => {
  const own = filesOf({ 'openapi.yaml': rootWith('/payouts: { post: { $ref: pipe.yaml } }') });
  execFileSync('mkfifo', [join(own, 'pipe.yaml')]);
  assert.match((await closedIn(own)).join(), /cannot be read/);

  const large = 'x'.repeat(30 * 1024 * 1024);
  const padded = filesOf({
    'openapi.yaml': rootWith('/one: { $ref: 1.json }', '/two: { $ref: 2.json }', '/three: { $ref: 3.json }'),
    ...Object.fromEntries([1, 2, 3].map((at) => [`${at}.json`, JSON.stringify({ get: {}, 'x-padding': large })])),
  });
  const { table } = await inspectPolicy(join(padded, 'openapi.yaml'));
  assert.deepEqual(
    table.routes.map(({ route }) => route),
    ['GET /basics', 'GET /one', 'GET /two'],
  );
  assert.match(table.closed[0]?.fault?.sentence ?? '', /longer than 67108864 bytes, alone or with the others/);
});

test(`a description has at most ${POLICY_FILES_MAX} other files`, async () => {
  const names = Array.from({ length: POLICY_FILES_MAX + 2 }, (_, index) => `p${index}`);
  const own = filesOf({
    'openapi.yaml': rootWith(...names.map((name) => `/${name}: { $ref: ${name}.yaml }`)),
    ...Object.fromEntries(names.map((name) => [`${name}.yaml`, 'get: {}\n'])),
  });
  const { table } = await inspectPolicy(join(own, 'openapi.yaml'));
  assert.equal(table.routes.length, 1 + POLICY_FILES_MAX);
  assert.match(table.closed[0]?.fault?.sentence ?? '', /is one of more than 1000 files/);
});

test('circular references, and relative ones in a document with $self, close their operations', async () => {
  const own = filesOf({
    'openapi.yaml': rootWith('/payouts: { $ref: a.yaml }'),
    'a.yaml': '$ref: b.yaml\n',
    'b.yaml': '$ref: a.yaml\n',
    'self.yaml': `$self: https://api.example.com/openapi.yaml\n${rootWith('/payouts: { post: { $ref: payouts.yaml } }').replace('3.0.3', '3.2.0')}`,
    'payouts.yaml': PAYOUTS,
  });
  assert.match((await closedIn(own)).join(), /chain of references is longer/);
  assert.match((await closedIn(own, 'self.yaml')).join(), /^self\.yaml:10 .*\$self/);
});

import {
  inspectPolicy,
  POLICY_FILE_BYTES_MAX,
  PolicyError,
  readPolicy,
  type PolicyFileOptions,
} from '@hallpass/guard/openapi';
import * as fc from 'fast-check';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { meets } from './openapi_harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'hallpass-openapi-'));
after(() => rmSync(folder, { recursive: true }));
let written = 0;

/** A file of this text; gives its name. */
function fileOf(text: string | Uint8Array, ending = 'yaml'): string {
  written += 1;
  const file = join(folder, `${written}.${ending}`);
  writeFileSync(file, text);
  return file;
}

const API = `openapi: 3.0.3
info: { title: Ledger, version: 1.0.0 }
paths:
  /accounts:
    get: &list
      security:
        - Hallpass: [/accounts.read]
    post:
      security: []
  '/accounts/{accountID}':
    get:
      security:
        - Hallpass: ['/accounts/{accountID}.read']
components:
  securitySchemes:
    Hallpass:
      type: oauth2
      flows: {}
`;

/** All faults of a file, each on a line, with the file's name taken away. */
async function faultsOf(text: string | Uint8Array, options: PolicyFileOptions = {}): Promise<string> {
  const file = fileOf(text);
  const error: unknown = await readPolicy(file, options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof PolicyError, `no PolicyError: ${String(error)}`);
  return error.message.replaceAll(file, '');
}

const edited = (from: string, to: string): string => {
  assert.ok(API.includes(from));
  return API.replace(from, to);
};

test('an OpenAPI file, as YAML or as JSON, is a policy', async () => {
  const json = JSON.stringify({
    openapi: '3.1.0',
    paths: { '/accounts': { get: { security: [{ Hallpass: ['/accounts.read'] }] } } },
    components: { securitySchemes: { Hallpass: { type: 'oauth2' } } },
  });
  const tabbed = JSON.stringify(JSON.parse(json), undefined, '\t');
  for (const text of [API, json, tabbed, `\uFEFF${API}`, `--- # a comment\n${API}`, API.replaceAll('\n', '\r\n')]) {
    const policy = await readPolicy(fileOf(text));
    assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');
    assert.equal(meets(policy, 'POST', '/accounts'), 'route_not_allowed');
  }
  assert.equal(
    meets(await readPolicy(fileOf(API), { basePath: '/v1' }), 'GET', '/v1/accounts/a1'),
    '/accounts/a1.read',
  );
});

test('so are routes and their scopes, as compilePolicy takes them', async () => {
  const routes = `GET /accounts: /accounts.read\n'GET /accounts/{accountID}': '/accounts/{accountID}.read'\n`;
  for (const text of [routes, `{"GET /accounts": "/accounts.read", "GET /accounts/{a}": "/accounts/{a}.read"}`]) {
    const policy = await readPolicy(fileOf(text, 'json'));
    assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');
    assert.equal(meets(policy, 'GET', '/accounts/a1'), '/accounts/a1.read');
    assert.equal(meets(policy, 'POST', '/accounts'), 'route_not_allowed');
  }
  assert.equal(meets(await readPolicy(fileOf('{}')), 'GET', '/'), 'route_not_allowed');
});

test('routes that cannot be meant are all named, each with its line', async () => {
  const faults = await faultsOf(
    `GET /a: a\nget /b: /b.read\nGET /c/{d}: /c/{e}.read\nGET /f/{g}: /f.read\nGET /f/{h}: /f.read\nGET /i: 7\nGET /j:\n  - /j.read\n`,
  );
  assert.deepEqual(
    faults.split('\n').map((line) => /^:(\d+): (.{8})/.exec(line)?.slice(1)),
    [
      ['1', 'GET /a: '],
      ['2', 'get /b: '],
      ['3', 'GET /c/{'],
      ['6', 'GET /i: '],
      ['7', 'GET /j: '],
      ['5', 'GET /f/{'],
    ],
  );
  assert.match(faults, /write it as 'GET \/path'/);
  assert.match(faults, /what the path calls \{d\}/);
  assert.match(faults, /same requests as 'GET \/f\/\{g\}'/);
  assert.match(await faultsOf('GET /a: /a.read', { basePath: '/v1' }), /base path is for OpenAPI documents/);
});

test('a fault has the line of what is wrong, or of what it is in', async () => {
  assert.match(
    await faultsOf(edited("['/accounts/{accountID}.read']", "['/accounts/{id}.read']")),
    /^:12: GET .*\{id\}/,
  );
  assert.match(await faultsOf(edited('    post:\n      security: []\n', '    post: {}\n')), /^:8: POST \/accounts: /);
  assert.match(
    await faultsOf(edited('    post:\n      security: []\n', '    post: *list\n    put: {}\n')),
    /^:9: PUT /,
  );
  assert.match(await faultsOf(edited('3.0.3', '2.0.0')), /^:1: /);
  assert.match(await faultsOf(edited('paths:', 'ways:')), /^#\/paths: /);
});

test('a name that is there twice is refused, at whatever depth: two readers could take different ones', async () => {
  assert.match(await faultsOf(`${API}paths: {}\n`), /^:19: 'paths' is there twice/);
  assert.match(await faultsOf(edited('    post:', '    get:')), /^:8: 'get' is there twice/);
  assert.match(await faultsOf(`${API}x-deep: [{ a: { b: 1, "b": 2 } }]\n`), /^:19: 'b' is there twice/);
  assert.match(await faultsOf('{"GET /a": "/a.read", "GET /a": "/b.read"}'), /^:1: 'GET \/a' is there twice/);
  assert.match(await faultsOf(`${API}x: { 1: a, '1': b }\n`), /'1' is there twice/);
  assert.match(await faultsOf(`${API}__proto__: {}\n__proto__: {}\n`), /'__proto__' is there twice/);
  // Both, and where each is.
  assert.match(await faultsOf(`${API}paths: {}\nopenapi: 3\n`), /^:19: .*\n:20: /);
});

test('tags, merge keys and a second document are refused, with their lines', async () => {
  assert.match(await faultsOf(`${API}x: !custom 1\n`), /^:19: .*tag/i);
  for (const tag of ['!!js/function', '!!binary', '!!set', '!!omap', '!!timestamp', '!<tag:x>', '!!python/object']) {
    assert.match(await faultsOf(`${API}x: ${tag} a\n`), /^:19: /, tag);
  }
  assert.match(
    await faultsOf(edited('    post:\n      security: []\n', '    post:\n      <<: *list\n')),
    /^:9: Merge keys/,
  );
  assert.match(await faultsOf(`%YAML 1.1\n---\n${API}x: { <<: { a: 1 } }\n`), /Merge keys/);
  assert.match(await faultsOf(`${API}---\n${API}`), /^:19: /);
  // Quoted, it is a name like any other.
  assert.equal((await inspectPolicy(fileOf(`${API}x: { '<<': 1 }\n`))).faults.length, 0);
});

test('a word of YAML 1.1 is a text, and stays one whatever the file says of its version', async () => {
  const policy = await readPolicy(fileOf(`%YAML 1.1\n---\nGET /no: /no.read\nGET /on/{on}: /on/{on}.read\n`));
  assert.equal(meets(policy, 'GET', '/no'), '/no.read');
  assert.equal(meets(policy, 'GET', '/on/1'), '/on/1.read');
  const overlay = fileOf('%YAML 1.1\n---\noverlay: 1.0.0\nactions:\n  - { target: $.paths, remove: yes }\n');
  const { faults } = await inspectPolicy(fileOf(API), { overlay });
  assert.match(faults[0]?.sentence ?? '', /remove must be true or false/);
});

test('what is no YAML says where it ends to be any', async () => {
  assert.match(await faultsOf('a: [1\nb: 2\n'), /^:\d: This is not the YAML or JSON/);
  assert.match(await faultsOf('a:\n\t- b\n'), /^:2: .*tab/i);
  assert.match(await faultsOf('{"a": '), /not the YAML or JSON/);
  assert.match(await faultsOf('a: *nowhere\n'), /not the YAML or JSON/);
  assert.match(await faultsOf('? [a, b]\n: c\n'), /not the YAML or JSON/);
  assert.match(await faultsOf(Uint8Array.of(0xff, 0xfe, 0x61)), /not the YAML or JSON/);
  for (const text of ['', '# nothing\n', 'text', '7', '[]', 'null'])
    assert.match(await faultsOf(text), /holds no object/);
  assert.match(await faultsOf('overlay: 1.0.0\nactions: []\n'), /overlay/);
  assert.match(await faultsOf('swagger: "2.0"\npaths: {}\n'), /Read are versions 3\.0/);
});

test('a bomb of aliases, a file that is too deep and one that is too long are refused, soon', async () => {
  const laughs = ['a0: &a0 [x]'];
  for (let level = 1; level < 30; level++) {
    laughs.push(`a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]`);
  }
  assert.match(await faultsOf(laughs.join('\n')), /not the YAML or JSON that is read here: Excessive alias count/);
  // What has itself inside is finite as long as nobody follows it: two updates that meet would.
  const round = fileOf(`${API}x-round: &round { one: *round, two: *round }\n`);
  assert.deepEqual((await inspectPolicy(round)).faults, []);
  const action = '{ target: $, update: { x-round: &round { one: *round, two: *round } } }';
  const overlay = fileOf(`overlay: 1.0.0\nactions:\n  - ${action}\n`);
  const { faults } = await inspectPolicy(round, { overlay });
  assert.match(faults[0]?.sentence ?? '', /too deep or too large/);
  assert.match(await faultsOf('['.repeat(200_000)), /not the YAML or JSON/);
  assert.match(await faultsOf(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`), /not the YAML or JSON/);
  assert.match(await faultsOf(new Uint8Array(POLICY_FILE_BYTES_MAX + 1).fill(0x20)), /longer than 8388608 bytes/);
  // Its names are compared once each, not with each other.
  const many = Array.from({ length: 50_000 }, (_, at) => `GET /a${at}: /a${at}.read`).join('\n');
  assert.equal(meets(await readPolicy(fileOf(many)), 'GET', '/a49999'), '/a49999.read');
  const bad = await inspectPolicy(fileOf(many.replaceAll('.read', '')));
  assert.equal(bad.faults.length, 50_000);
  assert.equal(bad.faults[49_999]?.line, 50_000);
});

test('names of the prototype are names like any other', async () => {
  const policy = await readPolicy(
    fileOf(`GET /__proto__: /__proto__.read\nGET /constructor/{__proto__}: /constructor/{__proto__}.read\n`),
  );
  assert.equal(meets(policy, 'GET', '/__proto__'), '/__proto__.read');
  assert.equal(meets(policy, 'GET', '/constructor/a1'), '/constructor/a1.read');
  assert.match(await faultsOf('__proto__: /a.read\n'), /^:1: __proto__: Write it as 'GET \/path'/);
  assert.match(await faultsOf('__proto__: { openapi: 3.1.0 }\n'), /^:1: __proto__: /);
});

test('a file that is not there is a sentence', async () => {
  for (const file of [join(folder, 'none.yaml'), folder]) {
    await assert.rejects(readPolicy(file), { name: 'PolicyError', message: /This file cannot be read/ });
  }
});

test('an overlay is applied first; what is wrong with it has its own file and line', async () => {
  const settled = fileOf(`overlay: 1.0.0
info: { title: x, version: 1.0.0 }
actions:
  - target: $.paths['/accounts'].post
    update: { x-note: text }
  - target: $.paths['/accounts'].post.security
    remove: true
  - target: $.paths["/accounts"].post
    update: { security: [{ Hallpass: [/accounts.write] }] }
`);
  const file = fileOf(API);
  const policy = await readPolicy(file, { overlay: settled });
  assert.equal(meets(policy, 'POST', '/accounts'), '/accounts.write');
  assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');

  const refuses = async (action: string, says: RegExp): Promise<void> => {
    const overlay = fileOf(`overlay: 1.0.0\nactions:\n  - ${action}\n`);
    const { faults } = await inspectPolicy(file, { overlay });
    assert.deepEqual(
      faults.map(({ kind, line, file: where }) => [kind, line, where]),
      [['bad_overlay', 3, overlay]],
      action,
    );
    assert.match(faults[0]?.sentence ?? '', says, action);
  };
  for (const target of [
    '$.paths.*.get',
    '$..get',
    '$.paths[?@.get]',
    '$.paths[0]',
    'paths',
    '',
    "$.paths['/a",
    '$.a-b',
    '$.',
  ]) {
    await refuses(`{ target: ${JSON.stringify(target)}, update: {} }`, /Name one place by its names/);
  }
  await refuses('{ target: "$.paths[\'/gone\'].get", update: { a: 1 } }', /has changed since/);
  await refuses('{ target: $, remove: true }', /whole document/);
  await refuses('{ target: "$.paths[\'/accounts\'].get" }', /neither an update nor remove/);
  await refuses('{ target: "$.paths[\'/accounts\'].get", update: text }', /another kind/);
  await refuses('{ target: "$.paths[\'/accounts\']", update: { get: text } }', /another kind/);
  await refuses('{ target: $, update: {}, copy: $.paths }', /'copy' is not read/);
  await refuses('{ target: $, update: {}, remove: yes }', /true or false/);
  await refuses('{ update: {} }', /with a target/);
  await refuses(`{ target: $.paths${'.a'.repeat(40)}, update: {} }`, /Name one place/);
  await refuses('{ target: $.__proto__, update: { a: 1 } }', /has changed since/);
  // What is to go may be gone already.
  const gone = fileOf('overlay: 1.0.0\nactions:\n  - { target: "$.paths[\'/gone\'].get", remove: true }\n');
  assert.deepEqual((await inspectPolicy(file, { overlay: gone })).faults, []);
  for (const overlay of ['overlay: 2.0.0\nactions: []', 'overlay: 1.0\nactions: []', 'overlay: 1.0.0', API]) {
    const { faults } = await inspectPolicy(file, { overlay: fileOf(overlay) });
    assert.deepEqual(
      faults.map(({ kind }) => kind),
      ['bad_overlay'],
      overlay,
    );
  }
});

test('lists that meet in an overlay are joined, so an operation may come to ask for too much', async () => {
  const overlay = fileOf(`overlay: 1.1.0
actions:
  - target: $.paths['/accounts'].get
    update: { security: [{ Hallpass: [/other.read] }] }
`);
  const { faults } = await inspectPolicy(fileOf(API), { overlay });
  assert.deepEqual(
    faults.map(({ kind, line }) => [kind, line]),
    [['several_scopes', 5]],
  );
});

test('whatever bytes a file has, they make a policy or a PolicyError', async () => {
  const piece = fc.constantFrom(
    'openapi: 3.1.0\n',
    'paths:\n',
    '  /a:\n',
    '    get:\n',
    '      security: []\n',
    'GET /a: /a.read\n',
    '- ',
    '&a ',
    '*a',
    ': ',
    '? ',
    '| ',
    '> ',
    '!!str ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    '\t',
    '\n',
    '#',
    '%YAML 1.1\n',
    '---\n',
    '...\n',
    '\u0000',
    'é',
    '__proto__: ',
    '<<: ',
    '@',
    '`',
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.array(piece, { maxLength: 12 }).map((pieces) => new TextEncoder().encode(pieces.join(''))),
  );
  const file = fileOf('');
  await fc.assert(
    fc.asyncProperty(bytes, async (content) => {
      writeFileSync(file, content);
      await readPolicy(file).catch((error: unknown) => assert.ok(error instanceof PolicyError, String(error)));
    }),
    { numRuns: 1_500 },
  );
});

import { inspectDocument, inspectPolicy, policyFromOpenAPI, readPolicy } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { api, asks, faultsOf, LEDGER_FILE, meets, openFolder } from './harness.ts';

const { fileOf, folder, faultsIn } = openFolder();

const edited = (from: string, to: string): string => {
  assert.ok(LEDGER_FILE.includes(from));
  return LEDGER_FILE.replace(from, to);
};

test('an OpenAPI file, as YAML or as JSON, is a policy', async () => {
  const json = JSON.stringify({
    openapi: '3.1.0',
    paths: { '/accounts': { get: { security: [{ Hallpass: ['/accounts.read'] }] } } },
    components: { securitySchemes: { Hallpass: { type: 'oauth2' } } },
  });
  const tabbed = JSON.stringify(JSON.parse(json), undefined, '\t');
  for (const text of [
    LEDGER_FILE,
    json,
    tabbed,
    `\uFEFF${LEDGER_FILE}`,
    `--- # a comment\n${LEDGER_FILE}`,
    LEDGER_FILE.replaceAll('\n', '\r\n'),
  ]) {
    const policy = await readPolicy(fileOf(text));
    assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');
    assert.equal(meets(policy, 'POST', '/accounts'), 'route_not_allowed');
  }
  assert.equal(
    meets(await readPolicy(fileOf(LEDGER_FILE), { basePath: '/v1' }), 'GET', '/v1/accounts/a1'),
    '/accounts/a1.read',
  );
});

test('a map of routes to scopes is a policy too', async () => {
  const routes = `GET /accounts: /accounts.read\n'GET /accounts/{accountID}': '/accounts/{accountID}.read'\n`;
  for (const text of [routes, `{"GET /accounts": "/accounts.read", "GET /accounts/{a}": "/accounts/{a}.read"}`]) {
    const policy = await readPolicy(fileOf(text, 'json'));
    assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');
    assert.equal(meets(policy, 'GET', '/accounts/a1'), '/accounts/a1.read');
    assert.equal(meets(policy, 'POST', '/accounts'), 'route_not_allowed');
  }
  assert.equal(meets(await readPolicy(fileOf('{}')), 'GET', '/'), 'route_not_allowed');
});

test('all bad routes of a route map are named, each with its line', async () => {
  const faults = await faultsIn(
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
      ['4', 'GET /f/{'],
      ['5', 'GET /f/{'],
    ],
  );
  assert.match(faults, /A method is a word in capitals/);
  assert.match(faults, /what the path calls \{d\}/);
  assert.match(faults, /same requests as 'GET \/f\/\{g\}'/);
  assert.match(await faultsIn('GET /a: /a.read', { basePath: '/v1' }), /base path is for OpenAPI documents/);
});

test('a fault has the line of what is wrong, or of what contains it', async () => {
  assert.match(
    await faultsIn(edited("['/accounts/{accountID}.read']", "['/accounts/{id}.read']")),
    /^:12: GET .*\{id\}/,
  );
  assert.match(await faultsIn(edited('    post:\n      security: []\n', '    post: {}\n')), /^:8: POST \/accounts: /);
  assert.match(
    await faultsIn(edited('    post:\n      security: []\n', '    post: *list\n    put: {}\n')),
    /^:9: PUT /,
  );
  assert.match(await faultsIn(edited('3.0.3', '2.0.0')), /^:1: /);
  assert.match(await faultsIn(edited('paths:', 'x-paths:')), /^#\/paths: /);
  assert.match(await faultsIn(edited('paths:', 'Paths:')), /^:3: 'Paths' is not a member .* Did you mean 'paths'\?$/);
});

test('a duplicate name is refused at any depth, because parsers take different ones', async () => {
  assert.match(await faultsIn(`${LEDGER_FILE}paths: {}\n`), /^:19: 'paths' is given twice/);
  assert.match(await faultsIn(edited('    post:', '    get:')), /^:8: 'get' is given twice/);
  assert.match(await faultsIn(`${LEDGER_FILE}x-deep: [{ a: { b: 1, "b": 2 } }]\n`), /^:19: 'b' is given twice/);
  assert.match(await faultsIn('{"GET /a": "/a.read", "GET /a": "/b.read"}'), /^:1: 'GET \/a' is given twice/);
  assert.match(await faultsIn(`${LEDGER_FILE}x: { 1: a, '1': b }\n`), /'1' is given twice/);
  assert.match(await faultsIn(`${LEDGER_FILE}__proto__: {}\n__proto__: {}\n`), /'__proto__' is given twice/);
  assert.match(await faultsIn('200: a\n201: b\n"200": c\n'), /^:3: '200' is given twice\. Keep one\.$/);
  // A name on two lines is reported where it begins.
  assert.match(await faultsIn('"a b": 1\n? "a\n  b"\n: 2\n'), /^:2: 'a b' is given twice/);
  assert.equal(
    await faultsIn('{"a": 1,\n "b": [{"c": 1, "d": {}, "c": 2}],\n "\\u0061": 2}'),
    ":2: 'c' is given twice. Keep one.\n:3: 'a' is given twice. Keep one.",
  );
  const apart = '{"a": {"a": [{"a": 1}, {"a": 1}]}, "b": "\\": {\\"a\\": 1", "c": "a"}';
  assert.doesNotMatch(await faultsIn(apart), /given twice/);
  // Both, and where each is.
  assert.match(await faultsIn(`${LEDGER_FILE}paths: {}\nopenapi: 3\n`), /^:19: .*\n:20: /);
});

test('tags, merge keys and a second document are refused, with their lines', async () => {
  assert.match(await faultsIn(`${LEDGER_FILE}x: !custom 1\n`), /^:19: .*tag/i);
  for (const tag of ['!!js/function', '!!binary', '!!set', '!!omap', '!!timestamp', '!<tag:x>', '!!python/object']) {
    assert.match(await faultsIn(`${LEDGER_FILE}x: ${tag} a\n`), /^:19: /, tag);
  }
  assert.match(
    await faultsIn(edited('    post:\n      security: []\n', '    post:\n      <<: *list\n')),
    /^:9: Merge keys/,
  );
  assert.match(await faultsIn(`%YAML 1.1\n---\n${LEDGER_FILE}x: { <<: { a: 1 } }\n`), /Merge keys/);
  assert.match(await faultsIn(`${LEDGER_FILE}---\n${LEDGER_FILE}`), /^:19: /);
  // Quoted, it is a name like any other.
  assert.equal((await inspectPolicy(fileOf(`${LEDGER_FILE}x-a: { '<<': 1 }\n`))).faults.length, 0);
});

test('a word such as `no` is a string, even if the file claims to be YAML 1.1', async () => {
  const policy = await readPolicy(fileOf(`%YAML 1.1\n---\nGET /no: /no.read\nGET /on/{on}: /on/{on}.read\n`));
  assert.equal(meets(policy, 'GET', '/no'), '/no.read');
  assert.equal(meets(policy, 'GET', '/on/1'), '/on/1.read');
  const overlay = fileOf('%YAML 1.1\n---\noverlay: 1.0.0\nactions:\n  - { target: $.paths, remove: yes }\n');
  const { faults } = await inspectPolicy(fileOf(LEDGER_FILE), { overlay });
  assert.match(faults[0]?.sentence ?? '', /remove must be true or false/);
});

test('a file that is neither YAML nor JSON is refused, one sentence for each error, with its line', async () => {
  for (const [text, wanted] of [
    ['a: [1\nb: 2\n', /^:\d: This YAML or JSON is not accepted/],
    ['a:\n\t- b\n', /^:2: .*tab/i],
    ['{"a": ', /YAML or JSON is not accepted/],
    ['a: *nowhere\n', /YAML or JSON is not accepted/],
    ['? [a, b]\n: c\n', /YAML or JSON is not accepted: .*strings\.$/],
    [Uint8Array.of(0xff, 0xfe, 0x61), /YAML or JSON is not accepted: .*utf-8/i],
    [Uint8Array.of(0x61, 0x3a, 0x20, 0xff), /YAML or JSON is not accepted: .*utf-8/i],
    // No control character of the text is repeated.
    ['%\u001b[2J x\n---\na: 1\n', /^:1: This YAML or JSON is not accepted: Unknown directive % \[2J\.$/],
    ['security: [{oauth: [/a/{b}.read]}]\n', /^:1: .*put a scope that has a \{parameter\} in quotes: /],
    ['overlay: 1.0.0\nactions: []\n', /overlay/],
    ['swagger: "2.0"\npaths: {}\n', /Versions 3\.0/],
    ...['', '# nothing\n', 'text', '7', '[]', 'null'].map((nothing) => [nothing, /does not hold an object/] as const),
  ] as const) {
    assert.match(await faultsIn(text), wanted, String(text));
  }
  const [tagged, few] = [await faultsIn('- !x 1\n'.repeat(25)), await faultsIn('- !x 1\n'.repeat(20))];
  assert.match(few, /^(?::\d+: [^\n]*Unresolved tag[^\n]*(?:\n|$)){20}$/);
  assert.equal(tagged, `${few}\n:21: There are 5 more from here on. Fix the ones above first: they may cause these.`);
});

test('names such as __proto__ are like any other', async () => {
  const policy = await readPolicy(
    fileOf(`GET /__proto__: /__proto__.read\nGET /constructor/{__proto__}: /constructor/{__proto__}.read\n`),
  );
  assert.equal(meets(policy, 'GET', '/__proto__'), '/__proto__.read');
  assert.equal(meets(policy, 'GET', '/constructor/a1'), '/constructor/a1.read');
  assert.match(await faultsIn('__proto__: /a.read\n'), /^:1: __proto__: Write it as 'GET \/path'/);
  assert.match(await faultsIn('__proto__: { openapi: 3.1.0 }\n'), /^:1: __proto__: /);
});

test('a missing file is a PolicyError', async () => {
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
  const file = fileOf(LEDGER_FILE);
  const policy = await readPolicy(file, { overlay: settled });
  assert.equal(meets(policy, 'POST', '/accounts'), '/accounts.write');
  assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');

  for (const [action, sentence] of [
    [`{ target: "$.paths['/gone'].get", update: { a: 1 } }`, /Has the document changed/],
    ['{ target: $, update: {}, remove: yes }', /true or false/],
    ['{ update: {} }', /with a target/],
  ] as const) {
    const overlay = fileOf(`overlay: 1.0.0\nactions:\n  - ${action}\n`);
    const { faults } = await inspectPolicy(file, { overlay });
    assert.deepEqual(
      faults.map(({ kind, line, file: where }) => [kind, line, where]),
      [['bad_overlay', 3, overlay]],
      action,
    );
    assert.match(faults[0]?.sentence ?? '', sentence);
  }
  for (const overlay of ['overlay: 1.0\nactions: []', 'overlay: 1.0.0', LEDGER_FILE]) {
    const { faults } = await inspectPolicy(file, { overlay: fileOf(overlay) });
    assert.deepEqual(
      faults.map(({ kind }) => kind),
      ['bad_overlay'],
      overlay,
    );
  }
});

test('an overlay joins lists, so an operation may end up asking for too much', async () => {
  const overlay = fileOf(`overlay: 1.1.0
actions:
  - target: $.paths['/accounts'].get
    update: { security: [{ Hallpass: [/other.read] }] }
`);
  const { table } = await inspectPolicy(fileOf(LEDGER_FILE), { overlay });
  assert.deepEqual(
    table.closed.map(({ fault }) => [fault?.kind, fault?.line]),
    [['several_scopes', 5]],
  );
});

const NO_TABLE = { routes: [], open: [], closed: [] };

test('a file that cannot be read at all has an empty table, no operations, and the one fault that says why', async () => {
  const unreadable = 'This file cannot be read. Does it exist?';
  const noObject = 'It does not hold an object. Is this the right file?';
  const anOverlay = 'This is an overlay. Name the file that it changes, and this one with --overlay.';
  const version = "openapi must be a string such as '3.1.0'. Versions 3.0, 3.1, 3.2 and 3.3 are supported.";
  const nothing: readonly (readonly [string, string, string, string])[] = [
    [join(folder, 'none.yaml'), 'unreadable', '', unreadable],
    [fileOf('7'), 'malformed', '', noObject],
    [fileOf('[]'), 'malformed', '', noObject],
    [fileOf('overlay: 1.0.0\nactions: []\n'), 'unsupported', '', anOverlay],
    [fileOf('swagger: "2.0"\n'), 'unsupported', '/openapi', version],
    [fileOf('openapi: 2.0.0\n'), 'unsupported', '/openapi', version],
    [fileOf('paths: {}\n'), 'unsupported', '/openapi', version],
  ];
  for (const [file, kind, pointer, sentence] of nothing) {
    const inspected = await inspectPolicy(file);
    assert.deepEqual(inspected.table, NO_TABLE, file);
    const [fault, ...others] = inspected.faults;
    assert.deepEqual([fault?.kind, fault?.pointer, fault?.sentence, others], [kind, pointer, sentence, []]);
    const document = await inspectDocument(file);
    assert.deepEqual(
      document.faults.map((one) => one.kind),
      [kind],
      file,
    );
  }
  // Scopes can only be drafted for operations.
  for (const text of ['GET /a: /a.read', '{}', LEDGER_FILE.replace(/paths:[^]*?components/, 'paths: {}\ncomponents')]) {
    const document = await inspectDocument(fileOf(text));
    assert.equal(document.faults.length, 1, text);
  }
});

test('the table has what is right, whatever else is wrong', async () => {
  const { table, faults } = await inspectPolicy(fileOf('GET /a: /a.read\nGET /b: b\n'));
  assert.deepEqual(
    table.routes.map(({ route }) => route),
    ['GET /a'],
  );
  assert.equal(faults.length, 1);
  const based = await inspectPolicy(fileOf('GET /a: /a.read\n'), { basePath: '/v1' });
  assert.deepEqual(
    based.faults.map(({ kind, pointer, sentence }) => `${kind} ${pointer} ${sentence}`),
    ['unsupported  A base path is for OpenAPI documents. Write the routes as the guard sees them.'],
  );
  assert.deepEqual((await inspectPolicy(fileOf('GET /a: /a.read\n'))).faults, []);
});

test('if an overlay fails, only its own faults are reported', async () => {
  const overlay = { overlay: '1.0.0', actions: [{ target: '$.gone', update: {} }] };
  const file = fileOf('openapi: 2.0.0\n');
  const inspected = await inspectPolicy(file, { overlay: fileOf(JSON.stringify(overlay)) });
  assert.deepEqual(inspected.table, NO_TABLE);
  assert.deepEqual(
    inspected.faults.map(({ kind }) => kind),
    ['bad_overlay'],
  );
  assert.deepEqual(
    faultsOf({ openapi: '2.0.0' }, { overlay }).map((fault) => fault.replace(/ .*/, '')),
    ['bad_overlay'],
  );
  const unread = await inspectPolicy(file, { overlay: join(folder, 'none.yaml') });
  assert.deepEqual(unread.table, NO_TABLE);
  assert.deepEqual(
    unread.faults.map(({ kind, file: where }) => [kind, where]),
    [['unreadable', join(folder, 'none.yaml')]],
  );
});

test('invalid options are reported before the file is read', async () => {
  const none = join(folder, 'none.yaml');
  assert.throws(() => inspectPolicy(none, { basePath: 'v1' }), /^TypeError: basePath must be empty, or a path such as/);
  await assert.rejects(readPolicy(none, { basePath: 'v1/' }), TypeError);
});

test('the routes that the code knows are compared once nothing else is wrong', async () => {
  const routes = ['GET /gone'];
  const good = api({ '/a': { get: asks('/a.read') } });
  const bad = api({ '/a': { get: asks('a') } });
  assert.deepEqual(
    faultsOf(good, { routes }).map((fault) => fault.replace(/ .*/, '')),
    ['stale', 'stale'],
  );
  assert.deepEqual(
    faultsOf(bad, { routes }).map((fault) => fault.replace(/ .*/, '')),
    ['bad_scope'],
  );
  assert.equal(meets(policyFromOpenAPI(good, { routes: ['GET /a'] }), 'GET', '/a'), '/a.read');
  await assert.rejects(readPolicy(fileOf('GET /a: /a.read\n'), { routes }), /The code knows this route/);
});

test('closed operations are reported once, to the console or to onClosed', async (t) => {
  const warned: string[] = [];
  t.mock.method(console, 'warn', (text: string) => warned.push(text));
  const file = fileOf(edited('    post:\n      security: []\n', '    post: {}\n    put: {}\n'));
  const policy = await readPolicy(file);
  assert.equal(meets(policy, 'GET', '/accounts'), '/accounts.read');
  assert.equal(warned.length, 1);
  assert.match(
    warned[0] ?? '',
    /^2 operations are closed by .*:8: POST \/accounts: .* All of it: hallpass policy check\.$/,
  );
  const heard: string[] = [];
  await readPolicy(file, { onClosed: (faults) => heard.push(...faults.map(({ operation }) => String(operation))) });
  assert.deepEqual([heard, warned.length], [['POST /accounts', 'PUT /accounts'], 1]);
  await readPolicy(fileOf(LEDGER_FILE));
  assert.equal(warned.length, 1);
  await assert.rejects(readPolicy(file, { strict: true }), { name: 'PolicyError' });
});

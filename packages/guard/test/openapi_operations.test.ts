/** The operations of a document: which there are, where each is written, and each fault whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Faults } from '../src/openapi_faults.ts';
import { parametersOf, readOperations, routeFault, type Operation } from '../src/openapi_operations.ts';
import { api, type Members } from './openapi_harness.ts';

interface Outcome {
  readonly operations: readonly Operation[];
  /** Each as `kind pointer operation: sentence`. */
  readonly faults: readonly string[];
}

function read(document: Members, basePath?: string): Outcome {
  const faults = new Faults();
  const operations = readOperations(document, basePath === undefined ? {} : { basePath }, faults);
  return {
    operations,
    faults: faults.all.map(
      ({ kind, pointer, operation, sentence }) =>
        `${kind} ${pointer}${operation === undefined ? '' : ` ${operation}`}: ${sentence}`,
    ),
  };
}

/** The routes of a document that has nothing wrong with it. */
function routesOf(document: Members): readonly string[] {
  const { operations, faults } = read(document);
  assert.deepEqual(faults, []);
  return operations.map(({ route }) => route);
}

/** The faults of a document in which no operation is left. */
function onlyFaults(document: Members): readonly string[] {
  const { operations, faults } = read(document);
  assert.deepEqual(operations, []);
  return faults;
}

test('an operation has its route, method, template and parameters, its place, and the members of it and around it', () => {
  const get = { summary: 'Reads it.' };
  const item = { get, parameters: [] };
  assert.deepEqual(read(api({ '/a/{one}/{two}': item }, { servers: [{ url: '/v1' }] })), {
    operations: [
      {
        route: 'GET /v1/a/{one}/{two}',
        method: 'GET',
        template: '/a/{one}/{two}',
        parameters: ['one', 'two'],
        place: ['paths', '/a/{one}/{two}', 'get'],
        fields: get,
        item,
      },
    ],
    faults: [],
  });
  // What a base path has of parameters is a part of the route.
  const [moved] = read(api({ '/a/{one}': { get: {} } }), '/{tenant}').operations;
  assert.deepEqual([moved?.route, moved?.parameters], ['GET /{tenant}/a/{one}', ['tenant', 'one']]);
});

test('a document without operations says so, where they ought to be', () => {
  assert.deepEqual(onlyFaults(api(7)), ['malformed /paths: There is no object of paths. Is this the right file?']);
  for (const paths of [{}, { '/a': {} }, { 'x-note': 7 }, { '/a': { summary: 'text' } }]) {
    assert.deepEqual(onlyFaults(api(paths)), [
      'malformed /paths: There is no operation in it. Is this the right file?',
    ]);
  }
  // One that has other faults has said enough.
  assert.deepEqual(onlyFaults(api({ '/a': 7 })), ['malformed /paths/~1a: A path item must be an object.']);
  assert.deepEqual(onlyFaults({ openapi: '4.0.0' }), [
    "unsupported /openapi: openapi must be a text such as '3.1.0'. Read are versions 3.0, 3.1 and 3.2.",
  ]);
});

test('the methods that a path item may have, in lower case', () => {
  const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'];
  for (const method of methods) {
    assert.deepEqual(routesOf(api({ '/a': { [method]: {} } })), [`${method.toUpperCase()} /a`]);
    assert.match(onlyFaults(api({ '/a': { [method.toUpperCase()]: {} } })).join('\n'), /^malformed .* lower case\.$/);
  }
});

test('the versions 3.0, 3.1 and 3.2, as a text', () => {
  for (const openapi of ['3.0.0', '3.0.4', '3.1.1', '3.2.0', '3.2', '3.0']) {
    assert.deepEqual(routesOf(api({ '/a': { get: {} } }, { openapi })), ['GET /a'], openapi);
  }
  for (const openapi of ['2.0', '3.3.0', '3', '13.1.0', '3.10.0', '3.11', 'x', '', 3.1, ['3.1.0'], undefined]) {
    assert.match(onlyFaults(api({ '/a': { get: {} } }, { openapi })).join('\n'), /^unsupported /, String(openapi));
  }
});

test('the root of a server with a path is that path', () => {
  const root = (url: string): readonly string[] => routesOf(api({ '/': { get: {} } }, { servers: [{ url }] }));
  assert.deepEqual(root('/v1'), ['GET /v1']);
  assert.deepEqual(root('/'), ['GET /']);
  assert.deepEqual(root('https://h'), ['GET /']);
});

test('methods of one’s own, since 3.2, are where they are written', () => {
  const { operations } = read(api({ '/a': { additionalOperations: { LOCK: {}, 'M-SEARCH': {} } } }));
  assert.deepEqual(
    operations.map(({ route, place }) => `${route} ${place.join(' ')}`),
    ['LOCK', 'M-SEARCH'].map((name) => `${name} /a paths /a additionalOperations ${name}`),
  );
  assert.deepEqual(onlyFaults(api({ '/a': { additionalOperations: { lock: {}, LOCK: 7 } } })), [
    "bad_path /paths/~1a/additionalOperations/lock lock /a: A method is a word in capitals, as in 'GET /accounts'.",
    'malformed /paths/~1a/additionalOperations/LOCK LOCK /a: An operation must be an object.',
  ]);
  // No object, no operations: members that are not known are for others.
  for (const odd of [7, 'text', ['LOCK'], null]) {
    assert.deepEqual(routesOf(api({ '/a': { get: {}, additionalOperations: odd, 'x-Get': {} } })), ['GET /a']);
  }
  assert.deepEqual(onlyFaults(api({ '/a': { Get: {} } })), [
    "malformed /paths/~1a/Get: 'Get' is not read as a method. Write it in lower case.",
  ]);
});

test('a reference leads to a path item of this file, at most 16 times on', () => {
  const chain = (length: number): Members =>
    api(
      { '/a': { $ref: '#/x/1' } },
      {
        x: Object.fromEntries(
          Array.from({ length }, (_, at) => [
            String(at + 1),
            at + 1 === length ? { get: {} } : { $ref: `#/x/${at + 2}` },
          ]),
        ),
      },
    );
  assert.deepEqual(read(chain(16)).operations[0]?.place, ['x', '16', 'get']);
  assert.deepEqual(onlyFaults(chain(17)), ['bad_reference /paths/~1a: Its $ref leads on and on: more than 16 times.']);
});

test('each fault of a reference, with the place of the one that is wrong', () => {
  const refer = (reference: unknown, more: Members = {}): readonly string[] =>
    onlyFaults(
      api(
        { '/a': { $ref: reference, ...more } },
        {
          x: {
            far: { $ref: 'other.yaml' },
            odd: { $ref: 7 },
            bad: { $ref: '#/~' },
            mixed: { $ref: '#/x/far', get: {} },
          },
        },
      ),
    );
  const bundle = 'leads out of this file, and no other file is read. Bundle them into one first.';
  assert.deepEqual(refer('other.yaml'), [`bad_reference /paths/~1a/$ref: 'other.yaml' ${bundle}`]);
  assert.deepEqual(refer(7), [`bad_reference /paths/~1a/$ref: Its $ref ${bundle}`]);
  assert.deepEqual(refer('#/x/far'), [`bad_reference /x/far/$ref: 'other.yaml' ${bundle}`]);
  assert.deepEqual(refer('#/x/odd'), [`bad_reference /x/odd/$ref: Its $ref ${bundle}`]);
  assert.deepEqual(refer('#/none'), ['bad_reference /paths/~1a: Its $ref leads to no path item.']);
  for (const wrong of ['#/~', '#/~2', '#/a~', '#/%', '#/a/~', '#/~/a']) {
    assert.deepEqual(refer(wrong), [`bad_reference /paths/~1a/$ref: '${wrong}' is no JSON Pointer.`]);
  }
  assert.deepEqual(refer('#/x/bad'), ["bad_reference /x/bad/$ref: '#/~' is no JSON Pointer."]);
  const both = 'It has a $ref and operations of its own, which tools read differently. Keep one.';
  assert.deepEqual(refer('#/none', { get: {} }), [`bad_reference /paths/~1a: ${both}`]);
  assert.deepEqual(refer('#/none', { additionalOperations: {} }), [`bad_reference /paths/~1a: ${both}`]);
  assert.deepEqual(refer('#/x/mixed'), [`bad_reference /x/mixed: ${both}`]);
});

test('a pointer’s escapes are those of RFC 6901 §4, in their order', () => {
  const names = ['/', '~', '~1', '~0', 'a/b~c', '~/'];
  for (const name of names) {
    const pointer = `#/x/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const document = api({ '/a': { $ref: pointer } }, { x: { [name]: { get: {} } } });
    assert.deepEqual(read(document).operations[0]?.place, ['x', name, 'get'], pointer);
  }
});

test('the names of parameters, in order', () => {
  assert.deepEqual(parametersOf('/a'), []);
  assert.deepEqual(parametersOf('/{one}/b/{other}'), ['one', 'other']);
});

test('what a policy has against a route is said without the route', () => {
  const faultOf = (path: string, method = 'GET'): string | undefined => routeFault(`${method} ${path}`, path);
  for (const method of ['GET', 'M-SEARCH', 'X']) assert.equal(faultOf('/a/{b}', method), undefined);
  for (const method of ['get', 'Get', 'GEt', '', 'G T', '-GET', 'GET1', 'ÄT']) {
    assert.equal(faultOf('/a', method), "A method is a word in capitals, as in 'GET /accounts'.", method);
  }
  assert.equal(faultOf('a'), 'A path begins with a slash.');
  assert.equal(faultOf('/'), undefined);
  assert.equal(faultOf('/a/'), 'A guard lets no path with a slash at its end in. Take it off.');
  for (const part of ['/a{b}', '/{b}.json', '/{a}{b}']) {
    assert.equal(
      faultOf(part),
      'A parameter has to be a whole segment of the path, as in /accounts/{accountID}: no part of one can be bound.',
    );
  }
  assert.equal(faultOf('/a b'), "'a b' is neither a plain segment nor a {parameter}.");
  assert.equal(faultOf("/'': x"), "''': x' is neither a plain segment nor a {parameter}.");
  assert.equal(faultOf('/{a}/{a}'), '{a} is there twice.');
});

const SAY = "Say which one the guard will see: basePath: '/v1', or --base-path /v1.";

test('servers that are of no use are named where they are written, once', () => {
  const operations = { get: {}, put: {} };
  const unknown = `'v1' does not say which path requests begin with. ${SAY}`;
  const bad = { servers: [{ url: 'v1' }] };
  assert.deepEqual(onlyFaults(api({ '/a': operations, '/b': operations }, bad)), [`bad_server /servers: ${unknown}`]);
  assert.deepEqual(onlyFaults(api({ '/a': { ...operations, ...bad } })), [`bad_server /paths/~1a/servers: ${unknown}`]);
  assert.deepEqual(onlyFaults(api({ '/a': { get: bad } })), [`bad_server /paths/~1a/get/servers: ${unknown}`]);
  assert.deepEqual(onlyFaults(api({ '/a': { get: {} } }, { servers: {} })), [
    'bad_server /servers: servers must be a list of objects.',
  ]);
  for (const server of [7, null, {}, { url: 7 }, { url: ['/v1'] }, ['/v1']]) {
    assert.deepEqual(onlyFaults(api({ '/a': { get: {} } }, { servers: [server] })), [
      `bad_server /servers: A server without a url does not say which path requests begin with. ${SAY}`,
    ]);
  }
  assert.deepEqual(onlyFaults(api({ '/a': { get: {} } }, { servers: [{ url: '/v1' }, { url: '' }] })), [
    `bad_server /servers: These servers have different paths: '/v1', ''. ${SAY}`,
  ]);
});

/** The path that servers come to, as it stands before `/a`; undefined when they come to none. */
function prefixOf(...servers: readonly unknown[]): string | undefined {
  const { operations, faults } = read(api({ '/a': { get: {} } }, { servers }));
  if (operations.length === 0) assert.match(faults.join('\n'), /^bad_server \/servers: .* does not say which path/);
  return operations[0]?.route.replace(/^GET (.*)\/a$/, '$1');
}

test('the path of a server’s URL: whatever stands before it, and nothing after it', () => {
  for (const url of [
    '/v1',
    '/v1/',
    '//h/v1',
    'https://h/v1',
    'HTTPS://h/v1',
    'h2+x-y.z://h/v1',
    'a1://h/v1',
    '{scheme}://h/v1',
    '{}://h/v1',
    'https://{h}:{port}/v1',
    'https://user@h:8443/v1',
  ]) {
    assert.equal(prefixOf({ url }), '/v1', url);
  }
  for (const url of ['', '/', 'https://h', 'https://h/', '//h', '//']) assert.equal(prefixOf({ url }), '', url);
  assert.equal(prefixOf(), '');
  // Two slashes in the middle are no second host, and no path that a guard lets in.
  assert.match(onlyFaults(api({ '/a': { get: {} } }, { servers: [{ url: '/v1//h/v2' }] })).join('\n'), /^bad_path /);
  assert.match(onlyFaults(api({ '/a': { get: {} } }, { servers: [{ url: '/v1\n/v2' }] })).join('\n'), /^bad_path /);
  for (const url of [
    'v1',
    './v1',
    '../v1',
    'h:443/v1',
    '1a://h/v1',
    '_://h/v1',
    '://h/v1',
    '{a/b}://h/v1',
    '{a}{b}://h/v1',
    '{a{b}://h/v1',
    '{a}b}://h/v1',
    '{a://h/v1',
    'a}://h/v1',
    'x https://h/v1',
    'https://h?q/v1',
    'https://h#f/v1',
    'https:/h/v1',
    '/v1?q',
    '/v1#f',
    '/v1{',
    '/v1}',
    '/{v}',
    '\n/v1',
  ]) {
    assert.equal(prefixOf({ url }), undefined, JSON.stringify(url));
  }
});

test('a URL’s variables: the values that each may have, up to 100 paths', () => {
  const named = (variables: unknown, url = '/{a}/{b}'): string | undefined => prefixOf({ url, variables });
  assert.equal(named({ a: { default: 'x' }, b: { default: 'y' } }), '/x/y');
  assert.equal(named({ a: { enum: ['x'], default: 'z' }, b: { enum: ['y'] } }), '/x/y');
  assert.equal(named({ a: { default: 'x' } }, '/{a}/{a}'), '/x/x');
  assert.equal(named({ base: { default: 'x' } }, '/{base}'), '/x');
  assert.equal(named({ a: { default: '$&' } }, '/{a}'), '/$&');
  assert.equal(named({ a: { default: 7 } }, '/{a}'), '/7');
  assert.equal(named({ a: { default: 'x', enum: 'x' } }, '/{a}'), undefined);
  for (const variables of [undefined, 7, {}, { a: 7, b: 7 }, { a: { default: 'x' } }, { a: {}, b: {} }]) {
    assert.equal(named(variables), undefined, JSON.stringify(variables));
  }
  for (const value of [null, true, {}, ['x']]) assert.equal(named({ a: { default: value } }, '/{a}'), undefined);
  assert.equal(named({ a: { enum: ['x', null] } }, '/{a}'), undefined);
  // A value that is no part of a path is not taken for one.
  for (const value of ['x?y', 'x#y', 'x{y', 'x}y']) assert.equal(named({ a: { default: value } }, '/{a}'), undefined);
  for (const odd of ['x?y', 'x#y']) assert.equal(named({ a: { enum: ['x', odd] } }, '/{a}'), undefined);
  const same = (count: number): readonly string[] => Array.from({ length: count }, () => 'x');
  assert.equal(named({ a: { enum: same(10) }, b: { enum: same(10) } }), '/x/x');
  assert.equal(named({ a: { enum: same(100) } }, '/{a}'), '/x');
  assert.equal(named({ a: { enum: same(101) } }, '/{a}'), undefined);
  assert.equal(named({ a: { enum: same(11) }, b: { enum: same(10) } }), undefined);
});

/** The operations of a document: which there are, where each is written, and each fault whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parametersOf, readOperations, routeFault, type Operation } from '../../../src/policy/openapi/operations.ts';
import { api, type Members } from './harness.ts';

interface Outcome {
  readonly operations: readonly Operation[];
  /** Each as `kind pointer operation: sentence`. */
  readonly faults: readonly string[];
}

function read(document: Members, basePath?: string): Outcome {
  const source = { document, lineOf: () => undefined };
  const { operations, closed, faults } = readOperations(source, basePath === undefined ? {} : { basePath });
  return {
    operations,
    faults: [...faults, ...closed.flatMap(({ fault }) => fault ?? [])].map(
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

test('an operation has its route, method, template, parameters and place', () => {
  const get = { summary: 'Reads it.' };
  const { operations, faults } = read(
    api({ '/a/{one}/{two}': { get, parameters: [] } }, { servers: [{ url: '/v1' }] }),
  );
  assert.deepEqual(faults, []);
  const [{ spot, ...operation } = { spot: undefined }] = operations;
  assert.deepEqual(operation, {
    route: 'GET /v1/a/{one}/{two}',
    method: 'GET',
    template: '/a/{one}/{two}',
    prefix: '/v1',
    parameters: ['one', 'two'],
    security: undefined,
  });
  assert.deepEqual([spot?.place, spot?.value], [['paths', '/a/{one}/{two}', 'get'], get]);
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
  assert.deepEqual(onlyFaults(api({ '/a': 7 })), ['malformed /paths/~1a * /a: A path item must be an object.']);
  assert.deepEqual(onlyFaults({ openapi: '4.0.0' }), [
    "unsupported /openapi: openapi must be a text such as '3.1.0'. Read are versions 3.0, 3.1, 3.2 and 3.3.",
  ]);
});

const since32 = (paths: unknown): Members => api(paths, { openapi: '3.2.0' });

test('the methods that a path item may have, in small letters', () => {
  const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'];
  for (const method of methods) {
    assert.deepEqual(routesOf(since32({ '/a': { [method]: {} } })), [`${method.toUpperCase()} /a`]);
    assert.match(
      onlyFaults(since32({ '/a': { [method.toUpperCase()]: {} } })).join('\n'),
      /^unknown_member .* Did you mean '[a-z]+'\?$/,
    );
  }
});

test('the versions 3.0 to 3.3, as a text', () => {
  for (const openapi of ['3.0.0', '3.0.4', '3.1.1', '3.2.0', '3.2', '3.0', '3.3.0']) {
    assert.deepEqual(routesOf(api({ '/a': { get: {} } }, { openapi })), ['GET /a'], openapi);
  }
  for (const openapi of ['2.0', '3.4.0', '3', '13.1.0', '3.10.0', '3.11', 'x', '', 3.1, ['3.1.0'], undefined]) {
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
  const { operations } = read(since32({ '/a': { additionalOperations: { LOCK: {}, 'M-SEARCH': {} } } }));
  assert.deepEqual(
    operations.map(({ route, spot }) => `${route} ${spot.place.join(' ')}`),
    ['LOCK', 'M-SEARCH'].map((name) => `${name} /a paths /a additionalOperations ${name}`),
  );
  assert.deepEqual(onlyFaults(since32({ '/a': { additionalOperations: { lock: {}, LOCK: 7, GET: {} } } })), [
    "bad_path /paths/~1a/additionalOperations/lock lock /a: A method is a word in capitals, as in 'GET /accounts'.",
    'malformed /paths/~1a/additionalOperations/LOCK LOCK /a: An operation must be an object.',
    'bad_path /paths/~1a/additionalOperations/GET GET /a: This method has a member of its own in a path item. Write it there, in small letters.',
  ]);
  for (const odd of [7, 'text', ['LOCK'], null]) {
    assert.deepEqual(read(since32({ '/a': { additionalOperations: odd, get: {} } })).faults, [
      'malformed /paths/~1a/additionalOperations * /a: additionalOperations must be an object.',
    ]);
  }
});

test('a reference leads to a path item of this file, at most 16 times on', () => {
  const chain = (length: number): Members =>
    api(
      { '/a': { $ref: '#/x-p/1' } },
      {
        'x-p': Object.fromEntries(
          Array.from({ length }, (_, at) => [
            String(at + 1),
            at + 1 === length ? { get: {} } : { $ref: `#/x-p/${at + 2}` },
          ]),
        ),
      },
    );
  assert.deepEqual(read(chain(16)).operations[0]?.spot.place, ['x-p', '16', 'get']);
  assert.deepEqual(onlyFaults(chain(17)), [
    'bad_reference /paths/~1a * /a: Its $ref leads on and on: more than 16 times.',
  ]);
});

test('each fault of a reference, with the place of the one that is wrong', () => {
  const refer = (reference: unknown, more: Members = {}): readonly string[] =>
    onlyFaults(
      api(
        { '/a': { $ref: reference, ...more } },
        {
          'x-p': {
            far: { $ref: 'other.yaml' },
            odd: { $ref: 7 },
            mixed: { $ref: '#/x-p/far', get: {} },
          },
        },
      ),
    );
  const bundle = 'leads out of this document, and no other is read here. Bundle them into one, or use readPolicy.';
  assert.deepEqual(refer('other.yaml'), [`bad_reference /paths/~1a/$ref * /a: 'other.yaml' ${bundle}`]);
  assert.deepEqual(refer(7), ['bad_reference /paths/~1a/$ref * /a: A $ref must be a text.']);
  assert.deepEqual(refer('#/x-p/far'), [`bad_reference /x-p/far/$ref * /a: 'other.yaml' ${bundle}`]);
  assert.deepEqual(refer('#/x-p/odd'), ['bad_reference /x-p/odd/$ref * /a: A $ref must be a text.']);
  assert.deepEqual(refer('#/none'), ['bad_reference /paths/~1a * /a: Its $ref leads to what is not a path item.']);
  for (const wrong of ['#/~', '#/~2', '#/a~', '#/%', '#/a/~', '#/~/a', '#a', '#/a#/b']) {
    assert.deepEqual(refer(wrong), [
      `bad_reference /paths/~1a/$ref * /a: What follows # in '${wrong}' is not a JSON Pointer.`,
    ]);
  }
  const both = 'It stands beside a $ref, and tools read the two in different ways. Keep one of them.';
  for (const beside of ['get', 'additionalOperations', 'servers', 'security', 'parameters']) {
    assert.deepEqual(refer('#/none', { [beside]: {} }), [`bad_reference /paths/~1a/${beside} * /a: ${both}`]);
  }
  assert.deepEqual(refer('#/x-p/mixed'), [`bad_reference /x-p/mixed/get * /a: ${both}`]);
});

test('a pointer’s escapes are those of RFC 6901 §4, in their order', () => {
  const names = ['/', '~', '~1', '~0', 'a/b~c', '~/'];
  for (const name of names) {
    const pointer = `#/x-p/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const document = api({ '/a': { $ref: pointer } }, { 'x-p': { [name]: { get: {} } } });
    assert.deepEqual(read(document).operations[0]?.spot.place, ['x-p', name, 'get'], pointer);
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

test('servers that are of no use are named where they are written: those of the document once', () => {
  const operations = { get: {}, put: {} };
  const unknown = `'v1' does not say which path requests begin with. ${SAY}`;
  const bad = { servers: [{ url: 'v1' }] };
  assert.deepEqual(onlyFaults(api({ '/a': operations, '/b': operations }, bad)), [`bad_server /servers: ${unknown}`]);
  assert.deepEqual(onlyFaults(api({ '/a': { ...operations, ...bad } })), [
    `bad_server /paths/~1a/servers GET /a: ${unknown}`,
    `bad_server /paths/~1a/servers PUT /a: ${unknown}`,
  ]);
  assert.deepEqual(onlyFaults(api({ '/a': { get: bad } })), [`bad_server /paths/~1a/get/servers GET /a: ${unknown}`]);
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
  if (operations.length === 0)
    assert.match(faults.join('\n'), /^bad_server \/servers: .*(?:does not say which|different) path/);
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

test('a URL’s variables: the values that each may have, and few paths in all', () => {
  const named = (variables: unknown, url = '/{a}/{b}'): string | undefined => prefixOf({ url, variables });
  assert.equal(named({ a: { default: 'x' }, b: { default: 'y' } }), '/x/y');
  assert.equal(named({ a: { enum: ['x'], default: 'x' }, b: { enum: ['y'] } }), '/x/y');
  // A default that is not among the others is what a tool may take all the same.
  assert.equal(named({ a: { enum: ['x'], default: 'z' }, b: { enum: ['y'] } }), undefined);
  // No value at all is no path, and not the root.
  assert.equal(named({ a: { enum: [] } }, '/{a}'), undefined);
  assert.equal(named({ a: { default: 'x' } }, '/{a}/{a}'), '/x/x');
  assert.equal(named({ base: { default: 'x' } }, '/{base}'), '/x');
  assert.equal(named({ a: { default: '$&' } }, '/{a}'), '/$&');
  assert.equal(named({ a: { default: 7 } }, '/{a}'), '/7');
  assert.equal(named({ a: { default: 'x', enum: 'x' } }, '/{a}'), undefined);
  for (const variables of [undefined, 7, {}, { a: 7, b: 7 }, { a: { default: 'x' } }, { a: {}, b: {} }]) {
    assert.equal(named(variables), undefined, JSON.stringify(variables));
  }
  for (const value of [null, true, {}, ['x']]) assert.equal(named({ a: { default: value } }, '/{a}'), undefined);
  assert.equal(named({ a: { enum: ['x-p', null] } }, '/{a}'), undefined);
  // A value that is no part of a path is not taken for one.
  for (const value of ['x?y', 'x#y', 'x{y', 'x}y']) assert.equal(named({ a: { default: value } }, '/{a}'), undefined);
  for (const odd of ['x?y', 'x#y']) assert.equal(named({ a: { enum: ['x-p', odd] } }, '/{a}'), undefined);
  // Few letters, and paths without end.
  const many = { enum: Array.from({ length: 90 }, (_, index) => `x${index}`) };
  const names = Array.from({ length: 20 }, (_, index) => `v${index}`);
  const url = names.map((name) => `/{${name}}`).join('');
  assert.equal(named(Object.fromEntries(names.map((name) => [name, many])), url), undefined);
});

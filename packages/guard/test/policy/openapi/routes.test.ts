/** What operations, or a map of routes, come to: the table, and each fault whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rootOf, type PolicyFault, type Source } from '../../../src/policy/openapi/faults.ts';
import { readOperations } from '../../../src/policy/openapi/operations.ts';
import { mapOperations, readRouteMap } from '../../../src/policy/openapi/routes.ts';
import { SecurityReader } from '../../../src/policy/openapi/security.ts';
import { compileTable } from '../../../src/policy/openapi/table.ts';
import { api, asks, meets, SCHEMES, type Members } from './harness.ts';

interface Mapped {
  /** What the table has, by the names of routes. */
  readonly table: {
    readonly routes: readonly Members[];
    readonly open: readonly string[];
    readonly closed: readonly string[];
  };
  readonly faults: readonly PolicyFault[];
}

const sourceOf = (document: unknown): Source => ({ document, lineOf: () => undefined });
const NO_FILES = { files: undefined, mapping: {} };

function mapped(paths: Members, basePath = ''): Mapped {
  const source = sourceOf(api(paths));
  const operations = readOperations(source, { basePath });
  assert.deepEqual(operations.faults, []);
  const { routes, open, closed } = mapOperations(operations, new SecurityReader({ source, minor: 1, ...NO_FILES }));
  const names = {
    routes: routes.map((route) => ({ ...route })),
    open: open.map(({ route }) => route),
    closed: closed.map(({ route }) => route),
  };
  return { table: names, faults: closed.flatMap(({ fault }) => fault ?? []) };
}

function read(map: Members): Mapped {
  const { table, faults } = readRouteMap(sourceOf(map));
  const names = {
    routes: table.routes.map((route) => ({ ...route })),
    open: [],
    closed: table.closed.map(({ route }) => route),
  };
  return { table: names, faults };
}

/** The one fault of a document with this operation at `GET /a`. */
function faultOf(operation: Members): PolicyFault | undefined {
  const { faults } = mapped({ '/a': { get: operation } });
  assert.equal(faults.length, 1, JSON.stringify(faults));
  return faults[0];
}

test('a table has the route, the method, the path and the scope of each operation, and those that it does not open', () => {
  const paths = {
    '/a': { get: asks('/a.read'), put: { security: [] }, delete: {} },
    '/b/{id}': { post: asks('/b/{id}.write') },
  };
  assert.deepEqual(mapped(paths, '/v1'), {
    table: {
      routes: [
        { route: 'GET /v1/a', method: 'GET', path: '/v1/a', scope: '/a.read' },
        { route: 'POST /v1/b/{id}', method: 'POST', path: '/v1/b/{id}', scope: '/b/{id}.write' },
      ],
      open: ['PUT /v1/a'],
      closed: ['DELETE /v1/a'],
    },
    faults: [
      {
        kind: 'unmapped',
        pointer: '/paths/~1a/delete',
        operation: 'DELETE /v1/a',
        sentence: 'Its security asks for no scope. Name one there, or say security: [] and serve it outside the guard.',
      },
    ],
  });
});

test('what asks for a scope that is none, or that the path cannot fill, is no route of the table', () => {
  const paths = {
    '/a/{id}': { get: asks('a'), put: asks('/a/{other}.write'), post: asks('/a/{id}.write') },
  };
  const { table, faults } = mapped(paths);
  assert.deepEqual(
    table.routes.map(({ route }) => route),
    ['POST /a/{id}'],
  );
  assert.deepEqual([table.open, table.closed], [[], ['GET /a/{id}', 'PUT /a/{id}']]);
  assert.deepEqual(
    faults.map(({ kind, pointer }) => `${kind} ${pointer}`),
    ['bad_scope /paths/~1a~1{id}/get/security', 'unknown_parameter /paths/~1a~1{id}/put/security'],
  );
});

test('a security that asks for too much, or is none, is one fault', () => {
  const several = { security: [{ Hallpass: ['/a.read', '/b.read'] }] };
  assert.deepEqual(faultOf(several), {
    kind: 'several_scopes',
    pointer: '/paths/~1a/get',
    operation: 'GET /a',
    sentence: "'/a.read, /b.read' are several scopes. An operation is opened by one, the same in each alternative.",
  });
  assert.deepEqual(faultOf({ security: 7 }), {
    kind: 'malformed',
    pointer: '/paths/~1a/get/security',
    operation: 'GET /a',
    sentence: 'security must be a list of objects.',
  });
  const shut = { routes: [], open: [], closed: ['GET /a'] };
  for (const operation of [several, { security: 7 }])
    assert.deepEqual(mapped({ '/a': { get: operation } }).table, shut);
});

/** What an operation with this security asks for, its places left out. */
function demandOf(document: Members, security: unknown): unknown {
  const source = sourceOf(document);
  const spot = security === undefined ? undefined : { ...rootOf(source), place: ['x'], value: security };
  const demand = new SecurityReader({ source, minor: 1, ...NO_FILES }).demandOf({ security: spot });
  if (demand.asks === 'malformed') return { asks: 'malformed', because: demand.fault.sentence };
  return demand.asks === 'scope' ? { asks: 'scope', scope: demand.scope } : demand;
}

test('what a security asks for', () => {
  const one = { Hallpass: ['/a.read'] };
  const list = { asks: 'malformed', because: 'security must be a list of objects.' };
  const scopes = { asks: 'malformed', because: 'A requirement names, for each scheme, a list of scopes.' };
  const same = 'An operation is opened by one, the same in each alternative.';
  const bare = { asks: 'too_much', because: `One alternative asks for '/a.read', another for no scope. ${same}` };
  for (const [security, asked] of [
    [[one], { asks: 'scope', scope: '/a.read' }],
    [[one, { Basic: [] }, { Key: [] }], { asks: 'scope', scope: '/a.read' }],
    [[], { asks: 'nothing' }],
    [[one, {}], { asks: 'nothing' }],
    [[{ Hallpass: [] }], { asks: 'no_scope' }],
    [undefined, { asks: 'no_scope' }],
    [{}, list],
    [[one, 7], list],
    [[{ Hallpass: 'x' }], scopes],
    [[{ Hallpass: [7] }], scopes],
    [[one, { Hallpass: [] }], bare],
    // Both at once, of which one has scopes, and asks for none.
    [[one, { Hallpass: [], Key: [] }], bare],
    [[one, { Key: [], OpenID: [] }], bare],
    [
      [{ Hallpass: ['/a.read', '/b.read'] }],
      { asks: 'too_much', because: `'/a.read, /b.read' are several scopes. ${same}` },
    ],
    [
      [{ Hallpass: ['/a.read', '/b.read'] }, { OpenID: ['/c.read'] }],
      { asks: 'too_much', because: `'/a.read, /b.read, /c.read' are several scopes. ${same}` },
    ],
    [
      [{ Own: ['/a.read'] }],
      { asks: 'malformed', because: "There is no security scheme 'Own'. Name one of components.securitySchemes." },
    ],
  ] as const) {
    assert.deepEqual(demandOf(api({}), security), asked, JSON.stringify(security));
  }
  // Of the document, where the operation has none.
  assert.deepEqual(demandOf(api({}, { security: [one] }), undefined), { asks: 'scope', scope: '/a.read' });
  assert.deepEqual(demandOf(api({}, { security: [one] }), []), { asks: 'nothing' });
});

test('a scheme is of a type that its version has; of no document without schemes', () => {
  const security = [{ Hallpass: ['/a.read'] }, { Odd: [] }];
  const withOdd = (odd: unknown): Members => ({ components: { securitySchemes: { ...SCHEMES, Odd: odd } } });
  for (const odd of [{ type: 'mutualTLS' }, { $ref: '#/components/securitySchemes/Basic' }]) {
    assert.deepEqual(demandOf(withOdd(odd), security), { asks: 'scope', scope: '/a.read' });
  }
  // One that has scopes, by a reference.
  const other = withOdd({ $ref: '#/components/securitySchemes/OpenID' });
  assert.match(JSON.stringify(demandOf(other, security)), /another for no scope/);
  for (const odd of [
    {},
    { type: 7 },
    { type: 'oauth' },
    { type: 'Http' },
    { $ref: '#/none' },
    { type: 'http', Scheme: 'x' },
  ]) {
    assert.match(JSON.stringify(demandOf(withOdd(odd), security)), /^.{0,20}malformed/, JSON.stringify(odd));
  }
  for (const document of [
    {},
    { components: 7 },
    { components: {} },
    { components: { securitySchemes: 7 } },
    { components: { securitySchemes: { ...SCHEMES, Odd: 7 } } },
  ]) {
    assert.match(JSON.stringify(demandOf(document, security)), /There is no security scheme/);
  }
});

test('each fault of a scope says what to do about it', () => {
  const advice: readonly (readonly [string, string])[] = [
    [`/${'a/'.repeat(300)}b.read`, 'Make it shorter.'],
    [
      'accounts.read',
      'A scope begins with a slash, as in /accounts.read. Or map it: hallpass policy scopes proposes how.',
    ],
    ['/accounts', 'A scope ends in a dot and a verb, as in /accounts.read.'],
    ['/accounts.Read', 'The verb, after the last dot, is made of small letters and hyphens, as in /accounts.read.'],
    ['//accounts.read', 'A segment is empty. Take a slash away.'],
    ['/a/../b.read', 'Dots may stand inside a segment alone.'],
    [`/${'a'.repeat(200)}.read`, 'Make its segments shorter.'],
    ['/a b.read', 'Segments are made of letters, digits, and _ ~ - or dots inside.'],
    ['/a/x{b}.read', 'A parameter is a whole segment, as in /accounts/{accountID}.read.'],
    ['/{a}/{a}.read', 'A parameter may be there once.'],
  ];
  for (const [scope, what] of advice) {
    const fault = faultOf(asks(scope));
    assert.equal(fault?.kind, 'bad_scope', scope);
    assert.equal(fault.sentence.replace(/^'.*?' is not a scope\. /, ''), what, scope);
  }
});

test('a parameter that the path has not: what to write in its place, where that can be guessed', () => {
  const sentenceFor = (path: string, scope: string): string => {
    const { faults } = mapped({ [path]: { get: asks(scope) } });
    return faults.map(({ sentence }) => sentence).join('\n');
  };
  const strange = (scope: string, name: string): string => `The scope '${scope}' has {${name}}, and the path does not.`;
  assert.equal(
    sentenceFor('/a/{x}', '/a/{y}.read'),
    `${strange('/a/{y}.read', 'y')} If it is what the path calls {x}, write '/a/{x}.read'.`,
  );
  assert.equal(
    sentenceFor('/a/{x}/{z}', '/a/{x}/{y}.read'),
    `${strange('/a/{x}/{y}.read', 'y')} If it is what the path calls {z}, write '/a/{x}/{z}.read'.`,
  );
  // No parameter is left for it; or two are; or there are two strangers for one.
  assert.equal(
    sentenceFor('/a/{x}', '/a/{x}/{y}.read'),
    `${strange('/a/{x}/{y}.read', 'y')} The path has {x}: write the scope with one of these.`,
  );
  assert.equal(
    sentenceFor('/a/{x}/{z}', '/a/{y}.read'),
    `${strange('/a/{y}.read', 'y')} The path has {x}, {z}: write the scope with one of these.`,
  );
  assert.equal(
    sentenceFor('/a/{x}', '/{y}/{z}.read'),
    ['y']
      .map((name) => `${strange('/{y}/{z}.read', name)} The path has {x}: write the scope with one of these.`)
      .join('\n'),
  );
  assert.equal(
    sentenceFor('/a', '/a/{y}.read'),
    `${strange('/a/{y}.read', 'y')} The path has no parameter that could fill it: ask for a scope without, and check {y} in the handler with guard.check.`,
  );
  // What a name holds of the language of replacements is no part of it.
  assert.match(sentenceFor('/a/{x}', '/a/{y}.read'), /'\/a\/\{x\}\.read'\.$/);
});

test('paths that differ in the names of their parameters are the same, and others are not', () => {
  const route = (path: string): Members => ({ [path]: { get: asks('/any.read') } });
  const same = mapped({ ...route('/accounts/{id}/cards/{card}'), ...route('/accounts/{accountID}/cards/{cardID}') });
  assert.deepEqual(
    same.faults.map(({ kind, operation, sentence }) => `${kind} ${operation}: ${sentence}`),
    [
      "ambiguous GET /accounts/{id}/cards/{card}: It matches the same requests as 'GET /accounts/{accountID}/cards/{cardID}'. Keep one of the two.",
      "ambiguous GET /accounts/{accountID}/cards/{cardID}: It matches the same requests as 'GET /accounts/{id}/cards/{card}'. Keep one of the two.",
    ],
  );
  for (const paths of [
    { ...route('/'), ...route('/{id}') },
    { ...route('/{id}'), ...route('/{id}/{more}') },
    { ...route('/a/{id}'), ...route('/{id}/a') },
  ]) {
    assert.deepEqual(mapped(paths).faults, []);
  }
});

test('a map of routes has each with its scope, or what is wrong with it', () => {
  assert.deepEqual(read({ 'GET /a/{id}': '/a/{id}.read', 'PUT /': '/root.write' }), {
    table: {
      routes: [
        { route: 'GET /a/{id}', method: 'GET', path: '/a/{id}', scope: '/a/{id}.read' },
        { route: 'PUT /', method: 'PUT', path: '/', scope: '/root.write' },
      ],
      open: [],
      closed: [],
    },
    faults: [],
  });
  const shape = "Write it as 'GET /path'.";
  const wrong: readonly (readonly [string, unknown, string])[] = [
    ['GET', '/a.read', `bad_path ${shape}`],
    ['', '/a.read', `bad_path ${shape}`],
    ['/a', '/a.read', `bad_path ${shape}`],
    ['GET a', '/a.read', `bad_path ${shape}`],
    ['GET a/', '/a.read', `bad_path ${shape}`],
    ['GET  /a', '/a.read', `bad_path ${shape}`],
    ['GET /a/', '/a.read', 'bad_path A guard lets no path with a slash at its end in. Take it off.'],
    ['GET /a', 7, 'malformed Its scope must be a text.'],
    ['GET /a', null, 'malformed Its scope must be a text.'],
  ];
  for (const [route, scope, says] of wrong) {
    const { table, faults } = read({ [route]: scope, 'GET /other': '/other.read' });
    assert.deepEqual(
      faults.map(({ kind, sentence }) => `${kind} ${sentence}`),
      [says],
      route,
    );
    assert.equal(faults[0]?.operation, route);
    assert.equal(faults[0]?.pointer, `/${route.replaceAll('/', '~1')}`);
    assert.deepEqual(
      table.routes.map((one) => one.route),
      ['GET /other'],
    );
  }
  // A line that goes on below is not a path that ends there.
  assert.equal(read({ 'GET /a\nb': '/a.read' }).faults[0]?.kind, 'bad_path');
  const bad = read({ 'GET /a/{x}': '/a/{y}.read', 'PUT /a': 'a' });
  assert.deepEqual(
    bad.faults.map(({ kind, operation }) => `${kind} ${operation ?? ''}`),
    ['unknown_parameter GET /a/{x}', 'bad_scope PUT /a'],
  );
  assert.deepEqual(bad.table.routes, []);
  // Whatever scope is wrong, the routes are compared.
  assert.deepEqual(
    read({ 'GET /a/{x}': '/a.read', 'GET /a/{y}': 'a' }).faults.map(({ kind }) => kind),
    ['bad_scope', 'ambiguous', 'ambiguous'],
  );
});

test('a policy of a table opens its routes, and keeps what is closed from a neighbour', () => {
  const shut = (template: string): { route: string; method: string; template: string; prefix: string } => ({
    route: `GET ${template}`,
    method: 'GET',
    template,
    prefix: '',
  });
  const policy = compileTable({
    routes: [{ route: 'GET /a/{id}', method: 'GET', path: '/a/{id}', scope: '/a/{id}.read' }],
    open: [shut('/a/status')],
    closed: [shut('/a/export'), shut('/b')],
  });
  assert.equal(meets(policy, 'GET', '/a/7'), '/a/7.read');
  for (const path of ['/a/status', '/a/export', '/b', '/c']) {
    assert.equal(meets(policy, 'GET', path), 'route_not_allowed', path);
  }
  assert.equal(meets(policy, 'GET', '/a/../b'), 'malformed_path');
  assert.deepEqual(
    policy.scopes.map(({ text }) => text),
    ['/a/{id}.read'],
  );
});

test('a route map closes routes by name, those that a guard cannot match too', () => {
  const closed = { 'POST /a/{id}:archive': 'closed', '* /a/b': 'closed', 'GET /a/': 'closed' };
  const { table, faults } = readRouteMap(sourceOf({ ...closed, 'POST /a/{id}': '/a.write', 'GET /a/{id}': '/a.read' }));
  assert.deepEqual(faults, []);
  const policy = compileTable(table);
  assert.equal(meets(policy, 'POST', '/a/1'), '/a.write');
  assert.equal(meets(policy, 'GET', '/a/1:archive'), '/a.read');
  for (const [method, path] of [
    ['POST', '/a/1:archive'],
    ['POST', '/a/b'],
    ['GET', '/a/b'],
  ] as const) {
    assert.equal(meets(policy, method, path), 'route_not_allowed', path);
  }
  for (const wrong of ['GET a', 'get /a', '*', '/a', 'GET  /a']) {
    assert.equal(readRouteMap(sourceOf({ [wrong]: 'closed' })).faults.length, 1, wrong);
  }
});

/** How a policy is written: what is a route, character by character, and what a compiled one says of itself. */
import { compilePolicy, type Policy } from '@hallpass/guard';
import { isRefusal } from '@hallpass/protocol';
import assert from 'node:assert/strict';
import { test } from 'node:test';

type Routes = Readonly<Record<string, string>>;

function compile(routes: Routes, options: { readonly scopes?: readonly string[] } = {}): Policy {
  return compilePolicy<Routes>(routes, options);
}

/** Throws this very sentence. */
function refused(routes: Routes, sentence: string, options: { readonly scopes?: readonly string[] } = {}): void {
  assert.throws(() => compile(routes, options), { name: 'TypeError', message: sentence });
}

function found(policy: Policy, url: string, method = 'GET'): unknown {
  const match = policy.match(method, url);
  return isRefusal(match) ? match.refused : [match.route, match.scope.text, ...Object.entries(match.values).flat()];
}

test('a literal has only characters that need no escape in a path', () => {
  const plain = "ABCXYZabcxyz0189._~!$&'()*+,=:@-";
  for (let code = 0; code < 0x180; code++) {
    const character = String.fromCharCode(code);
    if (character === '/') continue;
    for (const segment of [`${character}a`, `a${character}`]) {
      const isPlain = plain.includes(character) || /^[A-Za-z0-9]$/.test(character);
      const route = `GET /${segment}`;
      if (isPlain) assert.deepEqual(found(compile({ [route]: '/a.read' }), `/${segment}`), [route, '/a.read']);
      else assert.throws(() => compile({ [route]: '/a.read' }), TypeError, JSON.stringify(segment));
    }
  }
  assert.deepEqual(found(compile({ 'GET /...': '/a.read' }), '/...'), ['GET /...', '/a.read']);
  for (const segment of ['', '.', '..']) {
    refused(
      { [`GET /a/${segment}`]: '/a.read' },
      `Route 'GET /a/${segment}': '${segment}' is neither a plain segment nor a {parameter}.`,
    );
  }
});

test('a parameter is a whole segment of letters, digits, `_` and `-`, and its name is used once', () => {
  for (const name of ['a', 'A', 'z9', '_', 'a-b', 'Z_-0', 'constructor']) {
    const route = `GET /x/{${name}}`;
    assert.deepEqual(found(compile({ [route]: `/x/{${name}}.read` }), '/x/v'), [route, '/x/v.read', name, 'v']);
  }
  for (const segment of ['{}', '{1a}', '{-a}', '{a', 'a}', 'x{a}', '{a}x', '{a b}', '{a.b}', '{é}', '{{a}}']) {
    refused(
      { [`GET /${segment}`]: '/a.read' },
      `Route 'GET /${segment}': '${segment}' is neither a plain segment nor a {parameter}.`,
    );
  }
  refused({ 'GET /{a}/{b}/{a}': '/x.read' }, "Route 'GET /{a}/{b}/{a}': {a} is used twice.");
});

test('a route is a method in capitals, one space and a path', () => {
  for (const method of ['GET', 'G', 'M-SEARCH', 'VERSION-CONTROL']) {
    assert.deepEqual(found(compile({ [`${method} /a`]: '/a.read' }), '/a', method), [`${method} /a`, '/a.read']);
  }
  const malformed = ['/a', 'GET', 'GET a', 'GET  /a', ' GET /a', 'get /a', 'Get /a', '-GET /a', 'GET1 /a', 'GET\t/a'];
  for (const route of [...malformed, 'xGET /a', '* /a', '']) {
    refused({ [route]: '/a.read' }, `Route '${route}': write it as 'GET /path'.`);
  }
  assert.throws(() => compile({ 'GET /a\n': '/a.read' }), TypeError);
  assert.throws(() => compile({ 'GET /a\n/b': '/a.read' }), TypeError);
});

test('the scope of a route is valid, has only parameters of the route, and is in the catalogue if there is one', () => {
  for (const scope of ['a.read', '', '*']) {
    refused({ 'GET /a': scope }, `Route 'GET /a': '${scope}' is not a scope (it does not begin with a slash).`);
  }
  refused({ 'GET /a': '/a' }, "Route 'GET /a': '/a' is not a scope (it has no verb after its last dot).");
  refused({ 'GET /:a': '/{a}.read' }, "Route 'GET /:a': the scope's {a} is no parameter of the path.");
  refused({ 'GET /{a}': '/{a}/{b}/{c}.read' }, "Route 'GET /{a}': the scope's {b} is no parameter of the path.");
  refused({ 'GET /a': '/{a}.read' }, "Route 'GET /a': the scope's {a} is no parameter of the path.");
  const scopes = ['/a.read', '/{b}.read'];
  assert.deepEqual(found(compile({ 'GET /a': '/a.read' }, { scopes }), '/a'), ['GET /a', '/a.read']);
  assert.deepEqual(found(compile({ 'GET /{b}': '/{b}.read' }, { scopes }), '/x'), ['GET /{b}', '/x.read', 'b', 'x']);
  refused({ 'GET /a': '/a.write' }, "Route 'GET /a': '/a.write' is not among the scopes.", { scopes });
  refused({ 'GET /{c}': '/{c}.read' }, "Route 'GET /{c}': '/{c}.read' is not among the scopes.", { scopes });
  refused({ 'GET /a': '/a.read' }, "Route 'GET /a': '/a.read' is not among the scopes.", { scopes: [] });
});

test('two routes that match the same requests are an error, even with different parameter names', () => {
  refused(
    { 'GET /{a}/x': '/1.read', 'GET /{b}/x': '/2.read' },
    "Routes 'GET /{a}/x' and 'GET /{b}/x' match the same requests.",
  );
  // Another method, another literal, or one segment more makes another route.
  compile({ 'GET /{a}/x': '/1.read', 'POST /{b}/x': '/2.read', 'GET /{c}/y': '/3.read', 'GET /{d}': '/4.read' });
});

test('a policy lists its scopes, each once, sorted', () => {
  const policy = compile({ 'GET /b': '/b.read', 'GET /a': '/a.read', 'POST /b': '/b.read', 'GET /{c}': '/{c}.read' });
  assert.deepEqual(
    policy.scopes.map(({ text }) => text),
    ['/a.read', '/b.read', '/{c}.read'],
  );
  assert.deepEqual(compile({}).scopes, []);
});

test('a value that no scope can hold is refused, and the reason is logged', () => {
  const policy = compile({ 'GET /{a}': '/{a}.read', 'GET /x/{b}': '/x.read' });
  assert.deepEqual(policy.match('GET', '/%20'), {
    refused: 'value_not_allowed',
    subject: '{a}',
    because: 'bad_value: {a}',
  });
  assert.deepEqual(policy.match('GET', `/${'x'.repeat(129)}`), {
    refused: 'value_not_allowed',
    subject: '{a}',
    because: 'bad_value: {a}',
  });
  assert.deepEqual(found(policy, '/x/%20'), ['GET /x/{b}', '/x.read', 'b', ' ']);
  assert.deepEqual(policy.match('GET', '/a/'), { refused: 'malformed_path' });
  assert.deepEqual(policy.match('GET', '/a/b/c'), { refused: 'route_not_allowed' });
  assert.deepEqual(policy.match('PUT', '/a'), { refused: 'route_not_allowed' });
});

test('a value that differs from a literal only by case is refused wherever the literal could be', () => {
  const policy = compile({ 'GET /Ab/cD': '/1.read', 'GET /{a}/{b}': '/2.read', 'GET /{a}': '/3.read' });
  assert.deepEqual(found(policy, '/Ab/cD'), ['GET /Ab/cD', '/1.read']);
  assert.deepEqual(found(policy, '/Ab/x'), ['GET /{a}/{b}', '/2.read', 'a', 'Ab', 'b', 'x']);
  assert.deepEqual(found(policy, '/x/CD'), ['GET /{a}/{b}', '/2.read', 'a', 'x', 'b', 'CD']);
  assert.deepEqual(found(policy, '/Ab'), ['GET /{a}', '/3.read', 'a', 'Ab']);
  for (const path of ['/ab', '/AB', '/ab/x', '/AB/cD', '/Ab/CD', '/Ab/cd']) {
    assert.equal(found(policy, path), 'route_not_allowed', path);
  }
  // Both are there: neither is the other in another case.
  const both = compile({ 'GET /a': '/1.read', 'GET /A': '/2.read', 'GET /{x}': '/3.read' });
  assert.deepEqual(
    [found(both, '/a'), found(both, '/A')],
    [
      ['GET /a', '/1.read'],
      ['GET /A', '/2.read'],
    ],
  );
});

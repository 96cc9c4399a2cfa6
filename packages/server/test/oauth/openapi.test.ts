import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { Validator } from '@seriousme/openapi-schema-validator';
import { isScope, listRefusals, parseScope, PATHS } from '@hallpass/protocol';
import { openapiDocument, type PrintedOperation } from '../../src/oauth/endpoints/openapi/document.ts';
import { assertDescribed } from '../../../../testing/server/described.ts';
import { startHallpass } from '../../../../testing/server/server.ts';

const document = openapiDocument('https://auth.example.com/tenants/one');
const text = JSON.stringify(document);

function operations(): readonly (readonly [string, PrintedOperation])[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    (['get', 'head', 'post', 'options'] as const).flatMap((method) => {
      const operation = item[method];
      return operation === undefined ? [] : [[`${method} ${path}`, operation] as const];
    }),
  );
}

/** What a JSON Pointer leads to. */
function follow(pointer: string): unknown {
  let place: unknown = document;
  for (const step of pointer.slice(2).split('/')) {
    if (typeof place !== 'object' || place === null) return undefined;
    place = new Map(Object.entries(place)).get(step.replaceAll('~1', '/').replaceAll('~0', '~'));
  }
  return place;
}

const refs = new Set([...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref));

test('the document is OpenAPI 3.1, and one with a mistake is not', async () => {
  const { valid, errors } = await new Validator().validate(JSON.parse(text));
  assert.ok(valid, JSON.stringify(errors));
  const broken: Record<string, unknown> = { ...JSON.parse(text), paths: [] };
  assert.equal((await new Validator().validate(broken)).valid, false);
});

/** A linter's rules that do not hold here, each with why. */
const NOT_OURS = {
  // An operation says per answer what it is; there is no licence to name for a server that somebody runs.
  'info-license': 'off',
  'info-license-strict': 'off',
  // The server is the issuer, which is localhost in development.
  'no-server-example.com': 'off',
  // It does not look into `x-other-methods`; a test below looks everywhere.
  'no-unused-components': 'off',
} as const;

async function lint(source: string): Promise<readonly string[]> {
  const config = await createConfig({ extends: ['recommended-strict'], rules: NOT_OURS });
  const problems = await lintFromString({ source, config });
  return problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} (${location[0]?.pointer ?? ''})`);
}

test('a linter finds nothing in the document, and finds a mistake that a schema does not see', async () => {
  assert.deepEqual(await lint(text), []);
  const [operation] = operations();
  const twice = text.replaceAll(/"operationId":"[^"]+"/g, `"operationId":"${operation?.[1].operationId ?? ''}"`);
  assert.match((await lint(twice)).join('\n'), /operation-operationId-unique/);
});

test('every operation has an identifier of its own, a summary, and what happens when it is refused', () => {
  const all = operations();
  assert.equal(new Set(all.map(([, { operationId }]) => operationId)).size, all.length);
  for (const [name, { summary, responses }] of all) {
    assert.match(summary, /^[A-Z].*\.$/, name);
    assert.ok(
      Object.keys(responses).some((status) => status.startsWith('4')),
      name,
    );
  }
});

test('every reference leads somewhere, and every component is used', () => {
  for (const ref of refs) assert.notEqual(follow(ref), undefined, ref);
  for (const kind of ['schemas', 'headers', 'parameters', 'responses'] as const) {
    for (const name of Object.keys(document.components[kind])) {
      assert.ok(refs.has(`#/components/${kind}/${name}`), `${kind}/${name} is not used`);
    }
  }
  const asked = new Set(operations().flatMap(([, { security }]) => security.flatMap((one) => Object.keys(one))));
  assert.deepEqual(asked, new Set(Object.keys(document.components.securitySchemes)));
});

test('every path of the listener is there, and every refusal that it can answer with', () => {
  for (const path of Object.values(PATHS)) assert.ok(Object.hasOwn(document.paths, path), path);
  // A guard's: the server has no policy of routes, and tells nobody why a token is dead. And the operator listener's.
  const others = new Set([
    'host_not_known',
    'route_not_allowed',
    'malformed_path',
    'value_not_allowed',
    'token_of_another_issuer',
    'token_for_another_audience',
    'token_expired',
    'clock_differs',
    'override',
    'look_alike_field',
    'upgrade_not_offered',
  ]);
  for (const { reason, description } of listRefusals()) {
    assert.equal(text.includes(JSON.stringify(description).slice(1, -1)), !others.has(reason), reason);
  }
});

test('the pattern of scopes says what the scope algebra says (contract §7)', () => {
  const schema = follow('#/components/schemas/ScopeList');
  assert.ok(typeof schema === 'object' && schema !== null && 'pattern' in schema && typeof schema.pattern === 'string');
  const pattern = new RegExp(schema.pattern, 'u');
  const good = ['/a.read', '/a/b.c/d.read', '/a.b.read', '/~x/_y/-z.read-all', '/accounts/a1/transfers.read'];
  const bad = [
    '',
    '/',
    'a.read',
    '/a',
    '/a.',
    '/.read',
    '/a/.read',
    '/../a.read',
    '/a..b.read',
    '/a.Read',
    '/a b.read',
  ];
  for (const scope of [...good, ...bad, '/%61.read', '/*.read', '/a/{b}.read', '/a.read\n', '/a/', '//a.read']) {
    const parsed = parseScope(scope);
    const filled = isScope(parsed) && parsed.parameters.length === 0;
    assert.equal(pattern.test(scope), filled, scope);
    assert.equal(good.includes(scope), filled, scope);
  }
});

test('GET /openapi.json returns the document of this issuer, to any page, and 304 if it has not changed', async () => {
  const hallpass = await startHallpass();
  const first = await hallpass.request(PATHS.openapi, { headers: { origin: 'https://anywhere.example' } });
  assert.equal(first.status, 200);
  assert.deepEqual(first.body, JSON.parse(JSON.stringify(openapiDocument(hallpass.issuer))));
  assert.equal(first.header('access-control-allow-origin'), '*');
  const again = { headers: { 'if-none-match': first.header('etag') ?? '' } };
  assert.equal((await hallpass.request(PATHS.openapi, again)).status, 304);
  assert.equal((await hallpass.request(PATHS.openapi, { method: 'POST' })).outcome, '405 method_not_allowed');
});

test('a response that the document does not describe fails the check', () => {
  const answered = (status: number, body: object, more: Record<string, string> = {}): (() => void) => {
    const headers = new Headers({
      'x-request-id': '0b0c8f0e-6c1e-4d7c-9b5e-0a4f4a1f2b3c',
      'cache-control': 'no-store',
      'content-type': 'application/json',
      ...more,
    });
    const seen = { issuer: 'http://localhost:8080', path: PATHS.token, method: 'POST', status, headers };
    return () => assertDescribed({ ...seen, text: JSON.stringify(body) });
  };
  const good = { access_token: 'x', token_type: 'Bearer', expires_in: 900, scope: '/a.read' };
  const error = { error: 'invalid_scope', error_description: 'No.' };
  assert.doesNotThrow(answered(200, good));
  assert.doesNotThrow(answered(400, error));
  assert.throws(answered(200, { ...good, surprise: 1 }), /not as described/);
  assert.throws(answered(200, { ...good, expires_in: '900' }), /not as described/);
  assert.throws(answered(200, { ...good, scope: '/a/{b}.read' }), /not as described/);
  assert.throws(answered(200, good, { 'content-type': 'text/plain' }), /no such content/);
  assert.throws(answered(200, good, { 'cache-control': 'public' }), /Cache-Control is not as described/);
  assert.throws(answered(429, { ...error, error: 'rate_limited' }), /Retry-After is required, and missing/);
  assert.throws(answered(400, { ...error, error: 'invalid_token' }), /not as described/);
  assert.throws(answered(400, { ...error, hint: 'x' }), /not as described/);
  assert.throws(answered(418, {}), /no such answer/);
});

/**
 * Every operation of an API with every scope there is, for the right account and the wrong one: what opens is exactly
 * what the document says. The judge reads the document by itself, and knows a request by how it was made.
 */
import { readPolicy } from '@hallpass/guard/openapi';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { bearer, openBench } from '../../harness.ts';

const FILE = fileURLToPath(new URL('ledger.openapi.yaml', import.meta.url));

interface Cell {
  readonly method: string;
  readonly path: string;
  /** As the document has it; undefined for what is served outside of the guard. */
  readonly scope: string | undefined;
}

interface Ledger {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { readonly security: readonly Asked[] }>>>>;
}
type Asked = Readonly<Record<string, readonly string[]>>;

// oxlint-disable-next-line no-unsafe-type-assertion -- a file of ours
const { paths } = parse(readFileSync(FILE, 'utf8')) as Ledger;
const operations: readonly Cell[] = Object.entries(paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, { security }]) => ({
    method: method.toUpperCase(),
    path,
    scope: security[0]?.['Hallpass']?.[0],
  })),
);
const templates = [...new Set(operations.flatMap(({ scope }) => scope ?? []))];

/** Values that are no literal of any path. */
const fill = (template: string, account: string): string =>
  template.replaceAll('{accountID}', account).replaceAll(/\{(\w+)\}/g, (_, name: string) => `${name}-1`);

const { issuer, guard } = await openBench();
const policy = await readPolicy(FILE);
const tokens = new Map<string, string>();
for (const template of templates) {
  for (const account of ['a1', 'a2']) {
    const scope = fill(template, account);
    tokens.set(scope, await issuer.token({ scope }));
  }
}
const everything = await issuer.token({ scope: [...tokens.keys()].join(' ') });

async function opens(token: string, method: string, path: string): Promise<string | undefined> {
  const decision = await guard.checkRoute(policy, bearer(token, method, path));
  return decision.allowed ? decision.route : undefined;
}

test('every operation with every scope: only the cells of the document open', async () => {
  assert.ok(operations.length >= 40 && tokens.size >= 50, `${operations.length} × ${tokens.size}`);
  let [opened, shut] = [0, 0];
  for (const { method, path, scope } of operations) {
    const url = `/v1${fill(path, 'a1')}`.replace(/\/$/, '');
    const wanted = scope === undefined ? undefined : fill(scope, 'a1');
    for (const [held, token] of tokens) {
      const route = await opens(token, method, url);
      const named = path === '/' ? '/v1' : `/v1${path}`;
      assert.equal(route, held === wanted ? `${method} ${named}` : undefined, `${method} ${url} with ${held}`);
      if (route === undefined) shut += 1;
      else opened += 1;
    }
  }
  assert.equal(opened, operations.filter(({ scope }) => scope !== undefined).length);
  assert.ok(shut > 2_000, String(shut));
});

test('a method that an operation is not documented for opens nothing, whatever the token holds', async () => {
  const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY', 'get', 'CONNECT'];
  // For these methods alone: what another template of the same method matches is that one's, and the router's too.
  const fillings = new Set(operations.map(({ path }) => fill(path, 'a1')));
  const shapes = operations.map(({ method, path }) => ({
    method,
    regex: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
  }));
  let tried = 0;
  for (const path of fillings) {
    for (const method of methods) {
      if (shapes.some((shape) => shape.method === method && shape.regex.test(path))) continue;
      assert.equal(await opens(everything, method, `/v1${path}`.replace(/\/$/, '')), undefined, `${method} ${path}`);
      tried += 1;
    }
  }
  assert.ok(tried > 200, String(tried));
});

test('without the path of the server, or with it twice, nothing opens', async () => {
  for (const { method, path } of operations) {
    assert.equal(await opens(everything, method, fill(path, 'a1')), undefined, path);
    assert.equal(await opens(everything, method, `/v1/v1${fill(path, 'a1')}`.replace(/\/$/, '')), undefined, path);
  }
});

test('a public operation is not opened by a neighbour with a parameter', async () => {
  const asAccount = await issuer.token({ scope: '/accounts/export.read /accounts/export.write' });
  assert.equal(await opens(asAccount, 'GET', '/v1/accounts/export'), undefined);
  // The neighbour, and the method that has no such literal: both belong to the route with the parameter.
  const asOther = await issuer.token({ scope: '/accounts/exports.read' });
  assert.equal(await opens(asOther, 'GET', '/v1/accounts/exports'), 'GET /v1/accounts/{accountID}');
  assert.equal(await opens(asAccount, 'PUT', '/v1/accounts/export'), 'PUT /v1/accounts/{accountID}');
});

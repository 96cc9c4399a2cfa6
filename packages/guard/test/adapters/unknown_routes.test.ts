/** A handler for a route that the policy doesn't have would fail at its first request, so registering it fails. */
import { compilePolicy, createGuard, type Policy } from '@hallpass/guard';
import { protect as protectExpress } from '@hallpass/guard/express';
import { protect as protectFastify } from '@hallpass/guard/fastify';
import { protect as protectHono } from '@hallpass/guard/hono';
import { protectUpgrade } from '@hallpass/guard/node';
import { policyFromOpenAPI } from '@hallpass/guard/openapi';
import { createTestIssuer } from '@hallpass/guard/testing';
import assert from 'node:assert/strict';
import { after, test } from 'node:test';

const issuer = await createTestIssuer({ audience: 'https://api.example.com' });
const guard = createGuard(issuer.options);
after(() => guard.close());
/** Like JavaScript, or a policy from a file: the compiler doesn't know its routes. */
const policy: Policy = compilePolicy<Readonly<Record<string, string>>>({
  'GET /accounts': '/accounts.read',
  'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read',
  'POST /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.write',
});
const express = protectExpress(guard, policy);
const fastify = protectFastify(guard, policy);
const hono = protectHono(guard, policy);

const ADAPTERS: Readonly<Record<string, (served: string | readonly string[], on?: Policy) => unknown>> = {
  express: (served, on) => (on === undefined ? express : protectExpress(guard, on)).route(served, () => {}),
  fastify: (served, on) => (on === undefined ? fastify : protectFastify(guard, on)).route(served, () => undefined),
  hono: (served, on) => (on === undefined ? hono : protectHono(guard, on)).route(served, () => Response.json({})),
  upgrade: (served, on = policy) => protectUpgrade(guard, on, served, () => {}),
};

for (const [adapter, register] of Object.entries(ADAPTERS)) {
  test(`${adapter}: a misspelled route is a TypeError at once, which suggests the right one`, () => {
    for (const [misspelt, meant] of [
      ['GET /acounts', 'GET /accounts'],
      ['GET /accounts/', 'GET /accounts'],
      ['get /accounts', 'GET /accounts'],
      ['GET /accounts/:id/transfers', 'GET /accounts/{accountID}/transfers'],
      ['GET /accounts/{accountId}/transfers', 'GET /accounts/{accountID}/transfers'],
      ['PUT /accounts/{accountID}/transfers', 'POST /accounts/{accountID}/transfers'],
    ] as const) {
      for (const served of [misspelt, ['GET /accounts', misspelt]]) {
        const begin = `TypeError: The policy has no route '${misspelt}'. Did you mean '`;
        assert.throws(
          () => register(served),
          (error) => String(error).startsWith(begin),
          misspelt,
        );
        assert.throws(
          () => register(served),
          (error) => String(error).includes(`'${meant}'`),
          `${misspelt}: ${meant}`,
        );
      }
    }
    assert.throws(() => register([]), /A handler needs at least one route/);
    assert.throws(() => register('GET /a', compilePolicy({})), /The policy is empty\.$/);
    register('GET /accounts');
    register(['GET /accounts', 'POST /accounts/{accountID}/transfers']);
  });
}

test("a route that the OpenAPI file closes is known: its handler never runs, and registering it doesn't fail", () => {
  const document = {
    openapi: '3.1.0',
    info: { title: 'a', version: '1' },
    components: { securitySchemes: { oauth: { type: 'oauth2', flows: {} } } },
    paths: {
      '/accounts': { get: { security: [{ oauth: ['/accounts.read'] }], responses: {} } },
      '/status': { get: { security: [], responses: {} } },
      '/draft': { get: { responses: {} } },
      '/accounts/{accountID}:archive': { post: { security: [{ oauth: ['/accounts.write'] }], responses: {} } },
    },
  };
  const read = policyFromOpenAPI(document);
  for (const register of Object.values(ADAPTERS)) {
    for (const route of ['GET /accounts', 'GET /status', 'GET /draft', 'POST /accounts/{accountID}:archive']) {
      register(route, read);
    }
    assert.throws(() => register('GET /drafts', read), /Did you mean 'GET \/draft'/);
  }
});

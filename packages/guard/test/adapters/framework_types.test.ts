/** What the compiler refuses in the framework adapters. Nothing here is called: compiling is the test. */
import { compilePolicy, type Guard } from '@hallpass/guard';
import { protect as protectExpress } from '@hallpass/guard/express';
import { protect as protectFastify } from '@hallpass/guard/fastify';
import { protect as protectHono } from '@hallpass/guard/hono';
import { protectUpgrade } from '@hallpass/guard/node';
import express from 'express';
import { fastify } from 'fastify';
import { Hono, type Context } from 'hono';
import { hc } from 'hono/client';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
  'GET /accounts/{accountID}/transfers/{id}': '/accounts/{accountID}/transfers.read',
});
const ONE = 'GET /accounts/{accountID}';
const TWO = 'GET /accounts/{accountID}/transfers/{id}';

export function upgradeHandlersGetTheValuesOfTheirRoutes(guard: Guard): void {
  const app = express();
  app.listen().on(
    'upgrade',
    protectUpgrade(guard, policy, [ONE, TWO], (_request, socket, _head, access) => {
      socket.write(access.values.accountID);
      // @ts-expect-error -- of the two only one has {id}
      socket.write(access.values.id);
    }),
  );
  // @ts-expect-error -- not a route of the policy
  protectUpgrade(guard, policy, 'GET /elsewhere', () => {});
}

export function expressHandlersGetTheValuesOfTheirRoutes(guard: Guard): void {
  const { check, route } = protectExpress(guard, policy);
  const app = express().use(check).use('/v1', check);
  app.get(
    '/accounts/:accountID',
    route(ONE, (request, response, { values }) => {
      const id: string = values.accountID;
      // @ts-expect-error -- this route has no {id}
      response.send(id + String(request.body) + String(values.id));
    }),
  );
  app.get(
    '/:accountID',
    route([ONE, TWO], (_request, response, access, next) => {
      response.send(access.values.accountID);
      // @ts-expect-error -- of the two only one has {id}
      response.send(access.values.id);
      if (access.route === TWO) response.send(access.values.id);
      next();
    }),
  );
  // @ts-expect-error -- no such route
  route('GET /transfers', (_request, response) => void response.end());
}

export function fastifyHandlersGetTheValuesOfTheirRoutes(guard: Guard): void {
  const { check, route } = protectFastify(guard, policy);
  const app = fastify();
  app.addHook('onRequest', check);
  app.get(
    '/accounts/:accountID',
    route(ONE, async (_request, _reply, { values }) => {
      const id: string = values.accountID;
      // @ts-expect-error -- this route has no {id}
      return id + String(values.id);
    }),
  );
  app.post<{ Body: { readonly amount: number } }>(
    '/accounts/:accountID/transfers/:id',
    route(TWO, ({ body }, _reply, { values }) => {
      // @ts-expect-error -- the framework's own types go along: an amount is no text
      const amount: string = body.amount;
      return values.accountID + values.id + amount;
    }),
  );
  const secure = fastify({ http2: true });
  secure.addHook('onRequest', check);
  secure.get(
    '/accounts/:accountID',
    route(ONE, (request, _reply, { values }) => [request.raw.stream.id, values.accountID]),
  );
  // @ts-expect-error -- no such route
  route('GET /transfers', () => '');
}

interface Tenants {
  readonly Variables: { readonly tenant: string };
}

export function honoHandlersGetTheValuesOfTheirRoutes(guard: Guard): void {
  const { check, route } = protectHono(guard, policy);
  const app = new Hono<Tenants>()
    .use(check)
    .get(
      '/accounts/:accountID',
      route(ONE, (c, { values }) => {
        const id: string = values.accountID;
        // @ts-expect-error -- this route has no {id}
        assert.ok(values.id);
        return c.json({ id });
      }),
    )
    .get(
      '/accounts/:accountID/transfers/:id',
      // An app must declare its own variables: Hono can't infer them here.
      route([ONE, TWO], async (c: Context<Tenants>, access) => {
        // @ts-expect-error -- there is no such variable
        c.get('nobody');
        return c.text(c.get('tenant') + access.values.accountID);
      }),
    );
  // Hono's client knows the handler's response.
  const client = hc<typeof app>('https://api.example.com');
  const read = async (): Promise<string> => {
    const answer = await client.accounts[':accountID'].$get({ param: { accountID: 'a1' } });
    const { id } = await answer.json();
    // @ts-expect-error -- an id is a text
    const wrong: number = id;
    return id + String(wrong);
  };
  assert.ok(typeof read === 'function');
  // @ts-expect-error -- no such route
  route('GET /transfers', (c) => c.text(''));
}

test('the compiler accepts this file with each of its expected errors', () => {
  assert.ok(expressHandlersGetTheValuesOfTheirRoutes.length > 0);
});

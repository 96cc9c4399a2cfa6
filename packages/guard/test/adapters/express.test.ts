import type { Guard } from '@hallpass/guard';
import { protect } from '@hallpass/guard/express';
import express, { type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeFramework, policy, type Build, type Reply, type Routes } from './framework_suite.ts';
import { guardOf, openBench } from '../harness.ts';
import { listen } from './listen.ts';
import { send } from '../wire.ts';

/** A typical app: by default Express ignores case and trailing slashes. */
function makeApp(guard: Guard, reply: Reply, build: Build): express.Express {
  const { check, route } = protect(guard, policy);
  const on = (...served: readonly Routes[]): RequestHandler =>
    route(served, async (_request, response, access) => {
      response.send(await reply(access));
    });
  const app = express();
  if (build !== 'open') app.use(check);
  if (build === 'crossed') app.get('/accounts/:accountID', on('GET /accounts/{accountID}'));
  app.get('/accounts', on('GET /accounts', 'HEAD /accounts'));
  app.options('/accounts', on('OPTIONS /accounts'));
  app.post('/accounts', express.json(), on('POST /accounts'));
  app.get('/accounts/mine', on('GET /accounts/mine'));
  app.get('/accounts/:accountID', on('GET /accounts/{accountID}'));
  app.delete('/accounts/:accountID', on('DELETE /accounts/{accountID}'));
  const mounted = express();
  mounted.get('/accounts/:accountID/transfers/:id', on('GET /v1/accounts/{accountID}/transfers/{id}'));
  app.use('/v1', mounted);
  return answerErrors(app);
}

/** Express prints errors that nobody handles. */
function answerErrors(app: express.Express): express.Express {
  return app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    response.status(500).send(String(error));
  });
}

describeFramework({
  name: 'express',
  serve: (guard, reply, build) => listen(makeApp(guard, reply, build)),
  dotSegments: 'kept',
});

const { issuer, guard } = await openBench();
const AUTHORIZED = `Authorization: Bearer ${await issuer.token({ scope: '/accounts/a1.read /accounts/a1/transfers.read' })}`;
const ONE = 'GET /accounts/{accountID}';

const HERE = 'GET /v1/accounts/{accountID}/transfers/{id}';
const PLACES: Readonly<Record<string, (check: RequestHandler, handler: RequestHandler) => express.Express>> = {
  'at the mount': (check, handler) =>
    express().use('/v1', check).use('/v1', express().get('/accounts/:accountID/transfers/:id', handler)),
  'inside of the app that is mounted': (check, handler) =>
    express().use('/v1', express().use(check).get('/accounts/:accountID/transfers/:id', handler)),
  'inside of a router': (check, handler) =>
    express().use('/v1', express.Router().use(check).get('/accounts/:accountID/transfers/:id', handler)),
};

for (const [place, build] of Object.entries(PLACES)) {
  test(`express: a guard ${place} decides on the path that the client called, not on what the mount left of it`, async () => {
    const { check, route } = protect(guard, policy);
    const ran: string[] = [];
    const handler = route(HERE, (_request, response, { values }) => {
      ran.push(values.accountID);
      response.end(values.id);
    });
    const port = await listen(build(check, handler));
    assert.equal((await send(port, 'GET /v1/accounts/a1/transfers/7', AUTHORIZED)).body, '7');
    // Mounts ignore case, and without the prefix the rest would be another route.
    assert.equal((await send(port, 'GET /V1/accounts/a1/transfers/7', AUTHORIZED)).status, 403);
    assert.equal((await send(port, 'GET /v1/accounts/a1', AUTHORIZED)).status, 403);
    assert.equal((await send(port, 'GET /v1/accounts/a1/transfers/7')).status, 401);
    assert.deepEqual(ran, ['a1']);
  });
}

/** Replaces the method and the path with what headers say. */
const override: RequestHandler = (request, _response, next) => {
  request.method = request.get('X-HTTP-Method-Override') ?? request.method;
  request.url = request.get('X-Rewrite-URL') ?? request.url;
  next();
};

/** An app that overrides before or after a guard that allows it, and the handlers that ran. */
async function overriding(before: boolean): Promise<{ readonly port: number; readonly ran: string[] }> {
  const passing = guardOf(issuer, { passOverrides: ['x-http-method-override', 'x-rewrite-url'] }).guard;
  const { check, route } = protect(passing, policy);
  const ran: string[] = [];
  const app = express().use(...(before ? [override, check] : [check, override]));
  for (const path of ['/accounts/mine', '/accounts/:accountID'] as const) {
    const read = path === '/accounts/mine' ? 'GET /accounts/mine' : ONE;
    app.get(
      path,
      route(read, (_request, response, access) => {
        ran.push(`${access.route} ${JSON.stringify(access.values)}`);
        response.end();
      }),
    );
  }
  app.delete(
    '/accounts/:accountID',
    route('DELETE /accounts/{accountID}', (_request, response, { route: decided }) => {
      ran.push(decided);
      response.end();
    }),
  );
  return { port: await listen(answerErrors(app)), ran };
}

test('express: overriding the method or the path after the guard runs no handler without a decision for it', async () => {
  const { port, ran } = await overriding(false);
  const ask = (field: string): Promise<number> =>
    send(port, 'GET /accounts/a1', AUTHORIZED, field).then(({ status }) => status);
  assert.equal(await ask('X-HTTP-Method-Override: DELETE'), 500);
  assert.equal(await ask('X-Rewrite-URL: /accounts/mine'), 500);
  assert.deepEqual(ran, []);
  // The same handler, with another account in the path: it gets the one that was decided on.
  assert.equal(await ask('X-Rewrite-URL: /accounts/a2'), 200);
  assert.deepEqual(ran, [`${ONE} {"accountID":"a1"}`]);
});

test('express: a method overridden before the guard is the one it decides on', async () => {
  const { port, ran } = await overriding(true);
  const remover = `Authorization: Bearer ${await issuer.token({ scope: '/accounts/a1.write' })}`;
  const ask = (...fields: readonly string[]): Promise<number> =>
    send(port, 'POST /accounts/a1', ...fields).then(({ status }) => status);
  assert.equal(await ask(AUTHORIZED, 'X-HTTP-Method-Override: DELETE'), 403);
  assert.equal(await ask(remover), 403);
  assert.deepEqual(ran, []);
  assert.equal(await ask(remover, 'X-HTTP-Method-Override: DELETE'), 200);
  assert.deepEqual(ran, ['DELETE /accounts/{accountID}']);
});

test('express: headers set before the guard are kept on a refusal', async () => {
  const { check } = protect(guard, policy);
  const app = express().use((_request, response, next) => {
    response.set('Access-Control-Allow-Origin', 'https://page.example.com');
    next();
  });
  const { status, headers } = await send(await listen(app.use(check)), 'GET /accounts', 'If-None-Match: *');
  assert.deepEqual([status, headers.get('access-control-allow-origin')], [401, 'https://page.example.com']);
});

test("express: another guard's decision doesn't count for a handler", async () => {
  const [outer, inner] = [protect(guard, policy), protect(guard, policy)];
  const handler = (_request: Request, response: Response): unknown => response.send('in');
  const app = express().use(outer.check);
  app.get('/accounts/:accountID', inner.route(ONE, handler));
  const port = await listen(answerErrors(app));
  assert.equal((await send(port, 'GET /accounts/a1', AUTHORIZED)).status, 500);
  const both = express().use(outer.check, inner.check);
  both.get('/accounts/:accountID', inner.route(ONE, handler));
  assert.equal((await send(await listen(both), 'GET /accounts/a1', AUTHORIZED)).body, 'in');
});

test('express: the error of a handler without a decision says what to do', async () => {
  const app = makeApp(guard, () => Promise.resolve(''), 'crossed');
  const mine = `Authorization: Bearer ${await issuer.token({ scope: '/mine.read' })}`;
  assert.match((await send(await listen(app), 'GET /accounts/mine', mine)).body, /literal segments before parameters/);
  const open = makeApp(guard, () => Promise.resolve(''), 'open');
  assert.match((await send(await listen(open), 'GET /accounts/mine', mine)).body, /register 'check' before the route/);
});

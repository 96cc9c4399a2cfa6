import type { Guard } from '@hallpass/guard';
import { protect } from '@hallpass/guard/fastify';
import { fastify, type FastifyInstance, type RouteHandlerMethod } from 'fastify';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type ClientSessionOptions } from 'node:http2';
import { after, test } from 'node:test';
import { describeFramework, policy, type Build, type Reply, type Routes } from './framework_suite.ts';
import { guardOf, openBench } from '../harness.ts';
import { API, NOW_SECONDS } from '../issuer.ts';
import { Prover } from '../prover.ts';
import { send } from '../wire.ts';

/** As lenient as Fastify can be. */
const LAX = {
  routerOptions: {
    caseSensitive: false,
    ignoreTrailingSlash: true,
    ignoreDuplicateSlashes: true,
    useSemicolonDelimiter: true,
  },
};

async function serve(guard: Guard, reply: Reply, build: Build): Promise<number> {
  const { check, route } = protect(guard, policy);
  const on = (...served: readonly Routes[]): RouteHandlerMethod =>
    route(served, (_request, _reply, access) => reply(access));
  const app = fastify(LAX);
  if (build !== 'open') app.addHook('onRequest', check);
  // Fastify always prefers literals, so the crossed build registers a handler for the wrong route.
  const mine = build === 'crossed' ? 'GET /accounts/{accountID}' : 'GET /accounts/mine';
  app.get('/accounts', on('GET /accounts', 'HEAD /accounts'));
  app.options('/accounts', on('OPTIONS /accounts'));
  app.post('/accounts', on('POST /accounts'));
  app.get('/accounts/mine', on(mine));
  app.get('/accounts/:accountID', on('GET /accounts/{accountID}'));
  app.delete('/accounts/:accountID', on('DELETE /accounts/{accountID}'));
  const mounted = async (part: FastifyInstance): Promise<void> => {
    part.get('/accounts/:accountID/transfers/:id', on('GET /v1/accounts/{accountID}/transfers/{id}'));
  };
  await app.register(mounted, { prefix: '/v1' });
  return await listen(app);
}

async function listen(app: FastifyInstance): Promise<number> {
  await app.listen({ port: 0, host: '127.0.0.1' });
  after(() => app.close());
  const address = app.server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

describeFramework({ name: 'fastify', serve, dotSegments: 'kept' });

const { issuer, guard } = await openBench();
const token = await issuer.token({ scope: '/accounts.read /accounts/a1.read' });
const AUTHORIZED = `Authorization: Bearer ${token}`;
const ONE = 'GET /accounts/{accountID}';

test('fastify: an injected request is checked like one from a socket', async () => {
  const { check, route } = protect(guard, policy);
  const app = fastify();
  app.addHook('onRequest', check);
  app.get(
    '/accounts/:accountID',
    route(ONE, (_request, _reply, { values }) => values),
  );
  const headers = { authorization: `Bearer ${token}` };
  const { statusCode, body } = await app.inject({ url: '/accounts/a1', headers });
  assert.deepEqual([statusCode, body], [200, '{"accountID":"a1"}']);
  assert.equal((await app.inject({ url: '/accounts/a2', headers })).statusCode, 403);
  assert.equal((await app.inject({ url: '/accounts/a1' })).statusCode, 401);
});

test('fastify: HTTP/2 works too, and both of two Authorization headers are seen', async () => {
  const { check, route } = protect(guard, policy);
  const app = fastify({ http2: true });
  app.addHook('onRequest', check);
  app.get(
    '/accounts/:accountID',
    route(ONE, (_request, _reply, { values }) => values),
  );
  const address = await app.listen({ port: 0, host: '127.0.0.1' });
  after(() => app.close());
  // Otherwise the client wouldn't send two.
  const lenient: ClientSessionOptions & { readonly strictSingleValueFields: boolean } = {
    strictSingleValueFields: false,
  };
  const client = connect(address, lenient);
  after(() => client.destroy());
  const ask = async (path: string, ...tokens: readonly string[]): Promise<number> => {
    const fields = tokens.flatMap((shown) => ['authorization', `Bearer ${shown}`]);
    const stream = client.request([':path', path, ...fields]);
    const [headers]: { readonly ':status'?: number }[] = await once(stream, 'response');
    stream.close();
    return headers?.[':status'] ?? 0;
  };
  assert.equal(await ask('/accounts/a1', token), 200);
  assert.equal(await ask('/accounts/a2', token), 403);
  assert.equal(await ask('/accounts/a1'), 401);
  assert.equal(await ask('/accounts/a1', token, 'abc'), 400);
});

test('fastify: if the app rewrites URLs, the guard decides on the path that the router uses', async () => {
  const { check, route } = protect(guardOf(issuer, { passOverrides: ['x-rewrite-url'] }).guard, policy);
  const ran: string[] = [];
  const app = fastify({ rewriteUrl: ({ headers, url = '' }) => String(headers['x-rewrite-url'] ?? url) });
  app.addHook('onRequest', check);
  for (const [path, served] of [
    ['/accounts/mine', 'GET /accounts/mine'],
    ['/accounts/:accountID', ONE],
  ] as const) {
    app.get(
      path,
      route(served, (_request, _reply, access) => {
        ran.push(`${access.route} ${JSON.stringify(access.values)}`);
        return 'in';
      }),
    );
  }
  const port = await listen(app);
  for (const path of ['/accounts/mine', '/accounts/a2', '/accounts/a1/']) {
    const { status } = await send(port, 'GET /accounts/a1', AUTHORIZED, `X-Rewrite-URL: ${path}`);
    assert.ok(status === 403 || status === 400, `${path}: ${status}`);
  }
  assert.deepEqual(ran, []);
  assert.equal((await send(port, 'GET /elsewhere', AUTHORIZED, 'X-Rewrite-URL: /accounts/a1')).status, 200);
  assert.deepEqual(ran, [`${ONE} {"accountID":"a1"}`]);
});

test('fastify: a plugin loaded before the guard was registered is guarded too', async () => {
  const { check, route } = protect(guard, policy);
  const app = fastify();
  await app.register(async (part) => {
    part.get(
      '/accounts',
      route('GET /accounts', () => 'in'),
    );
  });
  app.addHook('onRequest', check);
  app.get(
    '/accounts/:accountID',
    route(ONE, () => 'in'),
  );
  const port = await listen(app);
  for (const path of ['/accounts', '/accounts/a1']) {
    assert.equal((await send(port, `GET ${path}`)).status, 401);
    assert.equal((await send(port, `GET ${path}`, AUTHORIZED)).status, 200);
  }
});

test('fastify: headers set before the guard are kept on a refusal', async () => {
  const app = fastify();
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('Access-Control-Allow-Origin', 'https://page.example.com');
  });
  app.addHook('onRequest', protect(guard, policy).check);
  const { status, headers } = await send(await listen(app), 'GET /accounts');
  assert.deepEqual([status, headers.get('access-control-allow-origin')], [401, 'https://page.example.com']);
});

test('fastify: a handler that takes over the response sends the nonce too (RFC 9449 §8.2)', async () => {
  const { guard: asking, clock } = guardOf(issuer, { publicURL: API, dpopNonces: true, maxStalenessSeconds: 3_600 });
  const { check, route } = protect(asking, policy);
  const app = fastify();
  app.addHook('onRequest', check);
  app.get(
    '/accounts',
    route('GET /accounts', (_request, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'content-type': 'text/plain' }).end('taken over');
    }),
  );
  const port = await listen(app);
  const prover = new Prover();
  const bound = await issuer.token({ cnf: { jkt: prover.jkt } });
  const ask = async (claims: object): ReturnType<typeof send> =>
    await send(port, 'GET /accounts', `Authorization: DPoP ${bound}`, `DPoP: ${prover.prove(bound, { ...claims })}`);
  const nonce = (await ask({})).headers.get('dpop-nonce');
  clock.advance(60);
  const { body, headers } = await ask({ nonce, iat: NOW_SECONDS + 60 });
  assert.equal(body, 'taken over');
  assert.match(headers.get('dpop-nonce') ?? '', /^[\w-]{22}$/);
  assert.notEqual(headers.get('dpop-nonce'), nonce);
});

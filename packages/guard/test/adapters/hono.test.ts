import { createAdaptorServer, getRequestListener, upgradeWebSocket } from '@hono/node-server';
import type { Guard } from '@hallpass/guard';
import { protect } from '@hallpass/guard/hono';
import { Hono, type Handler } from 'hono';
import { cors } from 'hono/cors';
import { methodOverride } from 'hono/method-override';
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { after, test } from 'node:test';
import { describeFramework, policy, type Build, type Reply, type Routes } from './framework_suite.ts';
import { guardOf, openBench } from '../harness.ts';
import { API, NOW_SECONDS } from '../issuer.ts';
import { listen } from './listen.ts';
import { Prover } from '../prover.ts';

/** As lenient as Hono can be. */
function makeApp(guard: Guard, reply: Reply, build: Build): Hono {
  const { check, route } = protect(guard, policy);
  const on = (...served: readonly Routes[]): Handler => route(served, async (c, access) => c.text(await reply(access)));
  const app = new Hono({ strict: false });
  if (build !== 'open') app.use(check);
  if (build === 'crossed') app.get('/accounts/:accountID', on('GET /accounts/{accountID}'));
  app.get('/accounts', on('GET /accounts', 'HEAD /accounts'));
  app.options('/accounts', on('OPTIONS /accounts'));
  app.post('/accounts', on('POST /accounts'));
  app.get('/accounts/mine', on('GET /accounts/mine'));
  app.get('/accounts/:accountID', on('GET /accounts/{accountID}'));
  app.delete('/accounts/:accountID', on('DELETE /accounts/{accountID}'));
  const mounted = new Hono();
  mounted.get('/accounts/:accountID/transfers/:id', on('GET /v1/accounts/{accountID}/transfers/{id}'));
  app.route('/v1', mounted);
  // Hono prints errors that nobody handles.
  app.onError((_error, c) => c.body(null, 500));
  return app;
}

describeFramework({
  name: 'hono',
  serve: (guard, reply, build) => {
    const respond = getRequestListener(makeApp(guard, reply, build).fetch);
    return listen((request, response) => void respond(request, response));
  },
  dotSegments: 'resolved',
});

const { issuer, guard } = await openBench();
const token = await issuer.token({ scope: '/accounts.read /accounts/a1.read /accounts/a1/transfers.read' });
const headers = { authorization: `Bearer ${token}` };
const ONE = 'GET /accounts/{accountID}';

test("hono: a mounted app with its own guard decides on the path that it's given", async () => {
  const { check, route } = protect(guard, policy);
  const inner = new Hono().use(check).get(
    '/accounts/:accountID',
    route(ONE, (c, { values }) => c.json(values)),
  );
  const app = new Hono().mount('/v2', inner.fetch);
  assert.deepEqual(await (await app.request('/v2/accounts/a1', { headers })).json(), { accountID: 'a1' });
  assert.equal((await app.request('/v2/accounts/a2', { headers })).status, 403);
  assert.equal((await app.request('/v2/accounts/a1')).status, 401);
});

test("hono: an app mounted under a guard doesn't run handlers on that guard's decision", async () => {
  const outer = protect(guard, policy);
  const { route } = protect(guard, policy);
  const inner = new Hono().get(
    '/accounts/:accountID/transfers/:id',
    route(ONE, (c) => c.text('in')),
  );
  inner.onError((_error, c) => c.body(null, 500));
  const app = new Hono().use(outer.check).mount('/v1', inner.fetch);
  assert.equal((await app.request('/v1/accounts/a1/transfers/1', { headers })).status, 500);
});

test("hono: a router that doesn't go by the path runs no handler without a decision for it", async () => {
  const { check, route } = protect(guardOf(issuer, { passOverrides: ['x-rewrite-url'] }).guard, policy);
  const ran: string[] = [];
  const app = new Hono({
    getPath: (request) => request.headers.get('x-rewrite-url') ?? new URL(request.url).pathname,
  });
  app.use(check);
  for (const [path, served] of [
    ['/accounts/mine', 'GET /accounts/mine'],
    ['/accounts/:accountID', ONE],
  ] as const) {
    app.get(
      path,
      route(served, (c, access) => {
        ran.push(`${access.route} ${JSON.stringify(access.values)}`);
        return c.text('in');
      }),
    );
  }
  app.onError((_error, c) => c.body(null, 500));
  const ask = async (path: string): Promise<number> =>
    (await app.request('/accounts/a1', { headers: { ...headers, 'x-rewrite-url': path } })).status;
  assert.equal(await ask('/accounts/mine'), 500);
  assert.deepEqual(ran, []);
  assert.equal(await ask('/accounts/a2'), 200);
  assert.deepEqual(ran, [`${ONE} {"accountID":"a1"}`]);
});

test('hono: a method that the app overrides is the one decided on', async () => {
  const { check, route } = protect(guardOf(issuer, { passOverrides: ['x-http-method-override'] }).guard, policy);
  const app = new Hono();
  app.use(methodOverride({ app, header: 'x-http-method-override' }));
  app.use(check);
  app.delete(
    '/accounts/:accountID',
    route('DELETE /accounts/{accountID}', (c) => c.text('gone')),
  );
  const remover = { authorization: `Bearer ${await issuer.token({ scope: '/accounts/a1.write' })}` };
  const ask = async (fields: Readonly<Record<string, string>>): Promise<number> =>
    (await app.request('/accounts/a1', { method: 'POST', headers: fields })).status;
  assert.equal(await ask({ ...headers, 'x-http-method-override': 'DELETE' }), 403);
  assert.equal(await ask(remover), 403);
  assert.equal(await ask({ ...remover, 'x-http-method-override': 'DELETE' }), 200);
});

/** A minimal WebSocket server for Hono's own upgrades: it switches protocols and nothing more. */
class Switch extends EventEmitter {
  readonly options = { noServer: true };

  close(): void {}

  handleUpgrade(_request: unknown, socket: Duplex): void {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  }
}

test('hono: upgrades that Hono listens to go through the guard', async () => {
  const { check, route } = protect(guard, policy);
  const ran: string[] = [];
  const app = new Hono().use(check);
  app.get(
    '/accounts/:accountID',
    route(ONE, async (c, { values }) => {
      const upgrade = upgradeWebSocket(() => {
        ran.push(values.accountID);
        return {};
      });
      return (await upgrade(c, () => Promise.resolve())) ?? c.text('no upgrade');
    }),
  );
  const server = createAdaptorServer({ fetch: app.fetch, websocket: { server: new Switch() } });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const ask = async (path: string, ...fields: readonly string[]): Promise<string> => {
    const socket = connect(address.port, '127.0.0.1');
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Host: api.example.com'];
    socket.write([`GET ${path} HTTP/1.1`, ...upgrade, ...fields, '', ''].join('\r\n'));
    let text = '';
    for await (const piece of socket.setEncoding('utf8')) text += String(piece);
    return text.slice(0, 12);
  };
  const authorized = `Authorization: Bearer ${token}`;
  assert.equal(await ask('/accounts/a1'), 'HTTP/1.1 401');
  assert.equal(await ask('/accounts/a2', authorized), 'HTTP/1.1 403');
  assert.equal(await ask('/accounts/a1', authorized, 'X-HTTP-Method: DELETE'), 'HTTP/1.1 400');
  assert.deepEqual(ran, []);
  assert.equal(await ask('/accounts/a1', authorized), 'HTTP/1.1 101');
  assert.deepEqual(ran, ['a1']);
});

test('hono: headers set before the guard are kept on a refusal', async () => {
  const app = new Hono()
    .use((c, next) => {
      c.header('X-Request-Id', '7');
      return next();
    })
    .use(protect(guard, policy).check);
  const refused = await app.request('/accounts');
  assert.deepEqual([refused.status, refused.headers.get('x-request-id')], [401, '7']);
});

test("hono: with CORS before the guard, another origin's page may read a refusal, and its preflight is answered", async () => {
  const app = new Hono().use(cors({ origin: 'https://page.example.com' })).use(protect(guard, policy).check);
  const origin = { origin: 'https://page.example.com' };
  const refused = await app.request('/accounts', { headers: origin });
  assert.deepEqual([refused.status, refused.headers.get('access-control-allow-origin')], [401, origin.origin]);
  const preflight = { ...origin, 'access-control-request-method': 'GET' };
  assert.equal((await app.request('/accounts', { method: 'OPTIONS', headers: preflight })).status, 204);
});

/** Sends a request with a bound token, and again after the nonce has changed; returns both responses. */
async function askTwice(handler: () => Response): Promise<readonly [refused: Response, answer: Response]> {
  const { guard: asking, clock } = guardOf(issuer, { publicURL: API, dpopNonces: true, maxStalenessSeconds: 3_600 });
  const { check, route } = protect(asking, policy);
  const app = new Hono();
  app.use(check);
  app.get('/accounts', route('GET /accounts', handler));
  const prover = new Prover();
  const bound = await issuer.token({ cnf: { jkt: prover.jkt } });
  const ask = async (claims: object): Promise<Response> =>
    await app.request('/accounts', {
      headers: { authorization: `DPoP ${bound}`, dpop: prover.prove(bound, { ...claims }) },
    });
  const refused = await ask({});
  clock.advance(60);
  return [refused, await ask({ nonce: refused.headers.get('dpop-nonce'), iat: NOW_SECONDS + 60 })];
}

test('hono: an immutable response carries the nonce too (RFC 9449 §8.2)', async () => {
  const [refused, answer] = await askTwice(() => Response.redirect('https://elsewhere.example.com/'));
  assert.equal(answer.headers.get('location'), 'https://elsewhere.example.com/');
  assert.match(answer.headers.get('dpop-nonce') ?? '', /^[\w-]{22}$/);
  assert.notEqual(answer.headers.get('dpop-nonce'), refused.headers.get('dpop-nonce'));
});

test('hono: a network error or a protocol switch is passed on unchanged', async () => {
  const made = Response.error();
  const [, answer] = await askTwice(() => made);
  assert.equal(answer, made);
});

/** The caller's address that each adapter reports, which the issuer counts wrong API keys by. */
import { createGuard } from '@hallpass/guard';
import { protect as protectExpress } from '@hallpass/guard/express';
import { protect as protectFastify } from '@hallpass/guard/fastify';
import { protect as protectNode } from '@hallpass/guard/node';
import { createTestIssuer } from '@hallpass/guard/testing';
import { printBasic } from '@hallpass/protocol';
import express from 'express';
import { fastify } from 'fastify';
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { API } from './issuer.ts';
import { listen } from './adapters/listen.ts';
import { compilePolicy } from '@hallpass/guard';

const KEY = { clientId: 'partner', clientSecret: 'secret', scopes: ['/accounts.read'] };
const issuer = await createTestIssuer({ audience: API });
issuer.addKey(KEY);
const policy = compilePolicy({ 'GET /accounts': '/accounts.read' });
const callers: (string | null)[] = [];
const guard = createGuard({
  ...issuer.options,
  apiKeySeconds: 1,
  // No cache, so every request asks the issuer.
  rememberedTokensMax: 0,
  fetch: async (input, init) => {
    const request = new Request(input, init);
    if (request.url.endsWith('/oauth2/token')) callers.push(request.headers.get('hallpass-caller'));
    return (await issuer.options.fetch?.(request)) ?? Response.error();
  },
});
after(() => guard.close());

/** The address that the issuer gets for a request whose X-Forwarded-For says 203.0.113.7. */
async function reportedAddress(port: number): Promise<string | null> {
  const headers = { authorization: printBasic(KEY), 'x-forwarded-for': '203.0.113.7' };
  assert.equal((await fetch(`http://127.0.0.1:${port}/accounts`, { headers })).status, 200);
  return callers.at(-1) ?? null;
}

async function serveExpress(trustProxy: boolean): Promise<number> {
  const { check, route } = protectExpress(guard, policy);
  const app = express().set('trust proxy', trustProxy).use(check);
  app.get(
    '/accounts',
    route('GET /accounts', (_request, response) => void response.send('in')),
  );
  return await listen(app);
}

async function serveFastify(trustProxy: boolean): Promise<number> {
  const { check, route } = protectFastify(guard, policy);
  const app = fastify({ trustProxy });
  app.addHook('onRequest', check);
  app.get(
    '/accounts',
    route('GET /accounts', async () => 'in'),
  );
  await app.listen({ port: 0, host: '127.0.0.1' });
  after(() => app.close());
  const address = app.server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

for (const [name, serve] of [
  ['express', serveExpress],
  ['fastify', serveFastify],
] as const) {
  test(`${name}: the caller's address is the one the app determines, using its own list of trusted proxies`, async () => {
    assert.equal(await reportedAddress(await serve(true)), '203.0.113.7');
    assert.equal(await reportedAddress(await serve(false)), '127.0.0.1');
  });
}

test("node: the caller's address is the socket's, whatever a header says", async () => {
  assert.equal(
    await reportedAddress(await listen(protectNode(guard, policy, (_request, response) => void response.end('in')))),
    '127.0.0.1',
  );
});

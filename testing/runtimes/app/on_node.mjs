import { protect } from '@hallpass/guard/node';
import { createServer } from 'node:http';
import { createToken, makeGuard, policy } from './api.mjs';

// None of the frameworks is installed here: their adapters import types of them and nothing else.
await Promise.all(['express', 'fastify', 'hono'].map((name) => import(`@hallpass/guard/${name}`)));

const issuer = process.env.ISSUER;
const listener = protect(makeGuard(issuer), policy, (_request, response, { client, values }) => {
  response.end(JSON.stringify({ client: client.clientId, accountID: values.accountID }));
});
const server = createServer(async (request, response) => {
  if (request.url === '/runtime') return response.end(`Node.js/${process.versions.node}`);
  if (request.url === '/token') return response.end(await createToken(issuer));
  listener(request, response);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

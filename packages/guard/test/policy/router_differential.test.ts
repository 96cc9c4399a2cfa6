/**
 * The policy against the routers of the frameworks, request by request, through the adapters and real sockets: what the
 * guard has decided on has to be the route that the framework runs, with the values that it decodes. Or nothing runs.
 */
import assert from 'node:assert/strict';
import { Agent, request as send } from 'node:http';
import { after, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import {
  onExpress,
  onFastify,
  onHono,
  onMountedExpress,
  policy,
  ROUTES,
  type App,
  type Run,
} from './differing_routers.ts';
import { openBench } from '../harness.ts';
import { oddRequests, type Asked } from './odd_requests.ts';
import { caseCount } from '../../../../testing/case_count.ts';

const REQUESTS = caseCount(800);
const requests = oddRequests(ROUTES, REQUESTS);

const { issuer, guard } = await openBench();
const authorization = `Bearer ${await issuer.token({ scope: '/all.read' })}`;
const agent = new Agent({ keepAlive: true, maxSockets: 16 });
after(() => agent.destroy());

/** Sends a request as it is. What comes back is of no interest, a connection that breaks off neither. */
function ask(port: number, asked: Asked, name: string): Promise<void> {
  const headers = { authorization, 'x-case': name };
  return new Promise((resolve) => {
    const request = send({ host: '127.0.0.1', port, agent, ...asked, headers }, (response) => {
      response.resume().on('close', resolve);
    });
    // The server may have closed a socket while we were about to use it again: then the request has not been read.
    request.on('error', () => resolve(request.reusedSocket ? ask(port, asked, name) : undefined)).end();
  });
}

/** All that ran for all the requests, each with what was asked. */
async function runAll(app: App, asked: readonly Asked[] = requests): Promise<readonly (Run & Asked)[]> {
  const runs: (Run & Asked)[] = [];
  const port = await app(guard, (name, run) => {
    const request = asked[Number(name)];
    assert.ok(request !== undefined);
    runs.push({ ...run, ...request });
  });
  const numbered = asked.entries();
  // As many at a time as there are sockets; each takes the next that nobody has.
  const worker = async (): Promise<void> => {
    for (const [index, request] of numbered) await ask(port, request, String(index));
  };
  await Promise.all(Array.from({ length: agent.maxSockets }, worker));
  return runs;
}

/** Those in which guard and framework were not of one mind. */
function disagreements(runs: readonly (Run & Asked)[]): readonly (Run & Asked)[] {
  return runs.filter(
    ({ allowed, route, params }) => allowed.route !== route || !isDeepStrictEqual({ ...allowed.values }, { ...params }),
  );
}

const LAX = {
  caseSensitive: false,
  ignoreTrailingSlash: true,
  ignoreDuplicateSlashes: true,
  useSemicolonDelimiter: true,
};

const APPS: Readonly<Record<string, App>> = {
  'Express with case and slashes taken seriously': onExpress({ caseSensitive: true, strict: true }),
  'Fastify as it comes': onFastify(),
  'Fastify at its laxest but for case': onFastify({ ...LAX, caseSensitive: true }),
  'Hono as it comes': onHono(),
  'Hono at its laxest': onHono({ strict: false }),
  // To these `/accounts/MINE` is `/accounts/mine`; to the policy it is nothing at all.
  'Express as it comes': onExpress(),
  'Express in parts': onMountedExpress(),
  'Fastify at its laxest': onFastify(LAX),
};

/** Or nothing would have been shown: a good part of the requests is opened, and every route is among them. */
function assertTelling(runs: readonly Run[]): void {
  assert.ok(runs.length > REQUESTS / 4 && runs.length < REQUESTS / 1.5, `${runs.length} of ${REQUESTS} ran`);
  assert.deepEqual(new Set(runs.map(({ route }) => route)), new Set(ROUTES));
}

for (const [name, app] of Object.entries(APPS)) {
  test(`${name}: the handler that runs is the route that was checked, with the same values, in ${REQUESTS} requests`, async () => {
    const runs = await runAll(app);
    assert.deepEqual(disagreements(runs), []);
    assertTelling(runs);
  });
}

test('every framework serves what the policy opens', async () => {
  // An origin in capitals is none to Fastify, which answers 404.
  const open = requests.filter(
    ({ method, path }) => !path.startsWith('HTTP:') && 'route' in policy.match(method, path),
  );
  for (const [name, app] of Object.entries(APPS)) {
    const served = new Set((await runAll(app, open)).map(({ path }) => path));
    assert.deepEqual(
      open.filter(({ path }) => !served.has(path)),
      [],
      name,
    );
  }
});

test('the comparison notices a router that prefers parameters to literals', async () => {
  const found = disagreements(await runAll(onExpress({ routes: ROUTES.toReversed() })));
  assert.ok(found.length > REQUESTS / 40, `${found.length}`);
});

test('the comparison notices a guard that sees a cleaner path than the router', async () => {
  const tidy = onExpress({
    before: (request, _response, next) => {
      request.originalUrl = request.originalUrl.replace(/(?<=.)\/$/, '').replaceAll('%25', '');
      next();
    },
  });
  assert.ok(disagreements(await runAll(tidy)).length > REQUESTS / 400);
});

/** What must hold behind the guard in every framework, on real sockets. */
import { compilePolicy, type Guard, type Policy, type RouteAccess } from '@hallpass/guard';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bearer, guardOf, openBench, words } from '../harness.ts';
import { API, NOW_SECONDS } from '../issuer.ts';
import { Prover } from '../prover.ts';
import { send, type WireAnswer } from '../wire.ts';

export const policy = compilePolicy({
  'GET /accounts': '/accounts.read',
  'HEAD /accounts': '/accounts.read',
  'OPTIONS /accounts': '/accounts.read',
  'POST /accounts': '/accounts.write',
  'GET /accounts/mine': '/mine.read',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
  'DELETE /accounts/{accountID}': '/accounts/{accountID}.write',
  'GET /v1/accounts/{accountID}/transfers/{id}': '/accounts/{accountID}/transfers.read',
  'GET /nobody-home': '/accounts.read',
});
export type Routes = typeof policy extends Policy<infer Route> ? Route : never;

/** The response of every handler, in any framework. */
export type Reply = (access: RouteAccess<Routes>) => Promise<string>;

/**
 * `sound`: the guard before the routes, literals before parameters, and the transfers mounted at `/v1`. `crossed`:
 * wrongly, the parameter before the literal. `open`: the guard isn't registered.
 */
export type Build = 'sound' | 'crossed' | 'open';

export interface Framework {
  readonly name: string;
  /** Starts an app with every route but `/nobody-home`, and returns its port. */
  readonly serve: (guard: Guard, reply: Reply, build: Build) => Promise<number>;
  /** Whether dot segments reach the guard, or are resolved earlier, as in a web `Request`. */
  readonly dotSegments: 'kept' | 'resolved';
  /** Whether it has a router and answers for errors itself. Default: true; `node:http` and plain web handlers don't. */
  readonly hasRouter?: boolean;
}

const SCOPES = '/accounts.read /accounts/a1.read /accounts/a1/transfers.read';
const { issuer, guard } = await openBench();
const token = await issuer.token({ scope: SCOPES });
const AUTHORIZED = `Authorization: Bearer ${token}`;

/** An app that records each handler that runs. */
async function open(
  { serve }: Framework,
  build: Build = 'sound',
  by: Guard = guard,
): Promise<{
  readonly ran: RouteAccess<Routes>[];
  readonly port: number;
  readonly ask: (requestLine: string, ...fields: readonly string[]) => Promise<WireAnswer>;
}> {
  const ran: RouteAccess<Routes>[] = [];
  const reply = async (access: RouteAccess<Routes>): Promise<string> => {
    ran.push(access);
    await new Promise((resolve) => setImmediate(resolve));
    if ('id' in access.values && access.values.id === 'failing') throw new Error('as the test wants it');
    return `${access.route} ${JSON.stringify(access.values)}`;
  };
  const port = await serve(by, reply, build);
  return { ran, port, ask: (requestLine, ...fields) => send(port, requestLine, ...fields) };
}

/** Attempts to reach account a2, or `mine`, with a token for a1 only. */
const TRESPASSES = words(String.raw`
  /accounts/a2 /accounts/mine /accounts/a1/../a2 /accounts/./a2 /accounts/a1/..%2fa2 /accounts/a1%2f..%2fa2
  /accounts/a1%2F%2E%2E%2Fa2 /accounts/a1/%2e%2e/a2 /accounts/a1%2f%252e%252e%2fa2 /accounts/a1%5c..%5ca2
  /accounts/a1\..\a2 /accounts/a1/..;/a2 /accounts/a1;/../a2 /accounts/a2;a1 /accounts/a2?accountID=a1
  /accounts/a2?/../a1 /accounts/a2#/../a1 /accounts/a2%00a1 /accounts/a2%0a /accounts/%61%32 /accounts/%EF%BD%812
  /accounts/à /accounts/a1%20 /accounts/A1 /ACCOUNTS/a2 /accounts/Mine /accounts/mine/ //accounts/a2
  /x//../accounts/a2 /accounts//a2 /accounts/a2/ /accounts/a2// /v1/accounts/a1/transfers/../../a2/transfers/1
  /V1/accounts/a2/transfers/1 /v1/accounts/a2/transfers/1 http://api.example.com/accounts/a2
  http://evil.example/accounts/a2 http://evil.example//accounts/a2 http://evil.example?/accounts/a2
  http://evil.example * accounts/a2
`);

/** Other spellings of allowed paths: refused too, because not every parser reads them as we do. */
const DISGUISES = words(`
  /Accounts/a1 /accounts/a1/ /accounts//a1 //accounts/a1 /accounts/a1;v=1 /accounts/%611 /%61ccounts/a1
  /accounts%2fa1 /V1/accounts/a1/transfers/1 /v1/accounts/a1/transfers/1/
`);
/** A web `Request` hides these. */
const DOT_SEGMENTS = ['/accounts/./a1', '/accounts/x/../a1', '/accounts/x/%2e%2e/a1', '/accounts/a2%3f/../a1'];

/** Registers the tests; each framework's file calls this once, before its own tests. */
export function describeFramework(framework: Framework): void {
  const { name, dotSegments, hasRouter = true } = framework;

  test(`${name}: the handler gets the caller, the route and the values`, async () => {
    const { ran, ask } = await open(framework);
    assert.equal((await ask('GET /accounts', AUTHORIZED)).body, 'GET /accounts {}');
    assert.equal(
      (await ask('GET /accounts/a1?accountID=a2', AUTHORIZED)).body,
      'GET /accounts/{accountID} {"accountID":"a1"}',
    );
    const mounted = await ask('GET /v1/accounts/a1/transfers/%C3%A9%20', AUTHORIZED);
    assert.equal(mounted.status, 200);
    assert.deepEqual(
      ran.map(({ route, client, values }) => [route, client.clientId, values]),
      [
        ['GET /accounts', 'client-1', {}],
        ['GET /accounts/{accountID}', 'client-1', { accountID: 'a1' }],
        ['GET /v1/accounts/{accountID}/transfers/{id}', 'client-1', { accountID: 'a1', id: 'é ' }],
      ],
    );
  });

  test(`${name}: a refused request reaches no handler and gets the response of RFC 6750 §3 unchanged`, async () => {
    const { ran, ask } = await open(framework);
    const refused = [
      [401, 'GET /accounts', ''],
      [401, 'GET /accounts', 'Authorization: Bearer abc'],
      [400, 'GET /accounts', 'Authorization: Bearer'],
      [401, 'GET /accounts', 'Authorization: Basic YTpi'],
      [401, 'GET /nowhere', ''],
      [403, 'GET /nowhere', AUTHORIZED],
      [403, 'GET /accounts/a1/nowhere', AUTHORIZED],
      [403, 'GET /accounts/a2', AUTHORIZED],
      [403, 'DELETE /accounts/a1', AUTHORIZED],
      [403, 'PROPFIND /accounts', AUTHORIZED],
      [400, 'GET /accounts/a1%2f', AUTHORIZED],
    ] as const;
    for (const [status, line, field] of refused) {
      const answer = await ask(line, ...(field === '' ? [] : [field]));
      assert.equal(answer.status, status, `${line} ${field.slice(0, 24)}`);
      assert.equal(answer.headers.get('content-type'), 'application/json');
      assert.equal(answer.headers.get('cache-control'), 'no-store');
      assert.equal(answer.headers.get('etag'), undefined);
      if (!line.includes('%')) assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer realm=/);
      const body: unknown = JSON.parse(answer.body);
      assert.ok(typeof body === 'object' && body !== null);
      assert.deepEqual(Object.keys(body).slice(0, 2), ['error', 'error_description']);
    }
    assert.deepEqual(ran, []);
    assert.equal((await ask('GET /accounts', AUTHORIZED)).status, 200);
    assert.equal(ran.length, 1);
  });

  test(`${name}: HEAD, OPTIONS and POST are routes like any other`, async () => {
    const { ran, ask } = await open(framework);
    const head = await ask('HEAD /accounts', AUTHORIZED);
    assert.deepEqual([head.status, head.body], [200, '']);
    assert.equal((await ask('OPTIONS /accounts', AUTHORIZED)).status, 200);
    assert.deepEqual(
      ran.map(({ route }) => route),
      ['HEAD /accounts', 'OPTIONS /accounts'],
    );
    // Frameworks answer HEAD with the GET handler, but the policy doesn't list it.
    const closed = await ask('HEAD /accounts/a1', AUTHORIZED);
    assert.deepEqual([closed.status, closed.body], [403, '']);
    assert.equal((await ask('OPTIONS /accounts/a1', AUTHORIZED)).status, 403);
    assert.equal((await ask('HEAD /accounts')).status, 401);
    const form = ['Content-Type: application/json', 'Content-Length: 2', '', '{}'];
    assert.equal((await ask('POST /accounts', AUTHORIZED, ...form)).status, 403);
    assert.equal(ran.length, 2);
    const writer = `Authorization: Bearer ${await issuer.token({ scope: '/accounts.write' })}`;
    assert.equal((await ask('POST /accounts', writer, ...form)).body, 'POST /accounts {}');
  });

  test(`${name}: of two Authorization headers, neither counts`, async () => {
    const { ran, ask } = await open(framework);
    const other = 'Authorization: Bearer abc';
    for (const fields of [
      [AUTHORIZED, other],
      [other, AUTHORIZED],
      [AUTHORIZED, AUTHORIZED],
      [`${AUTHORIZED}, Bearer abc`],
      [AUTHORIZED, 'authorization: Basic YTpi'],
    ]) {
      assert.equal((await ask('GET /accounts', ...fields)).status, 400);
    }
    assert.deepEqual(ran, []);
  });

  test(`${name}: no spelling of a path allows what the token doesn't`, async () => {
    const { ran, ask } = await open(framework);
    for (const path of TRESPASSES) {
      const { status } = await ask(`GET ${path}`, AUTHORIZED);
      assert.ok(status === 400 || status === 403, `${path}: ${status}`);
    }
    for (const path of [...DISGUISES, ...(dotSegments === 'kept' ? DOT_SEGMENTS : [])]) {
      const { status } = await ask(`GET ${path}`, AUTHORIZED);
      assert.ok(status === 400 || status === 403, `${path}: ${status}`);
    }
    assert.deepEqual(ran, []);
    for (const path of dotSegments === 'resolved' ? DOT_SEGMENTS : []) {
      assert.match((await ask(`GET ${path}`, AUTHORIZED)).body, /"a1"/, path);
    }
  });

  test(`${name}: only the path of an absolute request target counts, whatever its origin (RFC 9112 §3.2.2)`, async () => {
    const { ask } = await open(framework);
    const { status, body } = await ask('GET http://evil.example/accounts/a1', AUTHORIZED);
    assert.deepEqual([status, body], [200, 'GET /accounts/{accountID} {"accountID":"a1"}']);
  });

  test(`${name}: a request that the app might read differently is 400: an override, a look-alike of the identity`, async () => {
    const { ran, ask } = await open(framework);
    for (const field of ['X-HTTP-Method-Override: DELETE', 'x_original_url:', 'X_Hallpass_Client: me']) {
      assert.equal((await ask('GET /accounts/a1', AUTHORIZED, field)).status, 400, field);
    }
    assert.equal((await ask('GET /accounts/a1?_method=DELETE', AUTHORIZED)).status, 400);
    assert.deepEqual(ran, []);
    assert.equal((await ask('GET /accounts/a1', AUTHORIZED, 'X-Hallpass-Client: me')).status, 200);
    const passing = await open(framework, 'sound', guardOf(issuer, { passOverrides: ['x-http-method'] }).guard);
    assert.equal((await passing.ask('GET /accounts/a1', AUTHORIZED, 'X-HTTP-Method: DELETE')).status, 200);
    assert.equal((await passing.ask('GET /accounts/a1', AUTHORIZED, 'X_HTTP_Method: DELETE')).status, 400);
    for (const { client, route } of [...ran, ...passing.ran]) {
      assert.deepEqual([client.clientId, route], ['client-1', 'GET /accounts/{accountID}']);
    }
  });

  test(`${name}: two Host headers are 400, whatever they say (RFC 9112 §3.2)`, async () => {
    const { ran, ask } = await open(framework);
    // The first one is always sent.
    for (const field of ['Host: other.example.com', 'host: api.example.com', 'HOST:']) {
      assert.equal((await ask('GET /accounts/a1', AUTHORIZED, field)).status, 400, field);
    }
    assert.deepEqual(ran, []);
    assert.equal((await ask('GET /accounts/a1', AUTHORIZED, 'X-Forwarded-Host: other.example.com')).status, 200);
  });

  test(`${name}: anyone can read the metadata, at its own path only (RFC 9728 §3.1)`, async () => {
    const described = guardOf(issuer, { resourceMetadata: true }).guard;
    const { ask } = await open(framework, 'sound', described);
    const answer = await ask(`GET ${String(described.metadataPath)}?x=1`);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/json');
    assert.equal(answer.headers.get('access-control-allow-origin'), '*');
    assert.deepEqual(JSON.parse(answer.body), described.metadata(policy));
    assert.equal((await ask(`POST ${String(described.metadataPath)}`)).status, 401);
    assert.equal((await (await open(framework)).ask(`GET ${String(described.metadataPath)}`)).status, 401);
  });

  test(`${name}: a new nonce is added to every response (RFC 9449 §8.2)`, async () => {
    const { guard: asking, clock } = guardOf(issuer, { publicURL: API, dpopNonces: true, maxStalenessSeconds: 3_600 });
    const { ask, ran } = await open(framework, 'sound', asking);
    const prover = new Prover();
    const bound = await issuer.token({ scope: SCOPES, cnf: { jkt: prover.jkt } });
    const prove = (path: string, claims: object = {}): readonly string[] => [
      `Authorization: DPoP ${bound}`,
      `DPoP: ${prover.prove(bound, { htu: API + path, ...claims })}`,
    ];
    const nonce = (await ask('GET /accounts', ...prove('/accounts'))).headers.get('dpop-nonce');
    assert.match(nonce ?? '', /^[\w-]{22}$/);
    clock.advance(60);
    const iat = NOW_SECONDS + 60;
    const failing = '/v1/accounts/a1/transfers/failing';
    for (const [status, path] of [
      [200, '/accounts'],
      [403, '/accounts/a2'],
      ...(hasRouter
        ? ([
            [500, failing],
            [404, '/nobody-home'],
          ] as const)
        : []),
    ] as const) {
      const answer = await ask(`GET ${path}`, ...prove(path, { nonce, iat }));
      assert.equal(answer.status, status);
      const fresh = answer.headers.get('dpop-nonce');
      assert.match(fresh ?? '', /^[\w-]{22}$/, path);
      assert.notEqual(fresh, nonce);
      assert.equal(answer.headers.get('cache-control'), 'no-store');
    }
    assert.equal(ran.length, hasRouter ? 2 : 1);
    const [authorization = '', proof = ''] = prove('/accounts', { nonce, iat });
    assert.equal((await ask('GET /accounts', authorization, proof, proof)).status, 401);
    assert.equal((await ask('GET /accounts', authorization, proof)).status, 200);
    assert.equal((await ask('GET /accounts', authorization, proof)).status, 401);
  });

  test(`${name}: a revoked token is refused at the next request`, async () => {
    const { ran, ask } = await open(framework);
    const { jti, ...claims } = issuer.claims();
    const authorized = bearer(await issuer.token({ ...claims, jti })).headers.authorization;
    assert.equal((await ask('GET /accounts', `Authorization: ${authorized}`)).status, 200);
    const held = guard.health().revocations;
    issuer.revoke({ kind: 'token', id: String(jti) });
    while (guard.health().revocations === held) await new Promise((resolve) => setImmediate(resolve));
    assert.equal((await ask('GET /accounts', `Authorization: ${authorized}`)).status, 401);
    assert.equal(ran.length, 1);
  });

  if (hasRouter) describeRouter(framework);
}

function describeRouter(framework: Framework): void {
  const { name } = framework;

  test(`${name}: a route that the policy allows and the app lacks is a 404 from the app`, async () => {
    const { ran, ask } = await open(framework);
    assert.equal((await ask('GET /nobody-home', AUTHORIZED)).status, 404);
    assert.equal((await ask('GET /nobody-home')).status, 401);
    assert.deepEqual(ran, []);
  });

  test(`${name}: the framework answers for a failing handler (500)`, async () => {
    const { ran, ask } = await open(framework);
    assert.equal((await ask('GET /v1/accounts/a1/transfers/failing', AUTHORIZED)).status, 500);
    assert.equal((await ask('GET /v1/accounts/a1/transfers/1', AUTHORIZED)).status, 200);
    assert.equal(ran.length, 2);
  });

  test(`${name}: a handler doesn't run on a decision about another route, even if the router picks it`, async () => {
    const { ran, ask } = await open(framework, 'crossed');
    const mine = `Authorization: Bearer ${await issuer.token({ scope: '/mine.read /accounts/a1.read' })}`;
    const { status, body } = await ask('GET /accounts/mine', mine);
    assert.equal(status, 500, body);
    assert.deepEqual(ran, []);
    assert.equal((await ask('GET /accounts/a1', mine)).status, 200);
    assert.equal((await (await open(framework)).ask('GET /accounts/mine', mine)).body, 'GET /accounts/mine {}');
  });

  test(`${name}: a handler doesn't run if the guard was never registered`, async () => {
    const { ran, ask } = await open(framework, 'open');
    assert.equal((await ask('GET /accounts', AUTHORIZED)).status, 500);
    assert.deepEqual(ran, []);
  });
}

/** `hallpass guard` behind a real nginx, in front of an API that knows nothing of tokens, with a real Hallpass. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as send, type IncomingHttpHeaders } from 'node:http';
import { connect, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort } from '../testing/process/free_port.ts';
import { createKey, makeDataDir, mustRun, startHallpass, type Credentials } from '../testing/process/process.ts';
import { findNginx, NO_NGINX } from './nginx.ts';

const AUDIENCE = 'https://api.example.com';
const BIN = fileURLToPath(new URL('../packages/server/bin/hallpass.js', import.meta.url));
const HEARD_MS_MAX = 30_000;
const POLICY = {
  'GET /accounts': '/accounts.read',
  'POST /accounts': '/accounts.write',
  'GET /accounts/{accountID}': '/accounts/{accountID}.read',
  'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read',
};
const SCOPES = Object.values(POLICY).flatMap((scope) => ['--scope', scope]);

/** What the API got. */
interface Seen {
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly event: 'request' | 'upgrade';
}

interface World {
  readonly nginx: number;
  /** The port of the nginx whose lines for WebSockets are in force. */
  readonly sockets: number;
  readonly hallpass: string;
  readonly partner: Credentials;
  readonly seen: Seen[];
  readonly stopGuard: () => Promise<void>;
}

async function portOf(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // oxlint-disable-next-line no-unsafe-type-assertion -- it listens on a port
  return (server.address() as AddressInfo).port;
}

async function openWorld(t: TestContext, nginx: string): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'hallpass-nginx-'));
  const { dataDir, remove } = makeDataDir();
  // In the opposite order.
  const closers: (() => unknown)[] = [remove, () => rmSync(folder, { recursive: true, force: true })];
  t.after(async () => {
    for (const close of closers.toReversed()) await close();
  });
  const partner = await createKey(dataDir, ['Partner', ...SCOPES, '--audience', AUDIENCE]);
  const own = await createKey(dataDir, ['API', '--resource-server', AUDIENCE]);
  const hallpass = await startHallpass(dataDir);
  closers.push(() => hallpass.stop());

  const seen: Seen[] = [];
  const api = createServer((request, response) => {
    seen.push({ target: request.url ?? '', headers: request.headers, event: 'request' });
    response.end('the API');
  });
  // It takes any upgrade at all, from anybody.
  api.on('upgrade', ({ url: target = '', headers }, socket) => {
    seen.push({ target, headers, event: 'upgrade' });
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${headers.upgrade ?? ''}\r\n\r\n`);
  });
  const apiPort = await portOf(api);
  closers.push(() => {
    api.closeAllConnections();
    api.close();
  });

  const policy = join(folder, 'policy.json');
  writeFileSync(policy, JSON.stringify(POLICY));
  const [guardPort, nginxPort, socketsPort] = [await freePort(), await freePort(), await freePort()];
  const words = ['--policy', policy, '--audience', AUDIENCE, '--listen', `127.0.0.1:${guardPort}`];
  const environment = {
    PATH: process.env['PATH'],
    HALLPASS_ISSUER: hallpass.issuer,
    HALLPASS_GUARD_CLIENT_ID: own.clientId,
    HALLPASS_GUARD_CLIENT_SECRET: own.clientSecret,
  };
  const args = [BIN, 'guard', ...words, '--side', '127.0.0.1:0', '--max-staleness', '3'];
  // More than is printed for nginx, so that what nginx drops by itself is seen.
  args.push('--pass-override', 'x-rewrite-url');
  const guard = spawn(process.execPath, args, { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  closers.push(() => guard.kill('SIGKILL'));
  let said = '';
  await new Promise<void>((resolve, reject) => {
    guard.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('metadata on')) resolve();
    });
    guard.once('exit', (code) => reject(new Error(`hallpass guard ended with ${code}: ${said}`)));
  });

  const printed = await mustRun(dataDir, ['guard', ...words, '--print-config']);
  const serverAt = (port: number, text: string): string =>
    text.replace(
      'listen 80;',
      `listen 127.0.0.1:${port};\n  error_page 500 502 503 504 =200 /sorry;\n  location = /sorry { return 200; }`,
    );
  const plain = printed.replace('server 127.0.0.1:8000;', `server 127.0.0.1:${apiPort};`);
  const withSockets = printed.replaceAll('# websocket: ', '').replace(/^upstream .*$/m, '');
  const server = serverAt(nginxPort, plain) + serverAt(socketsPort, withSockets);
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off;\nmaster_process off;\npid ${folder}/nginx.pid;\nerror_log ${folder}/error.log;\nevents {}\nhttp {\n` +
      `access_log off;\nclient_body_temp_path ${folder}/body;\nproxy_temp_path ${folder}/proxy;\n` +
      `fastcgi_temp_path ${folder}/fastcgi;\nuwsgi_temp_path ${folder}/uwsgi;\nscgi_temp_path ${folder}/scgi;\n` +
      `${server}\n}\n`,
  );
  const front = spawn(nginx, ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' });
  closers.push(async () => {
    if (front.exitCode !== null) return;
    const ended = once(front, 'exit');
    front.kill('SIGKILL');
    await ended;
  });
  await reachable(nginxPort);
  const stopGuard = async (): Promise<void> => {
    const ended = once(guard, 'exit');
    guard.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  };
  return { nginx: nginxPort, sockets: socketsPort, hallpass: hallpass.url, partner, seen, stopGuard };
}

async function reachable(port: number): Promise<void> {
  for (const end = performance.now() + HEARD_MS_MAX; ;) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isOpen) return;
    assert.ok(performance.now() < end, 'nginx listens');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A request whose target is sent as it is written. */
function ask(
  { nginx }: World,
  path: string,
  headers: Readonly<Record<string, string | readonly string[]>> = {},
  method = 'GET',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fields = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : [...value]]),
    );
    const options = { host: '127.0.0.1', port: nginx, path, method, headers: fields, agent: false };
    const request = send(options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    request.on('upgrade', ({ statusCode = 0, headers: got }, socket) => {
      socket.destroy();
      resolve({ status: statusCode, headers: got, body: '' });
    });
    request.on('error', reject).end();
  });
}

async function tokenFor({ hallpass, partner }: World, scope: string): Promise<string> {
  const answer = await post(hallpass, partner, '/oauth2/token', {
    grant_type: 'client_credentials',
    scope,
    resource: AUDIENCE,
  });
  const tokens: Readonly<Record<string, unknown>> = await answer.json();
  return String(tokens['access_token']);
}

function post(url: string, key: Credentials, path: string, form: Readonly<Record<string, string>>): Promise<Response> {
  const authorization = `Basic ${Buffer.from(`${key.clientId}:${key.clientSecret}`).toString('base64')}`;
  return fetch(url + path, { method: 'POST', headers: { authorization }, body: new URLSearchParams(form) });
}

suite('an API behind nginx and hallpass guard', () => {
  test(
    'gets what is allowed, with who asked; everything else is refused in the words of the guard',
    { timeout: 240_000 },
    async (t) => {
      const nginx = findNginx();
      if (nginx === undefined) return t.skip(NO_NGINX);
      const world = await openWorld(t, nginx);
      const token = await tokenFor(world, '/accounts/a1/transfers.read /accounts/a1.read');
      const authorization = `Bearer ${token}`;
      const { seen, partner } = world;

      await t.test('allowed: the same target, and the identity in the place of what a client claims', async () => {
        const target = '/accounts/a1/transfers?limit=10&x=%2F';
        const claimed = {
          'x-hallpass-client': 'somebody',
          'X-Hallpass-Parameters': 'accountID=a2',
          x_hallpass_client: 'me',
          // A proxy takes off what this names (RFC 9110 §7.6.1).
          connection: 'close, X-Hallpass-Client',
        };
        const answer = await ask(world, target, { authorization, ...claimed });
        assert.equal(answer.status, 200, answer.body);
        const [got] = seen.splice(0);
        assert.equal(got?.target, target);
        assert.equal(got?.headers['x-hallpass-client'], partner.clientId);
        assert.equal(got?.headers['x-hallpass-parameters'], 'accountID=a1');
        assert.equal(got?.headers['x-hallpass-route'], 'GET /accounts/{accountID}/transfers');
        assert.equal(got?.headers['x_hallpass_client'], undefined);
      });

      await t.test(
        'refused: 401 with a challenge, 403 with the scope that is missing, 400, as they are without a proxy',
        async () => {
          const none = await ask(world, '/accounts/a1');
          assert.equal(none.status, 401);
          assert.match(none.headers['www-authenticate'] ?? '', /^Bearer realm="https:\/\/api\.example\.com"$/);
          assert.match(none.body, /"error":"invalid_token"/);
          const lacking = await ask(world, '/accounts/a2', { authorization });
          assert.equal(lacking.status, 403);
          assert.match(
            lacking.headers['www-authenticate'] ?? '',
            /error="insufficient_scope".*scope="\/accounts\/a2\.read"/,
          );
          assert.match(lacking.body, /"scope":"\/accounts\/a2\.read"/);
          assert.match(lacking.headers['content-type'] ?? '', /^application\/json/);
          assert.equal((await ask(world, '/nowhere', { authorization })).status, 403);
          assert.equal((await ask(world, '/accounts/a1', { authorization: 'Bearer' })).status, 400);
          assert.equal((await ask(world, '/accounts', { authorization }, 'POST')).status, 403);
          assert.deepEqual(seen.splice(0), []);
        },
      );

      await t.test('no trick with the path, the method or the fields of the proxy gets anything through', async () => {
        for (const path of [
          '/accounts/a2/../a1',
          '/accounts/a1/../a2',
          '//accounts/a1',
          '/accounts//a1',
          '/accounts/%2e%2e/accounts/a1',
          '/accounts/a1%2ftransfers',
          '/accounts/a1;x=1',
          '/accounts/a1/',
          '/accounts/%61%31',
          '/Accounts/a1',
          '/_hallpass',
          '/accounts/a1/transfers/../../a2',
          '/accounts/a1\\..\\a2',
          '/accounts/a1%00',
        ]) {
          const answer = await ask(world, path, { authorization });
          assert.ok([400, 403, 404].includes(answer.status), `${path}: ${answer.status}`);
        }
        for (const spoof of [
          { 'x-original-uri': '/accounts/a1' },
          { 'X-Original-URI': '/accounts/a1', 'X-Original-Method': 'GET' },
          { 'x-forwarded-uri': '/accounts/a1' },
          { 'x-rewrite-url': '/accounts/a1' },
        ]) {
          assert.equal((await ask(world, '/accounts/a2', { authorization, ...spoof })).status, 403);
          assert.equal((await ask(world, '/accounts/a2', spoof)).status, 401);
        }
        const other = await tokenFor(world, '/accounts/a2.read');
        const two = await ask(world, '/accounts/a2', { authorization: [authorization, `Bearer ${other}`] });
        assert.notEqual(two.status, 200, 'two tokens at once');
        assert.deepEqual(seen.splice(0), []);
      });

      await t.test('an override is refused, and does not reach the API where the guard lets it pass', async () => {
        for (const name of ['X-HTTP-Method-Override', 'x-http-method', 'X-Method-Override', 'X-Original-URL']) {
          const answer = await ask(world, '/accounts/a1', { authorization, [name]: 'DELETE' });
          assert.equal(answer.status, 400, name);
          assert.match(answer.body, /"error":"invalid_request".*Remove this: x-/);
        }
        assert.equal((await ask(world, '/accounts/a1?_method=DELETE', { authorization })).status, 400);
        assert.deepEqual(seen.splice(0), []);
        // nginx drops what CGI would take for one, and what an application behind it does not expect.
        const dropped = {
          'X-Rewrite-URL': '/a2',
          x_http_method: 'DELETE',
          'x.http.method': 'DELETE',
          'x-other': 'kept',
        };
        assert.equal((await ask(world, '/accounts/a1', { authorization, ...dropped })).status, 200);
        const [got] = seen.splice(0);
        assert.deepEqual(
          Object.keys(got?.headers ?? {}).filter((name) => /^x.(?:http|rewrite|other)/.test(name)),
          ['x-other'],
        );
      });

      await t.test('an upgrade is guarded as a request is, and none but a WebSocket passes', async () => {
        const sockets = { ...world, nginx: world.sockets };
        const websocket = { connection: 'Upgrade', upgrade: 'websocket' };
        assert.equal((await ask(sockets, '/accounts/a1', websocket)).status, 401);
        assert.equal((await ask(sockets, '/accounts/a2', { authorization, ...websocket })).status, 403);
        assert.deepEqual(seen.splice(0), []);
        assert.equal((await ask(sockets, '/accounts/a1', { authorization, ...websocket })).status, 101);
        const [upgraded] = seen.splice(0);
        assert.deepEqual([upgraded?.event, upgraded?.headers.upgrade], ['upgrade', 'websocket']);
        assert.equal(upgraded?.headers['x-hallpass-client'], partner.clientId);
        const h2c = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': '' };
        for (const [where, fields] of [
          [sockets, h2c],
          [sockets, { connection: 'Upgrade', upgrade: 'websocket, h2c' }],
          [sockets, {}],
          // As it is printed.
          [world, h2c],
          [world, websocket],
        ] as const) {
          assert.equal((await ask(where, '/accounts/a1', { authorization, ...fields })).status, 200);
          const [plain] = seen.splice(0);
          assert.deepEqual(
            [plain?.event, plain?.headers.upgrade, plain?.headers.connection],
            ['request', undefined, 'close'],
          );
        }
      });

      await t.test('a revoked token is refused in time, and a living one goes on', async () => {
        const living = `Bearer ${await tokenFor(world, '/accounts/a1.read')}`;
        assert.equal((await post(world.hallpass, partner, '/oauth2/revoke', { token })).status, 200);
        for (const end = performance.now() + HEARD_MS_MAX; ;) {
          const { status } = await ask(world, '/accounts/a1', { authorization });
          if (status === 401) break;
          assert.equal(status, 200);
          assert.ok(performance.now() < end, 'refused in time');
        }
        assert.equal((await ask(world, '/accounts/a1', { authorization: living })).status, 200);
        seen.splice(0);
      });

      await t.test('without its guard the API is closed', async () => {
        const living = `Bearer ${await tokenFor(world, '/accounts/a1.read')}`;
        await world.stopGuard();
        assert.equal((await ask(world, '/accounts/a1', { authorization: living })).status, 500);
        assert.deepEqual(seen, []);
      });
    },
  );
});

/** The commands `hallpass guard` and `hallpass explain`. The guard's own tests cover its decisions. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import {
  makeFolder,
  serveGuard,
  serve,
  startCommand,
  startRunning,
  type Done,
  type Environment,
  type Running,
} from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { basicOf, exchangeRaw, until, type Key } from '../../../../testing/server/server.ts';

const API = 'https://api.example.com';
const ROUTES = {
  'GET /accounts': '/accounts.read',
  'GET /accounts/{accountID}/transfers': '/accounts/{accountID}/transfers.read',
};

/** Ends a connection that would be kept. */
const LAST = 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

type Document = Readonly<Record<string, unknown>>;

function policyFile(t: TestContext, routes: object = ROUTES): string {
  const file = join(makeFolder(t), 'policy.json');
  writeFileSync(file, JSON.stringify(routes));
  return file;
}

async function makeKey(on: Environment, ...words: readonly string[]): Promise<Key> {
  const { code, stdout, stderr } = await runCommand(['keys', 'create', ...words, '--json'], on);
  assert.equal(code, 0, stderr);
  const made: Document = JSON.parse(stdout);
  return { clientId: String(made['client_id']), clientSecret: String(made['client_secret']) };
}

async function post(at: Running, key: Key, path: string, form: Readonly<Record<string, string>>): Promise<Document> {
  const headers = { authorization: basicOf(key) };
  const answer = await fetch(at.url + path, { method: 'POST', headers, body: new URLSearchParams(form) });
  const body: Document = await answer.json();
  return body;
}

/** Nothing of a command's own output may hold the token. */
function assertUntold({ stdout, stderr }: Done, token: string): void {
  const [, payload = '', signature = ''] = token.split('.');
  for (const part of [payload, signature]) assert.ok(!`${stdout}${stderr}`.includes(part));
}

suite('hallpass explain', () => {
  test("predicts the guard's decision, with the missing scope and what to do", async (t) => {
    const server = await serve(t);
    const on = server.environment;
    const partner = await makeKey(
      on,
      'Partner',
      '--scope',
      ROUTES['GET /accounts/{accountID}/transfers'],
      '--audience',
      API,
    );
    const own = await makeKey(on, 'API', '--resource-server', API);
    const scope = '/accounts/a1/transfers.read';
    const grant = { grant_type: 'client_credentials', scope, resource: API };
    const { access_token: token = '' } = await post(server, partner, '/oauth2/token', grant);
    assert.ok(typeof token === 'string');
    const asking = {
      HALLPASS_ISSUER: server.url,
      HALLPASS_GUARD_CLIENT_ID: own.clientId,
      HALLPASS_GUARD_CLIENT_SECRET: own.clientSecret,
    };
    const options = ['--policy', policyFile(t), '--audience', API];
    const explain = (path: string, environment: Environment = asking, ...more: readonly string[]): Promise<Done> =>
      runCommand(['explain', '-', 'GET', path, ...options, ...more], environment, `${token}\n`);

    const allowed = await explain('/accounts/a1/transfers');
    assert.equal(allowed.code, 0, allowed.stdout + allowed.stderr);
    assert.match(allowed.stdout, /^allowed: The request is allowed\.\n/);
    assert.match(allowed.stdout, /revocation +checked/);
    assertUntold(allowed, token);

    const lacking = await explain('/accounts/a2/transfers');
    assert.equal(lacking.code, 1);
    assert.match(lacking.stdout, /^refused, 403 insufficient_scope: The access token lacks a scope/);
    assert.match(lacking.stdout, /route +GET \/accounts\/\{accountID\}\/transfers\n/);
    assert.match(lacking.stdout, /needs +\/accounts\/a2\/transfers\.read\n/);
    assert.match(
      lacking.stdout,
      new RegExp(`Ask for a token with scope=/accounts/a2/transfers.read.*${partner.clientId}`),
    );
    assertUntold(lacking, token);

    const unasked = { HALLPASS_ISSUER: server.url };
    const json = await explain('/nowhere', unasked, '--json');
    assert.equal(json.code, 1);
    const explained: Document = JSON.parse(json.stdout);
    assert.deepEqual(
      [explained['allowed'], explained['status'], explained['error'], explained['revocation'], explained['client_id']],
      [false, 403, 'insufficient_scope', 'not checked', partner.clientId],
    );
    assert.deepEqual(explained['scopes'], [scope]);
    assertUntold(json, token);

    const elsewhere = await runCommand(
      [
        'explain',
        token,
        'GET',
        '/accounts/a1/transfers',
        '--policy',
        policyFile(t),
        '--audience',
        'https://other.example',
      ],
      unasked,
    );
    assert.equal(elsewhere.code, 1);
    assert.match(elsewhere.stdout, /compare with --issuer and --audience/);
    const overriding = await explain('/accounts/a1/transfers?_method=DELETE');
    assert.match(overriding.stdout, /^refused, 400 .*: _method\n(.*\n)*Leave _method out of the query\.\n$/);
    const address = await explain('/accounts/ada@example.com/transfers');
    assert.match(
      address.stdout,
      /^refused, 403 insufficient_scope: .*a value in it cannot be part of a scope\. A value has/,
    );
    assert.match(address.stdout, /because +bad_value: \{accountID\}\n/);
    assert.match(address.stdout, /\nGive what the path names an id that a scope can hold/);
    assert.doesNotMatch(address.stdout, /none of the policy/);
    const odd = await explain('/accounts/a1/../transfers');
    assert.match(odd.stdout, /^refused, 400 .*\n(.*\n)*Send the path in its plain form: .*\n$/);
    const header = await runCommand(
      ['explain', '-', 'GET', '/accounts/a1/transfers', ...options],
      asking,
      `Bearer ${token}`,
    );
    assert.match(header.stdout, /^refused, 400 .*\n(.*\n)*Give only the token, without Bearer\.\n$/);

    for (const milliseconds of [-3_600_000, 36_000_000]) {
      const set = `const now = Date.now; Date.now = () => now() + ${milliseconds};`;
      const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(set)}`;
      // The clock is set wrong for a process of its own.
      const words = ['explain', '-', 'GET', '/accounts/a1/transfers', ...options];
      const wrong = await startCommand(words, { ...asking, NODE_OPTIONS }, `${token}\n`);
      assert.match(
        wrong.stdout,
        /^refused, 401 invalid_token: The clocks? .*\n(.*\n)*Set the clock of this machine, .*\n$/,
      );
    }

    const other = server.url.replace('127.0.0.1', 'localhost');
    const misnamed = await explain('/accounts/a1/transfers', { ...asking, HALLPASS_ISSUER: other });
    assert.match(misnamed.stdout, /^refused, 503 .*\n(.*\n)*Set --issuer to what the issuer calls itself\.\n$/);
    const within = ['--issuer', server.url, '--issuer-address', other];
    assert.equal((await explain('/accounts/a1/transfers', asking, ...within)).code, 0, 'reached elsewhere');
    await post(server, partner, '/oauth2/revoke', { token });
    const revoked = await explain('/accounts/a1/transfers');
    assert.equal(revoked.code, 1);
    assert.match(revoked.stdout, /^refused, 401 invalid_token: .*\n(.*\n)*Ask for a new token\.\n$/);
    assert.equal((await explain('/accounts/a1/transfers', unasked)).code, 0, 'nobody was asked, and it says so');

    server.child.kill('SIGKILL');
    await server.ended;
    const away = await explain('/accounts/a1/transfers');
    assert.equal(away.code, 1);
    assert.match(away.stdout, /^refused, 503 .*\n(.*\n)*The issuer did not answer/);
  });

  test('refuses an impossible request in a sentence', async (t) => {
    const policy = policyFile(t);
    for (const [words, environment, code, says] of [
      [['explain', 'x', 'GET', '/'], {}, 2, /required option '--policy/],
      [['explain', 'x', 'get', '/', '--policy', policy], {}, 2, /'get' is invalid.* in capitals/],
      [['explain', 'x', 'GET', '/', '--policy', join(makeFolder(t), 'none')], {}, 1, /none/],
      [['explain', 'x', 'GET', '/', '--policy', policyFile(t, { 'GET /a': 'b' })], {}, 1, /GET \/a/],
      [['explain', 'x', 'GET', '/', '--policy', policy, '--issuer', 'http://far.example'], {}, 2, /issuer must begin/],
      [['explain', 'x', 'GET', '/', '--policy', policy], { HALLPASS_GUARD_CLIENT_ID: 'a' }, 2, /belong together/],
    ] as const) {
      const done = await runCommand(words, environment);
      assert.equal(done.code, code, done.stderr);
      assert.match(done.stderr, says);
      assert.equal(done.stdout, '');
      assert.doesNotMatch(done.stderr, /\n\s+at /, 'no stack');
    }
  });
});

suite('hallpass guard', () => {
  test('names a missing setting in a sentence', async (t) => {
    const policy = policyFile(t);
    const busy = createServer();
    await new Promise<void>((resolve) => {
      busy.listen(0, '127.0.0.1', resolve);
    });
    t.after(() => busy.close());
    const address = busy.address();
    assert.ok(typeof address === 'object' && address !== null);
    const key = { HALLPASS_GUARD_CLIENT_ID: 'a', HALLPASS_GUARD_CLIENT_SECRET: 'b' };
    const words = ['guard', '--policy', policy, '--audience', API];
    for (const [more, environment, code, says] of [
      [[], {}, 2, /HALLPASS_GUARD_CLIENT_ID and HALLPASS_GUARD_CLIENT_SECRET: hallpass keys create/],
      [['--proxy', 'apache'], key, 2, /Allowed choices are nginx, traefik, envoy/],
      [['--listen', '9090'], key, 2, /such as 127\.0\.0\.1:9090/],
      [['--listen', '127.0.0.1:70000'], key, 2, /such as 127\.0\.0\.1:9090/],
      [['--trust', 'proxy.example'], key, 2, /neither an address nor a network/],
      [['--pass-override', 'authorization'], key, 2, /One of x-http-method-override, .*, _method\./],
      [
        ['--issuer-address', 'http://hallpass:8080'],
        key,
        2,
        /issuerAddress is plain http .*set issuerPlaintext to 'allow'/,
      ],
      [['--issuer-plaintext', 'allow'], key, 2, /issuerPlaintext has no effect without issuerAddress/],
      [['--issuer-plaintext', 'yes'], key, 2, /Allowed choices are refuse, allow/],
      [[], { ...key, HALLPASS_GUARD_CLIENT_IDD: 'a' }, 2, /HALLPASS_GUARD_CLIENT_IDD is not a setting\. Did you mean/],
      [['--max-staleness', '1'], key, 2, /maxStalenessSeconds must be a number from 3/],
      [['--max-staleness', 'x'], key, 2, /maxStalenessSeconds/],
      [['--side', `127.0.0.1:${address.port}`], key, 1, /EADDRINUSE/],
    ] as const) {
      const done = await runCommand([...words, ...more], environment);
      assert.equal(done.code, code, done.stderr);
      assert.match(done.stderr, says);
      assert.doesNotMatch(done.stderr, /\n\s+at /, 'no stack');
    }
  });

  test('ends with a sentence if the issuer refuses its credentials or has another name', async (t) => {
    const server = await serve(t);
    const own = await makeKey(server.environment, 'API', '--resource-server', API);
    const partner = await makeKey(server.environment, 'Partner', '--scope', '/accounts.read');
    const words = [
      'guard',
      '--policy',
      policyFile(t),
      '--audience',
      API,
      '--listen',
      '127.0.0.1:0',
      '--side',
      '127.0.0.1:0',
    ];
    const run = (key: Key, issuer = server.url): Promise<Done> =>
      runCommand(words, {
        HALLPASS_ISSUER: issuer,
        HALLPASS_GUARD_CLIENT_ID: key.clientId,
        HALLPASS_GUARD_CLIENT_SECRET: key.clientSecret,
      });
    for (const [done, says] of [
      [await run({ ...own, clientSecret: 'wrong' }), /refused this guard's credentials \(401\)/],
      [await run(partner), /allow this guard's key to read revocations \(403\).*--resource-server/],
      [await run(own, server.url.replace('127.0.0.1', 'localhost')), /The issuer calls itself 'http:\/\/127\.0\.0\.1:/],
      [await run(own, `${server.url}/`), /The issuer calls itself/],
    ] as const) {
      assert.equal(done.code, 2, done.stderr);
      assert.match(done.stderr.trim().split('\n').at(-1) ?? '', says);
      assert.equal(done.stdout, '');
      assert.doesNotMatch(done.stderr, /\n\s+at |wrong/, 'no stack, no secret');
    }
  });

  test(
    'a port of --listen that is taken ends it with a sentence, and its other listener with it',
    { timeout: 60_000 },
    async (t) => {
      const server = await serve(t);
      const own = await makeKey(server.environment, 'API', '--resource-server', API);
      const where = ['--listen', new URL(server.url).host, '--side', '127.0.0.1:0'];
      const guard = startRunning(t, ['guard', '--policy', policyFile(t), '--audience', API, ...where], {
        HALLPASS_ISSUER: server.url,
        HALLPASS_GUARD_CLIENT_ID: own.clientId,
        HALLPASS_GUARD_CLIENT_SECRET: own.clientSecret,
      });
      assert.equal(await guard.ended, 1);
      assert.match(guard.stderr(), /error: Cannot listen on 127\.0\.0\.1:[0-9]+ \(EADDRINUSE\)/);
    },
  );

  test('a token for another audience than the guard’s is named in the server’s log, and the response reveals nothing', async (t) => {
    const server = await serve(t, { HALLPASS_LOG_LEVEL: 'info' });
    const own = await makeKey(server.environment, 'API', '--resource-server', API);
    const partner = await makeKey(server.environment, 'Partner', '--scope', '/accounts.read');
    const grant = { grant_type: 'client_credentials', scope: '/accounts.read' };
    const { access_token: token = '' } = await post(server, partner, '/oauth2/token', grant);
    const asked = await post(server, own, '/oauth2/introspect', { token: String(token) });
    assert.deepEqual(asked, { active: false });
    await until(() =>
      /introspect.*the token is for an audience that this resource-server key does not have/.test(server.stderr()),
    );
    assert.deepEqual(await post(server, own, '/oauth2/introspect', { token: 'x' }), { active: false });
    await until(() => server.stderr().split('/oauth2/introspect').length > 2);
    assert.equal(server.stderr().split('an audience that this').length, 2, 'not of a token that is nobody’s');
    assert.ok(!server.stderr().includes(String(token)));
  });

  test('keeps idle connections for 72 s, longer than the proxies in front of it', async (t) => {
    const { url, sideUrl, server } = await serveGuard(t, []);
    for (const at of [url, `${sideUrl}/health/live`, `${server.url}/health/live`]) {
      const answer = await exchangeRaw(at, [`GET ${new URL(at).pathname} HTTP/1.1\r\nHost: localhost\r\n\r\n`, LAST]);
      assert.match(answer, /^Keep-Alive: timeout=72\r$/im, at);
    }
  });

  test('prints a configuration for each proxy in which no client header passes for the guard’s', async (t) => {
    const words = [
      'guard',
      '--policy',
      policyFile(t),
      '--audience',
      API,
      '--listen',
      '127.0.0.1:9999',
      '--print-config',
    ];
    for (const [proxy, lines] of [
      [
        'nginx',
        [
          /auth_request \/_hallpass;/,
          /X-Original-URI \$request_uri;/,
          /proxy_set_header X-Hallpass-Client \$/,
          /merge_slashes off/,
          /underscores_in_headers off;/,
          /proxy_set_header x-rewrite-url "";/,
          /# websocket: map \$http_upgrade \$hallpass_upgrade \{ default ""; ~\*\^websocket\$ websocket; \}/,
        ],
      ],
      [
        'traefik',
        [
          /address: http:\/\/127\.0\.0\.1:9999/,
          /trustForwardHeader: false/,
          /- X-Hallpass-Client/,
          / {10}x-rewrite-url: ""\n/,
          / {10}Connection: ""\n {10}Upgrade: ""\n/,
        ],
      ],
      [
        'envoy',
        [
          /failure_mode_allow: false/,
          /exact: x-hallpass-client/,
          /normalize_path: false/,
          /headers_with_underscores_action: DROP_HEADER/,
          /allowed_headers: .*\{ prefix: x \}/,
          /request_headers_to_remove: \[x-http-method-override, .*x-rewrite-url\]/,
        ],
      ],
    ] as const) {
      const { code, stdout, stderr } = await runCommand([...words, '--proxy', proxy], {});
      assert.equal(code, 0, stderr);
      assert.match(stdout, /9999/);
      for (const line of lines) assert.match(stdout, line);
      const passing = ['--pass-override', 'x-rewrite-url', '--pass-override', '_method'];
      const passed = await runCommand([...words, '--proxy', proxy, ...passing], {});
      assert.equal(passed.code, 0, passed.stderr);
      assert.doesNotMatch(passed.stdout, /x-rewrite-url/);
      assert.match(passed.stdout, /x-original-url/);
    }
  });

  test("quotes the guard's address for Envoy, because YAML would read the brackets of IPv6 as a list", async (t) => {
    const words = ['guard', '--policy', policyFile(t), '--audience', API, '--proxy', 'envoy', '--print-config'];
    for (const [listen, address] of [
      ['127.0.0.1:9999', '127.0.0.1'],
      ['[::1]:9999', '::1'],
    ] as const) {
      const { code, stdout, stderr } = await runCommand([...words, '--listen', listen], {});
      assert.equal(code, 0, stderr);
      assert.ok(stdout.includes(`{ uri: "http://${listen}", cluster`), stdout);
      assert.ok(stdout.includes(`{ address: "${address}", port_value: 9999 }`), stdout);
    }
  });
});

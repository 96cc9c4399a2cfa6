import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import {
  makeFolder,
  makeStore,
  remarksOf,
  serve,
  startServing,
  startShell,
  type Done,
  type Environment,
  type Running,
} from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { basicOf, until, within, type Key } from '../../../../testing/server/server.ts';

const FORM = 'application/x-www-form-urlencoded';
const PAIR = { clientId: '5clTR_MdVrrkgxw2', clientSecret: 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-' };

type Document = Readonly<Record<string, unknown>>;

function parse(text: string): unknown {
  return JSON.parse(text);
}

function documentOf({ code, stdout, stderr }: Done): Document {
  assert.equal(code, 0, stderr);
  const value = parse(stdout);
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value), stdout);
  return Object.fromEntries(Object.entries(value));
}

function listOf({ code, stdout, stderr }: Done): readonly Document[] {
  assert.equal(code, 0, stderr);
  const value = parse(stdout);
  assert.ok(Array.isArray(value), stdout);
  return value.map((item: unknown) => Object.fromEntries(Object.entries(Object(item))));
}

function keyOf(document: Document): Key {
  return { clientId: String(document['client_id']), clientSecret: String(document['client_secret']) };
}

/** One sentence on standard error, and nothing on standard output that a script would take for a result. */
function assertRefused({ code, stdout, stderr }: Done, wanted: { readonly code: number; readonly says: RegExp }): void {
  assert.equal(code, wanted.code, stderr);
  assert.equal(stdout, '');
  assert.match(stderr, wanted.says);
  assert.doesNotMatch(stderr, /\n\s+at |node:internal/, 'no stack');
}

async function post(
  url: string,
  path: string,
  params: Readonly<Record<string, string>>,
  key: Key,
): Promise<{ status: number; body: Document }> {
  const response = await fetch(url + path, {
    method: 'POST',
    headers: { 'content-type': FORM, authorization: basicOf(key) },
    body: new URLSearchParams(params).toString(),
  });
  const text = await response.text();
  const value = text === '' ? {} : parse(text);
  return { status: response.status, body: Object.fromEntries(Object.entries(Object(value))) };
}

const ask = (url: string, key: Key, scope = '/accounts.write'): ReturnType<typeof post> =>
  post(url, '/oauth2/token', { grant_type: 'client_credentials', scope }, key);

const onFolder = (t: TestContext): Environment => ({ HALLPASS_DATA_DIR: makeFolder(t) });
const onStore = (t: TestContext): Promise<Environment> => makeStore(t);

// Each test waits for processes of its own: some at a time keep the cores busy.
suite('the command', { concurrency: 3 }, () => {
  test('keys create, list, show, disable, enable, rotate-secret and delete, as JSON for scripts', async (t) => {
    const on = await onStore(t);
    const run = (...args: readonly string[]): Promise<Done> => runCommand(['keys', ...args, '--json'], on);
    const made = documentOf(
      await run(
        'create',
        'my key',
        '--scope',
        '/accounts.write',
        '--scope',
        '/ping.read',
        '--default-scope',
        '/ping.read',
        '--mode',
        'test',
        '--no-refresh',
        '--audience',
        'https://api.example.com',
        '--origin',
        'https://App.example.com:443',
      ),
    );
    const { clientId, clientSecret } = keyOf(made);
    assert.match(clientId, /^[A-Za-z0-9][A-Za-z0-9_-]+$/);
    assert.match(clientSecret, /^[A-Za-z0-9_-]{43}$/);
    const { client_secret: _, ...shown } = made;
    assert.deepEqual(documentOf(await run('show', clientId)), shown);
    assert.deepEqual(listOf(await run('list')), [shown]);
    const { name, mode, scopes, default_scopes, audiences, origins, refresh, disabled } = shown;
    assert.deepEqual(
      { name, mode, scopes, default_scopes, audiences, origins, refresh, disabled },
      {
        name: 'my key',
        mode: 'test',
        scopes: ['/accounts.write', '/ping.read'],
        default_scopes: ['/ping.read'],
        audiences: ['https://api.example.com'],
        origins: ['https://app.example.com'],
        refresh: false,
        disabled: false,
      },
    );
    assert.equal(documentOf(await run('disable', clientId))['disabled'], true);
    assert.equal(documentOf(await run('enable', clientId))['disabled'], false);
    const renewed = keyOf(documentOf(await run('rotate-secret', clientId, '--overlap', '90s')));
    assert.equal(renewed.clientId, clientId);
    assert.notEqual(renewed.clientSecret, clientSecret);
    assert.equal(documentOf(await run('delete', clientId, '--dry-run'))['deleted'], false);
    assert.equal(documentOf(await run('delete', clientId, '--yes'))['deleted'], true);
    assert.deepEqual(listOf(await run('list')), []);
  });

  test('the same as text, with the secret shown once and never again', async (t) => {
    const on = await onStore(t);
    const run = async (...args: readonly string[]): Promise<string> => {
      const done = await runCommand(['keys', ...args], on);
      assert.equal(done.code, 0, done.stderr);
      assert.equal(remarksOf(done), '');
      return done.stdout;
    };
    assert.match(await run('list'), /no API keys yet/);
    const made = await run('create', 'my key', '--scope', '/accounts.write');
    const clientId = /client_id\s+(\S+)/.exec(made)?.[1] ?? '';
    const clientSecret = /client_secret\s+(\S+)/.exec(made)?.[1] ?? '';
    assert.match(made, /shown only this once/);
    const shown = [
      await run('list'),
      await run('show', clientId),
      await run('disable', clientId),
      await run('enable', clientId),
    ];
    for (const text of shown) {
      assert.ok(text.includes('my key'));
      assert.ok(!text.includes(clientSecret));
    }
    assert.match(await run('rotate-secret', clientId), /works until/);
    assert.match(await run('rotate-secret', clientId, '--overlap', '0s'), /has ended/);
    assert.match(await run('delete', clientId, '--dry-run'), /Would delete/);
    assert.ok((await run('list')).includes(clientId));
    assert.match(await run('delete', clientId, '--yes'), /Deleted/);
    assert.match(await run('list'), /no API keys yet/);
  });

  test('a running server honours changes by a command within a second', async (t) => {
    const { url, environment } = await serve(t);
    const run = (...args: readonly string[]): Promise<Done> => runCommand(['keys', ...args, '--json'], environment);
    const imported = ['--client-id', PAIR.clientId, '--client-secret', '-'];
    const create = ['keys', 'create', 'imported', '--scope', '/accounts.write', ...imported, '--json'];
    const key = keyOf(documentOf(await runCommand(create, environment, PAIR.clientSecret)));
    assert.deepEqual(key, PAIR, 'the pair is taken over as it is');
    const comesTo = (status: number, by: Key): Promise<void> =>
      until(async () => (await ask(url, by)).status === status, 1_000);
    await comesTo(200, PAIR);
    const { body } = await ask(url, PAIR);
    const isActive = async (): Promise<unknown> =>
      (await post(url, '/oauth2/introspect', { token: String(body['access_token']) }, PAIR)).body['active'];
    assert.equal(await isActive(), true);
    await run('disable', PAIR.clientId);
    await comesTo(401, PAIR);
    await run('enable', PAIR.clientId);
    await until(async () => (await ask(url, PAIR)).status === 200, 2_000);
    assert.equal(await isActive(), false, 'what was issued before stays dead');
    const renewed = keyOf(documentOf(await run('rotate-secret', PAIR.clientId, '--overlap', '0s')));
    await comesTo(200, renewed);
    await comesTo(401, PAIR);
    await run('delete', PAIR.clientId, '--yes');
    await comesTo(401, renewed);
    assertRefused(await run('show', PAIR.clientId), { code: 1, says: /no API key with the client_id/ });
  });

  test('the secret - is read from standard input, and a weak one is refused unless allowed', async (t) => {
    const on = await onStore(t);
    const create = (id: string, secret: string, input: string, ...more: readonly string[]): Promise<Done> =>
      runCommand(
        ['keys', 'create', 'x', '--scope', '/a.read', '--client-id', id, '--client-secret', secret, '--json', ...more],
        on,
        input,
      );
    assert.deepEqual(keyOf(documentOf(await create(PAIR.clientId, '-', `${PAIR.clientSecret}\n`))), PAIR);
    assertRefused(await create(PAIR.clientId, '-', PAIR.clientSecret), {
      code: 1,
      says: /There is already an API key with the client_id/,
    });
    for (const weak of ['short', 'a'.repeat(60), 'abcdefghijklmnopqrstu']) {
      assertRefused(await create('weak', '-', weak), { code: 1, says: /could be guessed.*--allow-weak-secret/ });
    }
    assert.equal(keyOf(documentOf(await create('weak', '-', 'short', '--allow-weak-secret'))).clientSecret, 'short');
    assertRefused(await create('empty', '-', '', '--allow-weak-secret'), { code: 1, says: /client_secret is 1 to/ });
    const half = await runCommand(['keys', 'create', 'x', '--scope', '/a.read', '--client-id', 'x'], on);
    assertRefused(half, { code: 1, says: /both --client-id and --client-secret/ });
  });

  for (const [name, args, says] of [
    ['no scope', ['x'], /needs at least one scope/],
    [
      'a bad scope',
      ['x', '--scope', 'accounts.write'],
      /This is not a scope: accounts\.write \(it does not begin with a slash\)\. .*\/accounts\.write/,
    ],
    ['a scope with a star', ['x', '--scope', '/*.read'], /This is not a scope/],
    [
      'a bad origin',
      ['x', '--scope', '/a.read', '--origin', 'app.example.com'],
      /This is not an origin: app\.example\.com/,
    ],
    [
      'an origin with a path',
      ['x', '--scope', '/a.read', '--origin', 'https://app.example.com/x'],
      /This is not an origin/,
    ],
    ['a bad audience', ['x', '--scope', '/a.read', '--audience', 'api'], /This is not an audience: api/],
    [
      'an audience with a fragment',
      ['x', '--scope', '/a.read', '--audience', 'https://api.example.com#x'],
      /This is not an audience/,
    ],
    [
      'a default scope outside the scopes',
      ['x', '--scope', '/a.read', '--default-scope', '/b.read'],
      /\/b\.read is not among/,
    ],
    [
      'a default scope with a parameter',
      ['x', '--scope', '/{a}.read', '--default-scope', '/{a}.read'],
      /has no parameters/,
    ],
    ['a required origin without a list', ['x', '--scope', '/a.read', '--require-origin'], /needs a list of them/],
    ['an empty name', ['', '--scope', '/a.read'], /A name is 1 to 100/],
  ] as const) {
    test(`keys create with ${name} is refused in a sentence, with exit code 1`, async (t) => {
      assertRefused(await runCommand(['keys', 'create', ...args], await onStore(t)), { code: 1, says });
    });
  }

  for (const [name, args, says] of [
    ['an unknown command', ['frobnicate'], /unknown command/],
    ['an unknown option', ['keys', 'list', '--frobnicate'], /unknown option/],
    ['a missing argument', ['keys', 'show'], /missing required argument/],
    ['a bad duration', ['keys', 'rotate-secret', 'x', '--overlap', 'soon'], /A duration is a number with a unit/],
    ['a bad mode', ['keys', 'create', 'x', '--mode', 'prod'], /Allowed choices are live, test/],
    ['a bad count', ['events', '--limit', '0'], /A count is a whole number/],
  ] as const) {
    test(`${name} ends with exit code 2, and nothing on standard output`, async (t) => {
      assertRefused(await runCommand(args, onFolder(t)), { code: 2, says });
    });
  }

  for (const [name, environment, says] of [
    ['an unknown setting', { HALLPASS_PROT: '8080' }, /HALLPASS_PROT is not a setting\. Did you mean HALLPASS_PORT\?/],
    ['a bad port', { HALLPASS_PORT: '99999' }, /HALLPASS_PORT must be a port/],
    ['a bad lifetime', { HALLPASS_ACCESS_TTL_SECONDS: '15m' }, /HALLPASS_ACCESS_TTL_SECONDS must be whole seconds/],
    ['a lifetime that is too long', { HALLPASS_ACCESS_TTL_SECONDS: '3601' }, /HALLPASS_ACCESS_TTL_SECONDS/],
    [
      'a drain without end',
      { HALLPASS_DRAIN_SECONDS: '601' },
      /HALLPASS_DRAIN_SECONDS must be whole seconds, 0 to 600/,
    ],
    ['a misspelt drain', { HALLPASS_DRAIN_SECOND: '5' }, /not a setting\. Did you mean HALLPASS_DRAIN_SECONDS\?/],
    ['a bad algorithm', { HALLPASS_SIGNING_ALGORITHM: 'none' }, /HALLPASS_SIGNING_ALGORITHM must be one of/],
    [
      'an http issuer on a public host',
      { HALLPASS_ISSUER: 'http://auth.example.com' },
      /HALLPASS_ISSUER must be an https URL/,
    ],
    ['an http issuer that only looks local', { HALLPASS_ISSUER: 'http://localhost.example.com' }, /HALLPASS_ISSUER/],
    ['an http issuer below localhost', { HALLPASS_ISSUER: 'http://auth.localhost' }, /HALLPASS_ISSUER/],
    ['an http issuer at another loopback address', { HALLPASS_ISSUER: 'http://127.0.0.2' }, /HALLPASS_ISSUER/],
    [
      'an issuer with a slash at its end',
      { HALLPASS_ISSUER: 'https://auth.example.com/' },
      /without a slash at its end/,
    ],
    [
      'one port for both listeners',
      { HALLPASS_PORT: '18979', HALLPASS_OPERATOR_PORT: '18979', HALLPASS_HOST: '127.0.0.1' },
      /HALLPASS_PORT and HALLPASS_OPERATOR_PORT are both 18979\./,
    ],
    ['an issuer with a query', { HALLPASS_ISSUER: 'https://auth.example.com?x' }, /HALLPASS_ISSUER/],
    [
      'an https issuer on a folder without a store',
      { HALLPASS_ISSUER: 'https://auth.example.com' },
      /There is no store here: .*hallpass store init/,
    ],
    ['a bad master key', { HALLPASS_MASTER_KEY: 'short' }, /HALLPASS_MASTER_KEY must be 32 random bytes/],
    [
      'a master key file that is not there',
      { HALLPASS_MASTER_KEY_FILE: '/nowhere/master.key' },
      /There is no master key/,
    ],
    [
      'a settings file that is not there',
      { HALLPASS_CONFIG: '/nowhere/settings.json' },
      /names a file that does not exist/,
    ],
    ['a data folder that cannot be made', { HALLPASS_DATA_DIR: '/dev/null/data' }, /HALLPASS_DATA_DIR|cannot be/],
    ['an address that this machine has not', { HALLPASS_HOST: '192.0.2.1' }, /HALLPASS_HOST/],
    ['an http issuer for other machines, though nobody said so', { HALLPASS_HOST: '0.0.0.0' }, /HALLPASS_ISSUER/],
  ] as const) {
    test(`serve with ${name}: one sentence, exit code 2, nothing on standard output`, async (t) => {
      const ports = { HALLPASS_PORT: '0', HALLPASS_OPERATOR_PORT: '0' };
      const done = await runCommand(['serve'], { ...onFolder(t), ...ports, ...environment });
      assertRefused(done, { code: 2, says });
      assert.equal(done.stderr.trim().split('\n').length, 1, 'one sentence');
    });
  }

  test('a settings file is read, and a fault in it is reported in a sentence', async (t) => {
    const folder = makeFolder(t);
    const file = join(folder, 'settings.json');
    const list = (): Promise<Done> => runCommand(['keys', 'list', '--json'], { HALLPASS_CONFIG: file });
    // It holds no secret, so that it may be open to others.
    writeFileSync(file, JSON.stringify({ dataDir: join(folder, 'data'), accessTtlSeconds: 60 }), { mode: 0o644 });
    assert.equal((await runCommand(['store', 'init'], { HALLPASS_CONFIG: file })).code, 0);
    assert.deepEqual(listOf(await list()), []);
    assert.ok(existsSync(join(folder, 'data')));
    for (const [text, says] of [
      ['{', /is not JSON/],
      ['[]', /must hold one JSON object/],
      [
        '{"acessTtlSeconds":60}',
        /acessTtlSeconds in the settings file is not a setting\. Did you mean accessTtlSeconds\?/,
      ],
      ['{"accessTtlSeconds":0}', /accessTtlSeconds in the settings file must be/],
      ['{"accessTtlSeconds":true}', /must be a string or a number/],
    ] as const) {
      writeFileSync(file, text);
      assertRefused(await list(), { code: 2, says });
    }
    const unreadable = await runCommand(['keys', 'list'], { HALLPASS_CONFIG: folder });
    assertRefused(unreadable, { code: 2, says: /settings file/ });
  });

  test('a taken port, on either listener, is reported in a sentence that names the setting', async (t) => {
    const taken = createServer();
    await new Promise<void>((resolve) => {
      taken.listen(0, '127.0.0.1', resolve);
    });
    t.after(() => taken.close());
    const address = taken.address();
    assert.ok(typeof address === 'object' && address !== null);
    for (const setting of ['HALLPASS_PORT', 'HALLPASS_OPERATOR_PORT']) {
      const ports = {
        HALLPASS_HOST: '127.0.0.1',
        HALLPASS_PORT: '0',
        HALLPASS_OPERATOR_PORT: '0',
        [setting]: String(address.port),
      };
      const done = await runCommand(['serve'], { ...onFolder(t), ...ports });
      assertRefused(done, { code: 2, says: new RegExp(`Port ${address.port} is taken.*${setting}`) });
    }
  });

  test('the master key is created for its owner only, and refused if others can read it or if it is the wrong one', async (t) => {
    const on = await onStore(t);
    const file = join(on['HALLPASS_DATA_DIR'] ?? '', 'master.key');
    const list = (more: Environment = {}): Promise<Done> => runCommand(['keys', 'list', '--json'], { ...on, ...more });
    assert.deepEqual(listOf(await list()), []);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    for (const mode of [0o644, 0o640, 0o604]) {
      chmodSync(file, mode);
      assertRefused(await list(), { code: 2, says: /Other users of this machine can read.*chmod 600/ });
    }
    chmodSync(file, 0o600);
    assert.deepEqual(listOf(await list()), []);
    const other = randomBytes(32).toString('base64url');
    assertRefused(await list({ HALLPASS_MASTER_KEY: other }), {
      code: 2,
      says: /not the one that this store was set up with/,
    });
    writeFileSync(file, 'nonsense', { mode: 0o600 });
    assertRefused(await list(), { code: 2, says: /is not 32 bytes/ });
  });

  test('a master key file that is a folder is refused in a sentence', async (t) => {
    const file = join(makeFolder(t), 'master.key');
    mkdirSync(file, { mode: 0o700 });
    const done = await runCommand(['keys', 'list'], { ...(await onStore(t)), HALLPASS_MASTER_KEY_FILE: file });
    assertRefused(done, { code: 2, says: /master key|HALLPASS_MASTER_KEY_FILE/i });
  });

  test('a data folder that is a file is refused in a sentence', async (t) => {
    const file = join(makeFolder(t), 'data');
    writeFileSync(file, '');
    const on = { HALLPASS_DATA_DIR: file };
    assertRefused(await runCommand(['keys', 'list'], on), { code: 2, says: /There is no store here/ });
    assertRefused(await runCommand(['store', 'init'], on), { code: 2, says: /folder/ });
  });

  test('a file that is not a store is refused in a sentence', async (t) => {
    const on = onFolder(t);
    writeFileSync(
      join(on['HALLPASS_DATA_DIR'] ?? '', 'hallpass.db'),
      'not a database, but long enough to look at'.repeat(50),
    );
    assertRefused(await runCommand(['keys', 'list'], on), { code: 2, says: /\S/ });
  });

  test('serve prints a first key once, on an empty development store, and its curl line works in a shell', async (t) => {
    const first = await serve(t);
    const line = /^ *(curl .*)$/m.exec(first.stdout())?.[1] ?? '';
    const done = await startShell(line);
    assert.equal(done.code, 0, done.stderr);
    assert.ok(done.stdout.includes('"access_token"'), done.stdout);
    const secret = /client_secret\s+(\S+)/.exec(first.stdout())?.[1] ?? '';
    assert.ok(line.includes(secret));
    first.child.kill('SIGTERM');
    assert.equal(await first.ended, 0);
    const { HALLPASS_DATA_DIR = '' } = first.environment;
    const second = await serve(t, { HALLPASS_DATA_DIR });
    assert.doesNotMatch(second.stdout(), /client_secret|curl/);
  });

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} drains: a request in flight is answered, an open stream ends, and the exit code is 0`, async (t) => {
      const running = await serve(t);
      const key = await makeReader(running);
      const stream = await fetch(`${running.url}/oauth2/revocations`, { headers: { authorization: basicOf(key) } });
      const reader = stream.body?.getReader();
      assert.ok(reader !== undefined);
      await reader.read();
      // A body that arrives in two halves, the second after the signal.
      let sendRest: () => void = () => undefined;
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          controller.enqueue(new TextEncoder().encode('grant_type=client_credentials'));
          sendRest = () => {
            controller.enqueue(new TextEncoder().encode('&scope=/accounts.write'));
            controller.close();
          };
        },
      });
      // `duplex` (Fetch §5.3) is not yet in the types of RequestInit.
      const streaming = {
        method: 'POST',
        headers: { 'content-type': FORM, authorization: basicOf(key) },
        body,
        duplex: 'half',
      };
      const answer = fetch(`${running.url}/oauth2/token`, streaming);
      // The server has the beginning of that request when it answers one that was sent after it.
      await ask(running.url, key);
      running.child.kill(signal);
      const ended = (async () => {
        while (!(await reader.read()).done);
      })();
      assert.ok(await within(30_000, ended), 'the stream ends');
      sendRest();
      assert.equal((await answer).status, 200);
      assert.ok(await within(30_000, running.ended), 'the process ends');
      assert.equal(await running.ended, 0);
      await assert.rejects(fetch(`${running.url}/health/live`), 'nobody listens any more');
    });
  }

  test('a signal at the moment the server reports that it is ready drains as usual', async (t) => {
    const running = startServing(t);
    running.child.stdout.once('data', () => running.child.kill('SIGTERM'));
    assert.ok(await within(30_000, running.ended), 'the process ends');
    assert.equal(await running.ended, 0, running.stderr());
    assert.match(running.stdout(), /ready/);
  });

  test('a revocation that was acknowledged survives kill -9', async (t) => {
    const first = await serve(t);
    const key = await makeReader(first);
    const { body } = await ask(first.url, key);
    const spared = await ask(first.url, key);
    assert.equal((await post(first.url, '/oauth2/revoke', { token: String(body['refresh_token']) }, key)).status, 200);
    first.child.kill('SIGKILL');
    await first.ended;
    const { HALLPASS_DATA_DIR = '' } = first.environment;
    const second = await serve(t, { HALLPASS_DATA_DIR });
    const refresh = (token: unknown): ReturnType<typeof post> =>
      post(second.url, '/oauth2/token', { grant_type: 'refresh_token', refresh_token: String(token) }, key);
    assert.equal((await refresh(body['refresh_token'])).body['error'], 'invalid_grant');
    assert.equal((await refresh(spared.body['refresh_token'])).status, 200);
  });

  test("token inspect shows a token's kind and state, as text and as JSON; events report a reuse", async (t) => {
    const { url, environment, child, ended } = await serve(t, { HALLPASS_REFRESH_GRACE_SECONDS: '0' });
    const key = await makeReader({ environment });
    const inspect = async (token: unknown): Promise<Document> =>
      documentOf(await runCommand(['token', 'inspect', '-', '--json'], environment, `${String(token)}\n`));
    const { body: first } = await ask(url, key);
    const refresh = (token: unknown): ReturnType<typeof post> =>
      post(url, '/oauth2/token', { grant_type: 'refresh_token', refresh_token: String(token) }, key);

    const access = await inspect(first['access_token']);
    assert.deepEqual([access['kind'], access['active'], access['client_id']], ['access_token', true, key.clientId]);
    const newest = await inspect(first['refresh_token']);
    assert.deepEqual([newest['kind'], newest['active'], newest['generation']], ['refresh_token', true, 0]);
    const people = await runCommand(['token', 'inspect', String(first['access_token'])], environment);
    assert.match(people.stdout, /access token: active/);
    for (const [token, kind] of [
      ['nonsense', 'unknown'],
      [`${String(first['access_token']).slice(0, -6)}AAAAAA`, 'access_token'],
      [`${String(first['refresh_token'])}A`, 'unknown'],
    ] as const) {
      const found = await inspect(token);
      assert.deepEqual([found['kind'], found['active']], [kind, false]);
    }
    const { body: second } = await refresh(first['refresh_token']);
    assert.equal((await inspect(first['refresh_token']))['active'], false, 'retired');
    assert.equal((await inspect(second['refresh_token']))['generation'], 1);
    assert.equal((await post(url, '/oauth2/revoke', { token: String(first['access_token']) }, key)).status, 200);
    assert.match(String((await inspect(first['access_token']))['state']), /revoked/);

    assert.equal((await refresh(first['refresh_token'])).body['error'], 'invalid_grant');
    assert.match(String((await inspect(second['refresh_token']))['state']), /revoked/);
    assert.equal((await inspect(second['access_token']))['active'], false);
    const events = listOf(await runCommand(['events', '--json'], environment));
    assert.deepEqual(
      [events[0]?.['kind'], events[0]?.['client_id'], events[0]?.['grant_id']],
      ['refresh_token_reused', key.clientId, access['grant_id']],
    );
    const table = await runCommand(['events', '--limit', '1'], environment);
    assert.match(table.stdout, /refresh_token_reused/);
    for (const secret of [key.clientSecret, String(first['refresh_token'])])
      assert.ok(!JSON.stringify(events).includes(secret));
    child.kill('SIGTERM');
    assert.equal(await ended, 0);
  });

  test('events on an empty store say that there are none', async (t) => {
    const on = await onStore(t);
    assert.match((await runCommand(['events'], on)).stdout, /Nothing has happened/);
    assert.deepEqual(listOf(await runCommand(['events', '--json'], on)), []);
  });

  test('help goes to standard output with exit code 0, and names every setting', async () => {
    const { code, stdout } = await runCommand(['--help'], {});
    assert.equal(code, 0);
    for (const name of ['HALLPASS_ISSUER', 'HALLPASS_PORT', 'HALLPASS_DATA_DIR', 'HALLPASS_MASTER_KEY_FILE'])
      assert.ok(stdout.includes(name), name);
  });
});

async function makeReader({ environment }: Pick<Running, 'environment'>): Promise<Key> {
  const args = ['keys', 'create', 'x', '--scope', '/accounts.write', '--scope', '/oauth2/revocations.read', '--json'];
  return keyOf(documentOf(await runCommand(args, environment)));
}

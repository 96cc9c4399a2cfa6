/** Others use the environment too: variables that Kubernetes sets, and secrets in variables and files. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { exposureOf } from '../../src/serving/file_permissions.ts';
import { readGuardEnvironment } from '../../src/cli/guard_settings.ts';
import { readSettings } from '../../src/serving/settings/settings.ts';
import { makeFolder, makeStore, serve } from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

/** What Kubernetes sets beside Services called hallpass, hallpass-guard and hallpass-operator. */
const KUBERNETES = Object.fromEntries(
  ['HALLPASS', 'HALLPASS_GUARD', 'HALLPASS_OPERATOR', 'HALLPASS_MASTER_KEY'].flatMap((service) => [
    [`${service}_SERVICE_HOST`, '10.0.0.1'],
    [`${service}_SERVICE_PORT`, '8080'],
    [`${service}_SERVICE_PORT_HTTP_ALT`, '8080'],
    [`${service}_PORT`, 'tcp://10.0.0.1:8080'],
    [`${service}_PORT_8080_TCP`, 'tcp://10.0.0.1:8080'],
    [`${service}_PORT_8080_TCP_PROTO`, 'tcp'],
    [`${service}_PORT_8080_TCP_PORT`, '8080'],
    [`${service}_PORT_8080_TCP_ADDR`, '10.0.0.1'],
    [`${service}_PORT_53_UDP`, 'udp://10.0.0.1:53'],
  ]),
);

suite('the variables of Kubernetes', () => {
  test('are not taken for settings, by a server or by a guard', () => {
    const { port, operatorPort, host } = readSettings(KUBERNETES);
    assert.deepEqual([port, operatorPort, host], [8080, 8081, 'localhost']);
    assert.equal(readGuardEnvironment(KUBERNETES).credentials, undefined);
    for (const url of ['tcp://[fd00::1]:8080', 'tcp://fd00::1:8080', 'udp://10.0.0.1:53', 'sctp://10.0.0.1:1']) {
      assert.equal(readSettings({ HALLPASS_PORT: url }).port, 8080, url);
    }
  });

  test('do not hide a setting, and do not override the settings file', (t) => {
    assert.equal(readSettings({ ...KUBERNETES, HALLPASS_PORT: '9000' }).port, 9000);
    const file = join(makeFolder(t), 'settings.json');
    writeFileSync(file, '{"port": 9001}');
    assert.equal(readSettings({ ...KUBERNETES, HALLPASS_CONFIG: file }).port, 9001);
  });

  test('a misspelt setting is still an error, for a guard too', () => {
    for (const [name, value, meant] of [
      ['HALLPASS_ISUER', 'https://a.example', 'HALLPASS_ISSUER'],
      ['HALLPASS_PORTS', 'tcp://10.0.0.1:8080', 'HALLPASS_PORT'],
      ['HALLPASS_PORT_NUMBER', '8080', 'HALLPASS_PORT'],
      ['HALLPASS_PORT_8080', 'tcp://10.0.0.1:8080', 'HALLPASS_PORT'],
      ['HALLPASS_OPERATR_PORT', '8081', 'HALLPASS_OPERATOR_PORT'],
      ['HALLPASS_GUARD_CLIENT_SECRT', 'x', 'HALLPASS_GUARD_CLIENT_SECRET'],
    ] as const) {
      const says = new RegExp(`^${name} is not a setting\\. Did you mean ${meant}`);
      assert.throws(() => readSettings({ [name]: value }), { name: 'BadSetting', message: says });
      assert.throws(() => readGuardEnvironment({ [name]: value }), { name: 'BadSetting', message: says });
    }
    // A name that resembles no setting gets no suggestion.
    for (const name of ['HALLPASS_SERVICE', 'HALLPASS_SERVICE_HOSTS', 'HALLPASS_WORKERS']) {
      const message = `${name} is not a setting. hallpass --help lists all settings.`;
      assert.throws(() => readSettings({ [name]: '4' }), { name: 'BadSetting', message });
    }
    for (const port of ['tcp://', 'tcp://10.0.0.1', 'http://10.0.0.1:8080', 'tcp://10.0.0.1:8080/', '8080 ']) {
      assert.throws(() => readSettings({ HALLPASS_PORT: port }), /HALLPASS_PORT must be a port/, port);
    }
  });

  test('a server and commands start with them', async (t) => {
    const { HALLPASS_PORT: _port, HALLPASS_OPERATOR_PORT: _operatorPort, ...services } = KUBERNETES;
    const server = await serve(t, services);
    assert.equal((await fetch(`${server.url}/health/ready`)).status, 200);
    const store = { ...KUBERNETES, HALLPASS_DATA_DIR: makeFolder(t) };
    const begun = await runCommand(['store', 'init'], store);
    assert.equal(begun.code, 0, begun.stderr);
    const listed = await runCommand(['keys', 'list'], store);
    assert.equal(listed.code, 0, listed.stderr);
  });
});

suite('secrets', () => {
  const masterKey = randomBytes(32).toString('base64url');

  test('a line break at the end of a variable is ignored', () => {
    for (const end of ['\n', '\r\n', '\n\n']) {
      const settings = readSettings({
        HALLPASS_MASTER_KEY: masterKey + end,
        HALLPASS_ISSUER: `https://auth.example.com${end}`,
        HALLPASS_DATABASE_URL: `postgres://a:b@127.0.0.1/c${end}`,
        HALLPASS_COPY_TO: `postgres://a:d@127.0.0.1/c${end}`,
      });
      assert.equal(settings.masterKey, masterKey);
      assert.equal(settings.issuer, 'https://auth.example.com');
      assert.deepEqual(
        [settings.databaseUrl, settings.copyTo],
        ['postgres://a:b@127.0.0.1/c', 'postgres://a:d@127.0.0.1/c'],
      );
      const guard = readGuardEnvironment({
        HALLPASS_ISSUER: `https://auth.example.com${end}`,
        HALLPASS_GUARD_CLIENT_ID: `id${end}`,
        HALLPASS_GUARD_CLIENT_SECRET: `secret${end}`,
      });
      assert.deepEqual(guard, {
        issuer: 'https://auth.example.com',
        credentials: { clientId: 'id', clientSecret: 'secret' },
      });
    }
    for (const bad of [`${masterKey}\nx`, ` ${masterKey}`, `\n${masterKey}`]) {
      assert.throws(() => readSettings({ HALLPASS_MASTER_KEY: bad }), /HALLPASS_MASTER_KEY must be 32 random bytes/);
    }
  });

  test('a settings file and a master key file may start with a byte order mark and end with a line break', async (t) => {
    const folder = makeFolder(t);
    const { HALLPASS_DATA_DIR: dataDir } = await makeStore(t, { HALLPASS_MASTER_KEY: masterKey });
    const keyFile = join(folder, 'master.key');
    writeFileSync(keyFile, `\uFEFF${masterKey}\r\n`, { mode: 0o600 });
    const file = join(folder, 'settings.json');
    const settings = { masterKeyFile: keyFile, dataDir, issuer: 'https://a.example\n' };
    writeFileSync(file, `\uFEFF${JSON.stringify(settings)}\n`);
    const done = await runCommand(['store', 'init'], { HALLPASS_CONFIG: file });
    assert.equal(done.code, 0, done.stderr);
  });

  test('a secret file must be closed to others, but a group of the server may read a file that root owns', () => {
    for (const [mode, uid, gid, exposure] of [
      [0o600, 1000, 1000, undefined],
      [0o400, 0, 0, undefined],
      [0o440, 0, 2000, undefined],
      [0o640, 0, 2000, undefined],
      [0o440, 0, 3000, 'its group'],
      [0o440, 1000, 2000, 'its group'],
      [0o660, 0, 2000, 'its group'],
      [0o444, 0, 2000, 'everyone'],
      [0o644, 1000, 1000, 'everyone'],
      [0o642, 0, 2000, 'everyone'],
      [0o604, 0, 2000, 'everyone'],
    ] as const) {
      assert.equal(
        exposureOf({ mode: 0o100_000 | mode, uid, gid }, { uid: 1000, groups: [1000, 2000] }),
        exposure,
        mode.toString(8),
      );
    }
  });

  test('a server that runs as root reads a file mounted for a group, but no file open to others', () => {
    const root = { uid: 0, groups: [0, 2000] };
    for (const [mode, gid, exposure] of [
      [0o440, 2000, undefined],
      [0o440, 0, undefined],
      [0o640, 0, 'its group'],
      [0o440, 3000, 'its group'],
      [0o444, 0, 'everyone'],
    ] as const) {
      assert.equal(exposureOf({ mode: 0o100_000 | mode, uid: 0, gid }, root), exposure, mode.toString(8));
    }
  });

  test('a master key that others can read is refused with its mode, and an unreadable one with a sentence', async (t) => {
    const folder = makeFolder(t);
    const file = join(folder, 'mounted.key');
    writeFileSync(file, masterKey, { mode: 0o600 });
    const on = { HALLPASS_MASTER_KEY_FILE: file, HALLPASS_DATA_DIR: folder, HALLPASS_ISSUER: 'https://a.example' };
    assert.equal((await runCommand(['store', 'init'], on)).code, 0);
    chmodSync(file, 0o644);
    const open = await runCommand(['keys', 'list'], on);
    assert.equal(open.code, 2);
    assert.match(open.stderr, /can read the master key \(everyone: its mode is 0644\).*chmod 600/);
    if (process.getuid?.() === 0) {
      // Root can set up a file as Kubernetes does.
      chownSync(file, 0, 0);
      chmodSync(file, 0o440);
      assert.equal((await runCommand(['keys', 'list'], on)).code, 0);
      chownSync(file, 0, 4242);
      assert.match((await runCommand(['keys', 'list'], on)).stderr, /\(its group: its mode is 0440\)/);
    } else {
      chmodSync(file, 0o000);
      assert.match((await runCommand(['keys', 'list'], on)).stderr, /master key cannot be read by this user/);
    }
  });
});

suite('a database address', () => {
  test('with an unescaped password is refused, and no part of the password is repeated', async () => {
    for (const password of [
      'Pa55#w0rd',
      '12#w0rd',
      '12/w0rd',
      '12?w0rd',
      'x%w0rd',
      'Pa55@h/w0rd',
      'Pa:55/w0rd',
      '12\\w0rd',
    ]) {
      const url = `postgres://hallpass:${password}@db.example/hallpass`;
      for (const variable of ['HALLPASS_DATABASE_URL', 'HALLPASS_COPY_TO'] as const) {
        let message = '';
        try {
          readSettings({ HALLPASS_ISSUER: 'https://a.example', [variable]: url });
        } catch (error) {
          message = String(error);
        }
        assert.match(message, new RegExp(`${variable} must be an address .* written %40`), url);
        for (const piece of ['w0rd', 'Pa', '55']) assert.ok(!message.includes(piece), `${piece} of ${password}`);
      }
    }
    const done = await runCommand(['keys', 'list'], {
      HALLPASS_DATABASE_URL: 'postgres://hallpass:12#w0rd@db.example/hallpass',
      HALLPASS_ISSUER: 'https://a.example',
      HALLPASS_MASTER_KEY: randomBytes(32).toString('base64url'),
    });
    assert.equal(done.code, 2);
    assert.ok(!`${done.stdout}${done.stderr}`.includes('w0rd'));
  });

  test('may have any escaped character in its password, and an unescaped @', () => {
    const odd = '@:/?#%[] \\"é';
    for (const url of [
      `postgres://hallpass:${encodeURIComponent(odd)}@db.example:5432/hallpass?sslmode=verify-full`,
      'postgresql://hallpass@localhost/hallpass',
      'postgres:///hallpass?host=/var/run/postgresql',
      'postgres://hallpass:p@ss@127.0.0.1/hallpass',
    ]) {
      const { databaseUrl } = readSettings({ HALLPASS_ISSUER: 'https://a.example', HALLPASS_DATABASE_URL: url });
      assert.equal(databaseUrl, url);
    }
  });
});

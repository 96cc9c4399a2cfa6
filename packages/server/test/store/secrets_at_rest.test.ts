/** Files that hold secrets, or anything that helps to attack a secret, are readable by their owner only. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test, type TestContext } from 'node:test';
import { readSettings } from '../../src/serving/settings/settings.ts';
import {
  makeFolder,
  makeStore,
  remarksOf,
  serve,
  type Done,
  type Environment,
} from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';

const STORE_FILES = ['hallpass.db', 'hallpass.db-wal', 'hallpass.db-shm'];
const MASTER_KEY_OF_STORE = randomBytes(32).toString('base64url');
const MASTER_KEY = Buffer.from(Array.from({ length: 32 }, (_, at) => at * 7)).toString('base64url');

const modeOf = (file: string): string => (statSync(file).mode & 0o777).toString(8);

/** An existing folder that is open to all, in a process whose umask opens new files to all. */
function openFolder(t: TestContext): string {
  const folder = join(makeFolder(t), 'data');
  mkdirSync(folder, { mode: 0o755 });
  const before = process.umask(0o000);
  t.after(() => process.umask(before));
  chmodSync(folder, 0o755);
  return folder;
}

suite('secrets at rest', { skip: process.platform === 'win32' }, () => {
  test('the store and its logs are created for their owner only, even in an open folder', async (t) => {
    const folder = openFolder(t);
    await serve(t, { HALLPASS_DATA_DIR: folder });
    for (const name of [...STORE_FILES, 'master.key']) assert.equal(modeOf(join(folder, name)), '600', name);
  });

  test('a backup is created for its owner only', async (t) => {
    const folder = openFolder(t);
    const file = join(folder, 'backup');
    assert.equal((await runCommand(['store', 'init'], { HALLPASS_DATA_DIR: folder })).code, 0);
    const done = await runCommand(['store', 'backup', file], { HALLPASS_DATA_DIR: folder });
    assert.equal(done.code, 0, done.stderr);
    assert.equal(modeOf(file), '600');
  });

  test('a store that others can read is closed to them, with a warning only then', async (t) => {
    const on = await makeStore(t);
    const list = (): Promise<Done> => runCommand(['keys', 'list', '--json'], on);
    assert.equal(remarksOf(await list()), '');
    const file = join(on.HALLPASS_DATA_DIR, 'hallpass.db');
    for (const mode of [0o640, 0o602]) {
      chmodSync(file, mode);
      const done = await list();
      assert.equal(done.code, 0);
      assert.deepEqual(JSON.parse(done.stdout), []);
      assert.match(remarksOf(done), /^warning: Other users of this machine could read the store\..*hallpass\.db\n$/);
      assert.equal(modeOf(file), '600');
    }
    assert.equal(remarksOf(await list()), '');
  });

  const url = (password: string): string => `postgres://hallpass${password}@127.0.0.1:1/hallpass`;
  for (const [name, settings, secret] of [
    ['the master key', { masterKey: MASTER_KEY }, 'masterKey'],
    ['an address with a password', { databaseUrl: url(':pa55'), issuer: 'http://localhost' }, 'databaseUrl'],
    ['a password that is a parameter', { copyTo: `${url('')}?password=pa55` }, 'copyTo'],
  ] as const) {
    test(`a settings file with ${name} is refused while others can read it`, (t) => {
      const file = settingsFile(t, settings);
      for (const mode of [0o640, 0o604]) {
        chmodSync(file, mode);
        assert.throws(
          () => readSettings({ HALLPASS_CONFIG: file }),
          (error: Error) => {
            assert.match(
              error.message,
              new RegExp(`^The settings file holds a secret \\(${secret}\\).*chmod 600 ${file}$`),
            );
            assert.ok(
              !error.message.includes('pa55') && !error.message.includes(MASTER_KEY),
              'the secret is not repeated',
            );
            return true;
          },
        );
      }
      chmodSync(file, 0o600);
      readSettings({ HALLPASS_CONFIG: file });
    });
  }

  test('a settings file without a secret may be open to all', (t) => {
    const file = settingsFile(t, { accessTtlSeconds: 60, copyTo: url('') });
    chmodSync(file, 0o644);
    assert.equal(readSettings({ HALLPASS_CONFIG: file }).accessTtlSeconds, 60);
  });

  test('a command ends with that refusal', async (t) => {
    const file = settingsFile(t, { masterKey: MASTER_KEY });
    chmodSync(file, 0o640);
    const { code, stdout, stderr } = await listWith(t, { HALLPASS_CONFIG: file });
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /^error: The settings file holds a secret/);
  });

  test('an import file that others can read causes a warning, and a closed one does not', async (t) => {
    const { HALLPASS_DATA_DIR } = await makeStore(t);
    const file = join(makeFolder(t), 'keys.csv');
    writeFileSync(file, 'client_id,client_secret\npartner-1,dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-\n');
    const check = (): Promise<Done> =>
      runCommand(['keys', 'import', file, '--scope', '/a.read', '--dry-run', '--format', 'csv'], {
        HALLPASS_DATA_DIR,
      });
    chmodSync(file, 0o644);
    const open = await check();
    assert.equal(open.code, 0, open.stderr);
    assert.match(remarksOf(open), /^warning: .*chmod 600 .*keys\.csv\n$/);
    chmodSync(file, 0o600);
    assert.equal(remarksOf(await check()), '');
  });

  test('the key of a client certificate for the database is refused while others can read it', async (t) => {
    const file = join(makeFolder(t), 'client.key');
    writeFileSync(file, 'a key');
    chmodSync(file, 0o644);
    const address = `postgres://hallpass@127.0.0.1:1/hallpass?sslmode=verify-full&sslkey=${file}`;
    const on = {
      HALLPASS_DATABASE_URL: address,
      HALLPASS_ISSUER: 'http://localhost',
      HALLPASS_MASTER_KEY: MASTER_KEY_OF_STORE,
    };
    const open = await listWith(t, on);
    assert.equal(open.code, 2, open.stderr);
    assert.match(open.stderr, /can read the key in sslkey.*chmod 600/);
    chmodSync(file, 0o600);
    assert.doesNotMatch((await listWith(t, on)).stderr, /chmod/);
  });
});

suite('secrets on the command line, which every user of the machine can see', () => {
  const copy = async (t: TestContext, words: readonly string[], more: Environment = {}, input = ''): Promise<Done> =>
    runCommand(['store', 'copy', ...words], { ...(await makeStore(t)), ...more }, input);
  /** Nothing listens there, so an accepted address fails to connect. */
  const withPassword = 'postgres://hallpass:pa55@127.0.0.1:1/hallpass';
  const withoutPassword = 'postgres://hallpass@127.0.0.1:1/hallpass';

  for (const address of [withPassword, `${withoutPassword}?password=pa55`]) {
    test(`store copy refuses ${address.replace('pa55', '...')} in --to, and says where to put it instead`, async (t) => {
      const { code, stdout, stderr } = await copy(t, ['--to', address]);
      assert.equal(code, 2);
      assert.equal(stdout, '');
      assert.match(stderr, /There is a password in --to.*HALLPASS_COPY_TO.*--to -/);
      assert.ok(!stderr.includes('pa55'));
    });
  }

  test('store copy accepts an address on standard input, in the environment, and without a password in --to', async (t) => {
    for (const done of [
      await copy(t, ['--to', '-'], {}, `${withPassword}\n`),
      await copy(t, [], { HALLPASS_COPY_TO: withPassword }),
      await copy(t, ['--to', withoutPassword]),
    ]) {
      assert.equal(done.code, 1);
      assert.match(done.stderr, /The database cannot be reached/);
      assert.ok(!done.stderr.includes('pa55'));
    }
  });

  test('store copy without an address, or with an invalid one, is refused with a reason', async (t) => {
    for (const [done, says] of [
      [await copy(t, []), /Name the database to copy to: set HALLPASS_COPY_TO/],
      [await copy(t, ['--to', '-'], {}, 'pa55\n'), /The address on standard input must be an address such as/],
      [await copy(t, ['--to', 'pa55']), /--to must be an address such as/],
      [await copy(t, [], { HALLPASS_COPY_TO: 'pa55' }), /HALLPASS_COPY_TO must be an address such as/],
    ] as const) {
      assert.equal(done.code, 2);
      assert.match(done.stderr, says);
      assert.doesNotMatch(done.stderr, /pa55|\n\s+at /);
    }
  });

  test('keys create warns about a secret in an argument, without repeating it', async (t) => {
    const on = await makeStore(t);
    const words = ['keys', 'create', 'x', '--scope', '/a.read', '--client-id', 'x', '--client-secret'];
    const secret = 'dNC-hg7sVm22jc3g_Eogtyu0_1Mqh_4-';
    const done = await runCommand([...words, secret], on);
    assert.equal(done.code, 0);
    assert.match(done.stderr, /^warning: .*--client-secret - and give the secret on standard input/);
    assert.ok(!done.stderr.includes(secret));
    const unseen = await runCommand([...words, '-'], await makeStore(t), secret);
    assert.equal(unseen.code, 0);
    assert.equal(remarksOf(unseen), '');
  });
});

function settingsFile(t: TestContext, settings: object): string {
  const file = join(makeFolder(t), 'settings.json');
  writeFileSync(file, JSON.stringify(settings));
  return file;
}

/** Lists keys in a new data folder. */
function listWith(t: TestContext, environment: Environment): Promise<Done> {
  return runCommand(['keys', 'list', '--json'], { HALLPASS_DATA_DIR: join(makeFolder(t), 'data'), ...environment });
}

/** Only `store init` creates a store: a command in the wrong folder neither creates one nor silently uses another (ADR 32). */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { suite, test } from 'node:test';
import { Client } from 'pg';
import { prepareFirstKey } from '../../src/serving/first_key.ts';
import { openInstance } from '../../src/serving/instance.ts';
import { readSettings } from '../../src/serving/settings/settings.ts';
import { describeStore } from '../../src/serving/stores.ts';
import { systemClock, systemRandom } from '../../src/serving/system.ts';
import {
  makeFolder,
  makeStore,
  remarksOf,
  serve,
  startServing,
  type Done,
} from '../../../../testing/process/command.ts';
import { runCommand } from '../../../../testing/process/run_command.ts';
import { startPostgres } from '../../../../testing/postgres/cluster.ts';

const PRODUCTION = {
  HALLPASS_ISSUER: 'https://auth.example.com',
  HALLPASS_MASTER_KEY: randomBytes(32).toString('base64url'),
};

function assertNoStore({ code, stdout, stderr }: Done, named: string): void {
  assert.equal(code, 2, stderr);
  assert.equal(stdout, '');
  assert.ok(stderr.startsWith(`error: There is no store here: ${named}. `), stderr);
  assert.match(stderr, /hallpass store init\n$/);
  assert.equal(stderr.trim().split('\n').length, 1, 'one sentence');
}

suite('a folder without a store', { concurrency: 3 }, () => {
  for (const words of [
    ['revoke-everything', '--yes'],
    ['keys', 'disable', 'CLIENT'],
    ['keys', 'create', 'x', '--scope', '/a.read'],
    ['keys', 'import', '-'],
    ['store', 'backup', '-'],
    ['store', 'verify'],
    ['store', 'copy', '--to', 'postgres://hallpass@127.0.0.1:1/hallpass'],
    ['signing-keys', 'rotate'],
    ['master-key', 'rewrap'],
    ['token', 'inspect', 'x'],
    ['events'],
  ]) {
    test(`hallpass ${words.join(' ')} fails with a sentence, and creates nothing`, async (t) => {
      const folder = join(makeFolder(t), 'data');
      const done = await runCommand(words, { HALLPASS_DATA_DIR: folder }, 'client_id,client_secret\n');
      assertNoStore({ ...done, stderr: done.stderr.replace(/^The file is read as CSV.*\n/, '') }, folder);
      assert.equal(existsSync(folder), false, 'neither a store, nor a master key, nor the folder');
    });
  }

  test('serve refuses it in production, with workers too; after store init, which works once, serve runs', async (t) => {
    const HALLPASS_DATA_DIR = join(makeFolder(t), 'data');
    const on = { ...PRODUCTION, HALLPASS_DATA_DIR };
    for (const words of [['serve'], ['serve', '--workers', '2']])
      assertNoStore(await runCommand(words, on), HALLPASS_DATA_DIR);
    assert.equal(existsSync(HALLPASS_DATA_DIR), false);
    const keyless = await runCommand(['store', 'init'], { ...on, HALLPASS_MASTER_KEY: '' });
    assert.equal(keyless.code, 2);
    assert.match(keyless.stderr, /There is no master key/);
    assert.equal(existsSync(HALLPASS_DATA_DIR), false);
    const init = async (): Promise<unknown> => {
      const { stdout, stderr } = await runCommand(['store', 'init', '--json'], on);
      assert.equal(stderr, '');
      return JSON.parse(stdout);
    };
    assert.deepEqual(await init(), { store: HALLPASS_DATA_DIR, made: true });
    const list = async (): Promise<string> => (await runCommand(['signing-keys', 'list', '--json'], on)).stdout;
    const keys = await list();
    assert.deepEqual(await init(), { store: HALLPASS_DATA_DIR, made: false });
    assert.equal(await list(), keys, 'what is there stays as it is');
    const serving = startServing(t, on);
    await new Promise((resolve) => {
      serving.child.stdout.once('data', resolve);
    });
    assert.match(serving.stdout(), /Hallpass is ready: https:\/\/auth\.example\.com/);
    serving.child.kill('SIGTERM');
    assert.equal(await serving.ended, 0);
    assert.match(serving.stdout(), new RegExp(`on the store ${HALLPASS_DATA_DIR}\n`));
  });

  test('a file that Hallpass did not create is not a store and stays unchanged: an empty one, another database', async (t) => {
    for (const fill of [
      (file: string) => writeFileSync(file, ''),
      (file: string) => {
        const database = new DatabaseSync(file);
        database.exec('CREATE TABLE another (x)');
        database.close();
      },
    ]) {
      const HALLPASS_DATA_DIR = makeFolder(t);
      const file = join(HALLPASS_DATA_DIR, 'hallpass.db');
      fill(file);
      const before = readFileSync(file);
      assertNoStore(await runCommand(['keys', 'list'], { HALLPASS_DATA_DIR, ...PRODUCTION }), HALLPASS_DATA_DIR);
      assert.deepEqual(readFileSync(file), before);
      assert.deepEqual(readdirSync(HALLPASS_DATA_DIR), ['hallpass.db']);
    }
  });
});

suite('the store that a command works on', () => {
  test('is named by every command on standard error, so that a wrong one is noticed', async (t) => {
    const on = await makeStore(t);
    for (const words of [
      ['keys', 'list', '--json'],
      ['keys', 'create', 'x', '--scope', '/a.read', '--json'],
      ['revoke-everything', '--yes', '--json'],
      ['store', 'verify', '--json'],
    ]) {
      const done = await runCommand(words, on);
      assert.equal(done.code, 0, done.stderr);
      assert.equal(done.stderr, `Store: ${on.HALLPASS_DATA_DIR}\n`);
      JSON.parse(done.stdout);
    }
    // A shell that forgot HALLPASS_DATABASE_URL, where a store of an earlier try is.
    const forgot = await runCommand(['keys', 'disable', 'CLIENT'], on);
    assert.equal(forgot.code, 1);
    assert.match(forgot.stderr, new RegExp(`^Store: ${on.HALLPASS_DATA_DIR}\nerror: There is no API key`));
  });

  for (const [at, [address = '', shown]] of [
    [
      'postgres://hallpass:pa55@db.example.com/hallpass?sslmode=verify-full',
      'postgres://hallpass@db.example.com/hallpass',
    ],
    ['postgresql://hallpass@127.0.0.1:5433/hallpass?password=pa55', 'postgres://hallpass@127.0.0.1:5433/hallpass'],
    ['postgres:///hallpass?host=/var/run/postgresql', 'postgres:///var/run/postgresql/hallpass'],
    // Passwords with characters that were not escaped.
    ['postgres://hallpass:pa@55@db.example.com/hallpass', 'postgres://hallpass@db.example.com/hallpass'],
    ['postgres://hallpass:55/pa@db.example.com/hallpass', 'a database whose address cannot be shown'],
    ['postgres://hallpass:55?pa@db.example.com/hallpass', 'a database whose address cannot be shown'],
    ['postgres://hallpass:55#pa@db.example.com/hallpass', 'a database whose address cannot be shown'],
  ].entries()) {
    test(`on a database is shown as ${shown} (${at})`, () => {
      assert.equal(describeStore({ databaseUrl: address, dataDir: '.hallpass' }), shown);
    });
  }

  test('an empty PostgreSQL database is refused and stays empty, even as the target of a dry run, until init', async (t) => {
    const cluster = await startPostgres();
    t.after(() => cluster.stop());
    const [url, copyTo] = [await cluster.createDatabase(), await cluster.createDatabase()];
    const on = {
      ...PRODUCTION,
      HALLPASS_DATA_DIR: makeFolder(t),
      HALLPASS_DATABASE_URL: url,
      HALLPASS_COPY_TO: copyTo,
    };
    const tablesOf = async (connectionString: string): Promise<unknown> => {
      const client = new Client({ connectionString });
      await client.connect();
      const { rows } = await client.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
      await client.end();
      return rows;
    };
    const name = describeStore({ databaseUrl: url, dataDir: '' });
    for (const words of [['keys', 'list'], ['serve']]) assertNoStore(await runCommand(words, on), name);
    assert.deepEqual(await tablesOf(url), []);
    assert.equal((await runCommand(['store', 'init'], on)).code, 0);
    const listed = await runCommand(['keys', 'list', '--json'], on);
    assert.deepEqual([listed.stdout.trim(), listed.stderr], ['[]', `Store: ${name}\n`]);
    const dry = await runCommand(['store', 'copy', '--dry-run', '--json'], on);
    assert.equal(dry.code, 0, dry.stderr);
    const { tables }: { readonly tables: readonly Record<string, unknown>[] } = JSON.parse(dry.stdout);
    const keys = tables.find(({ table }) => table === 'keys');
    assert.deepEqual([keys?.['rows'], keys?.['inserted']], [4, 4], 'it says what would be written');
    assert.deepEqual(await tablesOf(copyTo), [], 'and writes nothing');
  });
});

test('of two servers that prepare the first key of one store, one can store it', async (t) => {
  const settings = readSettings(await makeStore(t));
  const opened = await Promise.all(
    [1, 2].map(() => openInstance(settings, { clock: systemClock, random: systemRandom })),
  );
  const prepared = await Promise.all(opened.map(prepareFirstKey));
  const kept = await Promise.allSettled(prepared.map(async (key) => await key?.keep()));
  assert.equal(kept.filter(({ status }) => status === 'fulfilled').length, 1);
  assert.equal(kept.filter(({ status }) => status === 'rejected').length, 1);
  const [one] = opened;
  assert.equal((await one?.store.listClients({ limit: 10 }))?.length, 1);
  for (const { store } of opened) await store.close();
});

test('two servers that start together on a new store create one first key', async (t) => {
  const HALLPASS_DATA_DIR = makeFolder(t);
  await Promise.all([serve(t, { HALLPASS_DATA_DIR }), serve(t, { HALLPASS_DATA_DIR })]);
  const listed = await runCommand(['keys', 'list', '--json'], { HALLPASS_DATA_DIR });
  assert.equal(remarksOf(listed), '');
  const keys: readonly Record<string, unknown>[] = JSON.parse(listed.stdout);
  assert.deepEqual(
    keys.map(({ name }) => name),
    ['first key'],
  );
});
